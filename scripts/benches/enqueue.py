"""Enqueueing: one by one, in bulk, and many writers beside runners."""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benches.harness import Cost, Row, Sizes, alternate, amount, folder, rate, ratio, worker

if TYPE_CHECKING:
    from queuectl.queue import Queue

TABLE = "create table jobs (id text primary key, command text not null, state text not null, created_at real not null)"
INSERT = "insert into jobs values (?, ?, 'pending', ?)"


def _plain(place: Path) -> sqlite3.Connection:
    """A database as one writes it by hand, with the same durability."""
    connection = sqlite3.connect(place / "plain.db", isolation_level=None)
    for statement in ("pragma journal_mode=wal", "pragma synchronous=full", TABLE):
        connection.execute(statement)
    return connection


def _timed(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def plain(work: Callable[[sqlite3.Connection, int], object], n: int) -> Callable[[Path], Cost]:
    """Work on a plain database."""

    def case(place: Path) -> Cost:
        connection = _plain(place)
        cost = _timed(lambda: work(connection, n))
        connection.close()
        return cost

    return case


def ours(work: Callable[[Queue, int], object], n: int) -> Callable[[Path], Cost]:
    """Work on a queue that has been used before."""

    def case(place: Path) -> Cost:
        from queuectl.queue import Queue

        queue = Queue(place / "q" / "queue.db")
        queue.enqueue("true")
        cost = _timed(lambda: work(queue, n))
        queue.close()
        return cost

    return case


def _inserts(connection: sqlite3.Connection, n: int) -> None:
    for i in range(n):
        connection.execute(INSERT, (f"id{i}", "echo hello", time.time()))


def _insert_many(connection: sqlite3.Connection, n: int) -> None:
    connection.execute("begin")
    connection.executemany(INSERT, ((f"id{i}", "echo hello", time.time()) for i in range(n)))
    connection.execute("commit")


def _enqueues(queue: Queue, n: int) -> None:
    for _ in range(n):
        queue.enqueue("echo hello")


def _enqueue_many(queue: Queue, n: int) -> None:
    queue.enqueue_many("echo hello" for _ in range(n))


def litequeue(n: int) -> Callable[[Path], Cost]:
    """n puts of litequeue, as it comes."""

    def case(place: Path) -> Cost:
        from litequeue import LiteQueue

        queue = LiteQueue(str(place / "lite.db"))
        return _timed(lambda: [queue.put("echo hello") for _ in range(n)])

    return case


def persistqueue(n: int) -> Callable[[Path], Cost]:
    """n puts of persist-queue's SQLiteQueue, as it comes, each a commit."""

    def case(place: Path) -> Cost:
        from persistqueue import SQLiteQueue

        queue = SQLiteQueue(str(place / "persist"), auto_commit=True)
        return _timed(lambda: [queue.put("echo hello") for _ in range(n)])

    return case


def _writer(path: str, seconds: float, waits: multiprocessing.Queue[tuple[int, float]]) -> None:
    from queuectl.queue import Queue

    queue, n, longest = Queue(path), 0, 0.0
    queue.status()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        queue.enqueue("true")
        longest, n = max(longest, time.perf_counter() - start), n + 1
    waits.put((n, longest))


def _contention(seconds: float) -> tuple[float, float]:
    """Return the longest wait of any writer (ms) and the least busy writer's share of the mean."""
    with folder() as place:
        database = place / "q" / "queue.db"
        from queuectl.queue import Queue

        Queue(database).status()
        context = multiprocessing.get_context("spawn")
        waits: multiprocessing.Queue[tuple[int, float]] = context.Queue()
        with worker(database, "-c", "2"), worker(database, "-c", "2"):
            writers = [
                context.Process(target=_writer, args=(str(database), seconds, waits)) for _ in range(4)
            ]
            for each in writers:
                each.start()
            found = [waits.get(timeout=seconds + 60) for _ in writers]
            for each in writers:
                each.join()
    counts = [n for n, _ in found]
    return max(w for _, w in found) * 1000, min(counts) / (sum(counts) / len(counts))


def measure(sizes: Sizes) -> list[Row]:
    """All of it."""
    n, rounds = sizes.singles, sizes.rounds
    cases = {"plain": plain(_inserts, n), "ours": ours(_enqueues, n)}
    for name, module, case in (
        ("litequeue", "litequeue", litequeue(n)),
        ("persist-queue", "persistqueue", persistqueue(n)),
    ):
        try:
            __import__(module)
            cases[name] = case
        except ImportError:
            print(f"{name} is not installed", file=sys.stderr)
    found = alternate(cases, rounds)
    theirs = [c.wall_s for c in found["plain"]]
    rows = [
        ratio("enqueue one by one, durable, against a plain sqlite3 insert (WAL, FULL)", [c.wall_s for c in found["ours"]], theirs, bar=0.75, further=0.9, speed=True,
              detail=rate(n, found["ours"]))
    ]  # fmt: skip
    rows += [
        ratio(
            f"{name} one by one, as it comes, against the same",
            [c.wall_s for c in found[name]],
            theirs,
            bar=None,
            speed=True,
        )
        for name in found
        if name not in ("plain", "ours")
    ]
    found = alternate(
        {"plain": plain(_insert_many, sizes.batch), "ours": ours(_enqueue_many, sizes.batch)}, rounds
    )
    rows.append(
        ratio(f"enqueue_many of {sizes.batch:,}, against executemany", [c.wall_s for c in found["ours"]], [c.wall_s for c in found["plain"]], bar=0.4, further=0.6, speed=True,
              detail=rate(sizes.batch, found["ours"]))
    )  # fmt: skip
    waits, shares = zip(*[_contention(sizes.writers_s) for _ in range(max(1, rounds // 2))], strict=True)
    rows.append(
        amount(
            "4 processes enqueue while 2 runners drain: longest wait of a writer",
            waits,
            "ms",
            bar=100,
            detail=f"the least served writer got {min(shares) * 100:.0f} % of the mean",
        )
    )
    return rows
