"""Many processes on one file: first starts at once, and claims at once. Nothing may fail, and nobody may wait for long.

python scripts/bench_contention.py [rounds]

First starts: 8 processes open a database that is not there yet and enqueue, `rounds` times over. Claims: 6 processes claim 1,500 jobs one
by one, each claim a transaction of its own synced to disk; how long single claims took tells whether somebody starved.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from queuectl import processes  # noqa: E402
from queuectl.queue import Queue  # noqa: E402
from queuectl.store import Store  # noqa: E402
from queuectl.store.workers import Runner  # noqa: E402

SPAWN = multiprocessing.get_context("spawn")
STARTERS, CLAIMERS, JOBS = 8, 6, 1500


def first_start(path: str, barrier: Any, answers: Any) -> None:
    """Open, enqueue, and say how many seconds it took, or what went wrong."""
    barrier.wait()
    began = time.monotonic()
    try:
        Queue(path).enqueue("true")
        answers.put(time.monotonic() - began)
    except BaseException as e:
        answers.put(repr(e))


def claim_all(path: str, worker: str, barrier: Any, answers: Any) -> None:
    """Claim until nothing is left; say which jobs, and how many seconds each claim took."""
    try:
        store, got, took = Store(path), [], []
        barrier.wait()
        while True:
            began = time.monotonic()
            with store.write():
                jobs = store.line.claim(worker, 1, queues=None, now_ms=processes.now_ms())
            took.append(time.monotonic() - began)
            if not jobs:
                break
            got += [j.seq for j in jobs]
        answers.put((got, took))
    except BaseException as e:
        answers.put(repr(e))


def at_once(target: Any, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run processes that begin together; return their answers."""
    barrier, answers = SPAWN.Barrier(len(arguments)), SPAWN.Queue()
    started = [SPAWN.Process(target=target, args=(*a, barrier, answers)) for a in arguments]
    for p in started:
        p.start()
    out = [answers.get(timeout=120) for _ in started]
    for p in started:
        p.join()
    return out


def main() -> int:
    """Measure, print, keep the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    failures: list[str] = []
    starts: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="queuectl-contention-") as folder:
            path = os.path.join(folder, "data", "queue.db")
            for answer in at_once(first_start, [(path,)] * STARTERS):
                (failures if isinstance(answer, str) else starts).append(answer)
            store = Store(path)
            schemas = store.connection.rows("select count(*) from _sqlite_migrations")[0][0]
            if schemas != 1 or sum(store.jobs.counts().values()) != STARTERS:
                failures.append(f"{schemas} schemas, {sum(store.jobs.counts().values())} jobs")
            store.close()
    with tempfile.TemporaryDirectory(prefix="queuectl-contention-") as folder:
        q = Queue(os.path.join(folder, "data", "queue.db"))
        q.enqueue_many(["true"] * JOBS)
        names = [f"w{n}" for n in range(CLAIMERS)]
        me = Runner(
            "r",
            "bench",
            processes.boot_id(),
            os.getpid(),
            processes.start_ticks(os.getpid()),
            processes.mono_ms(),
        )
        with q._store.write():
            q._store.workers.register(names, me, queues=None, now_ms=processes.now_ms())
        began = time.monotonic()
        answers = at_once(claim_all, [(q.path, n) for n in names])
        lasted = time.monotonic() - began
        failures += [a for a in answers if isinstance(a, str)]
        shares = [len(a[0]) for a in answers if not isinstance(a, str)]
        claimed = sorted(s for a in answers if not isinstance(a, str) for s in a[0])
        waits = [1000 * s for a in answers if not isinstance(a, str) for s in a[1]]
        double = len(claimed) - len(set(claimed))
        q.close()
    start, wait = figures.spread(starts, digits=2), figures.spread(waits, digits=1)
    print(
        f"first starts: {rounds} x {STARTERS}, {len(failures)} failures; median {start['median']} s, longest {start['max']} s"
    )
    print(f"claims: {len(claimed)} by {CLAIMERS} processes in {lasted:.1f} s, {double} double; shares {min(shares)} to {max(shares)}; "
          f"one took {wait['median']} ms (median), {wait['max']} ms at most")  # fmt: skip
    for failure in failures:
        print("failed:", failure)
    figures.record(
        "contention",
        {
            "first_starts": {"rounds": rounds, "processes": STARTERS, "failures": len(failures), "seconds": start},
            "claims": {"processes": CLAIMERS, "jobs": len(claimed), "double": double, "failures": len(failures), "claim_ms": wait,
                       "least_share": min(shares), "largest_share": max(shares)},
        },
    )  # fmt: skip
    return int(bool(failures or double or len(claimed) != JOBS))


if __name__ == "__main__":
    sys.exit(main())
