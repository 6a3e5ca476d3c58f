"""The reserve: space set aside beside the database, given back to the disk when a result has nowhere else to go.

A full disk must not cost the results of jobs that ran. While workers run, a file of 1 MiB lies next to the database; when a commit finds no space it is
removed, the results are written into the room it leaves, and nothing new is taken in or started until there is space for a new reserve and more.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

from queuectl.errors import DiskFull

RESERVE_BYTES = 1 << 20
FREE_BYTES = 1 << 20  # free space below which nothing new is taken in or started
FIRST_LOOK_S, LAST_LOOK_S = 0.25, 4.0  # pauses between looks at a full disk
QUIET_S = 30.0  # between two complaints
FULL = (errno.ENOSPC, errno.EDQUOT)


def free_bytes(path: str) -> int:
    """Return the free space on the disk that a file lies on, bytes; its path is absolute."""
    found = os.statvfs(path[: path.rindex("/")] or "/")
    return found.f_bavail * found.f_frsize


def require_space(path: str) -> None:
    """Refuse to take in more work when the disk is nearly full.

    Raises:
        DiskFull: nothing was written.
    """
    free = free_bytes(path)
    if free < FREE_BYTES:
        raise DiskFull(
            f"{path}: expected {FREE_BYTES >> 10:,} KiB of free space on its disk, found {free >> 10:,} KiB; "
            "nothing was recorded. Free some space and try again"
        )


class Reserve:
    """The file that holds the space.

    Args:
        database: path of the database.
    """

    def __init__(self, database: str) -> None:
        self.path = database + "-reserve"

    def is_held(self) -> bool:
        """Whether the file is there in full."""
        try:
            return os.lstat(self.path).st_blocks * 512 >= RESERVE_BYTES
        except OSError:
            return False

    def hold(self) -> bool:
        """Set the space aside, if that leaves enough; return whether it is."""
        if self.is_held():
            return True
        if free_bytes(self.path) < RESERVE_BYTES + FREE_BYTES:
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self.path, flags, 0o600)
            try:
                os.posix_fallocate(handle, 0, RESERVE_BYTES)
            finally:
                os.close(handle)
        except OSError as e:
            if e.errno in FULL:
                self.release()
            return False
        return True

    def release(self) -> bool:
        """Give the space back; return whether there was any."""
        held = self.is_held()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        return held


class Space:
    """A runner's dealings with a disk that may be full.

    Args:
        database: path of the database.
        say: called with a line for whoever watches the worker.
    """

    def __init__(self, database: str, *, say: Callable[[str], None]) -> None:
        self.reserve, self.say = Reserve(database), say
        self.is_short = False  # nothing is to be claimed
        self._look_at = 0.0
        self._pause = FIRST_LOOK_S
        self._complained = -QUIET_S

    def ran_out(self, error: DiskFull, *, now: float) -> bool:
        """Note that a commit found no space; return whether it is worth another try at once, because the reserve was given back."""
        if not self.is_short:
            self._pause, self.is_short = FIRST_LOOK_S, True
        self._look_at = now + self._pause
        self._complain(f"{error}. Workers start nothing until there is space; results wait", now)
        return self.reserve.release()

    def look(self, *, now: float) -> bool:
        """Look at the disk when it is time to; return whether work may go on that had stopped."""
        if now < self._look_at:
            return False
        roomy = free_bytes(self.reserve.path) >= FREE_BYTES
        if roomy and (self.reserve.hold() or self._is_roomy()):
            was_short, self.is_short = self.is_short, False
            self._look_at = now + LAST_LOOK_S
            if was_short:
                self.say("There is space on the disk again: work goes on")
            return was_short
        if not self.is_short:
            self._pause, self.is_short = FIRST_LOOK_S, True
        self._complain(
            f"{self.reserve.path}: the disk is full. Workers start nothing until there is space; results wait",
            now,
        )
        self._look_at = now + self._pause
        self._pause = min(2 * self._pause, LAST_LOOK_S)
        return False

    def _is_roomy(self) -> bool:
        """Whether there is room, if not for a file (a read-only folder, a quota of files)."""
        return free_bytes(self.reserve.path) >= 2 * (RESERVE_BYTES + FREE_BYTES)

    def is_waiting(self, *, now: float) -> bool:
        """Whether the disk is full and it is not yet time to look at it again."""
        return self.is_short and now < self._look_at

    def next_look_s(self, *, now: float) -> float | None:
        """Return how long a runner may sleep while it waits for space; None while there is enough."""
        return max(0.0, self._look_at - now) if self.is_short else None

    def _complain(self, line: str, now: float) -> None:
        if now - self._complained >= QUIET_S:
            self._complained = now
            self.say(line)
