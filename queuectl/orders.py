"""Orders: what a runner is told, by signals and by the database, and obeys."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence

from queuectl import keeper
from queuectl.executors import Executor
from queuectl.store import Store
from queuectl.store.workers import Requests

AT_ONCE_MS = 500  # from TERM to KILL of jobs whose runner leaves at once
STOP_NOW_MS = 2000  # the same for jobs of one worker told to stop now


class Orders:
    """Stopping, cancelling, retiring.

    Args:
        store: the queue's database.
        id: the runner's id.
        workers: its workers' ids.
    """

    def __init__(self, store: Store, *, id: str, workers: Sequence[str]) -> None:
        self.store, self.id, self.workers = store, id, workers
        self.stopping: str | None = None  # "wait" for running jobs, "grace", or "now"
        self.stop_at: float | None = None
        self.grace_ms = 0
        self.stop_generation = self.deletions = 0
        self.companion_ended = False
        self._signals = 0

    def listen(self) -> None:
        """Take signals: TERM, INT and HUP stop, the second time at once; USR1 says that a companion has ended; USR2 that we are alone."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_companion)
        signal.signal(keeper.ORPHANED, self._on_orphaned)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, keeper.SIGNALS)

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._signals += 1
        if self.stopping in ("grace", "now"):
            self._signals = 2

    def _on_orphaned(self, _number: int, _frame: object) -> None:
        self._signals = 2  # at once: nothing may run unsupervised

    def _on_companion(self, _number: int, _frame: object) -> None:
        self.companion_ended = True

    def obey_signals(self, executor: Executor) -> None:
        """Do what signals have asked for since the last time, and what the grace's end asks for."""
        if self._signals:
            self.stop("grace" if self.stopping in (None, "wait") and self._signals == 1 else "now", executor)
            self._signals = 0
        if self.stop_at is not None and time.monotonic() >= self.stop_at:
            self.stop("now", executor)

    def obey(self, wanted: Requests, executor: Executor) -> None:
        """Do what the database asks for."""
        if wanted.stop_generation > self.stop_generation:
            self.stop_generation = wanted.stop_generation
            self.stop("now" if wanted.stop_how == "now" else "wait", executor)
        if wanted.is_asked_to_stop:
            self._retire(self.store.workers.asked_to_stop(self.id), executor)
        if wanted.has_cancels or wanted.deletions > self.deletions:
            self.deletions = wanted.deletions
            for key, kill_after in self.store.line.to_cancel([*self.workers], executor.running()):
                executor.stop(key, "cancel", kill_after_ms=kill_after)

    def _retire(self, asked: Mapping[str, str], executor: Executor) -> None:
        for worker, how in asked.items():
            executor.retire(worker)
            if how == "now":
                for key, where in executor.running().items():
                    if where == worker:
                        executor.stop(key, "stop", kill_after_ms=STOP_NOW_MS)
        if asked and len(asked) == len(self.workers) and self.stopping is None:
            self.stop("wait", executor)

    def stop(self, how: str, executor: Executor) -> None:
        """Claim nothing more; `wait` for running jobs, give them `grace`, or end them `now`."""
        if how == "grace":
            self.stop_at = time.monotonic() + self.grace_ms / 1000
        self.stopping = how
        if how == "now":
            self.stop_at = None
            for key in executor.running():
                executor.stop(key, "stop", kill_after_ms=AT_ONCE_MS)
