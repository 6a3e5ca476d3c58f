"""What the browser's fixtures and tests share: the stand-in for a widget's model, real servers, notebooks."""

from __future__ import annotations

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

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SHOTS = Path(os.environ.get("QUEUECTL_SHOTS") or ROOT / "tests" / "artifacts" / "shots")
BIN = Path(sys.executable).parent
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--font-render-hinting=none",
]  # fmt: skip


def chromium() -> str | None:
    """Return the path of the system's Chromium."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


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


def state_of(controller: Any) -> dict[str, Any]:
    """Return what the widget's traits would hold."""
    return {
        "head": controller.head, "body": controller.body, "detail": controller.detail, "output": controller.log, "notice": controller.notice,
        "view": controller.view.as_dict(), "picked": controller.picked, "picked_all": controller.picked_all,
    }  # fmt: skip


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_server(
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


def end_server(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()  # a Jupyter server shuts its kernels down on TERM
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


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
        await_server(ready, process, log)
        yield base, token, folder / "notebooks"
    finally:
        end_server(process)


RUN_ALL = """async () => {
  const app = window.jupyterapp, w = app.shell.currentWidget;
  await app.restored; await w.context.ready; await w.sessionContext.ready; await w.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells');
  return [...w.content.model.cells].filter((c) => c.type === 'code').flatMap((c) => c.outputs.toJSON().filter((o) => o.output_type === 'error').map((o) => o.ename + ': ' + o.evalue));
}"""


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    import nbformat

    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    book.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(book, path)


def until(what: Callable[[], Any], deadline_s: float = 20) -> None:
    """Wait until something is so; fail after the deadline."""
    end = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
