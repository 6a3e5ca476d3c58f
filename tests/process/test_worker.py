"""Workers as people use them: drained, stopped, interrupted, limited, in the background."""

import os
import signal
import subprocess
import sys
import time

import pytest
from harness import await_true, job_processes, runner_pid

from queuectl.model import State

pytestmark = pytest.mark.process


def test_every_job_runs_and_every_run_is_recorded(q, start):
    q.enqueue_many(["true"] * 300 + ["echo out; echo err >&2"] * 20)
    assert start("-c", "4", "--drain").wait(60) == 0
    assert q.status().counts[State.COMPLETED] == 320
    assert q._store.connection.rows("select count(*), min(run), max(run) from runs") == [(320, 1, 1)]
    last = q.list(limit=1)[0]
    assert b"".join(q.logs(last.id)) == b"out\n"
    assert b"".join(q.logs(last.id, stderr=True)) == b"err\n"


def test_failures_are_retried_with_backoff_and_then_dead(q, start):
    q.config.set("backoff-base", "1")
    job = q.enqueue("echo broken >&2; exit 7", max_retries=2)
    assert start("--drain").wait(60) == 0
    found = q.show(job.id)
    assert (found.job.state, found.job.attempts, found.job.exit_code, found.job.reason) == (
        State.DEAD,
        2,
        7,
        "exit status 7",
    )
    assert found.job.error == "broken"
    assert q.dlq.retry(job.id).notes == (f"Job {job.id} has been requeued with max_retries = 2",)
    assert q.show(job.id).job.attempts == 0


def test_a_job_that_a_grandchild_outlives_ends_with_its_command(q, start):
    job = q.enqueue("sleep 1000 & setsid sleep 1000 & echo hi")
    assert start("--drain").wait(30) == 0
    assert q.show(job.id).job.state is State.COMPLETED
    assert b"".join(q.logs(job.id)) == b"hi\n"
    assert job_processes(q.path) == []


def test_a_timeout_ends_the_whole_tree(q, start):
    job = q.enqueue(
        "trap '' TERM; setsid sleep 1000 & while :; do sleep 1; done",
        timeout=0.5,
        kill_after=0.5,
        max_retries=1,
    )
    assert start("--drain").wait(30) == 0
    assert q.show(job.id).job.reason == "timed out after 0.5 s (attempt 1 of 1)"
    assert job_processes(q.path) == []


def test_an_idle_worker_picks_up_what_another_process_enqueues(q, start):
    start("-s", "60")
    runner_pid(q)
    job = q.enqueue("true")
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, 5, "the job")


def test_term_gives_a_long_job_back_after_the_grace(q, start):
    q.config.set("stop-grace", "0.5")
    job = q.enqueue("sleep 1000")
    worker = start()
    await_true(lambda: job_processes(q.path), what="the job")
    worker.terminate()
    assert worker.wait(10) == 0
    assert (q.show(job.id).job.state, q.show(job.id).job.attempts) == (State.PENDING, 0)
    assert job_processes(q.path) == []


def test_a_second_signal_leaves_at_once(q, start):
    job = q.enqueue("sleep 1000")
    worker = start()
    await_true(lambda: job_processes(q.path), what="the job")
    worker.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two signals, not one that arrives twice
    worker.send_signal(signal.SIGINT)
    assert worker.wait(5) == 0
    assert q.show(job.id).job.state is State.PENDING


def test_stop_waits_for_running_jobs_and_spares_workers_started_later(q, start, tmp_path):
    gate = tmp_path / "gate"
    job = q.enqueue(f"while ! test -e {gate}; do sleep 0.02; done")
    first = start()
    await_true(lambda: job_processes(q.path), what="the job")
    q.worker(stop=True)
    second = start()
    await_true(lambda: len(q.workers()) == 2, what="the second worker")
    other = q.enqueue("true")
    await_true(lambda: q.show(other.id).job.state is State.COMPLETED, what="the second worker's job")
    assert first.poll() is None
    gate.touch()
    assert first.wait(10) == 0
    assert second.poll() is None
    assert q.show(job.id).job.state is State.COMPLETED


def test_stop_now_gives_running_jobs_back(q, start):
    job = q.enqueue("sleep 1000")
    worker = start()
    await_true(lambda: job_processes(q.path), what="the job")
    q.worker(stop=True, now=True)
    assert worker.wait(10) == 0
    assert (q.show(job.id).job.state, q.show(job.id).job.attempts) == (State.PENDING, 0)


def test_a_limit_is_jobs_per_worker(q, start):
    q.enqueue_many(["true"] * 10)
    assert start("-c", "2", "-l", "3").wait(20) == 0
    counts = q.status().counts
    assert (counts[State.COMPLETED], counts[State.PENDING]) == (6, 4)


def test_a_running_job_can_be_cancelled(q, start):
    job = q.enqueue("setsid sleep 1000 & sleep 1000")
    start()
    await_true(lambda: len(job_processes(q.path)) >= 2, what="the job")
    q.cancel(job.id)
    await_true(lambda: q.show(job.id).job.state is State.CANCELLED, what="the cancel")
    assert job_processes(q.path) == []


def test_large_output_becomes_a_file_and_a_huge_one_keeps_head_and_tail(q, start):
    q.config.set("output-cap", "1M")
    big = q.enqueue("seq 100000")
    huge = q.enqueue("seq 1000000")
    assert start("--drain").wait(60) == 0
    whole = b"".join(q.logs(big.id))
    assert (whole.count(b"\n"), whole[-7:]) == (100000, b"100000\n")
    kept = b"".join(q.logs(huge.id))
    assert len(kept) <= 1 << 20
    assert kept.startswith(b"1\n2\n") and kept.endswith(b"1000000\n") and b"bytes left out" in kept
    assert q.show(huge.id).runs[0].stdout_bytes == 6888896


def test_backg_roundworkers_outlive_their_starter_and_stop_when_told(q):
    with q.workers_running(2) as workers:
        assert len(workers) == 2
        assert os.getsid(workers[0].pid) != os.getsid(0)
        job = q.enqueue("true")
        assert q.wait(job.id, timeout=10)
    assert q.workers() == []


def test_a_result_written_by_the_job_is_kept(q, start):
    job = q.enqueue('echo \'{"loss": 0.5}\' > "$QUEUECTL_RESULT"')
    assert start("--drain").wait(20) == 0
    assert q.show(job.id).as_dict()["result"] == {"loss": 0.5}


def test_a_jobs_output_is_printed_byte_for_byte_into_a_pipe(q, start):
    job = q.enqueue(r"printf 'a\033[31mb\377\n'")
    assert start("--drain").wait(20) == 0
    out = subprocess.run(
        [sys.executable, "-m", "queuectl", "logs", job.id, "--db", q.path], capture_output=True, check=True
    )
    assert out.stdout == b"a\x1b[31mb\xff\n"


def test_jobs_claimed_ahead_are_given_back_when_the_one_before_them_turns_out_long(q, start):
    q.enqueue_many(["true"] * 60 + ["sleep 1000"] + ["true"] * 20)
    start()
    await_true(lambda: q.status().counts[State.COMPLETED] == 60, what="the short jobs")
    await_true(lambda: q.status().counts[State.PENDING] == 20, what="the jobs behind the long one")
    start("-l", "20").wait(30)
    assert q.status().counts[State.COMPLETED] == 80
    assert all(job.runs == 1 for job in q.list(state="completed"))


def test_one_of_several_workers_can_be_stopped_and_its_row_goes_with_it(q, start, tmp_path):
    gate = tmp_path / "gate"
    q.enqueue_many([f"while ! test -e {gate}; do sleep 0.02; done"] * 2)
    start("-c", "2")
    await_true(lambda: q.status().counts[State.PROCESSING] == 2, what="two running jobs")
    first, second = (w.id for w in q.workers())
    q.stop_workers(first)
    gate.touch()
    await_true(lambda: [w.id for w in q.workers()] == [second], what="one worker less")
    job = q.enqueue("true")
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, what="a job of the worker that is left")
    assert q.show(job.id).runs[0].worker_id == second


def test_a_draining_worker_hears_of_a_job_while_it_waits_for_a_long_one(q, start):
    """It begins to listen late: what comes before it does, and after, must reach it all the same."""
    blocker = q.enqueue("while [ ! -e go ]; do sleep 0.05; done", cwd=os.path.dirname(q.path))
    draining = start("-c", "2", "--drain", "-s", "600")
    await_true(lambda: q.show(blocker.id).job.state is State.PROCESSING, 20, "the long job")
    for n in range(4):
        job = q.enqueue(f"echo {n}")
        await_true(lambda job=job: q.show(job.id).job.state is State.COMPLETED, 20, f"job {n}")
        time.sleep(0.06)  # so that some come before it listens and some after
    assert q.show(blocker.id).job.state is State.PROCESSING
    open(os.path.join(os.path.dirname(q.path), "go"), "w").close()
    assert draining.wait(30) == 0
