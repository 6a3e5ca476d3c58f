"""The chore of files: outputs whose runs are gone are unlinked; a trigger notes their names whoever removed the run."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable

from queuectl.chores._chore import Chore, Moment
from queuectl.chores._pace import Pace
from queuectl.store import Store

_OUTPUT = re.compile(r"(?P<id>.+)\.(?P<run>[0-9]+)\.(out|err)", re.DOTALL)


class Litter(Chore):
    """Unlinks what is in the table `litter`."""

    def __init__(self, store: Store, tell: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(store, tell)
        self._pace = Pace(20)
        self._at_ms: int | None = None

    def look(self, now: Moment) -> None:
        """Learn whether there is any."""
        if self._at_ms is None and self.store.retention.litter(limit=1):
            self._at_ms = now.mono_ms

    def stir(self, now: Moment) -> None:
        """Say that there may be some now."""
        self._at_ms = now.mono_ms

    def due_in_ms(self, now: Moment) -> int | None:
        """Return how long until the next few files."""
        return None if self._at_ms is None else self._at_ms - now.mono_ms

    def tend(self, now: Moment) -> bool:
        """Unlink a few files."""
        start = time.perf_counter()
        left = unlink_some(self.store, limit=self._pace.n)
        rest = self._pace.rest_ms((time.perf_counter() - start) * 1000, idle=now.idle)
        self._at_ms = now.mono_ms + rest if left else None
        return False


def folder_of(store: Store) -> str:
    """Return the folder of large outputs."""
    return os.path.join(os.path.dirname(store.path), "logs")


def unlink_some(store: Store, *, limit: int) -> bool:
    """Unlink files whose runs are gone; return whether there may be more.

    Under the write lock, in which no claim happens: a job of an id that is used again may have a file of the same name.
    """
    if not store.retention.litter(limit=1):
        return False
    with store.write():
        names = store.retention.litter(limit=limit)
        for name in names:
            if not is_wanted(store, name):
                unlink(store, name)
        store.retention.forget_litter(names)
    return len(names) == limit


def is_wanted(store: Store, name: str) -> bool:
    """Whether a file belongs to a run that is recorded, or may be about to be; what is no output's name is not ours to remove."""
    match = _OUTPUT.fullmatch(name)
    return match is None or store.retention.is_wanted(match["id"], int(match["run"]), name)


def unlink(store: Store, name: str) -> None:
    """Remove one file of the folder, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder_of(store), os.path.basename(name)))


def strays(store: Store) -> list[str]:
    """Return the outputs in the folder that no run speaks of: their runner died between the file and the record."""
    try:
        names = sorted(e.name for e in os.scandir(folder_of(store)) if e.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return []
    return [n for n in names if _OUTPUT.fullmatch(n) and not is_wanted(store, n)]
