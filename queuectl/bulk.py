"""One verb on many jobs: find them, plan, do what was planned in the same transaction, and report id by id what was done and what not, and why.

A dry run is the plan alone, made from a snapshot: it reads, and nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from queuectl import processes
from queuectl.answers import ActionResult, Change
from queuectl.errors import InvalidValue, JobNotFound, NothingMatched, StateConflict
from queuectl.model import State
from queuectl.records import NamedTuple, replace
from queuectl.selection import Chosen
from queuectl.store import Store
from queuectl.store.filters import Filter
from queuectl.store.foresight import Place, Refused

Found = dict[str, Place | str]  # ids with seq and state, or with why they are not meant
Skipped = list[tuple[str, str]]
EMPTY = "the selection is empty: nothing was done"
NO_SUCH_JOB = "no job has this id"
EVENTS_EACH = 1000  # jobs up to which each gets an event of its own
NAMED_IN_EVENT = 20
NEW_JOB = "job"  # the field of a change that names the job put in the place of another


class Plan(NamedTuple):
    """What would become of the jobs that a verb is tried on: all that are not refused are changed by `do`."""

    refused: Refused
    do: Callable[[], None]
    also: Sequence[str] = ()  # ids of others that go along
    notes: Sequence[str] = ()
    details: Mapping[int, str] = {}  # what each event says, by seq
    changes: Sequence[Change] = ()


class Verb(NamedTuple):
    """A verb on jobs: in which states it can be done, and what it would do."""

    name: str
    states: tuple[State, ...]
    plan: Callable[[Sequence[Place], int], Plan]  # for jobs in these states, at a time in ms; only reads


def act(
    store: Store,
    verb: Verb,
    given: Chosen,
    wanted: Filter,
    *,
    named: bool,
    actor: str,
    confirm: Callable[[str, int], bool],
    all: bool = False,
    dry_run: bool = False,
) -> ActionResult:
    """Do a verb to the jobs named, else to those of a filter.

    Args:
        store: the queue's database; one write transaction, none for a dry run.
        verb: what is done.
        given: the jobs pointed at; those that have changed since their frame was read are left alone.
        wanted: a filter, which also narrows the names.
        named: whether a selection was given at all, if an empty one.
        actor: who asks: cli, panel or python.
        confirm: asked (verb, number of jobs) before several jobs of a filter are changed.
        all: all jobs in these states, without names or a filter.
        dry_run: only read, and tell what would be done.

    Raises:
        InvalidValue: neither names nor a filter.
        JobNotFound: the one job named does not exist.
        StateConflict: the one job named is in another state.
        NothingMatched: the filter matches nothing.
    """
    names = given.ids
    if named and not names:  # also beside a filter, which would only narrow it
        return ActionResult(verb.name, dry_run=dry_run, notes=(EMPTY,))
    if not names and wanted.is_empty() and not all:
        raise InvalidValue(
            f"{verb.name}: expected ids or a filter such as --queue, got neither; nothing was done"
        )
    chosen: Sequence[str] | None = names or None
    if chosen is None and not dry_run:
        chosen, wanted = [*_found(store, None, wanted, verb.states)], Filter()
        if len(chosen) > 1 and not confirm(verb.name, len(chosen)):
            return ActionResult(verb.name, notes=("nothing was done",))
    with store.connection.reading() if dry_run else store.write():
        found = _found(store, chosen, wanted, verb.states)
        if given.seen:
            found |= given.why_stale(store.jobs.stamps(given.ids))
        result = _decided(store, verb, found, actor=actor, dry_run=dry_run)
    if not result.done and (len(names) == 1 or not found):
        _complain(verb.name, found, result.skipped)
    return result


def _decided(store: Store, verb: Verb, found: Found, *, actor: str, dry_run: bool) -> ActionResult:
    """Plan, and unless it is a dry run do it; return the report, which is the same either way."""
    now = processes.now_ms()
    able = {name: p for name, p in found.items() if not isinstance(p, str) and p[1] in verb.states}
    plan = verb.plan(list(able.values()), now)
    done, skipped = [], Skipped()
    for name, place in found.items():
        if isinstance(place, str):
            skipped.append((name, place))
        elif name not in able:
            skipped.append(
                (name, f"is {place[1]}; {verb.name} needs a job that is {' or '.join(verb.states)}")
            )
        elif place[0] in plan.refused:
            skipped.append((name, plan.refused[place[0]]))
        else:
            done.append(name)
    if done and not dry_run:
        plan.do()
        says = {name: plan.details.get(able[name][0]) for name in done}
        _note(store, verb.name, says, actor=actor, now_ms=now)
    also = [name for name in plan.also if name not in able]
    if dry_run:  # no new job is named that will never be
        changes = tuple(c for c in plan.changes if c.field != NEW_JOB)
        return ActionResult(verb.name, (*done, *also), tuple(skipped), dry_run=True, changes=changes)
    return ActionResult(
        verb.name, (*done, *also), tuple(skipped), notes=tuple(plan.notes), changes=tuple(plan.changes)
    )


def _note(store: Store, verb: str, done: dict[str, str | None], *, actor: str, now_ms: int) -> None:
    if len(done) <= EVENTS_EACH:
        store.history.note_each(verb, done.items(), actor=actor, now_ms=now_ms)
        return
    shown = f"{len(done):,} jobs: {', '.join(list(done)[:NAMED_IN_EVENT])} …"
    store.history.note(verb, None, shown, actor=actor, now_ms=now_ms)


def _found(store: Store, names: Sequence[str] | None, wanted: Filter, states: tuple[State, ...]) -> Found:
    if names is None:
        narrowed = replace(wanted, states=tuple(s for s in (wanted.states or states) if s in states))
        return dict(_places(store, narrowed)) if narrowed.states else {}
    known: Found = dict.fromkeys(names, NO_SUCH_JOB)
    known |= _places(store, Filter(ids=tuple(names)))
    if not wanted.is_empty():
        meant = _places(store, replace(wanted, ids=tuple(names)))
        known |= {i: "does not match the filter" for i, p in known.items() if i not in meant and p != NO_SUCH_JOB}  # fmt: skip
    return known


def _places(store: Store, wanted: Filter) -> dict[str, Place]:
    return {job_id: (seq, state) for seq, job_id, state in store.jobs.ids(wanted)}


def _complain(verb: str, found: Found, skipped: Sequence[tuple[str, str]]) -> None:
    """Raise for one job what a report says for many."""
    if not found:
        raise NothingMatched(f"{verb}: no job matches; nothing was done")
    if len(skipped) == len(found) == 1:
        name, why = skipped[0]
        if why == NO_SUCH_JOB:
            raise JobNotFound(f"job {name}: {why} (see `queuectl list`)")
        hint = "; only dead jobs are in the DLQ (see `queuectl dlq list`)" if verb.startswith("dlq") else ""
        raise StateConflict(f"job {name} {why}{hint}")
