"""A runner of short jobs claims ahead; what it has not started when it stops is given back without a mark."""

import pytest
from harness import await_true

from queuectl.model import State

pytestmark = pytest.mark.process


def test_what_was_claimed_ahead_is_pending_again_after_a_stop(q, start):
    q.enqueue_many(["true"] * 3000)
    worker = start("-c", "2", "-s", "1")
    await_true(lambda: q._store.jobs.counts()[State.COMPLETED] > 100, what="some of the jobs")
    q.worker(stop=True)
    assert worker.wait(20) == 0
    counts = q._store.jobs.counts()
    assert counts[State.PENDING] > 0
    assert counts[State.PENDING] + counts[State.COMPLETED] == 3000
    assert q._store.connection.rows(
        "select count(*) from jobs where state = 'pending' and (runs or interruptions)"
    ) == [(0,)]


def test_a_long_job_claimed_ahead_does_not_start_when_all_is_stopped_now(q, start, tmp_path):
    q.enqueue_many(["true"] * 60)  # short jobs make a runner claim ahead
    worker = start("-s", "1")
    await_true(lambda: q._store.jobs.counts()[State.COMPLETED] == 60, what="the short jobs")
    first, second = q.enqueue_many(
        [f"touch {tmp_path}/first; sleep 1", f"touch {tmp_path}/second; sleep 1000"]
    )
    await_true(lambda: (tmp_path / "first").exists(), what="the first job")
    q.worker(stop=True, now=True)
    assert worker.wait(20) == 0
    assert [q.show(j.id).job.state for j in (first, second)] == [State.PENDING] * 2
    assert not (tmp_path / "second").exists()
