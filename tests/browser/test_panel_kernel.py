"""The panel and its kernel: a busy one does not stop it, a panel out of sight asks nothing and lets it be culled, re-runs leave nothing."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_tools import RUN_ALL, serve, until, write_notebook
from playwright.sync_api import expect

from queuectl.queue import Queue

BUSY_S = 10
UNSEEN_S = float(os.environ.get("QUEUECTL_UNSEEN_S", "8"))  # the full test looks away for 60
RUN = """async () => {
  const w = window.jupyterapp.shell.currentWidget;
  await w.context.ready; await w.sessionContext.ready; await w.sessionContext.session.kernel.info;
  window.jupyterapp.commands.execute('notebook:run-all-cells');
}"""


def open_lab(page: Any, server: tuple[str, str, Path], name: str) -> None:
    base, token, _ = server
    page.goto(f"{base}/lab/tree/{name}?token={token}&reset")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context")


# Ten seconds of Python, then one call into C that keeps the interpreter to itself, then Python again.
BUSY = """
import os, time
begun = time.monotonic()
open({busy!r}, 'w').close()
while time.monotonic() < begun + {seconds} or not os.path.exists({gate!r}): pass
sum(range(60_000_000))
open({held!r}, 'w').close()
while not os.path.exists({end!r}) and time.monotonic() < begun + 120: pass
open({done!r}, 'w').close()
"""


def test_a_kernel_busy_for_ten_seconds_does_not_stop_the_refresh(
    page: Any, jupyter: tuple[str, str, Path], place: Path
) -> None:
    name = f"busy-{os.path.basename(place.parent.parent)}.ipynb"
    marks = {n: place.parent / n for n in ("busy", "gate", "held", "end", "done")}
    write_notebook(
        jupyter[2] / name, f"from queuectl import Queue\nq = Queue({str(place)!r})\nq.enqueue('true')\nq.panel()",
        BUSY.format(seconds=BUSY_S, **{n: str(m) for n, m in marks.items()}),
    )  # fmt: skip
    open_lab(page, jupyter, name)
    page.evaluate(RUN)
    panel = page.locator(".qp")
    expect(panel.get_by_role("button", name=re.compile("^pending 1"))).to_be_visible(timeout=40_000)
    queue = Queue(place)
    until(marks["busy"].exists)  # not the kernel's status: comm messages on a subshell report idle meanwhile
    begun, n = time.monotonic(), 1

    def shows_the_next() -> None:
        nonlocal n
        n += 1
        queue.enqueue("true", id=f"meanwhile{n}")
        expect(panel.locator(f"tr[data-id=meanwhile{n}]")).to_be_visible(timeout=15_000)
        expect(panel.get_by_role("button", name=re.compile(f"^pending {n}"))).to_be_visible()
        assert not marks["done"].exists()

    while time.monotonic() < begun + BUSY_S:
        shows_the_next()
    assert not marks["held"].exists() and n >= 3
    expect(panel.locator(".qp-live")).to_have_text("live")
    marks["gate"].touch()
    until(marks["held"].exists, 60)
    shows_the_next()
    marks["end"].touch()
    until(marks["done"].exists)
    queue.close()


# Tells of each time that this kernel opens the database, and which of its files it has open.
WITNESS = """
import os, sys
def look(event, args):
    if event == 'sqlite3.connect' and {name!r} in str(args[0]):
        with open({log!r}, 'a') as out: out.write('opened\\n')
sys.addaudithook(look)
with open({pid!r}, 'w') as out: out.write(str(os.getpid()))
from queuectl import Queue
q = Queue({place!r})
q.enqueue('true')
shown = q.panel()
q.close()
shown
"""


def test_a_panel_out_of_sight_asks_nothing(page: Any, jupyter: tuple[str, str, Path], place: Path) -> None:
    name = f"unseen-{os.path.basename(place.parent.parent)}.ipynb"
    log, pid = place.parent.parent / "opened.log", place.parent.parent / "pid"
    write_notebook(
        jupyter[2] / name,
        WITNESS.format(name=place.name, log=str(log), pid=str(pid), place=str(place)),
        "print('\\n' * 200)",
    )
    open_lab(page, jupyter, name)
    assert page.evaluate(RUN_ALL) == []
    page.locator(".qp").scroll_into_view_if_needed()
    expect(page.locator(".qp-live")).to_have_text("live", timeout=30_000)
    queue, kernel = Queue(place), int(pid.read_text())

    def opened() -> int:
        return len(log.read_text())

    def has_open() -> bool:
        files = []
        for fd in os.listdir(f"/proc/{kernel}/fd"):
            try:
                files.append(os.readlink(f"/proc/{kernel}/fd/{fd}"))
            except OSError:
                continue
        return any(place.name in f for f in files)

    before = opened()
    queue.enqueue("true", id="seen")
    expect(page.locator(".qp tr[data-id=seen]")).to_be_visible(timeout=15_000)
    assert opened() > before and has_open()  # in sight: it looks

    hide = "(how) => { document.querySelector('.qp').closest('.jp-Cell').style.display = how; }"
    page.evaluate(hide, "none")
    until(lambda: not has_open())
    before, end = opened(), time.monotonic() + UNSEEN_S
    while time.monotonic() < end:
        queue.enqueue("true")
        page.wait_for_timeout(100)
        assert opened() == before and not has_open()
    page.evaluate(hide, "")
    expect(page.locator(".qp-live")).to_have_text("live", timeout=15_000)
    total = queue.status().counts["pending"]
    expect(page.locator(".qp").get_by_role("button", name=re.compile(f"^pending {total}"))).to_be_visible()
    assert opened() > before
    queue.close()


COUNT = """
import gc, json, os, threading
from ipywidgets.widgets import widget
from queuectl.panel.live import REFRESHER
gc.collect()
with open({to!r}, 'w') as out:
    json.dump([len(widget._instances), sorted(t.name for t in threading.enumerate() if 'queuectl' in t.name), threading.active_count(), REFRESHER.connections()], out)
"""


def test_fifty_runs_of_its_cell_leave_one_panel(
    page: Any, jupyter: tuple[str, str, Path], place: Path
) -> None:
    name = f"again-{os.path.basename(place.parent.parent)}.ipynb"
    to = place.parent.parent / "counts"
    write_notebook(
        jupyter[2] / name,
        f"from queuectl import Queue\nq = Queue({str(place)!r})\nq.enqueue('true')\nq.panel()",
        COUNT.format(to=str(to)),
    )
    open_lab(page, jupyter, name)
    assert page.evaluate(RUN_ALL) == []
    expect(page.locator(".qp-live")).to_have_text("live", timeout=30_000)

    def counted() -> list[Any]:
        page.evaluate(
            "async () => { const app = window.jupyterapp, w = app.shell.currentWidget; w.content.activeCellIndex = 1; await app.commands.execute('notebook:run-cell'); }"
        )
        return list(json.loads(to.read_text()))

    until(lambda: counted()[1::2] == [["queuectl-panel"], 1])
    before = counted()
    page.evaluate(
        "async () => { const app = window.jupyterapp, w = app.shell.currentWidget; for (let n = 0; n < 50; n++) { w.content.activeCellIndex = 0; await app.commands.execute('notebook:run-cell'); } }"
    )
    expect(page.locator(".qp")).to_have_count(1)
    expect(page.locator(".qp-live")).to_have_text("live", timeout=30_000)
    queue = Queue(place)
    assert queue.status().counts["pending"] == 51  # the cell did run fifty times
    assert counted() == before
    queue.enqueue("true", id="after")
    expect(page.locator(".qp tr[data-id=after]")).to_be_visible(timeout=15_000)
    queue.close()


IDLE_S = 12  # long enough for a busy machine to open the page and run its cells


@pytest.fixture(scope="module")
def impatient(home: Any) -> Iterator[tuple[str, str, Path]]:
    """A server that ends kernels which have been idle for some seconds, whoever is connected."""
    yield from serve(
        home,
        f"--MappingKernelManager.cull_idle_timeout={IDLE_S}",
        "--MappingKernelManager.cull_interval=1",
        "--MappingKernelManager.cull_connected=True",
    )


def test_a_panel_that_nobody_looks_at_lets_its_kernel_be_culled(
    page: Any, impatient: tuple[str, str, Path], place: Path
) -> None:
    base, token, folder = impatient
    name = f"cull-{os.path.basename(place.parent.parent)}.ipynb"
    write_notebook(
        folder / name,
        f"from queuectl import Queue\nq = Queue({str(place)!r})\nq.enqueue('true')\nq.panel()",
        "print('\\n' * 200)",
    )
    page.goto(f"{base}/lab/tree/{name}?token={token}&reset")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context")
    assert page.evaluate(RUN_ALL) == []
    page.locator(".qp").scroll_into_view_if_needed()
    expect(page.locator(".qp-live")).to_have_text("live", timeout=30_000)

    def kernels() -> list[dict[str, Any]]:
        return page.evaluate(
            "async (url) => await (await fetch(url)).json()", f"{base}/api/kernels?token={token}"
        )

    seen = set()
    until(
        lambda: seen.update(k["last_activity"] for k in kernels()) or len(seen) >= 3, 40
    )  # in view: it lives
    page.evaluate("() => { document.querySelector('.qp').closest('.jp-Cell').style.display = 'none'; }")
    until(lambda: kernels() == [], IDLE_S + 20)
