"""A slot: one worker's place in a runner, with the files that its jobs write to and the spawner that starts them."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from collections.abc import Mapping

from queuectl.executors import direct
from queuectl.executors.direct import Direct
from queuectl.executors.spawn import spawner
from queuectl.executors.spool import Spool
from queuectl.lifecycle import Claimed, Ended

RESULT_MAX = 1_000_000  # characters of JSON
OURS = "QUEUECTL_"  # variables that a job gets from us and never from our own environment
_NAMES = ("JOB_ID", "RUN", "ATTEMPT", "MAX_RETRIES", "QUEUE", "RESULT")


class Slot:
    """One worker: its thread's state, written by the thread and read by the main thread.

    Args:
        index: its place among the runner's slots.
        worker_id: the worker's id.
        folder: where its files lie.
        cap: most bytes kept of each stream of a run.
        stdin: descriptor that its jobs read from.
        database: path that jobs see as QUEUECTL_DB.
        environment: what its jobs get besides what the slot itself sets.
        without_shell: whether plain commands may be started without a shell; None: never.
    """

    def __init__(
        self,
        index: int,
        worker_id: str,
        *,
        folder: str,
        cap: int,
        stdin: int,
        database: str,
        environment: Mapping[str, str],
        without_shell: Direct | None = None,
    ) -> None:
        self.index, self.worker_id = index, worker_id
        self.stdout, self.stderr = (
            Spool(os.path.join(folder, f"{worker_id}.{ext}"), cap=cap) for ext in ("out", "err")
        )
        self._folder, self._renamed = folder, 0
        self.result = os.path.join(folder, f"{worker_id}.result")  # QUEUECTL_RESULT of its jobs
        own = {"QUEUECTL_WORKER_ID": worker_id, "QUEUECTL_DB": database}
        self._spawner = spawner(
            stdin=stdin,
            environment={**environment, **own},
            names=[OURS + n for n in _NAMES],
            without_shell=without_shell,
        )
        self.job: Claimed | None = None
        self.pid = 0
        self.started_mono = 0.0
        self.stopped: str | None = None
        self.kill_at: float | None = None
        self.warned = False
        self.released = threading.Event()
        self.taken = 0
        self.retire = False
        self.spool_seen = 0

    def start(self, job: Claimed) -> int:
        """Start a job's command; return its pid.

        Raises:
            CannotStart: it could not be started.
        """
        extra: Mapping[str, str] | None = json.loads(job.env) if job.env is not None else None
        run, attempt = f"{job.id}.{job.run}", str(job.attempts + 1)
        values = (job.id, run, attempt, str(job.max_retries), job.queue, self.result)
        return self._spawner.start(
            job.command, stdout=self.stdout.handle, stderr=self.stderr.handle, cwd=job.cwd, values=values, extra=extra
        )  # fmt: skip

    def signalled(self, status: int) -> int | None:
        """Of a run that a signal ended: say what the shell would have said that we left out, and return the exit code it would have given."""
        if not self._spawner.speaks_for_shell:
            return None
        with contextlib.suppress(OSError):  # the disk is full: the shell's words would be lost as well
            os.write(self.stderr.handle, direct.last_words(status))
        return 128 + os.WTERMSIG(status)

    def rest(self) -> None:
        """Forget the job."""
        self.job, self.pid, self.stopped, self.kill_at, self.warned = None, 0, None, None, False
        self.spool_seen = 0

    def collect(self, ended: Ended, place: str, *, renew: bool) -> None:
        """Take what the run wrote.

        Args:
            ended: gets the output and the result.
            place: path, without its ending, of the files for large outputs.
            renew: go on with new spool files, for somebody may still write to these.
        """
        ended.stdout_bytes, ended.stdout, ended.stdout_file = self.stdout.take(place + ".out", renew=renew)
        ended.stderr_bytes, ended.stderr, ended.stderr_file = self.stderr.take(place + ".err", renew=renew)
        ended.stored_bytes = min(ended.stdout_bytes, self.stdout.cap) + min(
            ended.stderr_bytes, self.stderr.cap
        )
        ended.result = self.take_result()

    def take_result(self) -> str | None:
        """Take the JSON that a job left as its result; None when it left none, or something else."""
        if not os.access(self.result, os.F_OK, follow_symlinks=False):
            return None
        data = b""
        with contextlib.suppress(OSError):
            # What lies there may be anything: a FIFO must not hold us, nor a link lead us elsewhere.
            handle = os.open(self.result, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    data = os.read(handle, 4 * RESULT_MAX + 1)
            finally:
                os.close(handle)
        self._clear_result()
        try:
            text = data.decode()
            return json.dumps(json.loads(text), ensure_ascii=False) if len(text) <= RESULT_MAX else None
        except (ValueError, RecursionError):
            return None

    def _clear_result(self) -> None:
        try:
            if stat.S_ISDIR(os.lstat(self.result).st_mode):
                import shutil

                shutil.rmtree(self.result)
            else:
                os.unlink(self.result)
        except FileNotFoundError:
            pass
        except OSError:  # it stays; the next job gets another name
            self._renamed += 1
            self.result = os.path.join(self._folder, f"{self.worker_id}.result{self._renamed}")

    def discard(self) -> None:
        """Close and remove the slot's files."""
        self.stdout.discard()
        self.stderr.discard()
        self._spawner.close()
        self._clear_result()
