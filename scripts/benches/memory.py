"""Peak memory of a worker with two slots, shared pages counted once (PSS)."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from benches.harness import QUEUECTL, Row, Sizes, amount, commands, folder, run, tree, worker


def _pss(supervisor: int) -> float:
    """MiB of a supervisor, its keepers and their runners.

    What is below a runner is a job, or about to be: until its exec a new one has the runner's name and memory, which would be counted again.
    """
    total = 0
    for one in tree(supervisor, depth=2):
        with contextlib.suppress(OSError, IndexError, ValueError):
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
            total += int(text.split("\nPss:")[1].split()[0])
    return total / 1024


class Sampler(threading.Thread):
    """Remembers the most memory that a worker's own processes had while it runs."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.pid, self.peak, self.ended = pid, 0.0, threading.Event()

    def run(self) -> None:
        """Sample until told to end."""
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, _pss(self.pid))


def measure(sizes: Sizes) -> list[Row]:
    """Of its supervisor, keeper and runner while it drains."""
    peaks = []
    for _ in range(max(1, sizes.rounds // 2)):
        with folder() as place:
            database = place / "q" / "queue.db"
            source = commands(place, "echo hello; exit 1", sizes.jobs // 2)
            run([*QUEUECTL, "enqueue-many", str(source), "--db", str(database)])
            with worker(database, "-c", "2") as child:
                sampler = Sampler(child.pid)
                sampler.start()
                time.sleep(4)
                sampler.ended.set()
                sampler.join()
            peaks.append(sampler.peak)
    return [
        amount(
            "peak memory of `worker -c 2`, all its processes (PSS)", peaks, "MiB", bar=60, further=35, detail="draining jobs that fail, so that causes are computed"
        )
    ]  # fmt: skip
