"""What all tests share: a fresh database, and the real command as a process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from queuectl.queue import Queue
from queuectl.store import Store

ROOT = Path(__file__).resolve().parent.parent


def await_true(condition, seconds=20.0, what="the condition"):
    """Wait until the condition holds and return its value; fail after a deadline."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true in {seconds} s")


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


def check_invariants(store: Store) -> None:
    """What must be true of every database at rest."""
    one = store.connection.rows
    assert one("pragma integrity_check") == [("ok",)]
    assert one("pragma foreign_key_check") == []
    assert store.jobs.counts() == store.jobs.recount()
    assert one("select id from jobs where state = 'processing' and worker_id not in (select id from workers)") == []
    assert one("select job from runs join jobs on seq = job where runs.run > jobs.runs") == []


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


def job_processes(place):
    """Pids of living processes that carry the cookie of a job of this database."""
    mark, found = f"QUEUECTL_DB={place}".encode(), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{name}/environ").read_bytes()
                state = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2][0]
                if b"QUEUECTL_RUN=" in text and mark in text and state not in "ZX":
                    found.append(int(name))
    return found


def runner_pid(queue):
    """The pid of the one runner that is registered."""
    return await_true(lambda: [w.pid for w in queue.workers()], what="a worker")[0]
