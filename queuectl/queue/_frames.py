"""The queue as pandas frames. pandas is imported where a frame is made, never on the way of a command or a worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from queuectl import selection
from queuectl import validate as v
from queuectl.model import Outcome, State
from queuectl.queue._working import Working
from queuectl.records import replace
from queuectl.store.filters import Filter

if TYPE_CHECKING:
    import pandas as pd


def several(name: str, value: str | Iterable[str] | None, options: Sequence[str]) -> tuple[str, ...] | None:
    """Return one or several words out of the options; None means any."""
    if value is None:
        return None
    given = [value] if isinstance(value, str) else list(value)
    return tuple(dict.fromkeys(v.choice(name, each, options) for each in given))


def frame_limit(value: object) -> int | None:
    """Return how many rows at most; None means all."""
    return None if value is None else v.whole("limit", value, low=1, high=10**12)


class Framing(Working):
    """The verbs that return frames."""

    def jobs(
        self, *, state: str | Iterable[str] | None = None, queue: str | None = None, tag: str | None = None, sig: str | None = None,
        since: Any = None, until: Any = None, ids: Any = None, batch: str | None = None, limit: int | None = None,
        columns: Sequence[str] | None = None, expand: bool = False,
    ) -> pd.DataFrame:  # fmt: skip
        """Return jobs as a frame: one row per job, index `id`, oldest first.

        Args:
            state: only in this state, or one of several.
            queue: only of this queue.
            tag: only with this tag.
            sig: only whose latest failure has this cause.
            since: changed since a moment or an age like 2h.
            until: changed before a moment or an age.
            ids: only these: ids, jobs, or a frame, Series or Index of them.
            batch: only of this group.
            limit: the newest so many; all by default.
            columns: only these columns, which is faster.
            expand: add a column for each parameter and each key of the results.

        Returns:
            DataFrame with the dtypes of `queuectl.frames.schema.JOBS`, also when empty.
        """
        from queuectl import frames

        wanted = self._jobs_wanted(
            state=state, queue=queue, tag=tag, sig=sig, since=since, until=until, ids=ids, batch=batch
        )
        return frames.jobs(self._store, wanted, columns=columns, limit=frame_limit(limit), expand=expand)

    def runs(
        self, *, state: str | Iterable[str] | None = None, queue: str | None = None, tag: str | None = None, sig: str | None = None,
        outcome: str | Iterable[str] | None = None, since: Any = None, until: Any = None, ids: Any = None, batch: str | None = None,
        limit: int | None = None, columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Return ended runs as a frame: one row per run, index (`job_id`, `run`), the input of `queuectl.analysis`.

        Args:
            state: only of jobs in this state now, or one of several.
            queue: only of jobs of this queue.
            tag: only of jobs with this tag.
            sig: only runs that failed of this cause.
            outcome: only runs that ended so, or in one of several ways.
            since: ended since a moment or an age like 2h.
            until: ended before a moment or an age.
            ids: only of these jobs.
            batch: only of jobs of this group.
            limit: the latest so many; all by default.
            columns: only these columns, which is faster.

        Returns:
            DataFrame with the dtypes of `queuectl.frames.schema.RUNS`, also when empty.
        """
        from queuectl import frames
        from queuectl.store.frames import RunFilter

        moments = self._filter(sig=sig, since=since, until=until)
        outcomes = several("outcome", outcome, tuple(Outcome))
        of_run = RunFilter(
            None if outcomes is None else tuple(map(Outcome, outcomes)), moments.sig, moments.since_ms, moments.until_ms
        )  # fmt: skip
        wanted = self._jobs_wanted(state=state, queue=queue, tag=tag, ids=ids, batch=batch)
        return frames.runs(self._store, wanted, of_run, columns=columns, limit=frame_limit(limit))

    def workers_frame(self) -> pd.DataFrame:
        """Return the workers as a frame: one row per worker, index `id`."""
        from queuectl import frames

        return frames.workers(self._store, self._live())

    def events_frame(
        self, *, job: str | None = None, verb: str | None = None, since: Any = None, until: Any = None, limit: int | None = None
    ) -> pd.DataFrame:  # fmt: skip
        """Return what happened as a frame: one row per event, index `seq`, oldest first.

        Args:
            job: only about this job.
            verb: only of this kind, such as retry.
            since: since a moment or an age like 2h.
            until: before a moment or an age.
            limit: the latest so many; all by default.
        """
        from queuectl import frames

        moments = self._filter(since=since, until=until)
        return frames.events(
            self._store, job_id=None if job is None else v.ident("job", job), verb=None if verb is None else v.text("verb", verb),
            since_ms=moments.since_ms, until_ms=moments.until_ms, limit=frame_limit(limit),
        )  # fmt: skip

    def _jobs_wanted(
        self, *, state: str | Iterable[str] | None = None, ids: Any = None, batch: str | None = None, **more: Any
    ) -> Filter:  # fmt: skip
        states = several("state", state, tuple(State))
        return replace(
            self._filter(**more),
            states=None if states is None else tuple(map(State, states)),
            ids=None if ids is None else tuple(selection.ids_of([ids], path=self.path)),
            batch=None if batch is None else v.ident("batch", batch),
        )
