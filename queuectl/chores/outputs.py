"""The chore of outputs: when all that is stored passes `output-total`, the oldest are dropped, and their runs say so."""

from __future__ import annotations

import time
from collections.abc import Callable

from queuectl.chores._chore import Chore, Moment
from queuectl.chores._pace import Pace
from queuectl.chores.litter import Litter
from queuectl.ids import new_id
from queuectl.store import Store
from queuectl.store.retention import TURN_MS

COUNTED_AT_ONCE = 2000  # rows
PAUSE_MS = 5000  # between two counts of what is new
SLACK = 0.95  # of the total is what dropping goes down to


class OutputTotal(Chore):
    """Keeps `output-total`.

    What is stored is counted once, then what is new; removals by others are not seen, so it is counted again before anything is dropped.
    """

    def __init__(
        self, store: Store, tell: Callable[[str], None] = lambda _: None, *, litter: Litter | None = None
    ) -> None:
        super().__init__(store, tell)
        self._litter = litter
        self._who = new_id()
        self._most: int | None = None
        self._at_ms: int | None = None
        self._pace = Pace(20)
        self._recount()

    def _recount(self, *, to_drop: bool = False) -> None:
        self._seen, self._bytes, self._is_fresh, self._dropping = 0, 0, to_drop, False

    def look(self, now: Moment) -> None:
        """Learn how much may be stored."""
        most = self.store.settings.get("output-total")
        if most != self._most:
            self._most = most
            self._recount()
            self._at_ms = None if most is None else now.mono_ms

    def due_in_ms(self, now: Moment) -> int | None:
        """Return how long until the next count or the next few."""
        return None if self._at_ms is None else self._at_ms - now.mono_ms

    def tend(self, now: Moment) -> bool:
        """Count a slice, or drop a few."""
        assert self._most is not None
        start = time.perf_counter()
        if self._dropping:
            rest = self._drop(now)
        else:
            rest = self._count()
        took = (time.perf_counter() - start) * 1000
        self._at_ms = now.mono_ms + (rest if rest is not None else self._pace.rest_ms(took, idle=now.idle))
        return False

    def _count(self) -> int | None:
        """Count on; return how long to pause when that is done."""
        assert self._most is not None
        self._seen, more, n = self.store.retention.outputs_after(self._seen, limit=COUNTED_AT_ONCE)
        self._bytes += more
        if n == COUNTED_AT_ONCE:
            return 2
        if self._bytes <= self._most:
            self._is_fresh = False
            return PAUSE_MS
        if not self._is_fresh:
            self._recount(to_drop=True)
            return 0
        self._dropping = True
        return 0

    def _drop(self, now: Moment) -> int | None:
        assert self._most is not None
        retention = self.store.retention
        with self.store.write():
            if not retention.take_turn(self._who, now_ms=now.wall_ms):
                self._recount()
                return TURN_MS
            oldest = retention.oldest_outputs(limit=self._pace.n)
            dropped = []
            for each in oldest:
                if self._bytes <= self._most * SLACK:
                    break
                dropped.append(each)
                self._bytes -= each.bytes
            retention.drop_outputs(dropped, now_ms=now.wall_ms)
        if len(dropped) == len(oldest) == self._pace.n:
            return None
        self._is_fresh = self._dropping = False
        if self._litter is not None:
            self._litter.stir(now)
        return PAUSE_MS
