"""Executors: they run one command and say what happened.

An executor is poll-shaped and batch-shaped: `submit` takes claimed jobs, `poll` returns those that ended, each exactly once. It knows nothing
of the database. `local` runs on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from queuectl.lifecycle import Claimed, Ended
from queuectl.records import NamedTuple


class Done(NamedTuple):
    """A run that ended, where it ran, and how."""

    job: Claimed
    worker_id: str
    ended: Ended


class Executor(Protocol):
    """What the runner needs of an executor; keys are (seq, run)."""

    capacity: int

    def fileno(self) -> int:
        """A file descriptor that becomes readable when `poll` has something."""

    def submit(self, batch: Sequence[Claimed]) -> None:
        """Start these jobs as soon as there is room, in order."""

    def poll(self) -> list[Done]:
        """Return what has ended since the last call."""

    def queued(self) -> int:
        """How many submitted jobs have not started."""

    def running(self) -> dict[tuple[int, int], str]:
        """The keys that run now, and where."""

    def withdraw(self) -> list[Claimed]:
        """Take back the submitted jobs that have not started."""

    def retire(self, worker_id: str) -> None:
        """Let a worker take no further job."""

    def stop(self, key: tuple[int, int], why: str, *, kill_after_ms: int) -> None:
        """End a running job: TERM to its whole tree, KILL later; `why` is timeout, cancel or stop."""

    def tend(self) -> float | None:
        """Do what is due (limits, kills, output caps); return the seconds until something is due again, or None."""

    def close(self) -> None:
        """End the executor's threads; nothing may be running."""
