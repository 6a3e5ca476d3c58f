"""What happened, when and by whom: the table `events`.

Written by everything that changes a job or the queue, except what a job's own row and runs tell already: that it was enqueued, and by whom,
claimed, run and retried. So the history stays small where the queue is fast; `story` tells the one with the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from queuectl._sqlite import Connection
from queuectl.model import ADDED_BY, Event

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

    def story(
        self,
        *,
        job_id: str | None = None,
        verb: str | None = None,
        since_ms: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """Return the latest events, oldest first; of a job, and where they are asked for, also what rows and runs tell: enqueue and run."""
        found = self.events(job_id=job_id, verb=verb, since_ms=since_ms, limit=limit)
        if verb == "enqueue" or (job_id and verb is None):
            found += self._enqueued(job_id, limit)
        if verb == "run" or (job_id and verb is None):
            found += self._run(job_id, limit)
        # Of one instant: what was done to the job before what became of it.
        found.sort(key=lambda e: (e.at_ms, e.verb != "enqueue", e.verb == "die", e.seq))
        return [e for e in found if since_ms is None or e.at_ms >= since_ms][-limit:]

    def _enqueued(self, job_id: str | None, limit: int) -> list[Event]:
        rows = self._c.rows(
            f"""select created_at_ms, coalesce(json_extract(origins, '$.{ADDED_BY}'), 'python'), id, 'to queue ' || queue
                  || coalesce(', by schedule ' || schedule, '') || coalesce(', in the place of ' || retry_of, '')
                from jobs where {"id = :job" if job_id else "true"} order by seq desc limit :limit""",
            {"job": job_id, "limit": limit},
        )
        return [Event(0, at, by, "enqueue", name, detail) for at, by, name, detail in rows]

    def _run(self, job_id: str | None, limit: int) -> list[Event]:
        rows = self._c.rows(
            f"""select runs.finished_at_ms, jobs.id, 'run ' || run || coalesce(' by ' || runs.worker_id, '') || ': ' || runs.outcome
                  || coalesce(', ' || runs.reason, '')
                from runs join jobs on seq = job where {"job = (select seq from jobs where id = :job)" if job_id else "true"}
                order by runs.finished_at_ms desc limit :limit""",
            {"job": job_id, "limit": limit},
        )
        return [Event(0, at, "worker", "run", name, detail) for at, name, detail in rows]

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
