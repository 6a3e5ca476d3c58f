"""Jobs as processes of this machine: slot threads spawn and wait, everything else happens in the runner's main thread.

A slot is a worker with its own id. Its thread lives as long as the runner: it takes a job, starts `sh -c` in a session of its own
with both streams in the slot's spool files, waits for it with `wait4`, and appends how it ended. The runner is a subreaper, and
only slot threads spawn, so the children of its *main* thread are exactly what jobs left behind: while that list is empty nothing needs to be looked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from queuectl import processes
from queuectl.executors import Done
from queuectl.executors.spool import Spool
from queuectl.lifecycle import Claimed, Ended

RESULT_MAX = 1_000_000  # characters of JSON
FLUSH_S = 0.02  # a finished run is recorded at most about this late while more jobs are at hand
STUCK_S = 5.0  # after KILL, until a process that does not go counts as stuck
OURS = "QUEUECTL_"  # variables that a job gets from us and never from our own environment


class Slot:
    """One worker: its thread's state, written by the thread and read by the main thread."""

    def __init__(self, index: int, worker_id: str, folder: str, *, cap: int) -> None:
        self.index, self.worker_id = index, worker_id
        self.stdout, self.stderr = (
            Spool(os.path.join(folder, f"{worker_id}.{ext}"), cap=cap) for ext in ("out", "err")
        )
        self.result = os.path.join(folder, f"{worker_id}.result")  # QUEUECTL_RESULT of its jobs
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

    def take_result(self) -> str | None:
        """Take the JSON that a job left as its result; None when it left none, or something else."""
        try:
            with open(self.result, encoding="utf-8") as f:
                text = f.read(RESULT_MAX + 1)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            text = ""
        os.unlink(self.result)
        try:
            return json.dumps(json.loads(text), ensure_ascii=False) if len(text) <= RESULT_MAX else None
        except (ValueError, RecursionError):
            return None

    def discard(self) -> None:
        """Close and remove the slot's files."""
        self.stdout.discard()
        self.stderr.discard()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.result)


class LocalExecutor:
    """Runs commands on this machine, at most one per worker id at a time.

    Args:
        worker_ids: one slot for each.
        folder: where spool files and large outputs live (made when missing).
        database: path that jobs see as QUEUECTL_DB.
        output_cap: most bytes kept of each stream.
        limit: jobs per slot, None for no limit.
        started: called in the slot's thread just before a job starts (slot index, job, 0, worker id) and when it has, with its pid.
    """

    def __init__(
        self,
        worker_ids: Sequence[str],
        *,
        folder: str,
        database: str,
        output_cap: int,
        limit: int | None = None,
        started: Callable[[int, Claimed, int, str], None] = lambda *_: None,
    ) -> None:
        self.folder = folder
        self.live = os.path.join(folder, "live")
        os.makedirs(self.live, mode=0o700, exist_ok=True)
        self.database, self.limit = database, limit
        self.on_start = started
        self.slots = [Slot(i, w, self.live, cap=output_cap) for i, w in enumerate(worker_ids)]
        self.capacity = len(self.slots)
        self._todo: SimpleQueue[Claimed | None] = SimpleQueue()
        self._done: deque[tuple[Slot, Claimed, Ended, bool]] = deque()
        self._closing: list[tuple[Slot, Claimed, Ended, float]] = []
        self._strays: dict[tuple[int, int], set[tuple[int, int]]] = {}
        self.last_poll = 0.0
        self._in_flight = self._given = 0
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._children = processes.open_children(os.getpid(), threading.get_native_id())
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
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
        self.last_poll = time.monotonic()
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
        for slot in self.slots:
            job = slot.job
            if job is not None and (job.seq, job.run) == key and (slot.stopped is None or kill_after_ms == 0):
                slot.stopped = slot.stopped or why
                slot.kill_at = time.monotonic() + kill_after_ms / 1000
                self._signal_tree(slot, job, signal.SIGTERM if kill_after_ms else signal.SIGKILL)

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
                    self._signal_tree(slot, job, signal.SIGKILL)
                    slot.kill_at = now + 0.1
                due.append(slot.kill_at - now)
            elif job.timeout_ms is not None:
                due.append(self._limit(slot, job, now))
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
            self._signal_tree(slot, job, signal.Signals[f"SIG{name}"])
        return end - now

    def _cap(self, slot: Slot, now: float) -> float:
        """Give the middle of an output that passed its cap back to the disk; look sooner the faster it grows."""
        grown = max(slot.stdout.trim(), slot.stderr.trim())
        fast, slot.spool_seen = grown - slot.spool_seen > 1 << 18, grown
        if fast:
            return 0.002
        return 0.05 if now - slot.started_mono < 1 else 0.25

    def close(self) -> None:
        """End the slots' threads and remove their spool files."""
        for _ in self.slots:
            self._todo.put(None)
        for slot in self.slots:
            slot.released.set()
        for thread in self._threads:
            thread.join(2)
        for slot in self.slots:
            slot.discard()
        for handle in (self._event, self._null, *([self._children] if self._children is not None else [])):
            os.close(handle)

    # --- trees ---

    def _own(self, slot: Slot, job: Claimed, pid: int, procs: dict[int, processes.Proc]) -> set[int]:
        """Return the living processes of a run: by session, group, ancestry, cookie, or because nobody else can own them."""
        roots = {
            p.pid
            for p in procs.values()
            if pid and (p.pid == pid or p.session == pid or p.pgrp == pid) and p.pid != os.getpid()
        }
        leaders = {s.pid for s in self.slots if s.pid and s is not slot}
        me, key = os.getpid(), (job.seq, job.run)
        mine = (f"{job.id}.{job.run}", slot.worker_id)
        alive = set()
        for p in procs.values():
            if p.ppid != me or p.pid in leaders or p.pid in roots:
                continue
            stray = (p.pid, p.start)
            alive.add(stray)
            cookie = processes.cookies(p.pid)
            if cookie is None:
                # It wiped its environment: its owner is among the jobs that ran when it was first seen.
                others = set(self.running())
                suspects = self._strays.setdefault(stray, others | {key})
                suspects &= others | {key}
                if suspects == {key}:
                    roots.add(p.pid)
            elif cookie == mine:
                roots.add(p.pid)
        self._strays = {k: v for k, v in self._strays.items() if k in alive}
        return processes.descendants(roots, procs) - leaders - {me}

    def _signal_tree(self, slot: Slot, job: Claimed, number: int) -> None:
        procs = processes.table()
        processes.kill(self._own(slot, job, slot.pid, procs), number, procs)

    def _close_trees(self) -> list[Done]:
        """Kill what ended jobs left behind; a job has ended when nothing of it lives."""
        out, still = [], []
        self._reap()
        now = time.monotonic()
        procs = processes.table()
        for slot, job, ended, since in self._closing:
            left = set() if job.keep_children else self._own(slot, job, slot.pid, procs)
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
            self._rest(slot)
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
        while not slot.retire and (self.limit is None or slot.taken < self.limit):
            job = self._todo.get()
            if job is None:
                return
            slot.taken += 1
            clean, ended = self._run(slot, job)
            self._done.append((slot, job, ended, clean))
            if clean:
                self._rest(slot)
            if (
                not clean
                or self._todo.qsize() <= self.capacity
                or time.monotonic() - self.last_poll > FLUSH_S
            ):
                os.eventfd_write(self._event, 1)
            if not clean:
                slot.released.wait()
                slot.released.clear()

    @staticmethod
    def _rest(slot: Slot) -> None:
        slot.job, slot.pid, slot.stopped, slot.kill_at, slot.warned, slot.spool_seen = (
            None,
            0,
            None,
            None,
            False,
            0,
        )

    def _run(self, slot: Slot, job: Claimed) -> tuple[bool, Ended]:
        slot.started_mono = time.monotonic()
        started = processes.now_ms()
        slot.job = job
        # Before the spawn: a job can kill its worker sooner than the worker could note that it has started.
        self.on_start(slot.index, job, 0, slot.worker_id)
        try:
            env = self._environment(slot, job)
            child = subprocess.Popen(
                ["/bin/sh", "-c", job.command], stdin=self._null, stdout=slot.stdout.handle, stderr=slot.stderr.handle,
                cwd=job.cwd, env=env, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as e:
            why = getattr(e, "strerror", None) or str(e)
            return True, Ended(
                started, processes.now_ms(), spawn_error=f"{why}: {getattr(e, 'filename', None) or '/bin/sh'}"
            )
        slot.pid = child.pid
        self.on_start(slot.index, job, child.pid, slot.worker_id)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = 0  # reaped here: Popen must not wait for a pid that may be somebody else's by now
        code = os.waitstatus_to_exitcode(status)
        took = max(0, round((time.monotonic() - slot.started_mono) * 1000))
        ended = Ended(
            started, started + took, exit_code=code if code >= 0 else None, signal=-code if code < 0 else None, stopped=slot.stopped,
            cpu_user_ms=round(usage.ru_utime * 1000), cpu_sys_ms=round(usage.ru_stime * 1000), max_rss=usage.ru_maxrss * 1024,
        )  # fmt: skip
        if slot.stopped is not None or self._children is None or os.pread(self._children, 1, 0):
            return False, ended
        self._collect(slot, job, ended, renew=False)
        return True, ended

    def _environment(self, slot: Slot, job: Claimed) -> dict[str, str]:
        env = {
            **self._env,
            "QUEUECTL_JOB_ID": job.id,
            "QUEUECTL_RUN": f"{job.id}.{job.run}",
            "QUEUECTL_ATTEMPT": str(job.attempts + 1),
            "QUEUECTL_MAX_RETRIES": str(job.max_retries),
            "QUEUECTL_QUEUE": job.queue,
            "QUEUECTL_WORKER_ID": slot.worker_id,
            "QUEUECTL_DB": self.database,
            "QUEUECTL_RESULT": slot.result,
        }
        if job.env is not None:
            env.update(json.loads(job.env))
        return env

    def _collect(self, slot: Slot, job: Claimed, ended: Ended, *, renew: bool) -> None:
        """Take what the run wrote; `renew` gives the slot new spool files."""
        place = os.path.join(self.folder, f"{job.id}.{job.run}")
        out, err = (
            slot.stdout.take(place + ".out", renew=renew),
            slot.stderr.take(place + ".err", renew=renew),
        )
        ended.stdout_bytes, ended.stdout, ended.stdout_file = out
        ended.stderr_bytes, ended.stderr, ended.stderr_file = err
        ended.result = slot.take_result()
