"""Chores: what runners do beside the work, each in small pieces and when it is due.

A runner asks `next_due_s` how long it may sleep and calls `tend` once a turn. With nothing to do both are arithmetic: a chore reads the
database when a runner starts, when somebody else has committed and when the clock was set (`look`), and otherwise waits for its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from queuectl.chores._chore import Chore, Moment
from queuectl.chores.litter import Litter
from queuectl.chores.outputs import OutputTotal
from queuectl.chores.retention import Retention
from queuectl.chores.schedules import Schedules
from queuectl.store import Store

LOOK_MS = 100  # between two looks while others commit all the time
CLOCK_SET_MS = 1000  # the wall clock against the monotonic one: more than this and somebody has set it (or the machine has slept)


class Chores:
    """All chores of a runner.

    Args:
        chores: them, in the order in which they are tended.
    """

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = tuple(chores)
        self._stale = True  # whether to look before the next tending
        self._looked: Moment | None = None

    def notice(self) -> None:
        """Say that somebody else has committed."""
        self._stale = True

    def next_due_s(self, now: Moment) -> float | None:
        """Return how long a runner may sleep for their sake, seconds; None for ever."""
        due = [ms for c in self._chores if (ms := c.due_in_ms(now)) is not None]
        if self._stale and self._chores:
            due.append(self._look_in_ms(now))
        return max(0, min(due)) / 1000 if due else None

    def tend(self, now: Moment) -> bool:
        """Do what is due; return whether jobs may have become pending."""
        if (self._stale and self._look_in_ms(now) <= 0) or self._clock_was_set(now):
            self._look(now)
        made = False
        for chore in self._chores:
            due = chore.due_in_ms(now)
            if due is not None and due <= 0:
                made = chore.tend(now) or made
        return made

    def _look(self, now: Moment) -> None:
        self._stale, self._looked = False, now
        for chore in self._chores:
            chore.look(now)

    def _look_in_ms(self, now: Moment) -> int:
        return 0 if self._looked is None else self._looked.mono_ms + LOOK_MS - now.mono_ms

    def _clock_was_set(self, now: Moment) -> bool:
        then = self._looked
        if then is None:
            return False
        return abs((now.wall_ms - now.mono_ms) - (then.wall_ms - then.mono_ms)) > CLOCK_SET_MS


def of_a_runner(store: Store, *, tell: Callable[[str], None], more: Sequence[Chore] = ()) -> Chores:
    """Return the chores of an ordinary runner, and more."""
    litter = Litter(store, tell)
    return Chores(
        [
            Schedules(store, tell),
            Retention(store, tell, litter=litter),
            OutputTotal(store, tell, litter=litter),
            litter,
            *more,
        ]
    )


__all__ = ["Chore", "Chores", "Moment", "of_a_runner"]
