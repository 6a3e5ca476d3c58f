"""Every tab in both themes and both widths: axe-core finds nothing, nothing spills over, and a screenshot is kept to be looked at."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_queue
import panel_demo
import pytest
from browser_tools import SHOTS

from queuectl.panel.controller import Controller
from queuectl.store import Store


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    path = str(tmp_path / "data" / "queue.db")
    store = Store(path)
    panel_demo.fill(store, now_ms=time.time_ns() // 1_000_000)
    store.close()
    made = Controller(path, lambda: fake_queue.FakeQueue(path))
    made.refresh()
    return made


def views(controller: Controller) -> dict[str, dict[str, Any]]:
    dead = controller.ids("state:dead cmd:train")[0]
    return {
        "jobs": {"tab": "jobs"},
        "drawer": {"tab": "jobs", "query": "state:dead,failed", "open": dead},
        "failures": {"tab": "failures", "cause": panel_demo.sig_of(panel_demo.CAUSES[1][0])},
        "workers": {"tab": "workers"},
        "activity": {"tab": "activity"},
        "config": {"tab": "config"},
    }


@pytest.mark.parametrize(("theme", "width"), [("light", 800), ("dark", 1280)])
def test_what_opens_is_accessible_and_fits(
    page: Any,
    mount: Callable[..., Any],
    axe: Callable[..., list[str]],
    controller: Controller,
    theme: str,
    width: int,
) -> None:
    fake = fake_queue.FakeQueue(controller.path)
    for name in ("mail", "gpu"):
        fake.pause(name)
    fake.close()
    controller.refresh()
    panel = mount(controller=controller, theme=theme, width=width)

    def look(name: str) -> None:
        panel.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png")
        assert axe() == [], name
        assert panel.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{name} is wider than the panel"

    SHOTS.mkdir(parents=True, exist_ok=True)
    panel.get_by_role("button", name="New job").click()
    form = panel.get_by_role("form", name="New job")
    form.get_by_label("Command").fill("python train.py --lr 0.1")
    form.get_by_label("Timeout").fill("soon")
    form.get_by_role("button", name="Enqueue").click()
    form.get_by_role("alert").filter(has_text="timeout").wait_for()
    look("form")
    form.get_by_role("button", name="Close").click()
    panel.get_by_label("Filter", exact=True).fill("state:dead,failed cmd:curl")
    panel.get_by_text("32 jobs").wait_for()
    for box in panel.get_by_role("checkbox", name="Select job").all()[:3]:
        box.check()
    panel.get_by_role("button", name="Delete", exact=True).click()
    panel.get_by_role("alertdialog").wait_for()
    look("confirm")
    panel.get_by_role("button", name="Delete 3 jobs").click()
    panel.get_by_text("3 jobs deleted").wait_for()
    page.keyboard.press("Escape")
    panel.get_by_role("button", name="Keyboard and filter help").click()
    panel.get_by_role("region", name="Help").wait_for()
    look("help")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800])
def test_every_tab_is_accessible_and_fits(
    page: Any,
    mount: Callable[..., Any],
    axe: Callable[..., list[str]],
    controller: Controller,
    theme: str,
    width: int,
) -> None:
    panel = mount(controller=controller, theme=theme, width=width)
    SHOTS.mkdir(parents=True, exist_ok=True)
    for name, patch in views(controller).items():
        assert page.evaluate(
            "async (patch) => { await window.model.send({ kind: 'view', rid: 'x', patch }); return 1; }",
            {"open": None, "query": "", "cause": None, **patch},
        )
        panel.get_by_role("tab", selected=True).and_(
            panel.get_by_role("tab", name=patch["tab"].capitalize())
        ).wait_for()
        if name == "drawer":
            panel.get_by_label("Output").get_by_text("OutOfMemoryError").wait_for()
        if name == "failures":
            panel.get_by_label("Example output").get_by_text("OutOfMemoryError").wait_for()
        if name == "config":
            panel.get_by_label("keep-children", exact=True).wait_for()
            assert panel.get_by_label("keep-children", exact=True).input_value() == "no"
            assert not panel.get_by_role("button", name="Save").filter(visible=True).count(), (
                "nothing was edited"
            )
        panel.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png")
        assert axe() == [], name
        assert panel.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{name} is wider than the panel"
    assert page.js_errors == [] and page.left == []
