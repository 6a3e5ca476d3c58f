"""Wake-up: see another process's commit within a millisecond, and cost nothing while there is none.

inotify reports each write to the -wal. The write comes *before* its commit is visible, so whoever is woken looks again a few times, each pause
twice as long; `PRAGMA data_version` says whether anybody else has committed.
"""

from __future__ import annotations

import ctypes
import os

LOOKS_S = (0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.003, 0.006, 0.012, 0.025, 0.05)
_MODIFY, _CREATE = 0x2, 0x100
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000


class Watch:
    """A descriptor that becomes readable when a file is written to; `handle` is None where there is no inotify."""

    def __init__(self, path: str) -> None:
        self.handle: int | None = None
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            handle = libc.inotify_init1(_NONBLOCK_CLOEXEC)
        except AttributeError:
            return
        if handle < 0:
            return
        if libc.inotify_add_watch(handle, os.fsencode(path), _MODIFY) < 0:
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
