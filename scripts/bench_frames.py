"""Frames of a million jobs against pandas.read_sql_query: time and peak memory; prints a markdown table.

Each reading runs in a process of its own, one after the other in turn, so that a busy machine disturbs all alike. Peak memory is the
process's largest resident size less what it was after the imports. `plain` is without pyarrow, `arrow` with it. All bars are of the wall
clock, the median of seven readings for the short ones; CPU seconds and the machine's load stand beside them, so that a busy machine shows.

python scripts/bench_frames.py [--rows 1000000] [--rounds 3] [--folder DIR]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from queuectl.queue import Queue

BASE_MS = 1_790_000_000_000
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
COLUMNS = (
    "id", "command", "queue", "state", "priority", "rank", "attempts", "max_retries", "runs", "created_at_ms", "updated_at_ms", "run_at_ms",
    "due_mono_ms", "started_at_ms", "finished_at_ms", "worker_id", "outcome", "exit_code", "reason", "error", "error_sig", "kill_after_ms",
    "backoff", "backoff_base", "backoff_max_ms", "jitter", "cwd", "tags",
)  # fmt: skip
RUNS = """
insert into runs (job, run, worker_id, started_at_ms, finished_at_ms, outcome, exit_code, reason, error, error_sig, sig_version, cpu_user_ms,
  cpu_sys_ms, max_rss, stdout_bytes, stderr_bytes)
select seq, n, worker_id, started_at_ms, coalesce(finished_at_ms, updated_at_ms), iif(good, 'ok', 'failed'), iif(good, 0, 1),
  iif(good, null, 'exit status 1'), iif(good, null, error), iif(good, null, error_sig), 3, 900, 80, 50000000 + seq % 1000 * 4096, seq % 5000, 0
from (select jobs.*, k.n, jobs.state = 'completed' and k.n = jobs.runs as good
      from jobs join (select 1 as n union select 2 union select 3) as k on k.n <= jobs.runs)"""


def build(path: str, rows: int) -> None:
    """Fill a database with jobs as a long-lived queue has them: nine in ten completed, 7 % dead, 40 causes."""
    queue, dice = Queue(path), random.Random(7)
    word = lambda: "".join(dice.choices(LETTERS, k=8))  # noqa: E731
    workers, sigs = [word() for _ in range(64)], [f"{dice.getrandbits(32):08x}" for _ in range(40)]
    with queue._store.write() as sql:
        sql.executemany(
            f"insert or ignore into jobs ({', '.join(COLUMNS)}) values ({', '.join('?' * len(COLUMNS))})",
            _rows(rows, dice, word, workers, sigs),
        )
        sql.execute(RUNS)
        sql.executemany(
            "insert into causes values (?, ?, 3, ?)",
            [(s, f"ConnectionError: <ip>: {s}", BASE_MS) for s in sigs],
        )
    queue._store.connection.checkpoint()
    queue.close()


def _rows(
    n: int, dice: random.Random, word: Callable[[], str], workers: list[str], sigs: list[str]
) -> Iterator[tuple[Any, ...]]:
    queues = ["default"] * 6 + ["mail", "gpu", "nightly"]
    for i in range(n):
        at, x = BASE_MS + i * 700, dice.random()
        state = (
            "completed"
            if x < 0.9
            else "dead"
            if x < 0.97
            else "cancelled"
            if x < 0.975
            else "failed"
            if x < 0.98
            else "pending"
        )
        ran, bad = (
            state in ("completed", "dead", "failed"),
            state in ("dead", "failed") or (state == "completed" and dice.random() < 0.08),
        )
        attempts = 3 if state == "dead" else int(bad)
        end = at + int(dice.lognormvariate(7, 1)) + 200 if ran else at
        failed = state == "failed"
        yield (
            word(), f"python train.py --lr {dice.random():.4f} --seed {i} --out runs/{i % 977}/model.json", dice.choice(queues), state, 0, at,
            attempts, 3, (attempts + (state == "completed")) if ran else 0, at, end, at + 60_000 if failed else None, 5 if failed else None,
            at + 200 if ran else None, end if state in ("completed", "dead", "cancelled") else None, dice.choice(workers) if ran else None,
            ("ok" if state == "completed" else "failed") if ran else None, int(state != "completed") if ran else None,
            "exit status 1" if bad else None, f"ConnectionError: 10.0.0.{i % 250}: connection refused after {end - at} ms" if bad else None,
            dice.choice(sigs[: 1 + int(dice.expovariate(0.2)) % 40]) if bad else None, 10_000, "exponential", 2.0, 3_600_000, 0.0, "/srv/app",
            " nightly eu " if i % 2 else "",
        )  # fmt: skip


def pandas_reads(path: str) -> Any:
    """The way without queuectl."""
    import pandas as pd

    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return pd.read_sql_query("select * from jobs", connection)


WAYS: dict[str, Callable[[Queue], Any]] = {
    "pandas.read_sql_query('select * from jobs')": lambda q: pandas_reads(q.path),
    "q.jobs()": lambda q: q.jobs(),
    "q.runs()": lambda q: q.runs(),
    "q.jobs(limit=10_000)": lambda q: q.jobs(limit=10_000),
    "q.jobs(columns=['state', 'created_at'])": lambda q: q.jobs(columns=["state", "created_at"]),
    "q.jobs(queue='mail')": lambda q: q.jobs(queue="mail"),
    "q.dlq.frame()": lambda q: q.dlq.frame(),
    "q.failures()": lambda q: q.failures(),
}
AGAIN = {"q.jobs(limit=10_000)", "q.failures()"}  # short: the median of several
BARS = [
    (
        "time of q.jobs() to pandas', plain",
        "≤ 0.8",
        lambda r: r["plain", "q.jobs()"]["s"] / r["plain", PANDAS]["s"],
        0.8,
    ),
    (
        "peak memory of q.jobs() to pandas', plain",
        "≤ 0.65",
        lambda r: r["plain", "q.jobs()"]["mib"] / r["plain", PANDAS]["mib"],
        0.65,
    ),
    (
        "time of q.jobs() to pandas', arrow",
        "≤ 0.45",
        lambda r: r["arrow", "q.jobs()"]["s"] / r["arrow", PANDAS]["s"],
        0.45,
    ),
    (
        "seconds of the last 10,000 jobs, plain",
        "≤ 0.06",
        lambda r: r["plain", "q.jobs(limit=10_000)"]["s"],
        0.06,
    ),
    (
        "seconds of the failures of a million runs",
        "≤ 0.3",
        lambda r: r["plain", "q.failures()"]["s"],
        0.3,
    ),
]
PANDAS = next(iter(WAYS))


def one(path: str, way: str, kind: str) -> dict[str, float]:
    """Read once in this process, which does nothing else."""
    if kind == "plain":
        sys.modules["pyarrow"] = None  # type: ignore[assignment]
    import pandas as pd

    import queuectl.frames

    assert queuectl.frames and pd
    queue = Queue(path)
    queue.status(limit=1)
    base = _peak_mib()
    seconds = []
    for _ in range(7 if way in AGAIN else 1):
        wall, cpu = time.perf_counter(), time.process_time()
        found = WAYS[way](queue)
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = sorted(seconds)[len(seconds) // 2]
    return {"s": wall, "cpu": cpu, "mib": _peak_mib() - base, "rows": len(found)}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(path: str, rounds: int) -> dict[tuple[str, str], dict[str, float]]:
    """All ways in turn, each so many times; medians."""
    kinds = ["plain", "arrow"] if importlib.util.find_spec("pyarrow") else ["plain"]
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for way in WAYS:
            for kind in kinds:
                out = subprocess.run(
                    [sys.executable, __file__, "--one", way, "--kind", kind, "--path", path],
                    capture_output=True,
                    check=True,
                    text=True,
                )
                taken.setdefault((kind, way), []).append(json.loads(out.stdout))
    return {
        key: {name: statistics.median(t[name] for t in times) for name in times[0]}
        for key, times in taken.items()
    }


def main() -> int:
    """Print the table and whether each bar is met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="keep the database here and use it again")
    parser.add_argument("--one")
    parser.add_argument("--kind", default="plain")
    parser.add_argument("--path", default="")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.path, asked.one, asked.kind)))
        return 0
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(asked.folder or work, "queue.db")
        if not os.path.exists(path):
            build(path, asked.rows)
        found = measure(path, asked.rounds)
    print(
        "| | reading | rows | seconds | CPU s | peak MiB | time to pandas' | memory to pandas' |\n|---|---|---|---|---|---|---|---|"
    )
    for (kind, way), r in found.items():
        base = found[kind, PANDAS]
        print(
            f"| {kind} | `{way}` | {r['rows']:,.0f} | {r['s']:.3f} | {r['cpu']:.3f} | {r['mib']:,.0f} | {r['s'] / base['s']:.3f} | "
            f"{r['mib'] / base['mib']:.3f} |"
        )
    missed = 0
    print(f"\nload of the machine: {os.getloadavg()[0]:.1f} in the last minute, {os.cpu_count()} cores\n")
    for name, rule, value, bar in BARS:
        if "arrow" in name and ("arrow", PANDAS) not in found:
            continue
        got = value(found)
        missed += got > bar
        print(f"- {name}: {got:.3f} ({rule}){'' if got <= bar else ' **missed**'}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
