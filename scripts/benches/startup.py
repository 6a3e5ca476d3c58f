"""What whole commands cost, against an interpreter that does nothing: what `scripts/bench_startup.py` measures, as rows of the table."""

from __future__ import annotations

import statistics

import bench_startup

from benches.harness import Row, Sizes, ratio

BARS = {"enqueue": (6.5, 5), "list": (12, 10), "status": (12, 10)}


def measure(sizes: Sizes) -> list[Row]:
    """CPU of `enqueue`, `list` and `status` against `python -c pass`."""
    took = bench_startup.measure(sizes.starts)
    empty = took[bench_startup.PYTHON]
    return [
        ratio(
            f"`queuectl {word}`, whole process, CPU, against `{bench_startup.PYTHON}`",
            took[f"queuectl {word}"],
            empty,
            bar=bar,
            further=further,
            speed=False,
            detail=f"{statistics.median(took[f'queuectl {word}']):.0f} ms",
        )
        for word, (bar, further) in BARS.items()
    ]
