"""What a worker says while it works: the lines of `worker -v`, in the words of the command's own transcript."""

from __future__ import annotations

import sys
import threading

from queuectl.display import escape_terminal, mask_secrets
from queuectl.lifecycle import Claimed, Verdict
from queuectl.model import State

_lock = threading.Lock()


def say(line: str) -> None:
    """Print one line whole; a closed terminal does not stop the work."""
    try:
        with _lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    except (OSError, ValueError):
        pass


class Report:
    """Verbose lines, or none."""

    def __init__(self, *, verbose: bool) -> None:
        self.verbose = verbose

    def _say(self, worker: str, text: str) -> None:
        if self.verbose:
            say(f"[{worker}] {text}")

    def picked(self, worker: str, job: Claimed) -> None:
        """A job starts."""
        if not self.verbose:
            return
        if job.attempts:
            self._say(worker, f"RETRYING job {job.id} (Attempt {job.attempts + 1})")
            return
        command = escape_terminal(mask_secrets(job.command))
        say(f"\n[{worker}] Picked up NEW job: {job.id} (Command: {command})")
        self._say(worker, f"Job {job.id} state: processing")

    def settled(self, worker: str, job: Claimed, verdict: Verdict, delay_ms: int) -> None:
        """A run has been recorded."""
        if not self.verbose:
            return
        if verdict.attempts > job.attempts:
            self._say(
                worker,
                f"Job {job.id} FAILED (Attempt {verdict.attempts}/{max(1, job.max_retries)}): {verdict.reason}",
            )
        match verdict.state:
            case State.FAILED:
                self._say(worker, f"Job {job.id} state: failed - Will retry in {delay_ms / 1000:g}s")
            case State.DEAD:
                self._say(worker, f"Job {job.id} state: DEAD")
            case State.COMPLETED:
                self._say(worker, f"Job {job.id} state: completed")
            case state:
                self._say(worker, f"Job {job.id} state: {state} ({verdict.reason})")

    def due(self, worker: str, job_id: str) -> None:
        """A failed job's back-off is over."""
        self._say(worker, f"Job {job_id} state: pending (scheduled for retry)")

    def note(self, worker: str, text: str) -> None:
        """Anything else."""
        self._say(worker, text)
