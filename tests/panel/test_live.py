"""The refresher: one thread, only while somebody looks, only when something changed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import fake_queue
import pytest

from queuectl.panel.controller import Controller
from queuectl.panel.live import Refresher
from queuectl.store import Store


class Seen:
    """A panel that counts."""

    def __init__(self, path: str, watched: bool = True, interval: int = 1) -> None:
        self.path, self.watched, self.interval = path, watched, interval
        self.ticks = self.follows = self.pulses = 0
        self.extended = 0.0

    def is_watched(self) -> bool:
        return self.watched

    def interval_s(self) -> int:
        return self.interval

    def tick(self) -> None:
        self.ticks += 1

    def follow(self) -> None:
        self.follows += 1

    def pulse(self) -> None:
        self.pulses += 1

    def extend(self, seconds: float) -> None:
        self.extended += seconds


def until(what: Callable[[], Any], deadline_s: float = 10) -> None:
    end = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


class Steps:
    """A monotonic clock that runs a hundred times as fast, so that each tick is a second."""

    def __call__(self) -> float:
        return time.monotonic() * 100


@pytest.fixture
def refresher() -> Refresher:
    return Refresher(tick_s=0.01, clock=Steps())


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "queuectl-panel"]


def end(refresher: Refresher, *panels: Seen) -> None:
    for panel in panels:
        panel.watched = False
    until(lambda: not refresher.is_running())


def test_it_refreshes_on_a_change_and_only_then(path: str, store: Store, refresher: Refresher) -> None:
    panel = Seen(path)
    refresher.add(panel)
    until(lambda: panel.follows > 5)
    assert panel.ticks == 1  # the first look
    fake = fake_queue.FakeQueue(path)
    fake.enqueue("echo x")
    fake.close()
    until(lambda: panel.ticks == 2)
    seen = panel.follows
    until(lambda: panel.follows > seen + 5)
    assert panel.ticks == 2
    end(refresher, panel)


def test_nobody_looking_means_no_thread_and_no_connection(
    path: str, store: Store, refresher: Refresher
) -> None:
    panel = Seen(path)
    refresher.add(panel)
    until(lambda: refresher.connections() == 1)
    end(refresher, panel)
    assert refresher.connections() == 0 and not threads()
    panel.watched = True
    refresher.add(panel)
    seen = panel.ticks
    until(lambda: panel.ticks > seen)
    end(refresher, panel)


class Shown:
    """A real controller, as the refresher sees a panel."""

    def __init__(self, control: Controller) -> None:
        self.control, self.path = control, control.path
        self.is_watched, self.extend = control.is_watched, control.extend
        self.tick, self.follow = control.tick, control.follow

    def interval_s(self) -> int:
        return self.control.view.interval

    def pulse(self) -> None: ...


def test_a_panel_that_nobody_looks_at_asks_nothing_in_a_minute(
    path: str, store: Store, refresher: Refresher
) -> None:
    clock, fake = Steps(), fake_queue.FakeQueue(path)
    control = Controller(path, lambda: fake_queue.FakeQueue(path), clock=clock)
    shown = Shown(control)
    control.lease("somebody", True)
    refresher.add(shown)

    def minute() -> int:
        """How often the store was asked while it changed again and again for 60 s."""
        before, begun = control.queries, clock()
        while clock() < begun + 60:
            fake.enqueue("echo more")
            control.lease("somebody", control.is_watched())
            time.sleep(0.02)
        return control.queries - before

    assert minute() > 5  # seen, it follows
    control.lease("somebody", False)
    until(lambda: not refresher.is_running())
    assert minute() == 0 and not threads() and refresher.connections() == 0
    fake.close()


def test_many_panels_share_one_thread_and_one_connection(
    path: str, store: Store, refresher: Refresher
) -> None:
    panels = [Seen(path) for _ in range(10)]
    for panel in panels:
        refresher.add(panel)
        refresher.add(panel)
    until(lambda: all(p.ticks for p in panels))
    assert len(threads()) == 1 and refresher.connections() == 1
    end(refresher, *panels)


def test_by_hand_means_by_hand(path: str, store: Store, refresher: Refresher) -> None:
    by_hand, other = Seen(path, interval=0), Seen(path)
    refresher.add(by_hand)
    refresher.add(other)
    until(lambda: other.follows > 5)
    assert by_hand.ticks == by_hand.follows == 0 and by_hand.pulses
    end(refresher, by_hand, other)


def test_a_fault_in_one_panel_leaves_the_others_alone(path: str, store: Store, refresher: Refresher) -> None:
    class Broken(Seen):
        def tick(self) -> None:
            raise RuntimeError

    broken, fine = Broken(path), Seen(path)
    refresher.add(broken)
    refresher.add(fine)
    until(lambda: fine.ticks and fine.follows > 3)
    end(refresher, broken, fine)


def test_a_database_that_goes_and_comes_back_is_noticed(
    path: str, store: Store, refresher: Refresher
) -> None:
    panel = Seen(path)
    refresher.add(panel)
    until(lambda: panel.ticks == 1)
    os.rename(path, path + ".away")
    until(lambda: panel.ticks == 2)
    assert refresher.is_running()
    os.rename(path + ".away", path)
    until(lambda: panel.ticks == 3)
    end(refresher, panel)


def test_a_busy_kernel_cannot_hear_so_leases_are_lengthened(
    path: str, store: Store, refresher: Refresher
) -> None:
    class Loop:
        def __init__(self) -> None:
            self.waiting: list[Callable[[], object]] = []
            self.busy = False

        def call_soon_threadsafe(self, callback: Callable[[], object], /) -> None:
            self.waiting.append(callback) if self.busy else callback()

    loop, panel = Loop(), Seen(path)
    refresher.kernel.loop = loop
    refresher.add(panel)
    until(lambda: panel.follows > 5)
    assert panel.extended == 0
    loop.busy = True
    until(lambda: panel.extended > 0.05)
    loop.busy = False
    for callback in loop.waiting:
        callback()
    seen = panel.follows
    until(lambda: panel.follows > seen + 3)
    lengthened = panel.extended
    until(lambda: panel.follows > seen + 10)
    assert panel.extended <= lengthened + 0.02
    end(refresher, panel)


def test_a_panel_that_is_collected_is_forgotten(path: str, store: Store, refresher: Refresher) -> None:
    panel = Seen(path)
    refresher.add(panel)
    seen = panel.__dict__
    until(lambda: seen["ticks"])
    del panel
    until(lambda: not refresher.is_running())
