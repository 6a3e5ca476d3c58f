"""What happened, when and by whom: the table `events`.

Written by everything that changes a job or the queue, except what a job's own row and runs tell already: that it was enqueued, claimed, run
and retried. So the history stays small where the queue is fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from queuectl._sqlite import Connection
from queuectl.model import Event

_NOTE = "insert into events (at_ms, actor, verb, job_id, detail) values (?, ?, ?, ?, ?)"


class History:
    """Events, written inside somebody's `store.write()` and read by `events` and `explain`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def note(
        self, verb: str, job_id: str | None = None, detail: str | None = None, *, actor: str, now_ms: int
    ) -> None:
        """Note one change, and by whom: cli, panel, python or worker."""
        self._c.rows(_NOTE, (now_ms, actor, verb, job_id, detail))

    def note_each(
        self, verb: str, jobs: Iterable[tuple[str, str | None]], *, actor: str, now_ms: int
    ) -> None:
        """Note the same change of several jobs: pairs of id and detail."""
        self._c.sql.executemany(_NOTE, [(now_ms, actor, verb, job_id, detail) for job_id, detail in jobs])

    def events(
        self,
        *,
        job_id: str | None = None,
        verb: str | None = None,
        since_ms: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """Return the latest events, oldest first."""
        parts: list[str] = []
        values: dict[str, Any] = {"job": job_id, "verb": verb, "since": since_ms, "limit": limit}
        for value, clause in (
            (job_id, "job_id = :job and job_id is not null"),
            (verb, "verb = :verb"),
            (since_ms, "at_ms >= :since"),
        ):
            if value is not None:
                parts.append(clause)
        rows = self._c.rows(
            f"""select seq, at_ms, actor, verb, job_id, detail from events where {" and ".join(parts) or "true"}
                order by seq desc limit :limit""",
            values,
        )
        return [Event(*r) for r in reversed(rows)]
