"""Real kernels, each with an empty home of its own."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


class Cells:
    """A kernel that runs cells; what they printed, showed or raised comes back as text."""

    def __init__(self, manager, client):
        self.manager, self.client = manager, client

    def send(self, code):
        """Start a cell and return at once."""
        return self.client.execute(code)

    def run(self, code, *, timeout=60):
        """Run a cell; return (status, what it printed, what it showed, its traceback)."""
        printed, shown, trace = [], {}, []

        def take(message):
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    printed.append(content["text"])
                case "execute_result" | "display_data":
                    shown.update(content["data"])
                case "error":
                    trace.extend(content["traceback"])

        reply = self.client.execute_interactive(code, output_hook=take, timeout=timeout, store_history=False)
        return reply["content"]["status"], "".join(printed), shown, trace

    def interrupt(self):
        self.manager.interrupt_kernel()

    def restart(self):
        self.manager.restart_kernel(now=False)
        self.client.wait_for_ready(timeout=60)

    def shutdown(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)


@pytest.fixture(scope="session")
def kernel_env(tmp_path_factory):
    """An environment with an empty Jupyter home, and the marks that front ends leave in it."""
    folder = tmp_path_factory.mktemp("kernel")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "QUEUECTL"))}
    env |= {n: str(folder) for n in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")}  # fmt: skip
    return env | {
        "PYTHONPATH": str(ROOT),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "JPY_SESSION_NAME": "x.ipynb",
    }


@pytest.fixture
def kernel(kernel_env):
    """A real kernel; shut down at the end, if the test has not done so."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(transport="ipc")
    manager.start_kernel(env=kernel_env)
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield Cells(manager, client)
    client.stop_channels()
    if manager.is_alive():
        manager.shutdown_kernel(now=True)
