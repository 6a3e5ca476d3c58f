"""Processes that we may not kill: their job is reported and never runs beside them. Here everywhere, with kills that are refused to us;
as root `test_supervision.py` does it with real processes of another user."""

import os
import signal
import subprocess

from harness import await_true, claimed, job_processes

from queuectl import processes
from queuectl.executors.local import LocalExecutor
from queuectl.model import State
from queuectl.recovery import recover
from queuectl.store.workers import Runner


def refuse(pids, _number, _procs):
    """What `processes.kill` answers when none of them is ours."""
    return set(pids)


def test_a_run_whose_processes_may_not_be_killed_ends_as_stuck(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "kill", refuse)
    place = str(tmp_path / "queue.db")
    executor = LocalExecutor(["w1"], folder=str(tmp_path / "logs"), database=place, output_cap=1 << 20)
    executor.submit([claimed("sleep 1000 & sleep 0.3", kill_after_ms=0)])
    try:
        await_true(lambda: len(job_processes(place)) >= 2, what="the job's tree")
        executor.stop((1, 1), "cancel", kill_after_ms=0)
        (done,) = await_true(executor.poll, what="the end")
        assert done.ended.stopped == "stuck"
    finally:
        for pid in job_processes(place):
            os.kill(pid, signal.SIGKILL)
        executor.close()


def test_a_dead_workers_job_whose_processes_may_not_be_killed_needs_an_operator(q, monkeypatch):
    gone = subprocess.Popen(["true"])
    gone.wait()
    job, other = q.enqueue("true"), q.enqueue("true")
    now = processes.now_ms()
    dead = Runner("r1", processes.host(), processes.boot_id(), gone.pid, 1, processes.mono_ms())
    with q._store.write():
        q._store.workers.register(["w1"], dead, queues=None, now_ms=now)
        q._store.line.claim("w1", 2, queues=None, now_ms=now)
    monkeypatch.setattr(processes, "kill_workers_trees", lambda _: {f"{job.id}.1"})
    died = []
    recover(q._store, me="r2", boot_id=processes.boot_id(), tell=lambda _: None, died=died.append)
    found = q.show(job.id).job
    assert (found.state, found.reason) == (
        State.DEAD,
        "needs operator: its processes could not be killed",
    )
    assert died == [job.id]
    assert q.show(other.id).job.state is State.PENDING
