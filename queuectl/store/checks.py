"""What `doctor` asks of a database: reads only."""

from __future__ import annotations

from queuectl._sqlite import Connection
from queuectl.records import NamedTuple


class Waiting(NamedTuple):
    """Jobs of a queue that could run now: how many, and since when the oldest has been ready (ms)."""

    queue: str
    jobs: int
    since_ms: int


class Checks:
    """Questions about the state of the whole."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def damage(self) -> list[str]:
        """Return what SQLite finds wrong with the file: structure, types, constraints, foreign keys."""
        found = [str(r[0]) for r in self._c.rows("pragma quick_check(10)") if r[0] != "ok"]
        keys = self._c.rows("pragma foreign_key_check")
        return found + [
            f"a row of {table} refers to a row of {other} that is not there"
            for table, _, other, _ in keys[:10]
        ]

    def ready(self) -> list[Waiting]:
        """Return the jobs that are pending, or scheduled and overdue, by queue."""
        rows = self._c.rows(
            """select queue, count(*), min(max(created_at_ms, coalesce(run_at_ms, 0))) from jobs where state = 'pending'
               group by queue order by queue"""
        )
        return [Waiting(*r) for r in rows]

    def overdue(self, *, now_ms: int) -> list[Waiting]:
        """Return the scheduled jobs whose time has come, by queue."""
        rows = self._c.rows(
            "select queue, count(*), min(run_at_ms) from jobs where state = 'scheduled' and run_at_ms <= ? group by queue order by queue",
            (now_ms,),
        )
        return [Waiting(*r) for r in rows]

    def hopeless(self) -> list[tuple[str, str]]:
        """Return blocked jobs that wait for a job that has ended otherwise than they need: (id, the parent's id)."""
        return self._c.rows(
            """select child.id, min(parent.id) from dependencies
               join jobs as child on child.seq = dependencies.child join jobs as parent on parent.seq = dependencies.parent
               where met = 0 and child.state = 'blocked' and parent.state in ('completed', 'dead', 'cancelled')
               group by child.id order by child.seq"""
        )

    def latest_ms(self) -> int:
        """Return the latest time that anything was noted, 0 when nothing was."""
        row = self._c.one(
            """select max(coalesce((select max(at_ms) from events), 0), coalesce((select max(heartbeat_at_ms) from workers), 0),
                 coalesce((select created_at_ms from jobs order by seq desc limit 1), 0))"""
        )
        return int(row[0]) if row else 0
