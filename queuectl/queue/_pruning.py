"""Removing what has ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from queuectl import processes
from queuectl import validate as v
from queuectl.errors import InvalidValue, StateConflict
from queuectl.ids import new_id
from queuectl.model import State
from queuectl.queue._working import Working
from queuectl.records import record
from queuectl.settings import shown

PRUNABLE = (State.COMPLETED, State.CANCELLED, State.DEAD)


@record
class Pruned:
    """What was removed, or would be.

    Attributes:
        jobs: how many, by state.
        files: output files that went with them, or that nothing spoke of any more.
        older_than_ms: the age from which on.
        dry_run: whether nothing was removed.
    """

    jobs: dict[State, int]
    files: int
    older_than_ms: int
    dry_run: bool

    @property
    def total(self) -> int:
        """How many jobs in all."""
        return sum(self.jobs.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {
            "jobs": {str(s): n for s, n in self.jobs.items()}, "files": self.files, "older_than_ms": self.older_than_ms, "dry_run": self.dry_run
        }  # fmt: skip


class Pruning(Working):
    """The verb `prune`."""

    def prune(
        self, *, older_than: str | float | None = None, state: str | None = None, compact: bool = False, dry_run: bool = False
    ) -> Pruned:  # fmt: skip
        """Remove jobs that have ended, with their runs and outputs; dead ones only when they are named.

        It works in small steps, so workers go on meanwhile. Jobs that others wait for stay, and so do those that hold a unique key for good.

        Args:
            older_than: those that ended longer ago, such as 7d; 0 for all. What `config set retention` says by default.
            state: completed, cancelled or dead, or several, separated by commas; completed,cancelled by default.
            compact: give the freed space back to the disk; only while no workers run.
            dry_run: only say what would be done.

        Raises:
            InvalidValue: no age is given and none is set, or the state is not one in which jobs have ended.
            StateConflict: `compact` while workers run; nothing was removed.
        """
        states = _states(state)
        ages = {s: self._age(older_than, s) for s in states}
        if compact and not dry_run and any(w.state != "stale" for w in self.workers()):
            raise StateConflict(
                "prune: expected no workers while compacting; stop them first (queuectl worker --stop)"
            )
        now = processes.now_ms()
        cuts = {s: now - ages[s] for s in states}
        oldest = max(ages.values())
        if dry_run:
            counts = {s: self._store.retention.count((s,), before_ms=cuts[s]) for s in states}
            return Pruned(counts, 0, oldest, True)
        counts = {s: self._remove((s,), cuts[s]) for s in states}
        self._remove(None, min(cuts.values()))  # events of jobs that are gone
        files = self._sweep()
        if any(counts.values()):
            self._note_pruned(counts, oldest)
        if compact:
            self._store.connection.rows("vacuum")
            self._store.connection.checkpoint()
        return Pruned(counts, files, oldest, False)

    def _age(self, older_than: str | float | None, state: State) -> int:
        if older_than is not None:
            return v.duration_ms("older-than", older_than, high=100 * 366 * 86_400_000)
        name = "retention-dead" if state is State.DEAD else "retention"
        age = self._store.settings.get(name)
        if age is None:
            raise InvalidValue(
                f"older-than: expected an age such as 7d, got none, and config has no {name}; nothing was removed"
            )
        return int(age)

    def _remove(self, states: tuple[State, ...] | None, before_ms: int) -> int:
        from queuectl.chores.retention import Pass

        who = new_id()
        work = Pass(self._store, states, before_ms=before_ms, who=who)
        while not work.is_over:
            time.sleep(work.step(now_ms=processes.now_ms()) / 1000)
        with self._store.write():
            self._store.retention.end_turn(who)
        return work.removed

    def _sweep(self) -> int:
        """Unlink the files that are left; return how many."""
        from queuectl.chores import litter

        before = self._store.retention.litter_count()
        while litter.unlink_some(self._store, limit=100):
            time.sleep(0.005)
        strays = litter.strays(self._store)
        for start in range(0, len(strays), 100):
            with self._store.write():
                for name in strays[start : start + 100]:
                    if not litter.is_wanted(self._store, name):
                        litter.unlink(self._store, name)
        return before + len(strays)

    def _note_pruned(self, counts: dict[State, int], age_ms: int) -> None:
        text = ", ".join(f"{n:,} {s}" for s, n in counts.items())
        with self._store.write():
            self._store.history.note(
                "prune", None, f"{text} older than {shown('retention', age_ms)}", actor=self._actor, now_ms=processes.now_ms()
            )  # fmt: skip


def _states(given: str | Sequence[str] | None) -> tuple[State, ...]:
    if given is None:
        return (State.COMPLETED, State.CANCELLED)
    names = given.split(",") if isinstance(given, str) else list(given)
    return tuple(dict.fromkeys(State(v.choice("state", n, PRUNABLE)) for n in names))
