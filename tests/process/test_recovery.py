"""Kill -9 of runner, supervisor and both: everything is requeued, and the old tree dies before the new run starts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import await_true, job_processes, runner_pid

from queuectl import fleet, keeper, processes
from queuectl.model import State

pytestmark = pytest.mark.process
ROUNDS = int(os.environ.get("QUEUECTL_ROUNDS", "3"))

# A job that leaves children of every kind and holds a lock that the whole tree inherits: a second run that starts while
# anything of the first lives fails to take it.
LOCKED = """exec 9>>"$LOCK"; flock -n 9 || { echo overlap >> "$MARKS"; exit 0; }
echo start >> "$MARKS"
setsid sleep 1000 & nohup sleep 1000 >/dev/null 2>&1 & (setsid sleep 1000 &) &
test "$(grep -c start "$MARKS")" -gt 1 || sleep 1000
"""


def marks(path):
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("who", ["runner", "supervisor", "both"])
@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_killed_workers_job_runs_again_alone(q, start, tmp_path, who, _round):
    seen = tmp_path / "marks"
    job = q.enqueue(LOCKED, env=[f"LOCK={tmp_path}/lock", f"MARKS={seen}"], max_retries=1)
    worker = start("-s", "1")
    await_true(lambda: len(job_processes(q.path)) >= 4, what="the job's tree")
    old, runner = set(job_processes(q.path)), runner_pid(q)
    if who != "runner":
        os.kill(worker.pid, signal.SIGKILL)
    if who != "supervisor":
        os.kill(runner, signal.SIGKILL)
    killed = time.monotonic()
    if who != "runner":
        worker.wait(10)
        if who == "supervisor":
            await_true(lambda: not set(job_processes(q.path)) & old, 10, "the end of the old tree")
        start("-s", "1")
        killed = time.monotonic()
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, 15, "the second run")
    assert time.monotonic() - killed < 10
    assert marks(seen) == ["start", "start"]
    assert not set(job_processes(q.path)) & old
    assert q.show(job.id).job.attempts == 0
    assert [r.outcome for r in q.show(job.id).runs] == ["lost", "ok"]


CULPRITS = ["kill -9 $PPID", "sleep 0.05; kill -9 $PPID"]


@pytest.mark.parametrize("culprit", CULPRITS)
def test_jobs_that_kill_their_worker_go_to_the_dlq_and_their_neighbours_do_not(q, start, culprit):
    q.enqueue_many(["true"] * 20 + [culprit] * 5 + ["true"] * 20)
    worker = start("-c", "3", "--drain")
    assert worker.wait(60) == 0
    counts = q.status().counts
    assert (counts[State.COMPLETED], counts[State.DEAD]) == (40, 5)
    assert all("poison pill" in j.reason and j.runs <= 3 for j in q.dlq.list())


def test_a_killed_keeper_takes_its_runner_along_and_the_supervisor_starts_both_anew(q, start, tmp_path):
    job = q.enqueue(
        f"test $QUEUECTL_RUN = $QUEUECTL_JOB_ID.1 || exit 0; setsid sleep 1000 & echo $! > {tmp_path}/pid; wait"
    )
    worker = start()
    await_true(
        lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), what="the child"
    )
    runner = runner_pid(q)
    keeper = processes.read(runner).ppid
    assert processes.read(keeper).ppid == worker.pid
    os.kill(keeper, signal.SIGKILL)
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, what="the second run")
    assert worker.poll() is None
    assert runner not in processes.table()
    child = int((tmp_path / "pid").read_text())
    assert child not in processes.table()
    assert [r.outcome for r in q.show(job.id).runs] == ["lost", "ok"]


RESTS = """
import sys
from queuectl import fleet
fleet.REST_S = (0, 0, 0, 600)  # whatever follows the fourth death in a row
from queuectl.__main__ import run
sys.argv = ["queuectl", "worker", "--db", *sys.argv[1:]]
sys.exit(run())
"""


@pytest.mark.parametrize("again", [False, True])
def test_jobs_of_a_killed_runner_wait_for_no_pause_however_many_died_before(q, again):
    """The next runner is there at once and recovers them; it is its claims that wait."""
    jobs = [q.enqueue("sleep 1000") for _ in range(4)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    worker = subprocess.Popen(
        [sys.executable, "-c", RESTS, q.path, "-s", "1"], env=env, start_new_session=True
    )
    try:
        for job in jobs:
            await_true(lambda job=job: running(q, job), what="the job's start")
            os.kill(runner_pid(q), signal.SIGKILL)
            await_true(lambda job=job: q.show(job.id).job.state is State.PENDING, what="the requeue")
            assert not [r for r in q.show(job.id).runs if r.outcome != "lost"]
        if again:  # one that dies while it rests is followed too, and holds nothing up
            rests = runner_pid(q)
            os.kill(rests, signal.SIGKILL)
            await_true(lambda: q.workers() and q.workers()[0].pid != rests, what="the next runner")
        assert [q.show(j.id).job.state for j in jobs] == [State.PENDING] * 4
        assert job_processes(q.path) == []
        worker.terminate()
        assert worker.wait(20) == 0
        assert q.workers() == []
    finally:
        worker.kill()
        worker.wait()


def running(queue, job):
    """Whether a job has been started: its processes carry its mark."""
    mark = f"QUEUECTL_JOB_ID={job.id}"
    return any(processes.is_marked(pid, mark) for pid in job_processes(queue.path))


def test_a_worker_that_is_stopped_between_two_runners_starts_none(q, monkeypatch):
    supervisor = fleet.Supervisor(fleet.Options(q.path), lease_ms=30_000)
    left = []
    monkeypatch.setattr(supervisor, "_recover_and_leave", lambda: left.append(True))
    monkeypatch.setattr(supervisor, "_start", lambda **_: pytest.fail("a runner was started"))
    supervisor.heir = fleet._Heir(time.monotonic() - 1, "r1", frozenset(), 0.0)
    supervisor.stops = 1
    supervisor._start_heir()
    assert (left, supervisor.heir) == ([True], None)


def test_a_stop_reaches_a_runner_that_is_forked_at_that_moment(q, monkeypatch):
    supervisor = fleet.Supervisor(fleet.Options(q.path), lease_ms=30_000)
    runner = subprocess.Popen(["sleep", "1000"])

    def fork(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        return runner.pid

    monkeypatch.setattr(supervisor, "_fork", fork)
    supervisor.heir = fleet._Heir(time.monotonic() - 1, "r1", frozenset(), 0.0)
    before = signal.signal(signal.SIGTERM, supervisor._on_stop)
    try:
        supervisor._start_heir()
        assert supervisor.stops == 1
        assert runner.wait(10) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
        runner.kill()
        runner.wait()


def wiped(number):
    """Pids of `sleep <number>`, found by what they run: they carry no cookie."""
    return [
        int(p.name)
        for p in Path("/proc").iterdir()
        if p.name.isdigit() and arguments(p) == ["sleep", number, ""]
    ]


def arguments(process):
    try:
        return (process / "cmdline").read_text().split("\0")
    except OSError:
        return []


def test_a_daemon_that_wiped_its_environment_dies_with_its_runner_too(q, start):
    number = f"9000.{os.getpid()}"
    job = q.enqueue(
        f"test $QUEUECTL_RUN = $QUEUECTL_JOB_ID.1 || exit 0; (env -i setsid sleep {number} &) ; sleep 1000"
    )
    start("-s", "1")
    await_true(lambda: wiped(number), what="the child without a cookie")
    os.kill(runner_pid(q), signal.SIGKILL)
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, 15, "the second run")
    assert wiped(number) == []


def test_a_signal_for_a_runner_that_has_just_been_reaped_harms_nobody():
    # Its keeper once ended of it, and that counted as a fault of the worker.
    gone = subprocess.Popen(["true"])
    gone.wait()
    between = keeper._Keeper(os.getppid())
    between.runner = gone.pid
    between.pass_on(signal.SIGTERM, None)
