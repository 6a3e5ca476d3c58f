"""Jobs as processes of this machine: slot threads spawn and wait, everything else happens in the runner's main thread.

A slot is a worker with its own id. Its thread lives as long as the runner: it takes a job, starts `sh -c` in a session of its own
with both streams in the slot's spool files, waits for it with `wait4`, and appends how it ended. The runner is a subreaper, and
only slot threads spawn, so the children of its *main* thread are exactly what jobs left behind: while that list is empty nothing needs to be looked for.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue

from queuectl import processes
from queuectl.executors import Done
from queuectl.executors.direct import Direct
from queuectl.executors.slot import OURS, Slot
from queuectl.executors.spawn import CannotStart, close_on_exec
from queuectl.executors.trees import Trees
from queuectl.executors.trimmer import Trimmer
from queuectl.lifecycle import Claimed, Ended

FLUSH_S = 0.02  # a finished run is recorded at most about this late while more jobs are at hand
SHORT_S = 0.02  # the run of a job that needs nobody to watch what it writes
LONG_S = 0.2  # the run of a job that is watched even if it has written little
LITTLE = 65_536  # bytes
STUCK_S = 5.0  # after KILL, until a process that does not go counts as stuck


class LocalExecutor:
    """Runs commands on this machine, at most one per worker id at a time.

    Args:
        worker_ids: one slot for each.
        folder: where spool files and large outputs live (made when missing).
        database: path that jobs see as QUEUECTL_DB.
        output_cap: most bytes kept of each stream.
        limit: jobs per slot, None for no limit.
        started: called in the slot's thread just before a job starts (slot index, job, worker id).
    """

    def __init__(
        self,
        worker_ids: Sequence[str],
        *,
        folder: str,
        database: str,
        output_cap: int,
        limit: int | None = None,
        started: Callable[[int, Claimed, str], None] = lambda *_: None,
    ) -> None:
        self.folder = folder
        self.live = os.path.join(folder, "live")
        os.makedirs(self.live, mode=0o700, exist_ok=True)
        self.limit, self.on_start = limit, started
        close_on_exec()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        without_shell = Direct(environment)
        self.slots = [
            Slot(
                i, w, folder=self.live, cap=output_cap, stdin=self._null, database=database, environment=environment, without_shell=without_shell
            )
            for i, w in enumerate(worker_ids)
        ]  # fmt: skip
        self.guests: Callable[[], Iterable[tuple[int, int]]] = (
            tuple  # keys of what others of this process run
        )
        self._trimmer = Trimmer([s for slot in self.slots for s in (slot.stdout, slot.stderr)])
        self._trees = Trees(self.slots, lambda: [*self.running(), *self.guests()])
        self.capacity = len(self.slots)
        self.low_water = self.capacity  # queued jobs down to which an end is told at once
        self._todo: SimpleQueue[Claimed | None] = SimpleQueue()
        self._done: deque[tuple[Slot, Claimed, Ended, bool]] = deque()
        self._closing: list[tuple[Slot, Claimed, Ended, float]] = []
        self.last_poll = 0.0
        self.last_end = time.monotonic()  # of a run, or of the time when there was none
        self._broken: BaseException | None = None
        self._in_flight = self._given = 0
        self._overtaken: dict[tuple[int, int], str] = {}  # asked to stop while on their way to a slot
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._children = processes.open_children(os.getpid(), threading.get_native_id())
        self._threads = [
            threading.Thread(target=self._work, args=(s,), name=f"slot-{s.index}", daemon=True)
            for s in self.slots
        ]
        for thread in self._threads:
            thread.start()

    # --- the runner's side ---

    def fileno(self) -> int:
        """Readable when something has ended."""
        return self._event

    def submit(self, batch: Sequence[Claimed]) -> None:
        """Queue claimed jobs for the slots."""
        if not self._in_flight:
            self.last_end = time.monotonic()
        self._in_flight += len(batch)
        self._given += len(batch)
        for job in batch:
            self._todo.put(job)

    def queued(self) -> int:
        """How many submitted jobs no slot has taken."""
        return self._todo.qsize()

    def running(self) -> dict[tuple[int, int], str]:
        """Keys that run or are being cleared away, and their worker ids."""
        pairs = [
            (s.job, s.worker_id) for s in self.slots
        ]  # one read of each: slot threads write them meanwhile
        found = {(job.seq, job.run): worker for job, worker in pairs if job is not None}
        return found | {(j.seq, j.run): s.worker_id for s, j, _, _ in self._closing}

    def free(self) -> int:
        """How many slots could take a job now."""
        return sum(s.job is None and not s.retire for s in self.slots)

    def in_flight(self) -> int:
        """How many submitted jobs have neither been returned by `poll` nor withdrawn; exact, unlike a look at the slots."""
        return self._in_flight

    def room(self) -> int | None:
        """How many more jobs may ever be submitted under the limit, None without one."""
        open_slots = sum(not s.retire for s in self.slots)
        if self.limit is None:
            return None if open_slots else 0
        return max(0, self.limit * open_slots - self._given)

    def withdraw(self) -> list[Claimed]:
        """Take back what no slot has taken."""
        back = []
        while not self._todo.empty():
            try:
                job = self._todo.get_nowait()
            except Empty:  # a slot was faster
                break
            if job is not None:
                back.append(job)
                self._overtaken.pop((job.seq, job.run), None)
        self._in_flight -= len(back)
        self._given -= len(back)
        return back

    def retire(self, worker_id: str) -> None:
        """Let a slot take no further job."""
        for slot in self.slots:
            if slot.worker_id == worker_id:
                slot.retire = True

    def poll(self) -> list[Done]:
        """Return what has ended and left nothing behind."""
        if self._broken is not None:
            raise RuntimeError(f"a slot's thread broke: {self._broken!r}") from self._broken
        self.last_poll = time.monotonic()
        if self._done:
            self.last_end = self.last_poll
        out = []
        while self._done:
            slot, job, ended, clean = self._done.popleft()
            if clean:
                out.append(Done(job, slot.worker_id, ended))
            else:
                self._closing.append((slot, job, ended, time.monotonic()))
        if self._closing:
            out += self._close_trees()
        self._in_flight -= len(out)
        return out

    def stop(self, key: tuple[int, int], why: str, *, kill_after_ms: int) -> None:
        """TERM to the whole tree of a running job, KILL after `kill_after_ms`."""
        self._overtaken[key] = why  # first, so that a slot that takes the job meanwhile sees it
        for slot in self.slots:
            job = slot.job
            if job is None or (job.seq, job.run) != key:
                continue
            if slot.pid:
                self._overtaken.pop(key, None)
            if slot.stopped is None or kill_after_ms == 0:
                slot.stopped = slot.stopped or why
                slot.kill_at = time.monotonic() + kill_after_ms / 1000
                self._trees.signal(slot, job, signal.SIGTERM if kill_after_ms else signal.SIGKILL)

    def tend(self) -> float | None:
        """Enforce limits, second kills and output caps; return seconds until something is due."""
        now = time.monotonic()
        due: list[float] = []
        for slot in self.slots:
            job, pid = slot.job, slot.pid
            if job is None or not pid:
                continue
            if slot.kill_at is not None:
                if now >= slot.kill_at:
                    self._trees.signal(slot, job, signal.SIGKILL)
                    slot.kill_at = now + 0.1
                due.append(slot.kill_at - now)
            elif job.timeout_ms is not None:
                due.append(self._limit(slot, job, now))
            if not self._trimmer.is_active:
                due.append(self._cap(slot, now))
        if self._closing:
            due.append(0.01)
        self._reap()
        return min(due) if due else None

    def _limit(self, slot: Slot, job: Claimed, now: float) -> float:
        assert job.timeout_ms is not None
        end = slot.started_mono + job.timeout_ms / 1000
        if now >= end:
            self.stop((job.seq, job.run), "timeout", kill_after_ms=job.kill_after_ms)
            return job.kill_after_ms / 1000
        if job.warn and not slot.warned:
            name, before = job.warn.split(",")
            if now < end - int(before) / 1000:
                return end - int(before) / 1000 - now
            slot.warned = True
            self._trees.warn(slot, job, signal.Signals[f"SIG{name}"])
        return end - now

    def _cap(self, slot: Slot, now: float) -> float:
        """Give the middle of an output that passed its cap back to the disk; look sooner the faster it grows."""
        age = now - slot.started_mono
        if age < SHORT_S and not self._trimmer.was_tried:
            return SHORT_S
        grown = max(slot.stdout.trim(), slot.stderr.trim())
        if not self._trimmer.was_tried:
            if grown <= LITTLE and age < LONG_S:
                return SHORT_S
            self._trimmer.start()
        fast, slot.spool_seen = grown - slot.spool_seen > 1 << 18, grown
        if fast:
            return 0.002
        return 0.05 if age < 1 else 0.25

    def close(self) -> None:
        """End the slots' threads and remove their spool files."""
        for _ in self.slots:
            self._todo.put(None)
        for slot in self.slots:
            slot.released.set()
        for thread in self._threads:
            thread.join(2)
        self._trimmer.close()
        for slot in self.slots:
            slot.discard()
        for handle in (self._event, self._null, *([self._children] if self._children is not None else [])):
            os.close(handle)

    # --- trees ---

    def _close_trees(self) -> list[Done]:
        """Kill what ended jobs left behind; a job has ended when nothing of it lives."""
        out, still = [], []
        self._reap()
        now = time.monotonic()
        procs = processes.table()
        for slot, job, ended, since in self._closing:
            # Children may be kept by a command that has ended, not by one that was ended.
            kept = job.keep_children and ended.stopped is None
            left = set() if kept else self._trees.of(slot, job, procs)
            patient = slot.stopped is not None and slot.kill_at is not None and now < slot.kill_at
            if left and not patient:
                refused = processes.kill(left, signal.SIGKILL, procs)
                if (
                    now - since > STUCK_S + (0 if slot.kill_at is None else job.kill_after_ms / 1000)
                    or refused == left
                ):
                    ended.stopped, left = "stuck", set()
            if left:
                still.append((slot, job, ended, since))
                continue
            self._collect(slot, job, ended, renew=bool(job.keep_children) or ended.stopped == "stuck")
            out.append(Done(job, slot.worker_id, ended))
            slot.rest()
            slot.released.set()
        self._closing = still
        return out

    def _reap(self) -> None:
        """Reap adopted processes that have ended; those of slot threads are theirs to reap."""
        if self._children is None:
            return
        for pid in processes.adopted(self._children):
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass

    # --- the slot's side ---

    def _work(self, slot: Slot) -> None:
        try:
            self._take_jobs(slot)
        except (
            BaseException
        ) as e:  # a bug: the runner must not go on with a slot less and a job that never ends
            self._broken = e
            os.eventfd_write(self._event, 1)

    def _take_jobs(self, slot: Slot) -> None:
        while not slot.retire and (self.limit is None or slot.taken < self.limit):
            job = self._todo.get()
            if job is None:
                return
            if slot.retire:  # told to stop while it waited here: the job is for another slot
                self._todo.put(job)
                return
            slot.taken += 1
            clean, ended = self._run(slot, job)
            self._done.append((slot, job, ended, clean))
            if clean:
                slot.rest()
            if (
                not clean
                or self._todo.qsize() <= self.low_water
                or time.monotonic() - self.last_poll > FLUSH_S
            ):
                os.eventfd_write(self._event, 1)
            if not clean:
                slot.released.wait()
                slot.released.clear()

    def _run(self, slot: Slot, job: Claimed) -> tuple[bool, Ended]:
        slot.started_mono = time.monotonic()
        started = processes.now_ms()
        slot.job = job
        if self._overtaken and (why := self._overtaken.pop((job.seq, job.run), None)) is not None:
            return True, Ended(started, started, signal=signal.SIGTERM, stopped=why)
        # Before the spawn: a job can kill its worker sooner than the worker could note that it has started.
        self.on_start(slot.index, job, slot.worker_id)
        try:
            slot.pid = pid = slot.start(job)
        except CannotStart as e:
            return True, Ended(started, processes.now_ms(), spawn_error=f"{e.strerror}: {e.filename}")
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0 and slot.stopped is None:
            code = slot.signalled(status) or code
        took = max(0, round((time.monotonic() - slot.started_mono) * 1000))
        ended = Ended(
            started, started + took, exit_code=code if code >= 0 else None, signal=-code if code < 0 else None, stopped=slot.stopped,
            cpu_user_ms=round(usage.ru_utime * 1000), cpu_sys_ms=round(usage.ru_stime * 1000), max_rss=usage.ru_maxrss * 1024,
        )  # fmt: skip
        if slot.stopped is not None or self._children is None or os.pread(self._children, 1, 0):
            return False, ended
        self._collect(slot, job, ended, renew=False)
        return True, ended

    def _collect(self, slot: Slot, job: Claimed, ended: Ended, *, renew: bool) -> None:
        slot.collect(ended, f"{self.folder}/{job.id}.{job.run}", renew=renew)
