"""What is in the queue."""

from __future__ import annotations

from collections.abc import Iterator

from queuectl import validate as v
from queuectl.answers import JobDetails, Status
from queuectl.model import JobList
from queuectl.queue._base import rows_limit
from queuectl.queue._working import Working
from queuectl.store.filters import Filter


class Looking(Working):
    """The verbs that change nothing."""

    def list(
        self,
        *,
        state: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 100,
    ) -> JobList:
        """List jobs, the newest last.

        Args:
            state: only in this state.
            queue: only of this queue.
            tag: only with this tag.
            sig: only of this cause of failure.
            since: changed since a time or an age like 2h.
            until: changed before a time or an age.
            limit: at most this many.
        """
        wanted = self._filter(state=state, queue=queue, tag=tag, sig=sig, since=since, until=until)
        return self._store.jobs.newest(wanted, limit=rows_limit(limit))

    def show(self, id: str) -> JobDetails:
        """Show everything about a job and its runs.

        Args:
            id: the job's id.

        Raises:
            JobNotFound: no job has this id.
        """
        job = self._store.jobs.get(v.ident("id", id))
        return JobDetails(job, self._store.jobs.runs(job.seq))

    def status(self, *, limit: int = 50) -> Status:
        """Show counts by state, the newest jobs and the live workers.

        Args:
            limit: at most this many jobs.
        """
        store = self._store
        jobs = store.jobs.newest(Filter(), limit=rows_limit(limit))
        return Status(
            store.jobs.counts(), tuple(jobs), jobs.left_out, tuple(self._live()), store.settings.paused(),
            tuple(s for s in store.queues.all() if s.breaker_open), tuple(store.queues.limits()),
        )  # fmt: skip

    def logs(
        self, id: str, *, run: int | None = None, stderr: bool = False, follow: bool = False
    ) -> Iterator[bytes]:
        """Print the output of a run, the latest by default.

        Args:
            id: the job's id.
            run: which run, counted from 1.
            stderr: standard error instead of standard output.
            follow: go on while the job runs.
        """
        from queuectl.output import stream

        job = self._store.jobs.get(v.ident("id", id))
        number = None if run is None else v.whole("run", run, low=1, high=10**9)
        return stream(self._store, job, run=number, stderr=stderr, follow=follow)
