"""The panel without a browser: a store with a past, a controller on it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fake_queue
import panel_demo

from queuectl.panel.controller import Controller
from queuectl.store import Store


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "data" / "queue.db")


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()


@pytest.fixture
def filled(store: Store) -> Store:
    panel_demo.fill(store, now_ms=now_ms())
    return store


@pytest.fixture
def calls() -> list[Any]:
    fake_queue.CALLS.clear()
    return fake_queue.CALLS


@pytest.fixture
def control(path: str, filled: Store, calls: list[Any]) -> Controller:
    controller = Controller(path, lambda: fake_queue.FakeQueue(path))
    controller.refresh()
    return controller


@pytest.fixture
def ask(control: Controller) -> Callable[..., dict[str, Any]]:
    """Send a message, which must be answered well."""

    def send(kind: str, **more: Any) -> dict[str, Any]:
        answer = control.handle({"kind": kind, **more})
        assert answer["ok"], answer
        return answer

    return send


@pytest.fixture
def until_gone() -> Callable[[Any], None]:
    """Wait until a queue has no worker left."""

    def wait(queue: Any) -> None:
        end = time.monotonic() + 20
        while queue.workers():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    return wait
