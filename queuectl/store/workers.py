"""Workers: their rows, their heartbeats, and how they are told to stop."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from queuectl._sqlite import Connection
from queuectl.model import Worker
from queuectl.records import NamedTuple


class Runner(NamedTuple):
    """The process behind some workers, as identified in the database."""

    id: str
    host: str
    boot_id: str
    pid: int
    pid_start: int
    beat_mono_ms: int


class Requests(NamedTuple):
    """What others want of a runner, as of now."""

    stop_generation: int
    stop_how: str | None
    config_generation: int
    is_registered: bool
    is_asked_to_stop: bool
    has_cancels: bool
    deletions: int  # how often running jobs were deleted


class Workers:
    """The table `workers`: one row per slot, of live (or dead and not yet recovered) runners."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def register(
        self, ids: Sequence[str], runner: Runner, *, queues: Sequence[str] | None, now_ms: int
    ) -> None:
        """Write the rows of a runner that starts."""
        names = None if queues is None else ",".join(queues)
        self._c.sql.executemany(
            """insert into workers (id, runner, state, host, boot_id, pid, pid_start, queues, started_at_ms, heartbeat_at_ms, beat_mono_ms)
               values (?, ?, 'idle', ?, ?, ?, ?, ?, ?, ?, ?)""",
            [
                (
                    i,
                    runner.id,
                    runner.host,
                    runner.boot_id,
                    runner.pid,
                    runner.pid_start,
                    names,
                    now_ms,
                    now_ms,
                    runner.beat_mono_ms,
                )
                for i in ids
            ],
        )

    def beat(
        self, rows: Iterable[tuple[str, int | None, int, int, str]], *, now_ms: int, mono_ms: int
    ) -> None:
        """Renew the lease: rows of (state, seq of the job, done, failed, worker id)."""
        self._c.sql.executemany(
            f"""update workers set heartbeat_at_ms = {int(now_ms)}, beat_mono_ms = {int(mono_ms)},
                state = ?, job = ?, done = ?, failed = ? where id = ?""",
            rows,
        )

    def forget(self, runner: str) -> None:
        """Remove the rows of a runner that has ended."""
        self._c.rows("delete from workers where runner = ?", (runner,))

    def runners(self) -> list[Runner]:
        """Return the runners that have rows."""
        rows = self._c.rows(
            "select runner, host, boot_id, pid, pid_start, max(beat_mono_ms) from workers group by runner"
        )
        return [Runner(*r) for r in rows]

    def ids(self, runner: str) -> list[str]:
        """Return the ids of a runner's workers."""
        return [r[0] for r in self._c.rows("select id from workers where runner = ? order by id", (runner,))]

    def all(self) -> list[Worker]:
        """Return every worker's row, oldest first."""
        rows = self._c.rows(
            """select workers.id, runner, case when stop is not null then 'stopping' else workers.state end, jobs.id, pid, host, queues,
                 workers.started_at_ms, heartbeat_at_ms, done, failed
               from workers left join jobs on jobs.seq = workers.job and jobs.state = 'processing'
               order by workers.started_at_ms, workers.id"""
        )
        return [Worker(*r) for r in rows]

    def ask_to_stop(self, ids: Sequence[str], how: str) -> list[str]:
        """Tell these workers to stop, 'graceful' or 'now'; return those that exist."""
        rows = self._c.rows(
            "update workers set stop = ? where id in (select value from json_each(?)) returning id",
            (how, json.dumps(list(ids))),
        )
        return [r[0] for r in rows]

    def forget_workers(self, ids: Sequence[str]) -> None:
        """Remove the rows of workers that have ended while their runner goes on."""
        self._c.sql.executemany("delete from workers where id = ?", [(i,) for i in ids])

    def requests(self, runner: str) -> Requests:
        """Return, by one question, whether there is anything to obey."""
        row = self._c.rows(
            """select coalesce((select generation from control where name = 'stop'), 0), (select value from control where name = 'stop'),
                 coalesce((select generation from control where name = 'config'), 0),
                 exists (select 1 from workers where runner = :me), exists (select 1 from workers where runner = :me and stop is not null),
                 exists (select 1 from jobs where state = 'processing' and cancel > 0),
                 coalesce((select generation from control where name = 'deletion'), 0)""",
            {"me": runner},
        )[0]
        return Requests(row[0], row[1], row[2], bool(row[3]), bool(row[4]), bool(row[5]), row[6])

    def asked_to_stop(self, runner: str) -> dict[str, str]:
        """Return which of a runner's workers were told to stop, and how."""
        return dict(
            self._c.rows("select id, stop from workers where runner = ? and stop is not null", (runner,))
        )
