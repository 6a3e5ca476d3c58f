"""The panel where it is not at home: in a saved notebook without a kernel, and on stock widgets."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import fake_queue
import nbformat
import panel_demo
from browser_tools import until, write_notebook
from playwright.sync_api import expect

from queuectl.panel import panel
from queuectl.queue import Queue
from queuectl.store import Store

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


def saved(place: Path) -> str:
    """A notebook as Jupyter saves it, widget state and all, exported to HTML; its queue is full of hostile texts."""
    from ipywidgets import Widget
    from nbconvert import HTMLExporter

    store = Store(str(place))
    panel_demo.hostile(store, now_ms=time.time_ns() // 1_000_000)
    store.close()
    shown = panel(fake_queue.FakeQueue(str(place)))
    shown.look(open="<b>id</b>", query=panel_demo.HOSTILE).look(query="")
    bundle = shown._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    state = Widget.get_manager_state(widgets=[shown])
    shown.close()
    cell = nbformat.v4.new_code_cell("q.panel()", outputs=[nbformat.v4.new_output("display_data", data)])
    book = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {STATE: state}})
    assert "window.PWNED=2" in json.dumps(state) and "onerror" in json.dumps(state)
    html, _ = HTMLExporter().from_notebook_node(book)
    assert STATE in html and VIEW in html
    return str(html)


def test_a_saved_notebook_shows_hostile_text_as_text(page: Any, tmp_path: Path) -> None:
    html = saved(tmp_path / "data" / "queue.db")
    page.route("http://127.0.0.1/saved", lambda r: r.fulfill(body=html, content_type="text/html"))
    page.goto("http://127.0.0.1/saved")
    state = page.locator(f"script[type='{STATE}']")
    expect(state).to_have_count(1)
    assert "window.PWNED=2" in state.text_content()  # whole: nothing in it has ended the element
    assert json.loads(state.text_content())["state"]
    assert page.evaluate("window.PWNED") is None
    assert page.locator("img[src=x], .jp-OutputArea script:not([type])").count() == 0


def test_the_static_snapshot_of_a_saved_notebook_is_text(page: Any, tmp_path: Path) -> None:
    place = tmp_path / "data" / "queue.db"
    store = Store(str(place))
    panel_demo.hostile(store, now_ms=time.time_ns() // 1_000_000)
    store.close()
    shown = panel(fake_queue.FakeQueue(str(place)))
    bundle = shown._repr_mimebundle_()
    html = (bundle[0] if isinstance(bundle, tuple) else bundle)["text/html"]
    shown.close()
    body = f"<!doctype html><html lang=en><title>saved</title><body>{html}</body></html>"
    page.route("http://127.0.0.1/saved", lambda r: r.fulfill(body=body, content_type="text/html"))
    page.goto("http://127.0.0.1/saved")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("body")).to_contain_text("<script>window.PWNED=2</script>")
    assert page.evaluate("window.PWNED") is None and page.locator("img, script").count() == 0


def test_the_basic_panel_needs_no_widget_but_jupyters_own(
    page: Any, jupyter: tuple[str, str, Path], open_notebook: Any, place: Path
) -> None:
    name = f"basic-{os.path.basename(place.parent.parent)}.ipynb"
    queue = Queue(place)
    for n in range(3):
        queue.enqueue(f"echo {n}", id=f"echo{n}")
    queue.enqueue(panel_demo.HOSTILE, id="hostile")
    write_notebook(
        jupyter[2] / name,
        f"from queuectl import Queue\nq = Queue({str(place)!r})\nq.panel(basic=True)",
        "import sys\nassert 'anywidget' not in sys.modules",
    )
    open_notebook(name)
    output = page.locator(".jp-OutputArea-output").first
    expect(output.get_by_text("4", exact=False).first).to_be_visible(timeout=30_000)
    expect(output.locator("table")).to_contain_text("<script>window.PWNED=2</script>")
    assert page.evaluate("window.PWNED") is None and output.locator("img").count() == 0
    box = output.get_by_label("Filter")
    box.fill("cmd:echo")
    box.press("Enter")
    expect(output.locator("table tbody tr")).to_have_count(3)
    output.locator("select[multiple]").select_option("echo1")
    output.get_by_role("button", name="Delete").click()
    expect(output.get_by_text("Press again to do it")).to_be_visible()
    assert len(queue.list()) == 4
    output.get_by_role("button", name="Delete").click()
    until(lambda: sorted(j.id for j in queue.list()) == ["echo0", "echo2", "hostile"])
    expect(output.locator("table tbody tr")).to_have_count(2)
    output.get_by_label("Command").fill("echo new")
    output.get_by_role("button", name="Enqueue").click()
    until(lambda: len(queue.list()) == 4)
    expect(output.get_by_text("q.enqueue('echo new')")).to_be_visible()
    assert page.left == []
    queue.close()
