"""Wake-up: see another process's commit within a millisecond, and cost nothing while there is none.

inotify reports each write to the -wal. The write comes *before* its commit is visible, so whoever commits by queuectl also opens the file to read
and closes it when it is, and for other writers whoever is woken looks again a few times, each pause longer; `PRAGMA data_version` says whether
anybody else has committed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time

BUSY_LOOK_S = 0.2  # how often a runner looks that does not listen for commits, having no slot free, or cannot
LATE_S = 0.1  # without work, until a runner that listens late begins to listen
EARLY_LOOK_S = 0.005  # how often it looks before that
LOOKS_S = (0.0005, 0.0005, 0.0005, 0.001, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.05)
_MODIFY, _CLOSE_NOWRITE = 0x2, 0x10
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000


class Watch:
    """A descriptor that becomes readable when a file is written to, or opened to be read and closed; `handle` is None where there is no inotify."""

    def __init__(self, path: str) -> None:
        self.handle: int | None = None
        self._path = path

    def start(self) -> None:
        """Begin to watch."""
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            handle = libc.inotify_init1(_NONBLOCK_CLOEXEC)
        except AttributeError:
            return
        if handle < 0:
            return
        if libc.inotify_add_watch(handle, os.fsencode(self._path), _MODIFY | _CLOSE_NOWRITE) < 0:
            os.close(handle)
            return
        self.handle = handle

    def drain(self) -> bool:
        """Throw the waiting events away; return whether there were any."""
        if self.handle is None:
            return False
        try:
            return bool(os.read(self.handle, 65536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Stop watching."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None


class Alarm:
    """All that wakes a runner: ends of runs, signals, commits of others.

    Args:
        log: the file that commits write to.
        ends: an eventfd that says that a run has ended.
        late: listen for commits only after some time without work. For who ends with the work: closing inotify takes the kernel up to 20 ms.
    """

    def __init__(self, log: str, *, ends: int, late: bool = False) -> None:
        self._ends = ends
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._watch = Watch(log)
        self._idle_since: float | None = None
        self._poller = select.epoll()
        self._poller.register(self._reader, select.EPOLLIN)
        self._poller.register(ends, select.EPOLLIN)
        self._looks: list[float] = []
        self._late, self._listening = late, False
        if not late:
            self._listen()

    def _listen(self) -> None:
        self._late = False
        self._watch.start()
        if self._watch.handle is not None:
            self._poller.register(self._watch.handle, select.EPOLLIN)
        self._listening = True
        self._looks = list(LOOKS_S)  # what was committed before we listened

    def due_s(self) -> float | None:
        """Return in how many seconds to wake without being woken, to look for a commit; None when there is no need."""
        if self._looks:
            return self._looks.pop(0)
        if self._late and self._idle_since is not None:
            return EARLY_LOOK_S
        return None if self._listening and self._watch.handle is not None else BUSY_LOOK_S

    def sleep(self, timeout_s: float, *, for_commits: bool) -> None:
        """Sleep until woken, at most this long; commits of others wake only who asks for them."""
        if self._late:
            timeout_s = self._before_listening(timeout_s, idle=for_commits)
        elif for_commits != self._listening and self._watch.handle is not None:
            self._poller.modify(self._watch.handle, select.EPOLLIN if for_commits else 0)
            self._listening = for_commits
        for handle, _ in self._poller.poll(timeout_s):
            if handle == self._ends:
                os.eventfd_read(handle)
            elif handle == self._reader:
                os.read(handle, 4096)
            else:
                self._watch.drain()
                self._looks = list(LOOKS_S)

    def _before_listening(self, timeout_s: float, *, idle: bool) -> float:
        now = time.monotonic()
        if not idle:
            self._idle_since = None
            return timeout_s
        self._idle_since = self._idle_since or now
        if now - self._idle_since > LATE_S:
            self._listen()
            return self._looks.pop(0)
        return min(timeout_s, EARLY_LOOK_S)

    def seen(self) -> None:
        """The commit that woke us was seen: no need to look again."""
        self._looks = []

    def look_at_once(self) -> None:
        """Do not sleep: there is a commit to be seen."""
        self._looks = [0.0]

    def forget_own(self) -> None:
        """Throw away what our own commit wrote to the log."""
        self._watch.drain()

    def close(self) -> None:
        """Stop listening."""
        signal.set_wakeup_fd(-1)
        self._watch.close()
        self._poller.close()
        os.close(self._reader)
        os.close(self._writer)
