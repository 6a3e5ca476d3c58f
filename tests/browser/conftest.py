"""Chromium, offline; the panel's module alone in a blank page; and real Jupyter servers, each with an empty home.

Fixtures for other notebook tests: `page` (1280 x 900, aborts and records every request that leaves this machine),
`jupyter` (a server for JupyterLab and Notebook 7), `voila_of` (starts Voilà on a notebook), `open_notebook`, `run_all`.
Chromium is the system's (`$CHROMIUM`, else `chromium` on the path); it is never downloaded.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent / "panel")]
SHOTS = Path(os.environ.get("QUEUECTL_SHOTS") or ROOT / "tests" / "artifacts" / "shots")
BIN = Path(sys.executable).parent
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--font-render-hinting=none",
]  # fmt: skip


def chromium() -> str | None:
    """Return the path of the system's Chromium."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


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

STAND_IN = """(state) => {
  const heard = {};
  window.sent = [];
  const say = (event, ...args) => (heard[event] || []).slice().forEach((f) => f(...args));
  const take = (next) => { for (const [k, v] of Object.entries(next)) if (JSON.stringify(state[k]) !== JSON.stringify(v)) { state[k] = v; say('change:' + k); } };
  window.take = take;
  window.listeners = () => Object.values(heard).reduce((n, l) => n + l.length, 0);
  window.model = {
    get: (k) => state[k], set: (k, v) => take({ [k]: v }),
    save_changes: () => window.bridge?.({ kind: 'picked', ids: state.picked, all: state.picked_all }),
    on: (e, f) => (heard[e] ||= []).push(f), off: (e, f) => { heard[e] = (heard[e] || []).filter((g) => g !== f); },
    send: async (m) => { window.sent.push(m); if (!window.bridge) return; const { answer, state: next } = await window.bridge(m); take(next); say('msg:custom', { kind: 'reply', ...answer }); },
  };
}"""
BLANK = "<!doctype html><html lang=en><head><title>panel</title></head><body data-jp-theme-light={light}><main><div id=r></div></main></body></html>"


def theme_css(theme: str) -> str:
    """Return JupyterLab's own variables, as installed here; '' where it is not."""
    found = BIN.parent / f"share/jupyter/lab/themes/@jupyterlab/theme-{theme}-extension/index.css"
    return found.read_text() if found.exists() else ""


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


def state_of(controller: Any) -> dict[str, Any]:
    """Return what the widget's traits would hold."""
    return {
        "head": controller.head, "body": controller.body, "detail": controller.detail, "output": controller.log, "notice": controller.notice,
        "view": controller.view.as_dict(), "picked": controller.picked, "picked_all": controller.picked_all,
    }  # fmt: skip


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


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, *, deadline_s: float = 90
) -> None:
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the server did not answer in {deadline_s:g} s:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()  # a Jupyter server shuts its kernels down on TERM
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


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


def serve(home: tuple[dict[str, str], Path], *options: str) -> Iterator[tuple[str, str, Path]]:
    """Run a Jupyter server with some more options."""
    env, folder = home
    port, token = free_port(), secrets.token_hex(16)
    log = folder / f"jupyter-{port}.log"
    command = [
        str(BIN / "jupyter"), "lab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder / 'notebooks'}", "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", *options,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=env, cwd=folder, stdout=log.open("wb"), stderr=subprocess.STDOUT, start_new_session=True
    )
    base = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        with urllib.request.urlopen(f"{base}/api/status?token={token}", timeout=2) as answer:
            return bool(answer.status == 200)

    try:
        _await(ready, process, log)
        yield base, token, folder / "notebooks"
    finally:
        _end(process)


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

        _await(ready, process, log)
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        _end(process)


RUN_ALL = """async () => {
  const app = window.jupyterapp, w = app.shell.currentWidget;
  await app.restored; await w.context.ready; await w.sessionContext.ready; await w.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells');
  return [...w.content.model.cells].filter((c) => c.type === 'code').flatMap((c) => c.outputs.toJSON().filter((o) => o.output_type === 'error').map((o) => o.ename + ': ' + o.evalue));
}"""


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


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    import nbformat

    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    book.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(book, path)
