"""Spools: where a slot's jobs write. One file per slot and stream, used again and again, for a new file per run costs more than the run's record."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

from queuectl import processes
from queuectl.records import NamedTuple

INLINE_MAX = 65_536  # bytes of a stream kept in the database


class Taken(NamedTuple):
    """One run's output of one stream: its true size, the text (of a large one the end), and the file a large one went to."""

    size: int
    text: bytes
    file: str | None


NOTHING = Taken(0, b"", None)


class Spool:
    """The file behind one stream of one slot.

    Args:
        path: the file; it is emptied.
        cap: most bytes kept of a run.
    """

    def __init__(self, path: str, *, cap: int) -> None:
        self.path, self.cap = path, cap
        self.opened: Callable[[Spool], object] = lambda _: None  # called when there is a new file
        self.handle = self._open()
        self._size = 0
        self._taking = threading.Lock()  # trimmed by the main thread, taken by the slot's

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def size(self) -> int:
        """Return how many bytes the run has written so far."""
        # Nobody reads or writes where a handle stands, and this costs half of a stat.
        return os.lseek(self.handle, 0, os.SEEK_END)

    def seen(self) -> int:
        """Return the size, from any thread; while the run's output is being taken, the last one."""
        if not self._taking.acquire(blocking=False):
            return self._size
        try:
            self._size = self.size()
            return self._size
        finally:
            self._taking.release()

    def trim(self) -> int:
        """Give the middle of what passed the cap back to the disk; return the size (while the run's output is being taken, the last one)."""
        if not self._taking.acquire(blocking=False):
            return self._size
        try:
            self._size, half = self.size(), self.cap // 2
            if self._size > self.cap:
                processes.punch(self.handle, half, self._size - 2 * half)
            return self._size
        finally:
            self._taking.release()

    def take(self, place: str, *, renew: bool) -> Taken:
        """Take the run's output and leave the spool empty for the next.

        Args:
            place: the file that a large output goes to.
            renew: go on with a new file, because somebody may still write to this one.
        """
        if not renew and not self.size():  # most runs write to one stream, or to none
            return NOTHING
        with self._taking:
            return self._take(place, renew=renew)

    def _take(self, place: str, *, renew: bool) -> Taken:
        size = self.size()
        if size > INLINE_MAX:
            text = os.pread(self.handle, INLINE_MAX, size - INLINE_MAX)
            kept = self._keep(place, size)
            if not self._renew():
                if kept and size <= self.cap:  # what was kept is the very file that must serve the next run
                    os.unlink(place)
                    kept = False
                os.ftruncate(self.handle, 0)
            return Taken(size, text, os.path.basename(place) if kept else None)
        text = os.pread(self.handle, size, 0) if size else b""
        if not (renew and self._renew()) and size:
            os.ftruncate(self.handle, 0)
        return Taken(size, text, None)

    def _renew(self) -> bool:
        """Go on with a new file; return False, with the old one as it was, when there is no space for another."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        try:
            new = self._open()
        except OSError:
            return False
        os.close(self.handle)
        self.handle = new
        self.opened(self)
        return True

    def _keep(self, place: str, size: int) -> bool:
        """Keep a large output, whole when it is within the cap, else its head and tail; return False when the disk has no space for it."""
        try:
            if size <= self.cap:
                os.rename(self.path, place)
            else:
                self._shorten(place, size)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(place)
            return False
        return True

    def _shorten(self, place: str, size: int) -> None:
        half = self.cap // 2
        note = f"\n[… {size - 2 * half:,} bytes left out …]\n".encode()
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as out:
            self._copy(out.fileno(), 0, half)
            out.write(note)
            out.flush()
            self._copy(out.fileno(), size - half + len(note), half - len(note))

    def _copy(self, target: int, offset: int, length: int) -> None:
        while length > 0:
            data = os.pread(self.handle, min(length, 1 << 20), offset)
            if not data:
                return
            os.write(target, data)
            offset, length = offset + len(data), length - len(data)

    def discard(self) -> None:
        """Close and remove the file (it may have been kept under another name)."""
        os.close(self.handle)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
