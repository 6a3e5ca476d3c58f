"""What a verb on jobs would do, found by reading alone.

The real act and its dry run ask the same questions here: the act then writes what was found, in the transaction that found it, and the dry run
only tells it, from a snapshot and without the write lock.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from queuectl._sqlite import Connection
from queuectl.model import FINAL, State
from queuectl.records import NamedTuple
from queuectl.store.jobs import HOLDS_ITS_KEY

Place = tuple[int, State]  # a job's seq, and the state it was found in
Refused = dict[int, str]  # seq of a job that is left alone, and why

KEY_TAKEN = "another job holds its unique key"
_HELD_WHEN_PENDING = HOLDS_ITS_KEY.replace("state", "'pending'")
_HELD_WHEN_NEW = _HELD_WHEN_PENDING.replace("runs", "0")


class Requeue(NamedTuple):
    """What a retry does: who is left alone, and who waits again for the jobs it depends on."""

    refused: Refused
    waits: frozenset[int]


class Removal(NamedTuple):
    """What a delete does: who is left alone, who goes, and the ids of those among them that only go along."""

    refused: Refused
    goes: tuple[int, ...]
    also: tuple[str, ...]


class _Wait(NamedTuple):
    child: int
    parent: int
    parent_id: str
    parent_state: State
    needs: str
    is_met: bool
    has_run: bool
    rule: str

    def in_state(self, state: State) -> tuple[bool, bool]:
        """Whether the wait is over with its parent in a state, and whether it never will be; one that has run keeps what was decided."""
        met = self.is_met if self.has_run else _is_met(self.needs, state)
        return met, not met and state in FINAL


class Foresight:
    """Questions about jobs whose states allow the verb; each reads and never writes."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def requeue(self, jobs: Sequence[Place]) -> Requeue:
        """Return what becomes of dead, cancelled, failed or scheduled jobs that are put back in line, the oldest first.

        A cancelled one that never ran waits again for what has not ended as it needs; where that would cancel it at once, and where another
        job has taken its unique key, it is left alone.
        """
        waits = self._waits(jobs)
        keys = _Keys(self._c, jobs, _HELD_WHEN_PENDING)
        refused, waiting, again = Refused(), set[int](), set[int]()
        for seq, _ in sorted(jobs):
            mine = [(w, State.PENDING if w.parent in again else w.parent_state) for w in waits.get(seq, ())]
            if why := _lost(mine):
                refused[seq] = why
            elif not keys.take(seq):
                refused[seq] = KEY_TAKEN
            else:
                again.add(seq)
                if any(not w.in_state(state)[0] for w, state in mine):
                    waiting.add(seq)
        return Requeue(refused, frozenset(waiting))

    def supersede(self, jobs: Sequence[Place]) -> Refused:
        """Return which jobs would not be replaced by a new one with another command, in this order, and why."""
        waits = self._waits(jobs)
        keys = _Keys(self._c, jobs, _HELD_WHEN_NEW)
        refused, over = Refused(), set[int]()
        for seq, _ in jobs:
            mine = [(w, State.CANCELLED if w.parent in over else w.parent_state) for w in waits.get(seq, ())]
            if why := _lost(mine):
                refused[seq] = why
            elif not keys.take(seq):
                refused[seq] = KEY_TAKEN
            else:
                over.add(seq)
        return refused

    def delete(self, jobs: Sequence[Place], *, cascade: bool) -> Removal:
        """Return what goes: with `cascade` all that waits for these jobs too, else only those whose children go as well."""
        chosen = [seq for seq, _ in jobs]
        children = self._waiting_below(chosen, deep=cascade)
        if cascade:
            goes = _reach(chosen, children)
            named = {child: name for below in children.values() for child, name in below}
            also = sorted(goes - set(chosen))
            return Removal({}, tuple(sorted(goes)), tuple(named[s] for s in also))
        goes, stays = set(chosen), set[int]()
        parents = defaultdict[int, list[int]](list)
        for parent, below in children.items():
            for child, _ in below:
                parents[child].append(parent)
                if child not in goes:
                    stays.add(parent)
        queue = list(stays)
        while queue:  # who waits for one that stays keeps its own parents
            above = [p for p in parents[queue.pop()] if p not in stays]
            stays.update(above)
            queue += above
        refused = {
            seq: _kept([name for child, name in children[seq] if child not in goes or child in stays])
            for seq in chosen
            if seq in stays
        }
        return Removal(refused, tuple(sorted(goes - stays)), ())

    # --- steps ---

    def _waits(self, jobs: Sequence[Place]) -> dict[int, list[_Wait]]:
        """Return the waits of the cancelled ones among these jobs."""
        listed = json.dumps([seq for seq, state in jobs if state is State.CANCELLED])
        found = defaultdict[int, list[_Wait]](list)
        for row in self._c.rows(
            """select d.child, d.parent, p.id, p.state, d.needs, d.met, c.runs > 0, c.on_dep_fail
                 from json_each(?) as chosen join dependencies as d on d.child = chosen.value
                 join jobs as c on c.seq = d.child join jobs as p on p.seq = d.parent order by d.child, d.parent""",
            (listed,),
        ):
            child, parent, name, state, needs, met, has_run, rule = row
            found[child].append(
                _Wait(child, parent, name, State(state), needs, bool(met), bool(has_run), rule)
            )
        return found

    def _waiting_below(self, jobs: Sequence[int], *, deep: bool) -> dict[int, list[tuple[int, str]]]:
        """Return the blocked jobs that wait for each of these, seq and id; with `deep` also for those that wait, and so on."""
        found = dict[int, list[tuple[int, str]]]()
        level, seen = set(jobs), set(jobs)
        while level:
            rows = self._c.rows(
                """select d.parent, d.child, c.id from json_each(?) as chosen join dependencies as d on d.parent = chosen.value
                     join jobs as c on c.seq = d.child where d.met = 0 and c.state = 'blocked' order by d.parent, d.child""",
                (json.dumps(sorted(level)),),
            )
            for parent, child, name in rows:
                found.setdefault(parent, []).append((child, name))
            level = {child for _, child, _ in rows} - seen if deep else set()
            seen |= level
        return found


class _Keys:
    """The unique keys that jobs would take, and who holds them; a job that takes one holds it against those that come after it."""

    def __init__(self, connection: Connection, jobs: Sequence[Place], held: str) -> None:
        listed = json.dumps([seq for seq, _ in jobs])
        self._wanted: dict[int, str] = dict(
            connection.rows(
                f"""select seq, unique_key from json_each(?) as chosen join jobs on seq = chosen.value where {held} order by seq""",
                (listed,),
            )
        )
        self._holders: dict[str, int] = {}
        if self._wanted:
            self._holders = dict(
                connection.rows(
                    f"""select unique_key, seq from json_each(?) as k join jobs on unique_key = k.value where {HOLDS_ITS_KEY}
                        order by seq""",
                    (json.dumps(sorted(set(self._wanted.values()))),),
                )
            )

    def take(self, seq: int) -> bool:
        """Give a job its key, if it has one; return whether it is free."""
        key = self._wanted.get(seq)
        return key is None or self._holders.setdefault(key, seq) == seq


def _is_met(needs: str, parent: State) -> bool:
    return (needs != "fail" and parent is State.COMPLETED) or (
        needs != "ok" and parent in (State.DEAD, State.CANCELLED)
    )


def _lost(waits: Sequence[tuple[_Wait, State]]) -> str | None:
    """Return why a job would be cancelled again at once, if it would."""
    lost = next(((w, s) for w, s in waits if w.rule == "cancel" and w.in_state(s)[1]), None)
    return (
        None if lost is None else f"waits for {lost[0].parent_id}, which is {lost[1]}; retry that one first"
    )


def _reach(chosen: Sequence[int], children: dict[int, list[tuple[int, str]]]) -> set[int]:
    found, queue = set(chosen), list(chosen)
    while queue:
        new = [child for child, _ in children.get(queue.pop(), ()) if child not in found]
        found.update(new)
        queue += new
    return found


def _kept(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    return f"has {len(names)} waiting for it: {shown} (--cascade deletes them too)"
