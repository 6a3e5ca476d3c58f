"""Recovery: the jobs of dead runners become pending again, after everything they had started is dead.

By fact, not by time-out: a runner is dead when its process is gone, when the machine has restarted since, or when it has been silent for a
whole lease — and then it is killed first. Several may recover the same runner at once: killing is idempotent and the requeue is fenced.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Sequence

from queuectl import lifecycle, processes
from queuectl.model import State
from queuectl.store import Store
from queuectl.store.workers import Runner


def is_dead(runner: Runner, *, host: str, boot_id: str, lease_ms: int, mono_ms: int) -> bool:
    """Whether a registered runner can no longer be working.

    A runner of another host on this boot is one in another container: its pid means nothing here, only its silence does.
    """
    if runner.boot_id != boot_id:
        return True
    if runner.host == host and not processes.is_alive(runner.pid, runner.pid_start):
        return True
    return mono_ms - runner.beat_mono_ms > lease_ms


def recover(
    store: Store,
    *,
    me: str,
    boot_id: str,
    started: Collection[tuple[int, int]] | None = None,
    predecessor: str | None = None,
    runners: Sequence[Runner] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    died: Callable[[str], None] = lambda _: None,
) -> int:
    """Requeue what dead runners held; return how many jobs.

    Args:
        store: the queue's database.
        me: the id of the runner that recovers; it is alive.
        boot_id: this boot of the machine.
        started: the runs that `predecessor` had really started; its other claims are given back without a mark.
        predecessor: the runner whose place this one takes.
        runners: those that are registered, for who has asked already.
        tell: called with a line for each job recovered.
        died: called with the id of each job that is dead now.
    """
    lease = store.settings.get("lease")
    total = 0
    for runner in store.workers.runners() if runners is None else runners:
        if runner.id == me or not is_dead(
            runner, host=processes.host(), boot_id=boot_id, lease_ms=lease, mono_ms=processes.mono_ms()
        ):
            continue
        known = started if runner.id == predecessor else None
        total += _recover_one(
            store, runner, same_boot=runner.boot_id == boot_id, started=known, tell=tell, died=died
        )
    return total + _recover_strays(store, tell, died)


def _recover_one(
    store: Store,
    runner: Runner,
    *,
    same_boot: bool,
    started: Collection[tuple[int, int]] | None,
    tell: Callable[[str], None],
    died: Callable[[str], None],
) -> int:
    stuck: set[str] = set()
    if same_boot and runner.host == processes.host():
        _put_down(runner)
        stuck = processes.kill_workers_trees(set(store.workers.ids(runner.id)))
    with store.write():
        n = _requeue(store, runner.id, charged=same_boot, started=started, stuck=stuck, tell=tell, died=died)
        store.workers.forget(runner.id)
        if n:
            store.history.note(
                "recover", None, f"runner {runner.id}: {n} jobs", actor="worker", now_ms=processes.now_ms()
            )
    return n


def _put_down(runner: Runner) -> None:
    """Kill a runner that is frozen; it must not wake up and start anything."""
    deadline = time.monotonic() + 5
    while processes.is_alive(runner.pid, runner.pid_start) and time.monotonic() < deadline:
        try:
            os.kill(runner.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.002)


def _recover_strays(store: Store, tell: Callable[[str], None], died: Callable[[str], None]) -> int:
    """Requeue jobs held by workers that have no row any more."""
    strays = store.line.lost(None)
    if not strays:
        return 0
    processes.kill_workers_trees({j.worker_id for j in strays})
    with store.write():
        return _requeue(store, None, charged=True, started=None, stuck=set(), tell=tell, died=died)


def _requeue(
    store: Store,
    runner: str | None,
    *,
    charged: bool,
    started: Collection[tuple[int, int]] | None,
    stuck: set[str],
    tell: Callable[[str], None],
    died: Callable[[str], None],
) -> int:
    limit, now = store.settings.get("max-interruptions"), processes.now_ms()
    n = 0
    for job in store.line.lost(runner):
        if started is not None and (job.seq, job.run) not in started:
            store.line.give_back([(job.seq, job.run)], now_ms=now)
            continue
        change = lifecycle.interrupt(job.interruptions, charged=charged, limit=limit)
        if f"{job.id}.{job.run}" in stuck:
            change = lifecycle.Interruption(
                lifecycle.target(State.PROCESSING, "poison"),
                job.interruptions + 1,
                "needs operator: its processes could not be killed",
            )
        if store.line.interrupted(job, change, now_ms=now):
            n += 1
            tell(f"Job {job.id} state: {change.state} ({change.reason})")
            if change.state is State.DEAD:
                died(job.id)
    return n
