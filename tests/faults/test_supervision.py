"""Nothing runs unsupervised: dead supervisors, terminals, kernels and threads that start workers, stop signals, containers."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import await_true, job_processes, runner_pid

from queuectl import processes
from queuectl.model import State
from queuectl.queue import Queue
from queuectl.store import Store

pytestmark = pytest.mark.process
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def test_when_the_supervisor_dies_its_runner_gives_back_and_everything_ends(q, start):
    jobs = [q.enqueue(f"{prefix} sleep 1000 & sleep 1000") for prefix in ("setsid", "nohup", "")]
    supervisor = start("-c", "3")
    await_true(lambda: len(job_processes(q.path)) >= 6, what="three trees")
    runner = runner_pid(q)
    supervisor.kill()
    supervisor.wait()
    await_true(
        lambda: job_processes(q.path) == [] and processes.read(runner) is None, what="the end of everything"
    )
    assert {(q.show(j.id).job.state, q.show(j.id).job.interruptions) for j in jobs} == {(State.PENDING, 0)}
    assert q.workers() == []


def test_when_all_processes_die_at_once_the_next_worker_clears_up_first(q, start, tmp_path):
    lock, marks = tmp_path / "lock", tmp_path / "marks"
    marks.touch()
    job = q.enqueue(
        f"exec 9>>{lock}; flock -n 9 || {{ echo overlap >> {marks}; exit 0; }}; echo start >> {marks}; "
        f"setsid sleep 1000 & (setsid sleep 1000 &); test $(grep -c start {marks}) -gt 1 || sleep 1000"
    )
    supervisor = start("-s", "1")
    await_true(lambda: len(job_processes(q.path)) >= 4, what="the job's tree")
    old = set(job_processes(q.path))
    victims = [supervisor.pid]
    pid = runner_pid(q)
    while pid != supervisor.pid:
        victims.append(pid)
        pid = processes.read(pid).ppid
    for number in (
        signal.SIGSTOP,
        signal.SIGKILL,
    ):  # stopped first, so that none can do anything about the others' end
        for pid in victims:
            os.kill(pid, number)
    supervisor.wait()
    await_true(lambda: not any(processes.read(pid) for pid in victims), what="the end of all")
    assert set(job_processes(q.path)) & old, "nothing is left for the next worker to clear up"
    start("-s", "1")
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, what="the second run")
    assert marks.read_text().split() == ["start", "start"]
    assert not set(job_processes(q.path)) & old


def test_a_runner_does_not_outlive_those_who_watch_it(q, start):
    q.enqueue("sleep 1000")
    supervisor = start("-s", "1")
    await_true(lambda: job_processes(q.path), what="the job")
    runner = runner_pid(q)
    watchers = [processes.read(runner).ppid, supervisor.pid]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that neither can tell the runner
        for pid in watchers:
            os.kill(pid, number)
    supervisor.wait()
    await_true(lambda: not processes.is_alive(runner, processes.start_ticks(runner)), what="the runner's end")


STARTER = """
import sys, threading
from queuectl.queue import Queue
q = Queue(sys.argv[1])
if sys.argv[2] == "thread":
    thread = threading.Thread(target=q.start_workers)
    thread.start(); thread.join()
else:
    q.start_workers()
print("started", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("where", ["main", "thread"])
def test_background_workers_outlive_the_thread_and_the_kernel_that_started_them(q, where):
    kernel = subprocess.Popen(
        [sys.executable, "-c", STARTER, q.path, where],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=ENV,
    )
    assert kernel.stdout.readline() == "started\n"
    runner = runner_pid(q)
    first = q.enqueue("true")  # after the end of the thread
    assert q.wait(first.id, timeout=20)
    os.killpg(kernel.pid, signal.SIGKILL)
    kernel.wait()
    kernel.stdout.close()
    second = q.enqueue("true")
    assert q.wait(second.id, timeout=20)
    assert runner_pid(q) == runner
    q.worker(stop=True)
    await_true(lambda: processes.read(runner) is None, what="the end of the worker")


@pytest.fixture
def terminal(place):
    """Start a worker in the foreground of a terminal of its own; return the process and the keyboard's end."""
    opened = []

    def _terminal(*words):
        keyboard, screen = os.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", sys.executable, "-m", "queuectl", "worker", "--db", str(place), *words],
            stdin=screen, stdout=screen, stderr=screen, env=ENV,
        )  # fmt: skip
        os.close(screen)
        opened.append((process, keyboard))
        return process, keyboard

    yield _terminal
    for process, keyboard in opened:
        process.kill()
        process.wait()
        os.close(keyboard)


@pytest.mark.parametrize(("presses", "grace"), [(1, "0.5"), (2, "600")])
def test_ctrl_c_gives_the_job_time_and_a_second_one_does_not(q, terminal, presses, grace):
    q.config.set("stop-grace", grace)
    job = q.enqueue("sleep 1000")
    process, keyboard = terminal()
    await_true(lambda: job_processes(q.path), what="the job")
    for n in range(presses):
        if n:
            await_true(lambda: q._store.connection.rows("select 1"), what="a pause between two presses")
            time.sleep(0.3)  # two signals, not one that arrives twice
            assert process.poll() is None
        os.write(keyboard, b"\x03")
    assert process.wait(20) == 0
    found = q.show(job.id).job
    assert (found.state, found.attempts, found.interruptions) == (State.PENDING, 0, 0)
    assert job_processes(q.path) == []


def test_a_stop_ends_exactly_the_workers_that_had_started_before_it(q, start):
    dice = random.Random(seed := random.randrange(1 << 30))
    print("seed", seed)
    for _ in range(3):
        workers = [start("-s", "1") for _ in range(4)]
        time.sleep(dice.uniform(0.1, 0.6))  # any moment of their starts is as good as any other
        with q._store.write():  # so that who has started is known at the moment of the stop
            before = {w.pid for w in q._store.workers.all()}
            # Here, where nobody can have heard of it: who has ended is above nobody any more, and would be taken for spared.
            stopped = {w for w in workers for pid in before if is_above(w.pid, pid)}
            q._store.settings.signal("stop", "graceful", now_ms=processes.now_ms())
        for worker in stopped:
            assert worker.wait(20) == 0
        spared = [w for w in workers if w not in stopped]
        await_true(
            lambda spared=spared: len(q.workers()) == len(spared), what="the rows of those that started later"
        )
        job = q.enqueue("true")
        if spared:
            assert q.wait(job.id, timeout=20)
        assert [w.poll() for w in spared] == [None] * len(spared)
        q.worker(stop=True)
        assert [w.wait(20) for w in spared] == [0] * len(spared)


def is_above(ancestor, pid):
    while pid > 1:
        if pid == ancestor:
            return True
        found = processes.read(pid)
        pid = found.ppid if found else 0
    return False


DAEMONISES = "for i in 1 2 3; do (setsid sh -c 'sleep 0.1' &); done"


def zombies(root):
    """Pids of zombies below a process."""
    everyone = [processes.read(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()]
    return [p.pid for p in everyone if p is not None and p.state == "Z" and is_above(root, p.pid)]


def test_adopted_processes_leave_no_zombies(q, start):
    q.enqueue_many([{"command": DAEMONISES, "keep_children": True}] * 30)
    worker = start("-c", "4", "-s", "1")
    await_true(lambda: q._store.jobs.counts()[State.COMPLETED] == 30, what="the jobs")
    await_true(lambda: job_processes(q.path) == [], what="the daemons' end")
    await_true(lambda: zombies(worker.pid) == [], what="the end of the last zombie")
    assert worker.poll() is None


@pytest.mark.equivalent("faults/test_supervision.py::test_adopted_processes_leave_no_zombies")
def test_a_worker_that_is_process_1_of_a_container_leaves_no_zombies(q):
    unshare = ["unshare", "--map-root-user", "--user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this kernel lets us make no namespaces")
    q.enqueue_many([DAEMONISES] * 20 + [{"command": DAEMONISES, "keep_children": True}] * 20)
    container = subprocess.Popen(
        [*unshare, sys.executable, "-m", "queuectl", "worker", "-c", "4", "-s", "1", "--db", q.path], env=ENV
    )
    try:
        await_true(lambda: q._store.jobs.counts()[State.COMPLETED] == 40, what="the jobs")
        await_true(lambda: zombies(container.pid) == [], what="the end of the last zombie")
        assert container.poll() is None
        q.worker(stop=True)
        assert container.wait(20) == 0
    finally:
        container.kill()
        container.wait()


NO_KILL = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]


@pytest.fixture
def powerless(place):
    """Start a worker that may not kill the processes of other users."""
    if os.geteuid() != 0:
        pytest.skip("only root can start what it may not kill")
    started = []

    def _start(*words):
        started.append(
            subprocess.Popen(
                [*NO_KILL, sys.executable, "-m", "queuectl", "worker", "--db", str(place), *words],
                env=ENV,
                start_new_session=True,
            )
        )
        return started[-1]

    yield _start
    for process in started:
        process.kill()
        process.wait()
    for pid in job_processes(place):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.equivalent("faults/test_stuck.py::test_a_run_whose_processes_may_not_be_killed_ends_as_stuck")
def test_what_may_not_be_killed_is_reported_and_never_runs_twice(q, powerless):
    job = q.enqueue("setpriv --reuid=65534 --clear-groups sleep 1000 & sleep 0.3")
    other = q.enqueue("true")
    powerless("-s", "1")
    await_true(lambda: q.show(job.id).job.state is State.DEAD, what="the report")
    found = q.show(job.id).job
    assert found.reason == "needs operator: its processes could not be killed"
    assert (found.runs, len(job_processes(q.path))) == (1, 1)
    assert q.wait(other.id, timeout=20)


@pytest.mark.equivalent(
    "faults/test_stuck.py::test_a_dead_workers_job_whose_processes_may_not_be_killed_needs_an_operator"
)
def test_a_dead_workers_job_that_may_not_be_killed_never_runs_again(q, powerless):
    job = q.enqueue("setpriv --reuid=65534 --clear-groups sleep 1000")
    powerless("-s", "1")
    await_true(lambda: len(job_processes(q.path)) >= 1, what="the job")
    time.sleep(0.3)  # setpriv has changed the user
    os.kill(runner_pid(q), signal.SIGKILL)
    await_true(lambda: q.show(job.id).job.state is State.DEAD, 30, what="the report")
    assert q.show(job.id).job.reason == "needs operator: its processes could not be killed"
    assert q.show(job.id).job.runs == 1


def test_a_connection_carried_through_a_fork_is_refused_and_the_parents_goes_on(place):
    store = Store(str(place))
    pid = os.fork()
    if pid == 0:
        try:
            store.jobs.counts()
        except Exception as e:
            os._exit(0 if "before a fork" in str(e) else 2)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.connection.rows("pragma integrity_check") == [("ok",)]
    store.close()
    Queue(place).enqueue("true")
