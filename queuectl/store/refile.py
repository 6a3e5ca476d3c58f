"""Failed runs and what they left behind, to be filed under other causes."""

from __future__ import annotations

from collections.abc import Iterable

from queuectl._sqlite import Connection
from queuectl.records import NamedTuple


class FailedRun(NamedTuple):
    """A failed run, and what is kept of its output."""

    job: int
    run: int
    job_id: str
    outcome: str
    exit_code: int | None
    signal: int | None
    error: str | None
    error_sig: str | None
    sig_version: int | None
    finished_at_ms: int
    stdout_bytes: int
    stderr_bytes: int
    stdout: bytes | None
    stderr: bytes | None
    stdout_file: str | None
    stderr_file: str | None


class Filed(NamedTuple):
    """What a run is filed under from now on."""

    job: int
    run: int
    error: str
    error_sig: str
    template: str
    version: int
    finished_at_ms: int


class Refile:
    """Reads failed runs in batches, and writes other causes for them."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def count(self) -> int:
        """Return how many failed runs there are."""
        return int(self._c.rows(f"select count(*) from runs where {_FAILED}")[0][0])

    def failed(self, *, after: tuple[int, int], limit: int) -> list[FailedRun]:
        """Return failed runs in the order of job and run, beginning after one of them."""
        rows = self._c.rows(
            f"""select runs.job, runs.run, jobs.id, runs.outcome, runs.exit_code, runs.signal, runs.error, runs.error_sig, runs.sig_version,
                  runs.finished_at_ms, stdout_bytes, stderr_bytes, stdout, stderr, stdout_file, stderr_file
                from runs join jobs on jobs.seq = runs.job left join outputs on outputs.job = runs.job and outputs.run = runs.run
                where {_FAILED} and (runs.job, runs.run) > (:job, :run) order by runs.job, runs.run limit :limit""",
            {"job": after[0], "run": after[1], "limit": limit},
        )
        return [FailedRun(*row) for row in rows]

    def file(self, found: Iterable[Filed]) -> None:
        """File runs, and the jobs whose latest run they are, under other causes."""
        rows = [f._asdict() for f in found]
        sql = self._c.sql
        sql.executemany(
            "update runs set error = :error, error_sig = :error_sig, sig_version = :version where job = :job and run = :run",
            rows,
        )
        sql.executemany(
            """update jobs set error = :error, error_sig = :error_sig
               where seq = :job and runs = :run and error_sig is not null and error_sig <> :error_sig""",
            rows,
        )
        sql.executemany(
            """insert into causes values (:error_sig, :template, :version, :finished_at_ms) on conflict (sig) do update
               set template = :template, version = :version, first_seen_ms = min(first_seen_ms, :finished_at_ms)""",
            rows,
        )

    def forget_unused(self) -> None:
        """Remove the causes that no run is filed under any more."""
        self._c.rows("delete from causes where not exists (select 1 from runs where error_sig = causes.sig)")


_FAILED = "runs.outcome in ('failed', 'timeout', 'killed', 'spawn')"
