"""What charts and reports are drawn from: runs over time, causes of failures, events. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence

from queuectl._sqlite import Connection
from queuectl.model import State

# Every cause that failed runs are filed under, by one seek of the index each, however many runs there are.
_SIGS = """with recursive sigs (sig) as (
    select min(error_sig) from runs indexed by runs_failures where error_sig is not null
    union all
    select (select min(error_sig) from runs indexed by runs_failures where error_sig is not null and error_sig > sig)
    from sigs where sig is not null)"""
# Their runs since a moment: read from the index of failed runs alone, so that a million good runs cost nothing.
_FAILED = (
    "sigs cross join runs indexed by runs_failures on runs.error_sig = sig and runs.finished_at_ms >= :since"
)


class Trends:
    """Questions about what happened."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    # --- runs ---

    def finished_between(self, start_ms: int, end_ms: int) -> int:
        """Return how many runs ended in a span of time."""
        return int(
            self._c.rows(
                "select count(*) from runs where finished_at_ms >= ? and finished_at_ms < ?",
                (start_ms, end_ms),
            )[0][0]
        )

    def recent_runs(
        self, since_ms: int, *, limit: int = 10_000
    ) -> list[tuple[int, int | None, str, int | None]]:
        """Return the newest runs: (ended, run time, outcome, time from enqueue to the first start), ms; newest first."""
        return self._c.rows(
            """select runs.finished_at_ms, runs.finished_at_ms - runs.started_at_ms, runs.outcome,
                 case when runs.run = 1 then max(0, runs.started_at_ms - max(jobs.created_at_ms, coalesce(jobs.run_at_ms, 0))) end
               from runs join jobs on jobs.seq = runs.job
               where runs.finished_at_ms >= :since
               order by runs.finished_at_ms desc limit :limit""",
            {"since": since_ms, "limit": limit},
        )

    def first_end_ms(self) -> int | None:
        """Return when the oldest run that is kept has ended, or None."""
        row = self._c.one("select min(finished_at_ms) from runs")
        return row[0] if row else None

    def failed_commands(self, since_ms: int, *, every: int = 1) -> list[tuple[int, str]]:
        """Return failed runs that have a cause: (ended ms, start of the command), no order.

        Args:
            since_ms: those that ended then or later.
            every: only the runs of about one job in so many, spread evenly over all of them.
        """
        return self._c.rows(
            f"""{_SIGS}
                select runs.finished_at_ms, substr(jobs.command, 1, 400) from {_FAILED} join jobs on jobs.seq = runs.job
                where (runs.job * 2654435761 >> 16) % :every = 0""",
            {"since": since_ms, "every": every},
        )

    def failures_over_time(self, since_ms: int, end_ms: int, *, buckets: int) -> list[tuple[str, int, int]]:
        """Return how often each cause was met in each of so many equal spans of time: (sig, bucket, count)."""
        return self._c.rows(
            f"""{_SIGS}
                select sig, min(:buckets - 1, max(0, (finished_at_ms - :since) * :buckets / :span)) as bucket, count(*)
                from {_FAILED} group by sig, bucket order by sig, bucket""",
            {"since": since_ms, "span": max(1, end_ms - since_ms), "buckets": buckets},
        )

    def failures(self, since_ms: int) -> list[tuple[str, str, int, int, int, int, int]]:
        """Return every cause of the failed runs since a moment, the most frequent first.

        Each is (sig, template, runs, jobs, first ms, last ms, wasted ms). Reads the index of failed runs only, which has
        a cause's runs by time: its first and its last are looked up there, not searched for.
        """
        # Each cause in a sub-query of its own, with all it counts in one value: grouping what the join yields would sort it.
        own = "from runs indexed by runs_failures where runs.error_sig = sig and finished_at_ms >= :since"
        rows = self._c.rows(
            f"""{_SIGS}, failed as (
                  select sig,
                    (select count(*) || ' ' || count(distinct job) || ' ' || coalesce(sum(finished_at_ms - started_at_ms), 0) {own}) as counts,
                    (select min(finished_at_ms) {own}) as first, (select max(finished_at_ms) {own}) as last
                  from sigs where sig is not null)
                select failed.sig, coalesce(template, ''), counts, first, last
                from failed left join causes on causes.sig = failed.sig where first is not null order by failed.sig""",
            {"since": since_ms},
        )
        found = []
        for sig, template, counts, first, last in rows:
            runs, jobs, wasted = map(int, counts.split())
            found.append((sig, template, runs, jobs, first, last, wasted))
        return sorted(found, key=lambda row: -row[2])

    def example(self, sig: str) -> tuple[str | None, str | None, tuple[str, ...]]:
        """Return the latest example of a cause: (job id, line, some of the commands)."""
        return self._example(sig)

    def example_run(self, sig: str) -> tuple[int, int] | None:
        """Return job number and run of the latest example of a cause."""
        row = self._c.one(
            "select job, run from runs where error_sig = ? order by finished_at_ms desc limit 1", (sig,)
        )
        return (row[0], row[1]) if row else None

    def _example(self, sig: str) -> tuple[str | None, str | None, tuple[str, ...]]:
        found = self._c.one(
            """select jobs.id, runs.error, jobs.command from runs join jobs on jobs.seq = runs.job
               where runs.error_sig = ? order by runs.finished_at_ms desc limit 1""",
            (sig,),
        )
        others = self._c.rows(
            "select command from jobs where state = 'dead' and error_sig = ? order by seq limit 20", (sig,)
        )
        commands = dict.fromkeys(c for c in (found[2] if found else None, *(r[0] for r in others)) if c)
        return (found[0], found[1], tuple(commands)[:3]) if found else (None, None, tuple(commands))

    def jobs_by_sig(self, sigs: Sequence[str]) -> dict[str, dict[State, int]]:
        """Return how many jobs of each cause are dead, and how many wait for a retry."""
        out: dict[str, dict[State, int]] = {s: {} for s in sigs}
        for state in (State.DEAD, State.FAILED):
            rows = self._c.rows(
                f"""select error_sig, count(*) from jobs
                    where state = '{state.value}' and error_sig in (select value from json_each(:sigs)) group by error_sig""",
                {"sigs": json.dumps(list(sigs))},
            )
            for sig, n in rows:
                out[sig][state] = n
        return out

    def first_seen(self, sigs: Sequence[str]) -> dict[str, int]:
        """Return when each cause was met for the first time ever, ms."""
        rows = self._c.rows(
            "select sig, first_seen_ms from causes where sig in (select value from json_each(?))",
            (json.dumps(list(sigs)),),
        )
        return dict(rows)

    def events(
        self, *, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, int, str, str, str | None, str | None]]:
        """Return what happened, newest first: (seq, at ms, actor, verb, job id, detail)."""
        return self._c.rows(
            """select seq, at_ms, actor, verb, job_id, detail from events
               where :before is null or seq < :before order by seq desc limit :limit""",
            {"before": before, "limit": limit},
        )

    def job_events(self, job_id: str, *, limit: int = 50) -> list[tuple[int, str, str, str | None]]:
        """Return what happened to one job, newest first: (at ms, actor, verb, detail)."""
        return self._c.rows(
            "select at_ms, actor, verb, detail from events where job_id = ? order by seq desc limit ?",
            (job_id, limit),
        )
