"""What all tests share: a fresh database, and the real command as a process."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import check_invariants, job_processes

from queuectl.queue import Queue

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # noqa: ARG001
    """In CI a test that is skipped has failed, unless it names another that holds the same and runs everywhere."""
    report = (yield).get_result()
    if (
        report.skipped
        and os.environ.get("CI")
        and not hasattr(report, "wasxfail")
        and not item.get_closest_marker("equivalent")
    ):
        report.outcome, report.longrepr = "failed", f"skipped, which is a failure in CI: {report.longrepr}"


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder / "queue.db"


@pytest.fixture
def q(place):
    queue = Queue(place)
    yield queue
    check_invariants(queue._store)
    queue.close()


@pytest.fixture
def start(place):
    """Start `queuectl worker …` as a real process; whatever is left of it is killed at the end."""
    started = []

    def _start(*words, env=None, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "worker", "--db", str(place), *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}, **options,
        )  # fmt: skip
        started.append(process)
        return process

    yield _start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(10)
        process.stdout.close()
    for pid in job_processes(place):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
