"""A runner killed when a job had ended and its end was not yet written."""

import os
import signal

import pytest
from harness import await_true, runner_pid

from queuectl.model import State

pytestmark = pytest.mark.process


def test_a_run_that_ended_unrecorded_is_a_run_although_its_slot_has_gone_on(q, start, tmp_path):
    # The lock that a writer holds keeps the runner from recording the first end while the slot takes the second job.
    seen = tmp_path / "seen"
    q.enqueue_many(["true"] * 60)  # short jobs make a runner claim ahead
    start("-s", "1")
    await_true(lambda: q.status().counts[State.COMPLETED] == 60, what="the short jobs")
    first, second = q.enqueue_many(
        f"echo $QUEUECTL_RUN >> {seen}; test -e {tmp_path}/go || sleep {s}" for s in (0.1, 1000)
    )
    runner = runner_pid(q)
    await_true(lambda: seen.exists() and seen.read_text(), what="the first job")
    with q._store.write():
        await_true(
            lambda: q._store.jobs.counts()[State.PROCESSING] == 2 and len(seen.read_text().split()) == 2,
            what="the second",
        )
        os.kill(runner, signal.SIGKILL)
        (tmp_path / "go").touch()
    for job in (first, second):
        await_true(lambda job=job: q.show(job.id).job.state is State.COMPLETED, what="both jobs")
    assert sorted(seen.read_text().split()) == sorted(f"{j.id}.{n}" for j in (first, second) for n in (1, 2))
    assert [r.outcome for r in q.show(first.id).runs] == ["lost", "ok"]
