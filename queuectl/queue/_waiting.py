"""Waiting until jobs have ended, in a program and in a notebook's event loop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from queuectl import progress as bars
from queuectl import selection
from queuectl import validate as v
from queuectl.answers import WaitResult
from queuectl.display import escape_terminal
from queuectl.errors import WaitTimeout
from queuectl.model import FINAL, State
from queuectl.queue._working import Working
from queuectl.store import Store
from queuectl.store.filters import Filter

FIRST_NAP_S, LONGEST_NAP_S = 0.005, 0.2
PROGRESS_S = 0.5  # between two looks at what running jobs tell


class Waiting(Working):
    """The verbs that return when jobs have ended."""

    def wait(self, *ids: str, timeout: str | float | None = None, progress: bool | None = None) -> WaitResult:
        """Wait until jobs have ended: those named, else all that are not finished now. Ctrl-C leaves the jobs alone.

        Args:
            ids: the jobs.
            timeout: give up after this time.
            progress: show a bar on standard error; by default where that is a terminal, and in a notebook.

        Raises:
            WaitTimeout: they had not all ended in time.
            JobNotFound: no job has one of the ids.
        """
        shown, states = _Told(progress), dict[str, State]()
        try:
            for found in self._looks(ids, timeout, nap=time.sleep):
                states = dict(found)
                shown.is_new(states, self._store)
                shown.tell(*shown.counted)  # also what is not new: the time goes on
        finally:
            shown.close()
        return WaitResult(states)

    async def wait_async(
        self, *ids: Any, timeout: str | float | None = None, progress: bool | None = None
    ) -> WaitResult:
        """Wait until jobs have ended without holding up the event loop: `await q.wait_async(job)`.

        A thread of its own looks, on a connection of its own, and ends with the wait, however that ends. Cancelling leaves the jobs alone.

        Args:
            ids: jobs, ids, lists or a frame of them; all that are not finished now when there are none.
            timeout: give up after this time.
            progress: show a bar; by default in a notebook and on a terminal.

        Raises:
            WaitTimeout: they had not all ended in time.
            JobNotFound: no job has one of the ids.
        """
        import asyncio
        import threading

        twin, stop = type(self)(self.path), threading.Event()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[WaitResult] = loop.create_future()
        shown = _Told(progress)

        def look() -> None:
            states: Mapping[str, State] = {}
            try:
                for states in twin._looks(ids, timeout, nap=stop.wait):
                    if shown.is_new(states, twin._store):
                        _post(loop, shown.tell, *shown.counted)
                _post(loop, _settle, ended, WaitResult(dict(states)))
            except BaseException as e:
                _post(loop, _settle, ended, e)
            finally:
                twin.close()

        threading.Thread(target=look, name="queuectl-wait", daemon=True).start()
        try:
            return await ended
        finally:
            stop.set()
            shown.close()

    def _looks(
        self, ids: tuple[Any, ...], timeout: str | float | None, *, nap: Callable[[float], object]
    ) -> Iterator[Mapping[str, State]]:
        """Yield the jobs' states again and again; the last ones are how they ended, or a nap was told to end."""
        names = selection.ids_of(ids, path=self.path)
        end = None if timeout is None else time.monotonic() + v.duration_ms("timeout", timeout) / 1000
        store = self._store
        if not names and not ids:
            names = [
                i for _, i, s in store.jobs.ids(Filter(states=tuple(s for s in State if s not in FINAL)))
            ]
        for name in names:
            store.jobs.get(name)
        length = FIRST_NAP_S
        while True:
            states = store.jobs.states_of(names)
            yield states
            if all(s in FINAL for s in states.values()) or self._is_hopeless(states):
                return
            if end is not None and time.monotonic() >= end:
                left = [i for i, s in states.items() if s not in FINAL]
                raise WaitTimeout(
                    f"wait: {len(left)} of {len(names)} jobs had not ended after {timeout} s: {', '.join(left[:5])}"
                )
            if nap(length):
                return
            length = min(length * 1.5, LONGEST_NAP_S)

    def _is_hopeless(self, states: Mapping[str, State]) -> bool:
        """Whether nothing that is left can run by itself any more, because jobs it waits for ended otherwise than it needs."""
        left = [i for i, s in states.items() if s not in FINAL]
        return (
            bool(left)
            and all(states[i] is State.BLOCKED for i in left)
            and self._store.family.hopeless(left).keys() == set(left)
        )


class _Told:
    """The bar of a wait: how many have ended, how many of them not well, how many run and what those tell of their progress.

    Counted in the thread, shown in the loop.
    """

    def __init__(self, wanted: bool | None) -> None:
        self.counted = (0, -1, 0, 0, "")
        self._asked = 0.0
        self._wanted = wanted
        self._bar: bars.Bar | None = None
        self._closed = False

    def is_new(self, states: Mapping[str, State], store: Store) -> bool:
        n = Counter(states.values())
        over, running = sum(n[s] for s in FINAL), n[State.PROCESSING]
        before, told = self.counted, self.counted[-1]
        if time.monotonic() - self._asked >= PROGRESS_S:
            told, self._asked = _told(store, states), time.monotonic()
        self.counted = (len(states), over, over - n[State.COMPLETED], running, told)
        return self.counted != before

    def tell(self, total: int, over: int, bad: int, running: int, told: str) -> None:
        if self._closed:
            return
        if self._bar is None:
            self._bar = bars.bar(total, label="waiting", shown=self._wanted)
        notes = (f"{bad:,} not completed" * bool(bad), f"{running:,} running" * bool(running), told)
        self._bar.to(over, ", ".join(filter(None, notes)))

    def close(self) -> None:
        self._closed = True
        if self._bar is not None:
            self._bar.close()


def _told(store: Store, states: Mapping[str, State]) -> str:
    """Return what the first of these jobs that tells its progress says, and how many more do."""
    found = [(i, p) for i, p in store.jobs.progress().items() if i in states]
    if not found:
        return ""
    name, first = found[0]
    return escape_terminal(f"{name} {first}") + (f" and {len(found) - 1} more" if len(found) > 1 else "")


def _post(loop: Any, function: Callable[..., None], *values: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *values)
    except RuntimeError:  # the loop is closed: nobody waits any more
        pass


def _settle(ended: Any, how: WaitResult | BaseException) -> None:
    if ended.done():  # cancelled meanwhile
        return
    if isinstance(how, BaseException):
        ended.set_exception(how)
    else:
        ended.set_result(how)
