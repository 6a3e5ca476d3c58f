"""Why jobs failed: the causes, and computing them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl.model import Cause, CauseList
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
