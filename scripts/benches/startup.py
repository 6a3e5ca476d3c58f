"""What whole commands cost, against an interpreter that does nothing."""

from __future__ import annotations

import sys

from benches.harness import ENV, QUEUECTL, Row, Sizes, folder, ratio, run


def measure(sizes: Sizes) -> list[Row]:
    """CPU of `enqueue`, `list` and `status` against `python -c pass`."""
    rows = []
    with folder() as place:
        database = ("--db", str(place / "q" / "queue.db"))
        for i in range(60):
            run([*QUEUECTL, "enqueue", "-c", f"echo {i}", *database])
        for words, bar, further in (
            (("enqueue", "-c", "true"), 6.5, 5),
            (("list",), 12, 10),
            (("status",), 12, 10),
        ):
            ours, theirs = [], []
            for _ in range(sizes.starts):
                theirs.append(run([sys.executable, "-c", "pass"], env=ENV).cpu_s)
                ours.append(run([*QUEUECTL, *words, *database]).cpu_s)
            # Clock ticks are coarse beside one start: sums over the rounds, in five groups.
            size = max(1, sizes.starts // 5)
            groups = range(0, sizes.starts - size + 1, size)
            rows.append(
                ratio(f"`queuectl {words[0]}`, whole process, CPU, against `python -c pass`", [sum(ours[g : g + size]) for g in groups], [sum(theirs[g : g + size]) for g in groups],
                      bar=bar, further=further, speed=False, detail=f"{sum(ours) / len(ours) * 1000:.0f} ms")
            )  # fmt: skip
    return rows
