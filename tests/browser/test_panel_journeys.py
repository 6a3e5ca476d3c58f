"""A whole journey in JupyterLab 4, Notebook 7 and Voilà, with the real engine: enqueue, start a worker, watch a job finish, read a
failing job's log, retry its cause, stop the worker. Every request that leaves this machine is aborted and reported."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser_tools import SHOTS, until, write_notebook
from playwright.sync_api import expect

from queuectl.queue import Queue

RESTART = "async () => { const w = window.jupyterapp.shell.currentWidget; await w.sessionContext.session.kernel.restart(); await w.sessionContext.session.kernel.info; }"


# The bar with the result covers the foot of what is seen of the panel, and nothing above it.
AT_THE_FOOT = """() => {
  const seen = document.querySelector('.qp').getBoundingClientRect(), bar = document.querySelector('.qp-result').getBoundingClientRect();
  return bar.bottom > Math.min(seen.bottom, window.innerHeight) - 60;
}"""


def notebook(folder: Path, place: Path) -> str:
    name = f"panel-{os.path.basename(place.parent.parent)}.ipynb"
    write_notebook(
        folder / name,
        f"from queuectl import Queue\nq = Queue({str(place)!r})\nbad = q.enqueue(\"echo working; printf '\\\\033[31mValueError: no such table\\\\033[0m\\\\n' >&2; exit 3\", max_retries=1)",
        "q.panel()",
    )
    return name


def journey(page: Any, place: Path) -> Queue:
    """Drive the panel from the first look to a stopped worker; return the queue as Python sees it."""
    panel = page.locator(".qp")
    expect(panel).to_be_visible(timeout=60_000)
    expect(panel.locator(".qp-live")).to_have_text("live", timeout=30_000)
    expect(panel.get_by_text("1 waiting and no worker is running")).to_be_visible()
    panel.get_by_role("button", name="New job").click()
    form = panel.get_by_role("form", name="New job")
    form.get_by_label("Command").fill("echo '<b>it works</b>'")
    form.get_by_role("button", name="Enqueue").click()
    expect(panel.get_by_role("status")).to_contain_text("added")
    form.get_by_role("button", name="Close").click()
    panel.get_by_role("button", name="Start 1").click()
    expect(panel.get_by_role("status")).to_contain_text("1 worker started", timeout=40_000)
    expect(panel.get_by_role("button", name=re.compile("^completed 1"))).to_be_visible(
        timeout=30_000
    )  # seen by the refresher
    panel.get_by_role("button", name=re.compile("^dead 1")).click()
    row = panel.locator(".qp-grid tbody tr")
    expect(row).to_have_count(1)
    row.click()
    expect(panel.get_by_role("region", name="Output", exact=True)).to_contain_text(
        "ValueError: no such table"
    )
    expect(panel.locator(".qp-a-red")).to_have_text("ValueError: no such table")
    page.keyboard.press("d")
    page.keyboard.press("d")
    expect(panel).to_be_visible()  # the keys were the panel's, or the notebook would have deleted its cell
    panel.get_by_role("tab", name="Failures").click()
    panel.get_by_role("button", name=re.compile("ValueError")).click()
    panel.get_by_role("button", name="Retry all 1 of this cause").click()
    expect(panel.get_by_role("alertdialog").get_by_role("button", name="Cancel")).to_be_focused()
    panel.get_by_role("button", name="Retry 1 job").click()
    expect(panel.get_by_role("status")).to_contain_text("1 job requeued")
    expect(panel.get_by_role("status")).to_be_in_viewport(ratio=1)
    page.wait_for_function(AT_THE_FOOT)
    queue = Queue(place)
    until(lambda: [j.runs for j in queue.list(state="dead")] == [2])
    assert page.evaluate("document.querySelector('.qp b b, .qp img')") is None
    return queue


def stop_worker(page: Any, queue: Queue) -> None:
    panel = page.locator(".qp")
    panel.get_by_role("tab", name="Workers").click()
    (worker,) = queue.workers()
    panel.get_by_role("button", name=f"Log of {worker.id}").click()
    expect(panel.get_by_role("region", name="Worker log")).to_contain_text(f"Worker started: {worker.id}")
    panel.get_by_role("button", name=f"Stop {worker.id} after its current job").click()
    expect(panel.get_by_role("status")).to_contain_text("told to stop")
    until(lambda: not queue.workers())
    expect(panel.get_by_text("No worker is running", exact=True)).to_be_visible(timeout=15_000)
    events = {(r[0], r[1]) for r in queue._store.connection.rows("select actor, verb from events")}
    assert ("panel", "retry") in events
    queue.close()


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_journey_in_jupyter(
    page: Any, jupyter: tuple[str, str, Path], open_notebook: Callable[..., None], place: Path, app: str
) -> None:
    name = notebook(jupyter[2], place)
    open_notebook(name, app)
    queue = journey(page, place)
    page.screenshot(path=SHOTS / f"journey-{app}.png")
    alive = {w.id for w in queue.workers()}
    page.evaluate(RESTART)
    assert {w.id for w in queue.workers()} == alive and len(alive) == 1  # workers outlive the kernel
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    expect(page.locator(".qp .qp-live")).to_have_text("live", timeout=30_000)
    stop_worker(page, queue)
    assert page.left == []
    cells = page.locator(".jp-Cell")
    expect(cells).to_have_count(2)
    page.locator(".jp-InputPrompt").first.click()
    page.keyboard.press("d")
    page.keyboard.press("d")
    expect(cells).to_have_count(1)  # outside the panel these keys are the notebook's


def test_a_journey_in_voila(page: Any, home: Any, voila_of: Callable[..., str], place: Path) -> None:
    folder = home[1] / "notebooks"
    base = voila_of(folder / notebook(folder, place))
    page.goto(base)
    stop_worker(page, journey(page, place))
    assert all("fontawesome" in url for url in page.left), page.left  # Voilà's own page asks a CDN for icons
