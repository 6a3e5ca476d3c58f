"""Hooks: shell commands that a runner starts when something has happened to a job, one at a time, beside the work.

A hook may hang, fork or print without end: a thread of its own starts it and waits, ends its whole tree at the limit, and keeps only the two
ends of what it printed. What cannot be started in time is dropped with a note, for a backlog that grows would be memory that never comes
back. A hook carries the marks of the run it is about, so that whoever clears up after a dead worker ends it too.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from queuectl import processes
from queuectl.display import escape_terminal, mask_secrets
from queuectl.executors.spool import Spool
from queuectl.records import NamedTuple

if TYPE_CHECKING:
    import subprocess

LIMIT_S = 10.0  # of one hook
BACKLOG = 100  # hooks that may wait
SPOOL = 65_536  # bytes of a running hook's output on disk, more or less
SHOWN = 2048  # bytes of each end of its output in the log
LOG = 1 << 20  # bytes of the log, of which one predecessor is kept
STUCK_S = 2.0
KEY = (0, 0)  # of the hook that runs, where runs are told apart by (seq, run)


class Firing(NamedTuple):
    """A hook that is to be run."""

    name: str  # on-failure, …
    command: str
    about: str  # what it is about, for the log
    variables: Mapping[str, str]  # QUEUECTL_…, with QUEUECTL_RUN and QUEUECTL_WORKER_ID


class Hooks:
    """Runs hooks, one after the other.

    Args:
        folder: where the log and a running hook's output go.
        name: of the runner; names the file for the output.
        cwd: where hooks run.
        limit_s: after which a hook is ended.
    """

    def __init__(self, folder: str, *, name: str, cwd: str, limit_s: float = LIMIT_S) -> None:
        self._folder, self._name, self._cwd, self._limit_s = folder, name, cwd, limit_s
        self._waiting: deque[Firing] = deque()
        self._change = threading.Condition()
        self._dropped = 0
        self._busy = self._ending = False
        self._until: float | None = None  # monotonic; a running hook has no longer than this
        self._thread: threading.Thread | None = None

    # --- the runner's side ---

    def fire(self, firing: Firing) -> None:
        """Let a hook be run soon; dropped, with a note in the log, when too many wait."""
        with self._change:
            if self._ending:
                return
            if len(self._waiting) >= BACKLOG:
                self._dropped += 1
                return
            self._waiting.append(firing)
            if self._thread is None:
                # A daemon: what it runs is ended by `finish`, or with the process.
                self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)
                self._thread.start()
            self._change.notify()

    def running(self) -> Iterable[tuple[int, int]]:
        """The key of the hook that runs, if one does: its processes are not those of a job."""
        return (KEY,) if self._busy else ()

    def end_within(self, seconds: float) -> None:
        """Take no more, and give those that wait so long; 0 ends the running one at once. A second call can only shorten it."""
        with self._change:
            self._ending = True
            self._until = min(time.monotonic() + seconds, self._until or math.inf)
            self._change.notify()

    def have_ended(self) -> bool:
        """Whether nothing runs or waits any more (or could not be ended, long after its time)."""
        if self._thread is None or not self._thread.is_alive():
            return True
        return self._until is not None and time.monotonic() > self._until + 2 * STUCK_S

    # --- the thread's side ---

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
        while (firing := self._next()) is not None:
            try:
                self._note(self._run(firing))
            except Exception as e:  # a hook's trouble is never the job's, nor the runner's
                self._note(f"{firing.name} {firing.about}: {type(e).__name__}: {e}\n")
            self._busy = False

    def _next(self) -> Firing | None:
        """Wait for the next hook; None when there will be none."""
        found, late = None, 0
        with self._change:
            while not self._waiting and not self._ending:
                self._change.wait()
            dropped, self._dropped = self._dropped, 0
            if self._waiting and self._time_left() > 0:
                self._busy = True
                found = self._waiting.popleft()
            else:
                late = len(self._waiting)
                self._waiting.clear()
        for n, why in ((dropped, f"{BACKLOG} were waiting already"), (late, "the worker has ended")):
            if n:
                self._note(f"{n:,} hooks were dropped: {why}\n")
        return found

    def _time_left(self) -> float:
        return self._limit_s if self._until is None else self._until - time.monotonic()

    def _run(self, firing: Firing) -> str:
        """Run one hook to its end; return what the log says of it."""
        import subprocess  # not needed by runners without hooks

        env = {k: x for k, x in os.environ.items() if not k.startswith("QUEUECTL_")} | dict(firing.variables)
        spool = Spool(os.path.join(self._folder, f"{self._name}.hook"), cap=SPOOL)
        os.unlink(spool.path)  # without a name nothing of it is left, whatever becomes of us
        began = time.monotonic()
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", "--", firing.command], stdin=subprocess.DEVNULL, stdout=spool.handle, stderr=spool.handle,
                cwd=self._cwd, env=env, start_new_session=True,
            )  # fmt: skip
            how = self._await(child, spool, began, firing.variables)
            took = time.monotonic() - began
            return f"{firing.name} {firing.about}: {how} after {took:.1f} s\n{_ends(spool)}"
        except (OSError, ValueError) as e:
            return (
                f"{firing.name} {firing.about}: could not be started: {getattr(e, 'strerror', None) or e}\n"
            )
        finally:
            spool.discard()

    def _await(
        self, child: subprocess.Popen[bytes], spool: Spool, began: float, variables: Mapping[str, str]
    ) -> str:
        """Wait for a hook's command, or end it at the limit, and end all that it leaves; return how it ended."""
        handle = os.pidfd_open(child.pid)
        try:
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            while True:
                own = self._limit_s - (time.monotonic() - began)
                left = min(own, self._time_left())
                # Looked at again and again for the sake of its output, and of a worker that ends meanwhile.
                ended = poller.poll(min(max(0.0, left), 0.05) * 1000)
                if ended or left <= 0:
                    self._end_tree(child.pid, variables)
                    if not poller.poll(STUCK_S * 1000):
                        return "could not be ended"
                    code = child.wait()
                    if not ended:
                        return "ended at its limit" if own <= 0 else "ended with its worker"
                    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"
                spool.trim()
        finally:
            os.close(handle)

    def _end_tree(self, pid: int, variables: Mapping[str, str]) -> None:
        """Kill a hook, its session and group, and whatever carries its marks, with all below them."""
        # QUEUECTL_HOOK too: what the job was allowed to leave running has the other two.
        marks = [f"{k}={variables[k]}" for k in ("QUEUECTL_RUN", "QUEUECTL_WORKER_ID", "QUEUECTL_HOOK")]

        def its_own(procs: dict[int, processes.Proc]) -> set[int]:
            return {
                p.pid
                for p in procs.values()
                if pid in (p.session, p.pgrp) or processes.is_marked(p.pid, *marks)
            }

        processes.kill_all(its_own, patience_s=STUCK_S, pause_s=0.005)

    def _note(self, text: str) -> None:
        """Append to the log; a log that cannot be written is no reason to stop."""
        line = time.strftime("%Y-%m-%d %H:%M:%S ") + escape_terminal(mask_secrets(text), multiline=True)
        with contextlib.suppress(OSError):
            _append(os.path.join(self._folder, "hooks.log"), line.encode())


def _ends(spool: Spool) -> str:
    """Return the two ends of what a hook has printed, indented."""
    size = spool.size()
    if size <= 2 * SHOWN:
        text = os.pread(spool.handle, size, 0)
    else:
        head, tail = os.pread(spool.handle, SHOWN, 0), os.pread(spool.handle, SHOWN, size - SHOWN)
        text = head + f"\n[… {size - 2 * SHOWN:,} bytes left out …]\n".encode() + tail
    lines = text.decode(errors="replace").splitlines()
    return "".join(f"  | {line}\n" for line in lines)


def _append(path: str, text: bytes) -> None:
    """Append to a log that several processes share; when it is full it becomes `.1`, and a new one begins."""
    while True:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                moved = os.fstat(handle).st_ino != os.stat(path).st_ino
            except FileNotFoundError:
                moved = True
            if moved:  # by another, while we waited
                continue
            if os.fstat(handle).st_size + len(text) > LOG:
                os.rename(path, path + ".1")
                if len(text) <= LOG:
                    continue
            os.write(handle, text)
            return
        finally:
            os.close(handle)
