#!/usr/bin/env python3
"""Time what retention costs the work beside it: old jobs are removed while two runners drain others, and a third party enqueues.

Prints how many old jobs went, how fast, and the longest waits: between two starts of jobs (a claim's wait, as long as enough is pending), and of an
enqueue. Budget: 200 ms while a million old jobs go. Run it once without old jobs (`-n 0`) for what is the machine's own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from queuectl.chores.retention import ENDED
from queuectl.queue import Queue
from queuectl.store import Store

DAY_MS = 86_400_000
COLUMNS = """id, command, queue, state, rank, max_retries, runs, created_at_ms, updated_at_ms, started_at_ms, finished_at_ms, kill_after_ms,
  backoff, backoff_base, backoff_max_ms, jitter, cwd, exit_code, outcome, worker_id"""


def fill(path: str, n: int) -> None:
    """Write n completed jobs, each with a run and a small output, that ended 8 days ago or longer."""
    store, now = Store(path), time.time_ns() // 1_000_000
    old = now - 8 * DAY_MS
    for start in range(0, n, 50_000):
        with store.write() as sql:
            sql.executemany(
                f"insert into jobs ({COLUMNS}) values ({', '.join('?' * 20)})",
                (
                    (
                        f"{(i * 2654435761) % 2**32:08x}o", f"python work.py --part {i} --of {n}", "default", "completed", old, 3, 1,
                        at, at, at, at, 10_000, "exponential", 2.0, 3_600_000, 0.0, "/srv", 0, "ok", "w",
                    )
                    for i in range(start, min(n, start + 50_000))
                    for at in (old - (n - i),)
                ),
            )  # fmt: skip
            sql.execute(
                """insert into runs (job, run, worker_id, started_at_ms, finished_at_ms, outcome, exit_code, stdout_bytes)
                   select seq, 1, 'w', started_at_ms, finished_at_ms, 'ok', 0, 40 from jobs where seq > ?""",
                (start,),
            )
            sql.execute(
                "insert into outputs select seq, 1, 40, randomblob(40), null from jobs where seq > ?",
                (start,),
            )
        store.connection.checkpoint_if_large()
    store.close()


def gaps(moments: list[float]) -> list[float]:
    """Return the times between neighbours, longest first."""
    return sorted((b - a for a, b in pairwise(moments)), reverse=True)


def main() -> None:
    """Fill, start, watch, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1_000_000, help="old jobs (default 1,000,000)")
    parser.add_argument(
        "--most", type=float, default=900, help="seconds after which to stop watching (default 900)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "data", "queue.db"))
        start = time.perf_counter()
        fill(path, options.n)
        print(f"{options.n:,} old jobs written in {time.perf_counter() - start:.1f} s")
        queue = Queue(path)
        queue.enqueue_many(["true"] * 2000)
        queue.config.set("retention", "7d")
        watch(queue, options.n, most_s=options.most)


def watch(queue: Queue, n: int, *, most_s: float) -> None:
    """Drain and remove at once until the old are gone; print the waits."""
    command = [sys.executable, "-m", "queuectl", "worker", "--db", queue.path, "-c", "1"]
    workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    look = Store(queue.path)
    enqueues: list[float] = []
    begun, progress = time.perf_counter(), 0.0
    old_ms = time.time_ns() // 1_000_000 - 7 * DAY_MS
    try:
        while time.perf_counter() - begun < most_s:
            start = time.perf_counter()
            queue.enqueue_many(["true"] * 100)
            enqueues.append((time.perf_counter() - start) * 1000)
            time.sleep(0.03)
            counts = queue.status(limit=1).counts
            if counts["pending"] > 4000:  # type: ignore[index]
                time.sleep(0.2)
            if time.perf_counter() - progress > 1:
                progress = time.perf_counter()
                # The oldest alone, by its index: a count of a million would hold up the feeding, and its snapshot the checkpoints.
                left = look.retention.places(ENDED, before_ms=old_ms, after=None, limit=1)
                if not left and (n or progress - begun > 30):
                    break
    finally:
        took = time.perf_counter() - begun
        for w in workers:
            w.terminate()
        for w in workers:
            w.wait(30)
    left_over = sum(look.retention.count((state,), before_ms=old_ms) for state in ENDED)
    report(look, n - left_over, took, enqueues)
    look.close()


def report(store: Store, removed: int, took: float, enqueues: list[float]) -> None:
    """Print what was seen."""
    starts = [
        r[0]
        for r in store.connection.rows(
            "select started_at_ms from runs where worker_id <> 'w' and started_at_ms is not null order by started_at_ms"
        )
    ]
    between = gaps([float(s) for s in starts])
    print(
        f"{removed:,} old jobs removed in {took:.1f} s ({removed / took:,.0f}/s) while {len(starts):,} jobs ran ({len(starts) / took:,.0f}/s)"
    )
    print(
        f"between two starts of jobs: longest {', '.join(f'{g:.0f}' for g in between[:5])} ms; 99.9 % under {between[len(between) // 1000]:.0f} ms"
    )
    enqueues.sort()
    print(
        f"an enqueue of 100: median {statistics.median(enqueues):.1f}, longest {', '.join(f'{e:.0f}' for e in enqueues[-5:])} ms"
    )


if __name__ == "__main__":
    main()
