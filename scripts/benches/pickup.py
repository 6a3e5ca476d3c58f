"""From enqueue in another process to the job's first instruction, and what waiting costs."""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import time
from pathlib import Path

from benches.harness import Row, Sizes, amount, folder, tree, worker


def measure(sizes: Sizes) -> list[Row]:
    """Pick-up latency on an idle system, and CPU and wake-ups of an idle worker."""
    from queuectl.queue import Queue

    with folder() as place:
        database = place / "q" / "queue.db"
        queue = Queue(database)
        queue.status()
        with worker(database, "-c", "2") as child:
            took = []
            for _ in range(sizes.samples):
                time.sleep(random.uniform(0.05, 0.15))
                start = time.time_ns()
                job = queue.enqueue("date +%s%N")
                time.sleep(0.03)
                queue.wait(job.id, timeout=30)
                took.append((int(b"".join(queue.logs(job.id))) - start) / 1e6)
            took.sort()
            middle, p95 = statistics.median(took), took[int(len(took) * 0.95) - 1]
            time.sleep(2)
            before, at = _spent(child.pid), time.perf_counter()
            time.sleep(sizes.idle_s)
            after, wall = _spent(child.pid), time.perf_counter() - at
        queue.close()
    cpu, wakes = (after[0] - before[0]) / wall * 100, (after[1] - before[1]) / wall
    return [
        amount(
            "enqueue in another process → first instruction, p50",
            took,
            "ms",
            bar=3.3,
            further=2.5,
            value=middle,
            detail=f"{len(took)} jobs, `date +%s%N`",
        ),
        amount("the same, p95", took, "ms", bar=8, value=p95),
        amount("idle worker, CPU", [cpu], "% of a core", bar=0.1, detail=f"all its processes, {wall:.0f} s"),
        amount("idle worker, wake-ups", [wakes], "/s", bar=3, detail="voluntary context switches"),
    ]


def _spent(pid: int) -> tuple[float, int]:
    """CPU seconds and voluntary context switches of a process tree so far."""
    cpu = switches = 0
    for one in tree(pid):
        for task in os.listdir(f"/proc/{one}/task"):
            with contextlib.suppress(OSError):
                cpu += int(Path(f"/proc/{one}/task/{task}/schedstat").read_text().split()[0])
                status = Path(f"/proc/{one}/task/{task}/status").read_text()
                switches += int(status.split("voluntary_ctxt_switches:")[1].split()[0])
    return cpu / 1e9, switches
