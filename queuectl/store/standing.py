"""Where a job stands among the others: what is in front of it, who holds the room it wants."""

from __future__ import annotations

from collections.abc import Collection

from queuectl._sqlite import Connection
from queuectl.model import Job

COUNTED = 100_000  # jobs in front of another that are counted at most, in each lane


class Standing:
    """Questions that read and never write."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def in_front(self, job: Job, *, queues: Collection[str] | None) -> int:
        """Return how many pending jobs of these queues, or of all, go before a pending job; those of paused queues do not count."""
        lanes = self._c.rows(
            """select queue, limit_key from counters where state = 'pending' and n > 0
               and not exists (select 1 from queues where paused > 0 and name in ('*', queue))"""
        )
        total = 0
        for queue, key in lanes:
            if queues is not None and queue not in queues:
                continue
            total += self._c.rows(
                """select count(*) from (select 1 from jobs where state = 'pending' and queue = ? and limit_key = ?
                     and (rank, seq) < (?, ?) and interruptions = 0 limit ?)""",
                (queue, key, job.rank, job.seq, COUNTED),
            )[0][0]
        return int(total)

    def holders(self, limit_key: str) -> tuple[int | None, list[str]]:
        """Return how many jobs of a limit key may run, None for any number, and the ids of those that do."""
        limit = self._c.one("select n from limits where key = ?", (limit_key,))
        rows = self._c.rows(
            "select id from jobs where state = 'processing' and limit_key = ? order by +seq", (limit_key,)
        )
        return (limit[0] if limit else None, [r[0] for r in rows])

    def pauses(self, queue: str) -> tuple[str | None, bool, bool]:
        """Return the reason that was given for the pause of a queue, and whether all queues, and whether it, were paused by a person."""
        rows = {n: (p & 1, r) for n, p, r in self._c.rows("select name, paused, reason from queues where name in ('*', ?)", (queue,))}  # fmt: skip
        every, own = rows.get("*", (0, None)), rows.get(queue, (0, None))
        return (own[1] if own[0] else every[1], bool(every[0]), bool(own[0]))
