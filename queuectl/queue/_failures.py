"""Why jobs failed: the causes, a report of them, and computing them anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from queuectl import processes
from queuectl.answers import ActionResult, Cause, CauseList
from queuectl.queue._base import Base, rows_limit
from queuectl.store.trends import Trends

if TYPE_CHECKING:
    import pandas as pd


class Failing(Base):
    """The verbs about failures."""

    def failures(self, *, since: str | None = None, limit: int = 20) -> CauseList:
        """Show the causes of failed runs, the most frequent first; `dlq retry --sig` takes one.

        Args:
            since: only of runs that ended since a time or an age like 2h.
            limit: at most this many.
        """
        after = self._since(since)
        return self._causes(0 if after is None else after, rows_limit(limit))

    def failures_frame(self, *, since: str | None = None, limit: int | None = None) -> pd.DataFrame:
        """Return the causes of failed runs as a frame: one row per cause, index `sig`, the most frequent first.

        Args:
            since: only of runs that ended since a time or an age like 2h.
            limit: at most so many; all by default.
        """
        from queuectl import frames
        from queuectl.queue._frames import frame_limit

        after = self._since(since)
        return frames.causes(self._store, self._causes(0 if after is None else after, frame_limit(limit)))

    def refingerprint(self, *, dry_run: bool = False) -> ActionResult:
        """Compute the causes of stored failures anew, with this version's rules and those of the setting cause-rules.

        Args:
            dry_run: only say which jobs would get another cause.
        """
        from queuectl.causes import parse_rules
        from queuectl.refingerprint import refingerprint

        rules = parse_rules(self._store.settings.get("cause-rules") or ())
        found = refingerprint(self._store, rules, dry_run=dry_run)
        verb = "would get" if dry_run else "got"
        notes = [
            f"{found.runs:,} failed runs looked at; {found.changed_runs:,} of {len(found.jobs):,} jobs {verb} another cause"
        ]
        if found.kept:
            notes.append(f"{found.kept:,} kept theirs, as their output is gone")
        return ActionResult("refingerprint", found.jobs, dry_run=dry_run, notes=tuple(notes))

    def report(
        self, path: str, *, since: str | None = None, limit: int = 10, force: bool = False
    ) -> ActionResult:
        """Write a report of the failures, their causes over time, samples and the calls that retry them.

        Args:
            path: the file, whose ending says the form: .html, .ipynb or .md.
            since: only of runs that ended since a time or an age like 2h.
            limit: at most this many causes.
            force: replace a file that is there.
        """
        from queuectl import incident

        name = os.path.expanduser(os.fspath(path))
        incident.form_of(name)
        after, now = self._since(since), processes.now_ms()
        rows = self._causes(0 if after is None else after, None)
        shown = rows[: rows_limit(limit)]
        facts = incident.gather(
            self._store, shown, left_out=len(rows) - len(shown), runs=sum(c.count for c in rows), wasted_ms=sum(c.wasted_ms for c in rows), since_ms=after,
            since=since, now_ms=now,
        )  # fmt: skip
        incident.write(facts, name, force=force)
        said = f"{sum(c.count for c in rows):,} failed runs of {len(rows):,} causes"
        return ActionResult("report", (name,), notes=(f"Report of {said} written to {name}",))

    def _causes(self, since_ms: int, limit: int | None) -> CauseList:
        trends = Trends(self._store.connection)
        rows = trends.failures(since_ms)
        total = sum(row[2] for row in rows)
        shown = rows if limit is None else rows[:limit]
        return CauseList(
            [
                Cause(sig, message, n, jobs, n / total, first, last, wasted, *trends.example(sig))
                for sig, message, n, jobs, first, last, wasted in shown
            ],
            left_out=len(rows) - len(shown),
        )
