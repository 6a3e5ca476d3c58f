"""Chromium, offline; the panel's module alone in a blank page; and real Jupyter servers, each with an empty home.

Fixtures for other notebook tests: `page` (1280 x 900, aborts and records every request that leaves this machine),
`jupyter` (a server for JupyterLab and Notebook 7), `voila_of` (starts Voilà on a notebook), `open_notebook`, `run_all`.
Chromium is the system's (`$CHROMIUM`, else `chromium` on the path); it is never downloaded.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "panel")]

from browser_tools import (
    ARGS,
    BIN,
    BLANK,
    ROOT,
    RUN_ALL,
    SHOTS,
    STAND_IN,
    await_server,
    chromium,
    end_server,
    free_port,
    serve,
    state_of,
    theme_css,
    until,
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    found = chromium()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: install the system's package `chromium` or set CHROMIUM")
        pytest.skip("no Chromium on this machine (install the package `chromium` or set CHROMIUM)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=found, args=ARGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that cannot leave this machine: `page.left` lists what tried, `page.js_errors` what was thrown."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(30_000)
    opened = context.new_page()
    opened.js_errors, opened.left = [], []
    opened.on("pageerror", lambda e: opened.js_errors.append(str(e)))

    def gate(route: Any) -> None:
        if route.request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            route.continue_()
        else:
            opened.left.append(route.request.url)
            route.abort()

    context.route("**/*", gate)
    yield opened
    SHOTS.mkdir(parents=True, exist_ok=True)
    try:
        opened.screenshot(path=SHOTS / f"last-{request.node.name.replace('/', '-')[:80]}.png", timeout=5000)
    finally:
        context.close()


# --- the module alone -------------------------------------------------------------------------------------------------


@pytest.fixture
def mount(page: Any) -> Callable[..., Any]:
    """Show the panel in a blank page, on a stand-in model: fixed `state`, or bridged to a `controller`."""

    def show(
        state: dict[str, Any] | None = None,
        *,
        controller: Any = None,
        theme: str = "light",
        width: int = 1280,
        plain: bool = False,
    ) -> Any:
        from queuectl.panel.widget import source, style

        page.set_viewport_size({"width": width, "height": 900})
        body = BLANK.format(light=str(theme == "light").lower())
        page.route("http://127.0.0.1/panel", lambda r: r.fulfill(body=body, content_type="text/html"))
        page.goto("http://127.0.0.1/panel")
        fonts = "" if plain else theme_css(theme)
        page.add_style_tag(
            content=fonts
            + f"body {{ background: {'#fff' if theme == 'light' else '#111'}; margin: 12px }}\n"
            + style()
        )
        if controller is not None:

            def bridge(message: dict[str, Any]) -> dict[str, Any]:
                answer: dict[str, Any] = {"ok": True}
                if message["kind"] == "picked":
                    controller.picked, controller.picked_all = message["ids"], message["all"]
                else:
                    answer = controller.handle(message)
                return {"answer": answer, "state": state_of(controller)}

            page.expose_function("bridge", bridge)
            state = state_of(controller)
        page.evaluate(STAND_IN, state)
        page.evaluate(
            "async (src) => { const m = await import('data:text/javascript;charset=utf-8,' + encodeURIComponent(src)); window.off = m.default.render({ model: window.model, el: document.getElementById('r') }); }",
            source(),
        )
        page.locator(".qp").wait_for()
        return page.locator(".qp")

    return show


@pytest.fixture
def axe(page: Any) -> Callable[..., list[str]]:
    """Run axe-core on the panel; return what it complains about."""
    import axe_playwright_python

    script = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

    def run(where: str = ".qp") -> list[str]:
        page.evaluate(script + ";1")
        found = page.evaluate(
            "async (where) => (await axe.run(where)).violations.map((v) => ({ id: v.id, nodes: v.nodes.slice(0, 4).map((n) => n.html + ' ' + n.failureSummary) }))",
            where,
        )
        return [f"{v['id']}: {n}" for v in found for n in v["nodes"]]

    return run


# --- real servers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """An environment with an empty Jupyter home, and that folder: nobody's own settings play a part."""
    folder = tmp_path_factory.mktemp("jupyter")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "QUEUECTL"))}
    for variable, name in {
        "HOME": "home", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "MPLCONFIGDIR": "mpl",
    }.items():  # fmt: skip
        (folder / name).mkdir()
        env[variable] = str(folder / name)
    (folder / "notebooks").mkdir()
    env |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE.parent / "panel")]),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "JUPYTER_PLATFORM_DIRS": "1",
    }
    quiet = folder / "settings/@jupyterlab/apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    (folder / "config/labconfig").mkdir()
    (folder / "config/labconfig/page_config.json").write_text(
        json.dumps({"buildCheck": False, "buildAvailable": False})
    )
    return env, folder


@pytest.fixture(scope="session")
def jupyter(home: tuple[dict[str, str], Path]) -> Iterator[tuple[str, str, Path]]:
    """A Jupyter server for JupyterLab (`/lab`) and Notebook 7 (`/notebooks`): its address, its token, its notebooks' folder."""
    yield from serve(home)


@pytest.fixture
def voila_of(home: tuple[dict[str, str], Path]) -> Iterator[Callable[..., str]]:
    """Start Voilà on a notebook; return its address. Never ask it for `/` to see whether it is up: each answer starts a kernel."""
    env, folder = home
    started: list[subprocess.Popen[bytes]] = []

    def start(notebook: Path, *options: str) -> str:
        port, log = free_port(), folder / f"voila-{len(started)}.log"
        command = [
            str(BIN / "voila"),
            str(notebook),
            "--no-browser",
            "--Voila.ip=127.0.0.1",
            f"--port={port}",
            "--show_tracebacks=True",
            *options,
        ]
        process = subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started.append(process)

        def ready() -> bool:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True

        await_server(ready, process, log)
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        end_server(process)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A database of this test's own; whatever workers are left at its end are stopped."""
    path = tmp_path / "data" / "queue.db"
    yield path
    if path.exists():
        from queuectl.queue import Queue

        queue = Queue(path)
        queue.stop_workers(now=True)
        until(lambda: not queue.workers())
        queue.close()


@pytest.fixture
def open_notebook(page: Any, jupyter: tuple[str, str, Path]) -> Callable[..., None]:
    """Open a notebook of the server's folder in `lab` or `notebook`, wait for its kernel, run it all."""

    def go(name: str, app: str = "lab", *, run: bool = True) -> None:
        base, token, _ = jupyter
        page.goto(
            f"{base}/{'lab/tree' if app == 'lab' else 'notebooks'}/{name}?token={token}"
            + ("&reset" if app == "lab" else "")
        )
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context")
        if run:
            assert (
                page.evaluate(RUN_ALL) == []
            )  # the toolbar's "idle" shows before the kernel is connected: wait as RUN_ALL does

    return go
