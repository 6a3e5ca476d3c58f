"""One verb on many jobs: find them, try each in one transaction, and report id by id what was done and what was not, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from queuectl import processes
from queuectl.errors import InvalidValue, JobNotFound, NothingMatched, StateConflict
from queuectl.model import ActionResult, State
from queuectl.store import Store
from queuectl.store.filters import Filter

Found = list[
    tuple[str, tuple[int, State] | None]
]  # ids with seq and state, or None when there is no such job
Skipped = list[tuple[str, str]]
NAMED_IN_EVENT = 20


def act(
    store: Store,
    verb: str,
    names: Sequence[str],
    wanted: Filter,
    *,
    named: bool,
    actor: str,
    states: tuple[State, ...],
    change: Callable[[int, State, int], bool],
    all: bool = False,
    dry_run: bool = False,
) -> ActionResult:
    """Do a verb to the jobs named, else to those of a filter.

    Args:
        store: the queue's database; one write transaction.
        verb: its name, for the report and the event.
        names: ids of jobs.
        wanted: a filter, which also narrows the names.
        named: whether a selection was given at all, if an empty one.
        actor: who asks: cli, panel or python.
        states: those in which the verb can be done.
        change: does it to one job (seq, state, now in ms) and says whether it did.
        all: all jobs in these states, without names or a filter.
        dry_run: only say what would be done.

    Raises:
        InvalidValue: neither names nor a filter.
        JobNotFound: the one job named does not exist.
        StateConflict: the one job named is in another state.
        NothingMatched: the filter matches nothing.
    """
    if not names and wanted.is_empty() and not all:
        if named:
            return ActionResult(verb, dry_run=dry_run, notes=("the selection is empty: nothing was done",))
        raise InvalidValue(f"{verb}: expected ids or a filter such as --queue, got neither; nothing was done")
    now = processes.now_ms()
    done: list[str] = []
    skipped: Skipped = []
    with store.write():
        found = _found(store, names, wanted, states)
        for name, place in found:
            if place is None:
                skipped.append((name, "no job has this id"))
            elif place[1] not in states:
                skipped.append((name, f"is {place[1]}; {verb} needs a job that is {' or '.join(states)}"))
            elif dry_run or change(place[0], place[1], now):
                done.append(name)
            else:
                skipped.append((name, "changed meanwhile, or another job holds its unique key"))
        if done and not dry_run:
            shown = ", ".join(done[:NAMED_IN_EVENT]) + ("…" if len(done) > NAMED_IN_EVENT else "")
            store.settings.event(verb, done[0] if len(done) == 1 else None, shown, actor=actor, now_ms=now)
    if not done and len(names) <= 1:
        _complain(verb, found, skipped)
    return ActionResult(verb, tuple(done), tuple(skipped), dry_run)


def _found(store: Store, names: Sequence[str], wanted: Filter, states: tuple[State, ...]) -> Found:
    if names:
        by_id = {i: (seq, s) for seq, i, s in store.jobs.ids(replace(wanted, ids=tuple(names)))}
        return [(n, by_id.get(n)) for n in dict.fromkeys(names)]
    narrowed = replace(wanted, states=tuple(s for s in (wanted.states or states) if s in states))
    return [(i, (seq, s)) for seq, i, s in store.jobs.ids(narrowed)] if narrowed.states else []


def _complain(verb: str, found: Found, skipped: Skipped) -> None:
    """Raise for one job what a report says for many."""
    if not found:
        raise NothingMatched(f"{verb}: no job matches; nothing was done")
    if len(skipped) == len(found) == 1:
        name, why = skipped[0]
        if found[0][1] is None:
            raise JobNotFound(f"job {name}: {why} (see `queuectl list`)")
        hint = "; only dead jobs are in the DLQ (see `queuectl dlq list`)" if verb.startswith("dlq") else ""
        raise StateConflict(f"job {name} {why}{hint}")
