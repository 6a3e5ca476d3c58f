"""The widget around the controller: one per queue, no leak when its cell is run again, safe in a saved notebook."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import fake_queue
import panel_demo
import pytest

from queuectl.errors import InvalidValue
from queuectl.panel import panel
from queuectl.panel.basic import BasicPanel
from queuectl.panel.live import REFRESHER
from queuectl.panel.widget import Panel
from queuectl.store import Store


@pytest.fixture
def queue(path: str, filled: Store) -> Any:
    made = fake_queue.FakeQueue(path)
    yield made
    made.close()


@pytest.fixture
def made(queue: Any) -> Any:
    shown = panel(queue)
    yield shown
    shown.close()


def until(what: Callable[[], Any], deadline_s: float = 10) -> None:
    end = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def descriptors() -> int:
    return len([f for f in os.listdir("/proc/self/fd") if "queue.db" in _target(f)])


def settled() -> tuple[int, int, int]:
    """Models, threads and open files of the database, between two of the refresher's own short looks."""
    seen = []
    for _ in range(100):
        seen.append((models(), threading.active_count(), descriptors()))
        time.sleep(0.002)
    return min(seen)


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


def models() -> int:
    from ipywidgets.widgets import widget

    return len(widget._instances)


def test_a_cell_run_again_gives_the_same_panel_and_leaves_nothing(queue: Any, made: Panel) -> None:
    made._repr_mimebundle_()
    until(lambda: REFRESHER.connections() == 1)
    before = settled()
    for _ in range(50):
        again = panel(queue)
        again._repr_mimebundle_()
        assert again is made
    after = settled()
    assert after[:2] == before[:2]
    # SQLite keeps a closed connection's file for reuse while another one of the process holds a lock on it.
    assert after[2] <= before[2] + 3


def test_the_whole_panel_is_a_handful_of_models(queue: Any) -> None:
    before = models()
    shown = panel(queue)
    assert models() - before <= 3
    shown.close()
    assert models() == before
    fresh = panel(queue)
    assert fresh is not shown
    fresh.close()


def test_what_the_browser_sends_reaches_the_controller(made: Panel) -> None:
    sent: list[Any] = []
    made.send = lambda content, buffers=None: sent.append(content)  # type: ignore[method-assign]
    made._handle_custom_msg({"kind": "view", "rid": "1", "patch": {"query": "state:dead"}}, [])
    assert sent == [{"kind": "reply", "ok": True, "rid": "1"}]
    assert made.view["query"] == "state:dead" and made.body["total"] == 68
    made._handle_custom_msg("rubbish", [])


def test_python_can_say_what_is_shown(made: Panel) -> None:
    assert made.look(tab="jobs", query="state:dead") is made
    assert made.view["query"] == "state:dead" and made.body["total"] == 68
    with pytest.raises(InvalidValue, match="one of"):
        made.look(tab="nothing")


def test_the_selection_is_there_for_python(made: Panel) -> None:
    ids = [r["id"] for r in made.body["rows"][:3]]
    made.picked = ids
    assert list(made.selected.index) == ids
    made.picked, made.picked_all = [], True
    assert len(made.selected) == made.head["total"]
    assert made.ids("state:dead cmd:curl") == made._controller.ids("state:dead cmd:curl")


def test_a_viewer_starts_the_one_thread_and_leaving_ends_it(made: Panel) -> None:
    made._handle_custom_msg({"kind": "lease", "viewer": "a", "on": True}, [])
    assert REFRESHER.is_running()
    made._handle_custom_msg({"kind": "lease", "viewer": "a", "on": False}, [])
    assert not made.is_watched()


def test_a_saved_notebook_has_the_counts_and_rows_escaped(queue: Any, filled: Store) -> None:
    panel_demo.hostile(filled, now_ms=4_000_000_000_000)
    shown = panel(queue)
    bundle = shown._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    text = data["text/html"]
    assert (
        "69 dead" in text
        and "<img" not in text
        and "<script" not in text
        and "&lt;img" in text
        and "$" not in text
    )
    shown.close()


def test_a_read_only_panel_is_another_one(queue: Any, made: Panel) -> None:
    other = panel(queue, read_only=True)
    assert other is not made and other.head["read_only"]
    other.close()


def test_the_basic_panel_shows_filters_and_acts(queue: Any, calls: list[Any]) -> None:
    shown = panel(queue, basic=True)
    assert isinstance(shown, BasicPanel) and panel(queue, basic=True) is shown
    assert "68" in shown._counts.value
    shown._filter.value = "state:dead cmd:curl"
    ids = list(shown._choice.options)
    assert len(ids) == 25
    shown._choice.value = tuple(ids[:2])
    shown._act("delete")
    assert "Press again" in shown._said.value and calls == []
    shown._choice.value = tuple(ids[:2])
    shown._act("delete")
    assert ("delete", (tuple(ids[:2]),), {}) in calls


def test_the_basic_panel_escapes_what_it_shows(queue: Any, filled: Store) -> None:
    panel_demo.hostile(filled, now_ms=4_000_000_000_000)
    shown = panel(queue, basic=True)
    assert "<img" not in shown._table.value and "&lt;img" in shown._table.value
