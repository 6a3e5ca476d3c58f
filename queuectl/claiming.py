"""Claiming: what a runner takes on. Whether a claim is worth a transaction, of how many jobs, and of which; and when a suspect job needs a companion."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence

from queuectl.aftermath import Aftermath
from queuectl.board import Board
from queuectl.executors.local import LocalExecutor
from queuectl.lifecycle import Claimed
from queuectl.orders import Orders
from queuectl.pace import Pace
from queuectl.store import Store

SOLO_PAUSE_S = 0.25  # between two requests for a companion


class Claiming:
    """A runner's claims.

    Args:
        store: the queue's database.
        executor: what the jobs are for.
        board: memory shared with the supervisor.
        orders: what the runner is told.
        aftermath: its breakers.
        workers: ids of its workers.
        queues: the queues whose jobs it runs, None for all.
        solo: it tries suspect jobs alone, and only those.
        supervisor: pid of the supervisor; 0 when nobody starts companions.
        rested: monotonic seconds, before which nothing is claimed.
    """

    def __init__(
        self,
        store: Store,
        executor: LocalExecutor,
        *,
        board: Board,
        orders: Orders,
        aftermath: Aftermath,
        workers: Sequence[str],
        queues: Sequence[str] | None,
        solo: bool,
        supervisor: int,
        rested: float,
    ) -> None:
        self._store, self._executor, self._board = store, executor, board
        self._orders, self._aftermath = orders, aftermath
        self._workers, self._queues, self._solo, self._supervisor = workers, queues, solo, supervisor
        self.rested = rested
        self.pace = Pace()
        self.backlog = True  # whether the last claim got all it wanted, so that there may be more
        self.others_wrote = True
        self.next_due: tuple[int | None, int | None] = (None, None)
        self._asked = 0.0  # when a companion was asked for

    def wanted(self) -> int:
        """Return how many jobs to claim."""
        e = self._executor
        if self._orders.stopping is not None or time.monotonic() < self.rested:
            return 0
        if self._solo:
            return max(0, e.capacity - e.in_flight())
        if self._aftermath.may_break:
            self.pace.slow_down()
        slots = e.capacity - self._board.lent()
        return self.pace.wanted(slots=slots, in_flight=e.in_flight(), queued=e.queued(), room=e.room())

    def is_worth_it(self, wanted: int) -> bool:
        """Whether there may be jobs to claim; learns when the next one is due, when there are none."""
        if not wanted:
            return False
        if self.backlog or self.others_wrote:
            self.others_wrote = False
            if self._store.connection.rows(
                "select 1 from counters where state = 'pending' and n > 0 limit 1"
            ):
                return True
            self.learn_next_due()
        return False

    def learn_next_due(self) -> None:
        """Read when the next waiting job is due."""
        self.next_due = self._store.line.next_due()

    def is_due(self, now_ms: int, mono_ms: int) -> bool:
        """Whether a waiting job's time has come, of those we know."""
        wall_due, mono_due = self.next_due
        return (wall_due is not None and wall_due <= now_ms) or (mono_due is not None and mono_due <= mono_ms)

    def claim(self, wanted: int, *, now_ms: int) -> list[Claimed]:
        """In the runner's transaction: claim at most so many jobs."""
        if not wanted:
            return []
        line, slots = self._store.line, self._executor.slots
        if self._solo:
            mine = self._workers[0]
            return line.claim_suspect(mine, queues=self._queues, now_ms=now_ms) or self._aftermath.probe(
                mine, now_ms=now_ms
            )
        free = [s.worker_id for s in slots if s.job is None and not s.retire]
        mine = (free or self._workers)[0]
        claims = self._aftermath.probe(mine, now_ms=now_ms)
        claims += line.claim(mine, wanted - len(claims), queues=self._queues, now_ms=now_ms)
        self.backlog = len(claims) == wanted
        if 1 < len(claims) <= len(free):
            line.assign([(w, j.seq, j.run) for w, j in zip(free, claims, strict=False)])
        return claims

    def lend(self, wanted: int, claimed: int) -> None:
        """Lend a slot to a companion, where there was room left and a suspect job waits."""
        if self._solo or claimed >= wanted:
            return
        if self._store.line.suspects(self._queues) or self._aftermath.wants_companion:
            self._ask_for_companion(claimed)

    def companion_ended(self) -> None:
        """Look for suspects, and for jobs in the room it has left, at once."""
        self._asked = 0.0
        self.backlog = True

    def _ask_for_companion(self, claimed: int) -> None:
        """Ask for a process that tries a suspect job alone, where its neighbours cannot suffer with it."""
        clock = time.monotonic()
        if not self._supervisor or self._board.solos_wanted() or clock - self._asked < SOLO_PAUSE_S:
            return
        if self._board.lent() < len(self._workers) - claimed:
            self._asked = clock
            self._board.ask_for_solo()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._supervisor, signal.SIGCHLD)  # wakes it, and it looks at the board
