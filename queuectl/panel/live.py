"""Live without harm: one background thread per kernel looks whether a database changed, and only while somebody looks.

A thread and not a task of the kernel's event loop, which starves while a cell runs. It starts with the first viewer and ends
when the last one's lease has run out, so that a panel in a forgotten tab asks nothing and the kernel can be culled.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from queuectl.errors import QueuectlError
from queuectl.store import Store

TICK_S = 1.0
PULSE_S = 3.0


class Watched(Protocol):
    """What the refresher needs of a panel."""

    path: str

    def is_watched(self) -> bool: ...
    def interval_s(self) -> int: ...
    def tick(self) -> None: ...
    def follow(self) -> None: ...
    def pulse(self) -> None: ...
    def extend(self, seconds: float) -> None: ...


class Loop(Protocol):
    """What the refresher needs of the kernel's event loop."""

    def call_soon_threadsafe(self, callback: Callable[[], object], /) -> object: ...


class Kernel:
    """Whether the kernel can hear: while a cell runs, its loop stands still and no viewer can renew a lease."""

    def __init__(self, loop: Loop | None = None) -> None:
        self.loop = loop
        self._heard = True

    def is_deaf(self) -> bool:
        """Whether the loop has not answered since the last time this was asked."""
        if self.loop is None:
            return False
        if not self._heard:
            return True
        self._heard = False
        try:
            self.loop.call_soon_threadsafe(self._hear)
        except RuntimeError:  # the loop is closed
            self._heard = True
        return False

    def _hear(self) -> None:
        self._heard = True


class Refresher:
    """The one thread: each second, each watched panel's `PRAGMA data_version`; on a change, that panel's refresh."""

    def __init__(self, *, tick_s: float = TICK_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._tick_s, self._clock = tick_s, clock
        self.kernel = Kernel()
        self._panels: WeakSet[Watched] = WeakSet()
        self._watches: dict[str, _Watch] = {}
        self._due: dict[int, float] = {}
        self._pulsed: dict[int, float] = {}
        self._seen: dict[int, object] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def add(self, panel: Watched) -> None:
        """Look after a panel from now on, for as long as somebody sees it."""
        with self._lock:
            self._panels.add(panel)
            if self._thread is None or not self._thread.is_alive() or self._pid != os.getpid():
                self._watches = {}
                self._pid = os.getpid()
                self._thread = threading.Thread(target=self._run, name="queuectl-panel", daemon=True)
                self._thread.start()

    def remove(self, panel: Watched) -> None:
        """Look after it no more."""
        with self._lock:
            self._panels.discard(panel)

    def is_running(self) -> bool:
        """Whether the thread lives."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def connections(self) -> int:
        """Return how many connections it holds."""
        return len(self._watches)

    def _run(self) -> None:
        wake = threading.Event()
        while not wake.wait(self._tick_s):
            deaf = self.kernel.is_deaf()
            with self._lock:
                if deaf:
                    self._extend()
                watched = [p for p in self._panels if p.is_watched()]
                if not watched:
                    self._forget(set())
                    self._thread = None
                    return
            self._forget({p.path for p in watched})
            self._look(watched)
            del watched  # or the wait would keep a closed panel alive

    def _extend(self) -> None:
        for panel in self._panels:
            panel.extend(self._tick_s)

    def _look(self, watched: list[Watched]) -> None:
        now = self._clock()
        due = [p for p in watched if p.interval_s() and self._due.get(id(p), 0) <= now]
        versions = {path: self._watch(path).version() for path in {p.path for p in due}}
        for panel in due:
            self._due[id(panel)] = now + panel.interval_s() - self._tick_s / 2
            changed = self._seen.get(id(panel)) != versions[panel.path]
            self._seen[id(panel)] = versions[panel.path]
            with contextlib.suppress(
                Exception
            ):  # a panel's fault must not stop the others; it shows it itself
                panel.tick() if changed else panel.follow()
            # A tenth of the time at most: what takes long is asked less often.
            spent = self._clock() - now
            self._due[id(panel)] = max(self._due[id(panel)], now + 10 * spent - self._tick_s / 2)
        for panel in watched:
            if self._pulsed.get(id(panel), 0) + PULSE_S <= now:
                self._pulsed[id(panel)] = now
                with contextlib.suppress(Exception):
                    panel.pulse()

    def _watch(self, path: str) -> _Watch:
        if path not in self._watches:
            self._watches[path] = _Watch(path)
        return self._watches[path]

    def _forget(self, keep: set[str]) -> None:
        for path in [p for p in self._watches if p not in keep]:
            self._watches.pop(path).close()
        if not keep:
            self._due.clear()
            self._pulsed.clear()
            self._seen.clear()


class _Watch:
    """One connection that stays open, since `data_version` compares only with itself."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._store: Store | None = None
        self._file: object = None
        self._opened = 0

    def version(self) -> object:
        """Return something that differs after every commit, and when another file lies there or none."""
        try:
            found = os.stat(self.path)
            here = (found.st_dev, found.st_ino)
            if here != self._file:
                self.close()
            if self._store is None:
                self._store, self._file = Store(self.path, create=False), here
                self._opened += 1
            return here, self._opened, self._store.connection.data_version()
        except (OSError, QueuectlError) as e:
            self.close()
            return type(e).__name__

    def close(self) -> None:
        """Close the connection."""
        if self._store is not None:
            self._store.close()
            self._store = None


REFRESHER = Refresher()
