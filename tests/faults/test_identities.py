"""Who is dead is found out by facts: the process, its start, the boot, the clock of this boot; never by a number alone."""

import os
import signal
import subprocess

import pytest
from harness import await_true

from queuectl import processes
from queuectl.model import State
from queuectl.recovery import is_dead, recover
from queuectl.store.workers import Runner

HOUR_MS = 3_600_000


@pytest.fixture
def stranger():
    """A process that has nothing to do with queuectl."""
    process = subprocess.Popen(["sleep", "900"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def lives(process):
    """Whether a process lives, and has not just been killed either."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    return True


def claimed(q, **identity):
    """A job that runs under a runner of this identity, by default a live one: ourselves."""
    me = {
        "id": "r1", "host": processes.host(), "boot_id": processes.boot_id(), "pid": os.getpid(),
        "pid_start": processes.start_ticks(os.getpid()), "beat_mono_ms": processes.mono_ms(),
    }  # fmt: skip
    job, store = q.enqueue("true"), q._store
    with store.write():
        store.workers.register(["w1"], Runner(**(me | identity)), queues=None, now_ms=processes.now_ms())
        store.line.claim("w1", 1, queues=None, now_ms=processes.now_ms())
    return job


def recovered(q):
    return recover(q._store, me="r2", boot_id=processes.boot_id())


def test_a_pid_that_was_given_to_a_stranger_is_neither_trusted_nor_killed(q, stranger):
    start = processes.start_ticks(stranger.pid)
    job = claimed(q, pid=stranger.pid, pid_start=start - 100)
    assert recovered(q) == 1
    assert q.show(job.id).job.state is State.PENDING
    found = processes.read(stranger.pid)
    processes.kill({stranger.pid}, signal.SIGKILL, {stranger.pid: found._replace(start=start - 100)})
    assert lives(stranger)


def test_a_job_is_requeued_only_when_its_old_tree_is_dead(q):
    gone = subprocess.Popen(["true"])
    gone.wait()
    job = claimed(q, pid=gone.pid, pid_start=1)
    env = {"QUEUECTL_RUN": f"{job.id}.1", "QUEUECTL_WORKER_ID": "w1", "PATH": os.environ["PATH"]}
    tree = subprocess.Popen(["setsid", "sleep", "900"], env=env)
    await_true(lambda: processes.cookies(tree.pid) == (f"{job.id}.1", "w1"), what="the mark of the job")
    alive = []  # at the moment of the requeue, which nobody can see yet
    assert (
        recover(q._store, me="r2", boot_id=processes.boot_id(), tell=lambda _: alive.append(tree.poll())) == 1
    )
    tree.kill()
    tree.wait()
    assert alive == [-signal.SIGKILL]


def test_after_a_restart_of_the_machine_nothing_is_waited_for_and_no_pid_is_killed(q, stranger):
    job = claimed(
        q, pid=stranger.pid, pid_start=processes.start_ticks(stranger.pid), boot_id="another boot", beat_mono_ms=1 << 60
    )  # fmt: skip
    assert recovered(q) == 1
    found = q.show(job.id).job
    assert (found.state, found.interruptions) == (State.PENDING, 0)
    assert found.reason == "interrupted: the machine restarted"
    assert lives(stranger)


def test_a_machine_that_slept_has_lost_no_worker(q, stranger, monkeypatch):
    job = claimed(q, pid=stranger.pid, pid_start=processes.start_ticks(stranger.pid))
    real = processes.now_ms
    monkeypatch.setattr(processes, "now_ms", lambda: real() + 8 * HOUR_MS)  # the monotonic clock stood still
    assert recovered(q) == 0
    assert q.show(job.id).job.state is State.PROCESSING
    monkeypatch.undo()
    settle_all(q)


def settle_all(q):
    with q._store.write():
        q._store.line.give_back(
            q._store.connection.rows("select seq, runs from jobs where state = 'processing'"),
            now_ms=processes.now_ms(),
        )


@pytest.mark.parametrize(("silent_ms", "dead"), [(29_000, False), (31_000, True)])
def test_a_live_process_counts_as_frozen_after_a_lease_of_silence(silent_ms, dead):
    me = Runner("r", processes.host(), "b", os.getpid(), processes.start_ticks(os.getpid()), 100)
    assert is_dead(me, host=processes.host(), boot_id="b", lease_ms=30_000, mono_ms=100 + silent_ms) is dead


@pytest.mark.parametrize(("silent_ms", "dead"), [(5_000, False), (31_000, True)])
def test_a_worker_of_another_container_is_judged_by_its_silence_not_by_our_pids(silent_ms, dead):
    # Containers on one machine share its boot id, but number their processes each for itself.
    other = Runner("r", "another-container", "b", 2**22 + 1, 5, 100)
    assert (
        is_dead(other, host=processes.host(), boot_id="b", lease_ms=30_000, mono_ms=100 + silent_ms) is dead
    )


@pytest.mark.parametrize("jump", [-24 * HOUR_MS, 24 * HOUR_MS])
def test_a_jump_of_the_wall_clock_moves_no_retry(q, jump):
    job, line = claimed(q), q._store.line
    wall, mono = processes.now_ms(), processes.mono_ms()
    with q._store.write() as sql:
        sql.execute(
            "update jobs set state = 'failed', attempts = 1, worker_id = null, run_at_ms = ?, due_mono_ms = ?",
            (wall + 2000, mono + 2000),
        )
        assert line.promote(now_ms=wall + jump, mono_ms=mono + 1999) == []
        assert [i for i, _, _ in line.promote(now_ms=wall + jump, mono_ms=mono + 2000)] == [job.id]
        assert line.promote(now_ms=wall + jump, mono_ms=mono + 2001) == []


def test_a_retry_never_comes_early(q, start):
    job = q.enqueue("test $QUEUECTL_ATTEMPT = 2", backoff="fixed", backoff_base=1)
    assert start("--drain").wait(30) == 0
    first, second = q.show(job.id).runs
    assert second.started_at_ms - first.finished_at_ms >= 990  # the two clocks are read a moment apart


def test_a_restart_of_the_machine_keeps_what_is_left_of_a_back_off(q):
    claimed(q)
    wall = processes.now_ms()
    with q._store.write() as sql:
        q._store.line.rebase("this boot", now_ms=wall, mono_ms=5)
        sql.execute(
            "update jobs set state = 'failed', attempts = 1, worker_id = null, run_at_ms = ?, due_mono_ms = ?",
            (wall + 2000, 1 << 50),
        )
        assert q._store.line.rebase("the next boot", now_ms=wall + 500, mono_ms=70)
        assert q._store.line.next_due() == (None, 70 + 1500)
        assert not q._store.line.rebase("the next boot", now_ms=wall + 900, mono_ms=999)


def test_a_run_never_takes_less_than_no_time(q, start):
    """The length of a run is measured by the monotonic clock; the table refuses an end before its start."""
    job = q.enqueue("true")
    start("--drain").wait(30)
    (run,) = q.show(job.id).runs
    assert run.finished_at_ms >= run.started_at_ms
    with pytest.raises(Exception, match="run_ends_after_its_start"), q._store.write() as sql:
        sql.execute("update runs set finished_at_ms = started_at_ms - 1")
    await_true(lambda: not q.workers())
