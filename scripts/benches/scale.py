"""The same work in a small and in a large database."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benches.harness import QUEUECTL, Row, Sizes, folder, ratio, run

FILL = """
insert into jobs (id, command, queue, state, rank, max_retries, attempts, runs, created_at_ms, updated_at_ms, run_at_ms, finished_at_ms, kill_after_ms,
  backoff, backoff_base, backoff_max_ms, jitter, cwd)
with recursive n(i) as (select 1 union all select i + 1 from n where i < :n)
select :prefix || printf('%08x', i), 'echo ' || i, 'default', :state, :now - :n + i, 3, 0, :runs, :now - :n + i, :now - :n + i,
  case when :state = 'scheduled' then :now + 86400000 + i end, case when :runs then :now - :n + i end, 10000, 'exponential', 2.0, 3600000, 0.0, '/' from n"""


def fill(database: Path, *, finished: int, waiting: int) -> None:
    """Make a database of so many finished jobs and so many pending and scheduled ones each."""
    from queuectl.queue import Queue

    queue = Queue(database)
    connection = queue._store.connection
    triggers = connection.rows(
        "select name, sql from sqlite_schema where type = 'trigger' and tbl_name = 'jobs'"
    )
    now = time.time_ns() // 1_000_000
    with connection.write() as sql:
        # Counted once at the end: row by row the triggers would take most of the time.
        for name, _ in triggers:
            sql.execute(f"drop trigger {name}")
        for prefix, state, n in (
            ("c", "completed", finished),
            ("p", "pending", waiting),
            ("s", "scheduled", waiting),
        ):
            sql.execute(
                FILL,
                {"prefix": prefix, "state": state, "n": n, "now": now, "runs": int(state == "completed")},
            )
        sql.execute("delete from counters")
        sql.execute(
            "insert into counters select queue, limit_key, state, count(*) from jobs group by 1, 2, 3"
        )
        for _, statement in triggers:
            sql.execute(statement)
    connection.checkpoint()
    queue.close()


def _claim(database: Path) -> Callable[[], float]:
    from queuectl.queue import Queue

    queue = Queue(database)
    store = queue._store
    with store.write() as sql:
        sql.execute(
            "insert or replace into workers (id, runner, state, host, boot_id, pid, pid_start, started_at_ms, heartbeat_at_ms, beat_mono_ms) "
            "values ('bench', 'bench', 'idle', 'h', 'b', 1, 1, 1, 1, 1)"
        )

    def once() -> float:
        now = time.time_ns() // 1_000_000
        start = time.perf_counter()
        with store.write():
            store.line.promote(now_ms=now, mono_ms=0)
            jobs = store.line.claim("bench", 10, queues=None, now_ms=now)
            store.line.next_due()
        took = time.perf_counter() - start
        with store.write():
            store.line.give_back([(j.seq, j.run) for j in jobs], now_ms=now)
        assert len(jobs) == 10
        return took

    return once


def measure(sizes: Sizes) -> list[Row]:
    """Claims, and the commands that look, against the same with 1,000 rows."""
    rows = []
    with folder() as place:
        small, large = place / "small" / "queue.db", place / "large" / "queue.db"
        fill(small, finished=1_000, waiting=100)
        fill(large, finished=sizes.rows, waiting=max(100, sizes.rows // 10))
        size = large.stat().st_size / 2**30
        little, much = _claim(small), _claim(large)
        ours, theirs = [], []
        for _ in range(sizes.rounds):
            theirs.append(statistics.median(little() for _ in range(100)))
            ours.append(statistics.median(much() for _ in range(100)))
        detail = f"{sizes.rows:,} finished, {sizes.rows // 10:,} pending, {sizes.rows // 10:,} scheduled ({size:.1f} GiB)"
        rows.append(
            ratio(
                "claim of 10 jobs in a large database, against 1,000 rows",
                ours,
                theirs,
                bar=1.5,
                further=1.2,
                speed=False,
                detail=detail,
            )
        )
        for words in (
            ("status",),
            ("list",),
            ("list", "-s", "completed"),
            ("list", "-s", "dead"),
            ("config", "get"),
        ):
            ours, theirs = [], []
            for _ in range(sizes.rounds):
                theirs.append(min(run([*QUEUECTL, *words, "--db", str(small)]).wall_s for _ in range(3)))
                ours.append(min(run([*QUEUECTL, *words, "--db", str(large)]).wall_s for _ in range(3)))
            rows.append(
                ratio(
                    f"`queuectl {' '.join(words)}` in it, whole process",
                    ours,
                    theirs,
                    bar=1.5,
                    speed=False,
                    detail=f"{min(ours) * 1000:.0f} ms",
                )
            )
    return rows
