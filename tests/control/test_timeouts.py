"""Time limits: from the spawn, for each run, TERM to the whole tree, KILL later, also when the leader has gone; and the warning before."""

import signal
import subprocess
import sys

import pytest
from harness import job_processes

from queuectl import processes
from queuectl.model import Outcome, State

pytestmark = pytest.mark.process


def test_each_run_has_its_own_limit_and_says_which_attempt_it_was(q, start):
    q.config.set("backoff-base", "1")
    job = q.enqueue("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done", timeout=0.4, max_retries=2)
    assert start("--drain").wait(30) == 0
    found = q.show(job.id)
    # One that ends well when told to end has timed out all the same.
    assert [(r.outcome, r.reason, r.exit_code) for r in found.runs] == [
        (Outcome.TIMEOUT, "timed out after 0.4 s (attempt 1 of 2)", 0),
        (Outcome.TIMEOUT, "timed out after 0.4 s (attempt 2 of 2)", 0),
    ]
    assert (found.job.state, found.job.outcome, found.job.timed_out) == (State.DEAD, Outcome.TIMEOUT, True)
    assert b"".join(q.logs(job.id)) == b"bye\n"
    assert all(r.duration_ms >= 400 for r in found.runs)


def test_waiting_in_line_does_not_count(q, start):
    first, second = q.enqueue("sleep 1.2"), q.enqueue("true", timeout=0.5)
    assert start("--drain").wait(30) == 0
    assert [q.show(j.id).job.state for j in (first, second)] == [State.COMPLETED] * 2


def test_a_child_that_will_not_go_has_the_time_until_kill_though_its_leader_has_gone(q, start, tmp_path):
    child = f"trap '' TERM; while :; do kill -0 $LEADER 2>/dev/null || echo alone >> {tmp_path}/said; sleep 0.02; done"
    job = q.enqueue(
        f'export LEADER=$$; setsid sh -c "{child}" & wait', timeout=0.4, kill_after=0.8, max_retries=1
    )
    assert start("--drain").wait(30) == 0
    assert q.show(job.id).job.outcome is Outcome.TIMEOUT
    assert "alone" in (tmp_path / "said").read_text()
    assert job_processes(q.path) == []


def test_children_may_be_kept_by_a_command_that_has_ended_but_not_by_one_that_was_ended(q, start):
    stubborn = "setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" & wait"
    ended = q.enqueue(stubborn, timeout=0.4, kill_after=0.3, max_retries=1, keep_children=True)
    kept = q.enqueue("setsid sleep 1000 & exit 0", timeout=5, keep_children=True)
    start("-s", "60")
    assert q.wait(kept.id, timeout=15)
    assert q.show(ended.id).job.outcome is Outcome.TIMEOUT
    assert len(job_processes(q.path)) == 1


def test_no_patience_is_kill_at_once(q, start):
    job = q.enqueue(
        "trap 'sleep 100' TERM; while :; do sleep 0.05; done", timeout=0.3, kill_after=0, max_retries=1
    )
    assert start("--drain").wait(30) == 0
    assert (q.show(job.id).job.outcome, q.show(job.id).job.signal) == (Outcome.TIMEOUT, signal.SIGKILL)


def test_a_warning_reaches_those_that_listen_for_it_and_kills_nobody(q, start):
    # The shell above does not catch USR1, of which it would die, and with it the run.
    saves = "sh -c 'trap \"echo saved; exit 0\" USR1; while :; do sleep 0.05; done'; echo after"
    listens = q.enqueue(saves, timeout=20, warn="USR1,19.5")
    deaf = q.enqueue("sleep 1000", timeout=0.6, warn="USR1,0.3", kill_after=1, max_retries=1)
    assert start("-c", "2", "--drain").wait(30) == 0
    assert q.show(listens.id).job.state is State.COMPLETED
    assert b"".join(q.logs(listens.id)) == b"saved\nafter\n"
    assert q.show(deaf.id).job.reason == "timed out after 0.6 s (attempt 1 of 1)"


def test_a_long_job_is_not_taken_from_its_worker_for_being_long(q, start):
    q.config.set("lease", "500ms")
    job = q.enqueue("sleep 2")
    workers = [start("-s", "0.1", "--drain") for _ in range(2)]
    assert [w.wait(30) for w in workers] == [0, 0]
    assert (q.show(job.id).job.state, q.show(job.id).job.runs) == (State.COMPLETED, 1)


def test_a_limit_of_the_queue_and_of_config_ends_a_run_like_the_jobs_own(q, start):
    q.config.set("timeout", "0.6")
    q.queue.set("quick", "timeout", "0.3")
    jobs = [q.enqueue("sleep 1000", max_retries=1), q.enqueue("sleep 1000", queue="quick", max_retries=1)]
    assert start("-c", "2", "--drain").wait(30) == 0
    assert [q.show(j.id).job.reason for j in jobs] == [
        f"timed out after {s} s (attempt 1 of 1)" for s in ("0.6", "0.3")
    ]


def test_who_catches_a_signal_is_known():
    code = "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: 0); print('on', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert processes.catches(child.pid, signal.SIGUSR1)
        assert not processes.catches(child.pid, signal.SIGUSR2)
        child.kill()
    assert not processes.catches(child.pid, signal.SIGUSR1)
