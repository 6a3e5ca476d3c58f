"""The chore of old jobs: what has ended longer ago than the settings keep it is removed, a few rows at a time, by one runner."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from queuectl.chores._chore import Chore, Moment
from queuectl.chores._pace import Pace
from queuectl.chores.litter import Litter
from queuectl.ids import new_id
from queuectl.model import State
from queuectl.store import Store
from queuectl.store.retention import TURN_MS, Place

ENDED, DEAD = (State.COMPLETED, State.CANCELLED), (State.DEAD,)
PAUSE_MS = 10_000  # between two passes
PATIENCE_MS = 3_600_000  # the longest pause

Clock = Callable[[], float]


class Pass:
    """One walk over what is old enough, from the oldest on.

    Args:
        store: the queue's database.
        states: jobs that are completed and cancelled, or dead; None for the events of jobs that are gone.
        before_ms: what ended (or was noted) before.
        who: the name under which this process removes; one does at a time.
        clock: seconds.

    Attributes:
        removed: how many so far.
        is_over: whether there is nothing more.
    """

    def __init__(
        self, store: Store, states: Sequence[State] | None, *, before_ms: int, who: str, clock: Clock = time.perf_counter
    ) -> None:  # fmt: skip
        self.store, self.states, self.before_ms, self.who, self._clock = store, states, before_ms, who, clock
        self.removed, self.is_over = 0, False
        self._after: Place | None = None
        self._pace = Pace()

    def step(self, *, now_ms: int, idle: bool = False) -> int:
        """Remove a few; return for how many ms to leave the database to others."""
        places = self._places()
        if not places:
            self.is_over = True
            return 0
        with self.store.write(durable=False):  # what a power cut brings back is removed again
            start = self._clock()
            if not self.store.retention.take_turn(self.who, now_ms=now_ms):
                return TURN_MS
            self.removed += self._remove([p.seq for p in places])
        took = (self._clock() - start) * 1000
        self._after = places[-1]
        self.store.connection.checkpoint_if_large()
        return self._pace.rest_ms(took, idle=idle)

    def _places(self) -> list[Place]:
        retention, where = self.store.retention, {"before_ms": self.before_ms, "limit": self._pace.n}
        if self.states is None:
            return retention.event_places(after=self._after, **where)
        return retention.places(self.states, after=self._after, **where)

    def _remove(self, seqs: Sequence[int]) -> int:
        if self.states is None:
            return self.store.retention.remove_events(seqs)
        return self.store.retention.remove(seqs, self.states)


class Retention(Chore):
    """Keeps `retention` and `retention-dead`."""

    def __init__(
        self, store: Store, tell: Callable[[str], None] = lambda _: None, *, litter: Litter | None = None
    ) -> None:
        super().__init__(store, tell)
        self._litter = litter
        self._who = new_id()
        self._ages: tuple[int | None, int | None] = (None, None)
        self._passes: list[Pass] = []
        self._at_ms: int | None = None  # monotonic

    def look(self, now: Moment) -> None:
        """Learn what is to be kept how long."""
        get = self.store.settings.get
        ages = (get("retention"), get("retention-dead"))
        if ages != self._ages:
            self._ages, self._passes = ages, []
            self._at_ms = None if ages == (None, None) else now.mono_ms

    def due_in_ms(self, now: Moment) -> int | None:
        """Return how long until the next few rows."""
        return None if self._at_ms is None else self._at_ms - now.mono_ms

    def tend(self, now: Moment) -> bool:
        """Remove a few rows."""
        if not self._passes:
            self._passes = self._plan(now)
        current = self._passes[0]
        self._at_ms = now.mono_ms + current.step(now_ms=now.wall_ms, idle=now.idle)
        if current.is_over:
            self._end(now, self._passes.pop(0))
        return False

    def _plan(self, now: Moment) -> list[Pass]:
        kinds = zip(
            (ENDED, DEAD, None), (*self._ages, min(a for a in self._ages if a is not None)), strict=True
        )
        return [
            Pass(self.store, states, before_ms=now.wall_ms - age, who=self._who)
            for states, age in kinds
            if age is not None
        ]

    def _end(self, now: Moment, ended: Pass) -> None:
        if ended.removed and ended.states is not None:
            self.tell(f"Retention: {ended.removed:,} old jobs removed")
            if self._litter is not None:
                self._litter.stir(now)
        if not self._passes:
            self._at_ms = now.mono_ms + self._pause_ms(now)

    def _pause_ms(self, now: Moment) -> int:
        """Return how long until something more is old enough."""
        waits = []
        for states, age in zip((ENDED, DEAD), self._ages, strict=True):
            oldest = None if age is None else self.store.retention.oldest_ms(states)
            if age is not None:
                waits.append(PATIENCE_MS if oldest is None else oldest + age - now.wall_ms)
        return min(PATIENCE_MS, max(PAUSE_MS, min(waits, default=PATIENCE_MS)))
