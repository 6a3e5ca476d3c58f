"""The trimmer: keeps what running jobs write within its cap on the disk, by a thread that is woken by the writing itself.

A file cannot push back as a pipe does, so between a write and our look it may grow; what can be had is a look that comes soon. inotify says
that something is written, at no cost while nothing is; a look then comes as soon as the fastest of writers could have filled what is left of
a cap, and not sooner, so that many small writes of short jobs cost few looks. See docs/decisions/output-in-spool-files.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Sequence

from queuectl.executors.spool import Spool

FASTEST = 2e9  # bytes a second that one writer may manage
SOONEST_S, LATEST_S = 0.0002, 0.005  # between two looks while something is written
QUIET_S = 0.05  # without a write, until a thread that holds a spool lets go
EAGER = -10  # niceness of such a thread
_MODIFY = 0x2
_CLOEXEC = 0o2000000


class Trimmer:
    """Gives the middle of outputs that pass their caps back to the disk, while their jobs run.

    Args:
        spools: the files that jobs write to.
    """

    def __init__(self, spools: Sequence[Spool]) -> None:
        self._spools, self._watched, self._closing = spools, dict[Spool, int](), False
        self._held: dict[Spool, threading.Thread] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle: int | None = None
        self.was_tried = False
        self._thread = threading.Thread(target=self._work, name="trimmer", daemon=True)

    def start(self) -> None:
        """Begin to watch; once, and not before a job has run for some time: closing inotify takes the kernel up to 20 ms."""
        if self.was_tried:
            return
        self.was_tried, self._handle = True, self._listen()
        if self.is_active:
            self._thread.start()
            for spool in self._spools:
                spool.trim()  # what was written before we watched woke nobody

    @property
    def is_active(self) -> bool:
        """Whether every spool is watched; else somebody else must look."""
        return self._handle is not None

    def _listen(self) -> int | None:
        if not hasattr(self._libc, "inotify_init1"):
            return None
        handle: int = self._libc.inotify_init1(_CLOEXEC)
        if handle < 0:
            return None
        for spool in self._spools:
            if not self._watch(handle, spool):
                os.close(handle)
                return None
            spool.opened = lambda s: self._watch(handle, s)
        return handle

    def _watch(self, handle: int, spool: Spool) -> bool:
        """Watch a spool's file, in the place of the one it had before."""
        if (old := self._watched.pop(spool, None)) is not None:
            self._libc.inotify_rm_watch(handle, old)
        found = self._libc.inotify_add_watch(handle, os.fsencode(spool.path), _MODIFY)
        if found < 0:
            return False
        self._watched[spool] = found
        return True

    def _work(self) -> None:
        assert self._handle is not None
        while True:
            os.read(self._handle, 65536)  # sleeps here while nothing is written
            if self._closing:
                return
            time.sleep(self._look())

    def _look(self) -> float:
        """Trim what has passed its cap; return seconds until the next of them could."""
        soonest = LATEST_S
        for spool in self._spools:
            if spool in self._held:
                continue
            room = spool.cap - spool.seen()
            if room < 0:
                self._held[spool] = thread = threading.Thread(
                    target=self._hold, args=(spool,), name="trimmer", daemon=True
                )
                thread.start()
            else:
                soonest = min(soonest, max(SOONEST_S, room / FASTEST))
        return soonest

    def _hold(self, spool: Spool) -> None:
        """Trim one spool until nothing is written to it any more.

        A thread for each: a punch waits for a writer that lost the processor in the middle of a write, and the others must not wait along.
        """
        with contextlib.suppress(
            OSError
        ):  # for root and whoever is allowed to: it sleeps most of the time, and should not wait for its writers
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), EAGER)
        seen, since = -1, time.monotonic()
        while not self._closing:
            size = spool.trim()
            now = time.monotonic()
            if size != seen:
                seen, since = size, now
            elif now - since > QUIET_S:
                break
            time.sleep(SOONEST_S)
        self._held.pop(spool)
        spool.trim()  # what was written before it was let go woke nobody

    def close(self) -> None:
        """End the thread; to be called before the spools are removed."""
        if self._handle is None:
            return
        self._closing = True
        for spool in self._spools:
            spool.opened = lambda _: None
        self._libc.inotify_rm_watch(
            self._handle, next(iter(self._watched.values()), -1)
        )  # tells of itself, and so wakes
        for thread in (self._thread, *list(self._held.values())):
            thread.join(2)
        os.close(self._handle)
