"""The line without processes: claim and settle by hand, at times of our choosing."""

from queuectl import processes
from queuectl.store.line import Settled
from queuectl.store.workers import Runner


def register(store, *ids, queues=None, pid=None):
    """Write the rows of workers that belong to a process that lives: ourselves, unless another is named."""
    import os

    pid = pid or os.getpid()
    me = Runner(
        "r1", os.uname().nodename, processes.boot_id(), pid, processes.start_ticks(pid), processes.mono_ms()
    )
    with store.write():
        store.workers.register(ids, me, queues=queues, now_ms=processes.now_ms())


def claim(store, want=1, worker="w1", queues=None, now_ms=None):
    """Claim pending jobs as a runner would."""
    with store.write():
        return store.line.claim(worker, want, queues=queues, now_ms=now_ms or processes.now_ms())


def settle(store, job, state, *, worker="w1", now_ms=None, **changes):
    """Record the end of a claimed job's run."""
    now = now_ms or processes.now_ms()
    row = Settled(
        job.seq, job.id, job.run, worker, state, "ok" if state == "completed" else "failed", job.attempts, None, None, None, now, now,
        state in ("completed", "dead", "cancelled"), 0, None, None, None, None, None, None, 1, 1, 1, 0, 0, None, None, None, None, None,
    )  # fmt: skip
    with store.write():
        return store.line.settle([row._replace(**changes)], now_ms=now)
