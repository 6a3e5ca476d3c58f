"""Draining a batch: queuectl with every run recorded durably, start-up included, against xargs and others that are used instead."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benches.harness import ENV, QUEUECTL, Cost, Row, Sizes, alternate, commands, rate, ratio, run

Case = Callable[[Path], Cost]


def xargs(command: str, n: int, *, kept: bool) -> Case:
    """`xargs -P2`, its output thrown away or kept in one file."""

    def case(place: Path) -> Cost:
        source, target = commands(place, command, n), place / "out" if kept else None
        return run(["xargs", "-P2", "-n1", "-d", "\n", "sh", "-c"], source=source, target=target)

    return case


def queuectl(command: str, n: int, slots: int) -> Case:
    """`queuectl worker --drain`; the batch was enqueued before."""

    def case(place: Path) -> Cost:
        database = place / "queue" / "q.db"
        run([*QUEUECTL, "enqueue-many", str(commands(place, command, n)), "--db", str(database)])
        cost = run([*QUEUECTL, "worker", "-c", str(slots), "--drain", "--db", str(database)])
        _check(database, n)
        return cost

    return case


def _check(database: Path, n: int) -> None:
    """Every run must have been recorded, or the figure means nothing."""
    from queuectl.queue import Queue

    queue = Queue(database)
    runs = queue._store.connection.rows("select count(*) from runs where outcome = 'ok'")[0][0]
    queue.close()
    assert runs == n, f"{runs} of {n} runs recorded"


def parallel(command: str, n: int) -> Case:
    """GNU parallel with its job log, which records less than we do."""

    def case(place: Path) -> Cost:
        return run(
            ["parallel", "-j2", "--joblog", str(place / "log"), "sh -c {}"], source=commands(place, command, n), target=place / "out",
            env={**ENV, "HOME": str(place), "PARALLEL_HOME": str(place)},
        )  # fmt: skip

    return case


def spooler(command: str, n: int) -> Case:
    """task-spooler with two slots; each enqueue is a process, so they count."""
    script = (
        f"i=0; while [ $i -lt {n} ]; do tsp sh -c '{command}' >/dev/null || exit 1; i=$((i+1)); done; "
        "while tsp -l | grep -qE ' (queued|running|allocating) '; do tsp -w >/dev/null 2>&1; sleep 0.02; done"
    )

    def case(place: Path) -> Cost:
        env = {**ENV, "TS_SOCKET": str(place / "socket"), "TMPDIR": str(place), "TS_MAXFINISHED": "100000"}
        subprocess.run(["tsp", "-S", "2"], env=env, check=True)
        try:
            return run(["sh", "-c", script], env=env)
        finally:
            subprocess.run(["tsp", "-K"], env=env, check=False)

    return case


HUEY = """
import os, subprocess
from huey import SqliteHuey
huey = SqliteHuey("q", filename=os.environ["HUEY_FILE"], fsync=True, timeout=30)
@huey.task()
def sh(command):
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    with open(os.environ["HUEY_FILE"] + ".done", "ab") as done:
        done.write(b".")
"""


def huey(command: str, n: int) -> Case:
    """huey on SQLite with fsync and two worker threads, batch enqueued before; timed from the consumer's start to the last job's end."""

    def case(place: Path) -> Cost:
        (place / "bench_huey.py").write_text(HUEY)
        env = {**ENV, "HUEY_FILE": str(place / "huey.db"), "PYTHONPATH": str(place)}
        fill = f"import bench_huey as h\nfor _ in range({n}): h.sh({command!r})"
        subprocess.run([sys.executable, "-c", fill], env=env, check=True)
        done = place / "huey.db.done"
        consumer = [
            sys.executable,
            "-m",
            "huey.bin.huey_consumer",
            "bench_huey.huey",
            "-w",
            "2",
            "-k",
            "thread",
            "-q",
            "-d",
            "0.01",
            "-m",
            "0.01",
            "-b",
            "1.0",
        ]
        start = time.perf_counter()
        child = subprocess.Popen(consumer, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not done.exists() or done.stat().st_size < n:
                assert child.poll() is None, "huey's consumer ended"
                time.sleep(0.005)
            wall = time.perf_counter() - start
        finally:
            child.terminate()
            _, _, usage = os.wait4(child.pid, 0)
            child.returncode = 0
        return Cost(wall, usage.ru_utime + usage.ru_stime)

    return case


def measure(sizes: Sizes) -> list[Row]:
    """Against xargs: speed and CPU for 2 and 8 workers, output kept, and jobs that only sleep."""
    rows: list[Row] = []
    for n in (sizes.jobs, sizes.many_jobs):
        found = alternate(
            {"xargs": xargs("true", n, kept=False), **{f"{c}": queuectl("true", n, c) for c in (2, 8)}},
            sizes.rounds,
        )
        rows += _against_xargs(f"drain {n:,} × true", found, n, cpu=True)
    n = sizes.echoes
    found = alternate(
        {"xargs": xargs("echo hello", n, kept=True), "2": queuectl("echo hello", n, 2)}, sizes.rounds
    )
    rows += _against_xargs(f"drain {n:,} × echo hello, output kept", found, n, cpu=False)
    for slots in (8, 32):
        n = slots * 40
        costs = alternate({"ours": queuectl("sleep 0.05", n, slots)}, max(1, sizes.rounds // 2))["ours"]
        starts = alternate({"empty": queuectl("true", 1, slots)}, max(1, sizes.rounds // 2))["empty"]
        ideal = n / slots * 0.05
        shares = [ideal / (c.wall_s - s.wall_s) * 100 for c, s in zip(costs, starts, strict=True)]
        rows.append(
            Row(
                f"{slots} workers, {n:,} × sleep 0.05",
                statistics.median(shares),
                min(shares),
                max(shares),
                "% of ideal",
                95,
                None,
                True,
                "start and end of the command taken off",
            )
        )
    return rows


def _against_xargs(what: str, found: Mapping[str, list[Cost]], n: int, *, cpu: bool) -> list[Row]:
    theirs = found["xargs"]
    rows = []
    for slots, ours in found.items():
        if slots == "xargs":
            continue
        speeds, costs = (
            ([c.wall_s for c in ours], [c.wall_s for c in theirs]),
            ([c.cpu_s for c in ours], [c.cpu_s for c in theirs]),
        )
        detail = f"{rate(n, ours)}, xargs {rate(n, theirs)}"
        rows.append(ratio(f"{what}, {slots} workers, against xargs -P2", *speeds, bar=1.05, further=1.2, speed=True, detail=detail))  # fmt: skip
        if cpu:
            detail = f"{statistics.median(costs[0]) / n * 1e6:,.0f} µs a job"
            rows.append(ratio(f"CPU of the same, {slots} workers", *costs, bar=1.15, further=1.0, speed=False, detail=detail))  # fmt: skip
    return rows


def measure_peers(sizes: Sizes) -> list[Row]:
    """How others do against xargs, in the same rounds."""
    n = sizes.jobs // 2
    cases: dict[str, Case] = {
        "xargs": xargs("true", n, kept=False),
        "queuectl, 2 workers": queuectl("true", n, 2),
    }
    missing = []
    for name, tool, case in (
        ("GNU parallel -j2", "parallel", parallel("true", n)),
        ("task-spooler, 2 slots", "tsp", spooler("true", n)),
        ("huey on SQLite, fsync, 2 threads", "", huey("true", n)),
    ):
        if (tool and not shutil.which(tool)) or (
            not tool
            and subprocess.run(
                [sys.executable, "-c", "import huey"], capture_output=True, check=False
            ).returncode
        ):
            missing.append(name)
        else:
            cases[name] = case
    found = alternate(cases, max(1, sizes.rounds - 2))
    theirs = [c.wall_s for c in found.pop("xargs")]
    rows = [
        ratio(
            f"{n:,} × true: {name}, against xargs -P2",
            [c.wall_s for c in costs],
            theirs,
            bar=None,
            speed=True,
        )
        for name, costs in found.items()
    ]
    return rows + [
        Row(f"{n:,} × true: {name}", 0, 0, 0, "", None, None, True, "not installed here") for name in missing
    ]
