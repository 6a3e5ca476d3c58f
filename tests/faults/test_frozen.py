"""Workers that are frozen, starved or thought dead: they are put down before their jobs run again, or left alone."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest
from harness import await_true, job_processes, runner_pid, size

from queuectl import lifecycle, processes
from queuectl.model import State
from queuectl.queue import Queue
from queuectl.store import Store
from queuectl.store.line import Lost

pytestmark = pytest.mark.process

ONCE = """exec 9>>"$LOCK"; flock -n 9 || { echo overlap >> "$MARKS"; exit 0; }
echo start >> "$MARKS"; setsid sleep 1000 & test "$(grep -c start "$MARKS")" -gt 1 || sleep 1000"""


@pytest.fixture
def locked(q, tmp_path):
    """A job that runs until it is killed, its tree holding a lock; when it runs again it ends at once."""
    marks = tmp_path / "marks"
    job = q.enqueue(ONCE, env=[f"LOCK={tmp_path}/lock", f"MARKS={marks}"])
    return job, lambda: marks.read_text().split() if marks.exists() else []


def events(q, verb):
    return q._store.connection.rows("select detail from events where verb = ?", (verb,))


def test_a_frozen_runner_is_put_down_by_its_supervisor_and_its_job_runs_again_alone(q, start, locked):
    job, marks = locked
    q.config.set("lease", "1")
    start("-s", "1")
    await_true(lambda: len(job_processes(q.path)) >= 2, what="the job's tree")
    frozen = runner_pid(q)
    os.kill(frozen, signal.SIGSTOP)
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, what="the second run")
    assert marks() == ["start", "start"]
    assert processes.read(frozen) is None
    assert [r.outcome for r in q.show(job.id).runs] == ["lost", "ok"]


def test_a_frozen_runner_whose_supervisor_is_frozen_too_is_put_down_by_another(q, start, locked):
    job, marks = locked
    q.config.set("lease", "1")
    supervisor = start("-s", "1")
    await_true(lambda: len(job_processes(q.path)) >= 2, what="the job's tree")
    frozen = runner_pid(q)
    ticks = processes.start_ticks(frozen)
    stopped = (supervisor.pid, *between(frozen, supervisor.pid), frozen)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        start("-s", "0.3")
        await_true(lambda: q.show(job.id).job.state is State.COMPLETED, what="the second run")
        assert marks() == ["start", "start"]
        assert not processes.is_alive(frozen, ticks)
    finally:
        for pid in stopped[:-1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def between(pid, ancestor):
    """Pids of the processes between one and its ancestor."""
    found = []
    while (pid := processes.read(pid).ppid) not in (ancestor, 1):
        found.append(pid)
    return found


def test_a_runner_whose_job_was_taken_over_changes_nothing_and_works_on(q, start, locked):
    # It freezes, and another believes it dead but cannot kill it: its row names a pid that is gone.
    job, marks = locked
    start("-s", "1")
    await_true(lambda: len(job_processes(q.path)) >= 2, what="the job's tree")
    evicted, frozen = q.workers()[0], runner_pid(q)
    os.kill(frozen, signal.SIGSTOP)
    gone = subprocess.Popen(["true"])
    gone.wait()
    with q._store.write() as sql:
        sql.execute("update workers set pid = ?", (gone.pid,))
    start("-s", "1")
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, what="the second run")
    os.kill(frozen, signal.SIGCONT)
    await_true(lambda: events(q, "fenced"), what="the late end")
    assert marks() == ["start", "start"]
    found = q.show(job.id)
    assert [r.outcome for r in found.runs] == ["lost", "ok"]
    assert found.job.attempts == 0
    await_true(lambda: len(q.workers()) == 2, what="the evicted worker's row")
    assert evicted.id in {w.id for w in q.workers()}
    ids = [j.id for j in q.enqueue_many(["sleep 0.05"] * 20)]
    await_true(lambda: q._store.jobs.counts()[State.COMPLETED] == 21, what="the other jobs")
    assert [q.show(i).job.interruptions for i in ids] == [0] * 20


def test_of_a_finisher_and_a_rescuer_exactly_one_writes(q):
    """Both at once, from two connections, again and again: never both, never neither."""
    rounds = 40
    q.enqueue_many(["true"] * rounds)
    jobs, won = q._store.jobs, {"finisher": 0, "rescuer": 0}
    from_store = [Store(q.path), Store(q.path)]
    gate, done = threading.Barrier(3), threading.Barrier(3)
    now, job, wins = processes.now_ms, [], []

    def finisher():
        for _ in range(rounds):
            gate.wait()
            with from_store[0].write():
                wins.append(
                    "finisher" if not from_store[0].line.settle([ended(job[0])], now_ms=now()) else ""
                )
            done.wait()

    def rescuer():
        change = lifecycle.interrupt(0, charged=True, limit=3)
        for _ in range(rounds):
            gate.wait()
            lost = Lost(job[0].seq, job[0].id, job[0].run, "w1", 0, None)
            with from_store[1].write():
                wins.append("rescuer" if from_store[1].line.interrupted(lost, change, now_ms=now()) else "")
            done.wait()

    threads = [threading.Thread(target=f) for f in (finisher, rescuer)]
    for t in threads:
        t.start()
    for _ in range(rounds):
        with q._store.write():
            job[:] = q._store.line.claim("w1", 1, queues=None, now_ms=now())
        wins.clear()
        gate.wait()
        done.wait()
        (winner,) = [w for w in wins if w]
        won[winner] += 1
        state = jobs.get(job[0].id).state
        assert state is (State.COMPLETED if winner == "finisher" else State.PENDING)
        assert len(jobs.runs(job[0].seq)) == 1
    for t in threads:
        t.join()
    for s in from_store:
        s.close()
    print(won)


def ended(job):
    from queuectl.store.line import Settled

    fields = dict.fromkeys(Settled._fields)
    now = processes.now_ms()
    fields.update(
        seq=job.seq, job_id=job.id, run=job.run, worker_id="w1", state="completed", outcome="ok", attempts=0, is_final=True,
        started_ms=now, finished_ms=now, stdout_bytes=0, stderr_bytes=0, exit_code=0,
    )  # fmt: skip
    return Settled(**fields)


@pytest.mark.sized
def test_a_starved_runner_that_waits_for_the_lock_is_left_alone(q, start):
    held_s, rounds = size(1.6, 10), size(1, 6)
    q.config.set("lease", "1")
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        start("-s", "0.3")
        runner = runner_pid(q)
        for _ in range(rounds):
            job = q.enqueue("sleep 0.3")
            await_true(lambda j=job: q.show(j.id).job.state is State.PROCESSING, what="the job")
            store = Store(q.path)
            with store.write():
                # More than two leases: the runner can write neither a heartbeat nor that the job has ended.
                threading.Event().wait(held_s)
            store.close()
            await_true(lambda j=job: q.show(j.id).job.state is State.COMPLETED, what="the end of the job")
            assert len(q.show(job.id).runs) == 1
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert events(q, "recover") == []
    assert runner_pid(q) == runner


def test_an_idle_worker_is_not_taken_for_a_frozen_one_at_the_shortest_lease(q, start):
    q.config.set("lease", "0.5")
    start("-s", "60")
    runner = runner_pid(q)
    beats = lambda: q._store.connection.rows("select max(heartbeat_at_ms) from workers")  # noqa: E731
    first = beats()
    await_true(lambda: beats() != first, what="a heartbeat")
    second = beats()
    await_true(lambda: beats() != second, what="another")
    assert runner_pid(q) == runner


def test_a_queue_opened_before_a_fork_serves_both_sides(q):
    for n in range(10):
        q.enqueue(f"echo parent {n}")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                q.enqueue(f"echo child {n}")
                code = 0
            finally:
                os._exit(code)
        q.enqueue(f"echo parent {n} again")
        assert os.waitpid(pid, 0)[1] == 0
    assert sorted(j.command for j in Queue(q.path).list()) == sorted(
        [f"echo parent {n}" for n in range(10)]
        + [f"echo child {n}" for n in range(10)]
        + [f"echo parent {n} again" for n in range(10)]
    )
