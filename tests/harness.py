"""Tools of the tests: waiting, looking for what jobs left behind, and what must be true of every database."""

import contextlib
import os
import time
from pathlib import Path

from queuectl.lifecycle import Claimed
from queuectl.store import Store


def size(quick, full):
    """How often a test does what it does: in every run, and in the full suite (`scripts/soak --tests`)."""
    return full if os.environ.get("QUEUECTL_FULL") else quick


def await_true(condition, seconds=20.0, what="the condition"):
    """Wait until the condition holds and return its value; fail after a deadline."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true in {seconds} s")


# Each must find nothing. What CHECK constraints and unique indexes forbid need not be asked again.
FORBIDDEN = {
    "a running job whose worker has no row": "select id from jobs where state = 'processing' and worker_id not in (select id from workers)",
    "a recorded run that never started": "select job from runs join jobs on seq = job where runs.run > jobs.runs",
    "an end recorded while it runs": "select id from jobs join runs on job = seq and run = runs where state = 'processing'",
    "an output without its run": "select job from outputs where not exists (select 1 from runs where runs.job = outputs.job and runs.run = outputs.run)",
    "a back-off without a failure": "select id from jobs where state = 'failed' and outcome not in ('failed', 'timeout', 'killed', 'spawn')",
    "a blocked job that waits for nothing": "select id from jobs where state = 'blocked' and not exists (select 1 from dependencies where child = seq and met = 0)",
    "a job that did not wait": "select id from jobs where state not in ('blocked', 'cancelled') and exists (select 1 from dependencies where child = seq and met = 0)",
    "a counter below zero": "select * from counters where n < 0",
}


def claimed(command, **changes):
    """A job as an executor gets it."""
    base = Claimed(1, "j", 1, command, "default", 0, 0, 3, 0, None, 10_000, None, "fixed", 1.0, 1000, 0.0, None, None, 0, "/", None)  # fmt: skip
    return base._replace(**changes)


def ended(executor):
    """How the run ended that an executor has."""
    done = []
    await_true(lambda: done.extend(executor.poll()) or done, what="the end of the run")
    return done[0].ended


def check_invariants(store: Store) -> None:
    """What must be true of every database at rest."""
    one = store.connection.rows
    assert one("pragma integrity_check") == [("ok",)]
    assert one("pragma foreign_key_check") == []
    assert store.jobs.counts() == store.jobs.recount()
    by_lane = "select queue, limit_key, state, {} from {} group by queue, limit_key, state order by 1, 2, 3"
    assert one(by_lane.format("sum(n)", "counters where n > 0")) == one(by_lane.format("count(*)", "jobs"))
    for what, query in FORBIDDEN.items():
        assert one(query) == [], what


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
