"""Why, and what happened."""

from __future__ import annotations

from queuectl import processes
from queuectl import validate as v
from queuectl.answers import EventList, Explanation
from queuectl.queue._base import rows_limit
from queuectl.queue._working import Working


class Explaining(Working):
    """The verbs `explain` and `events`."""

    def explain(self, id: str) -> Explanation:
        """Say why a job does not run, or why it ended as it did, and where each of its settings came from.

        Args:
            id: the job's id.

        Raises:
            JobNotFound: no job has this id.
        """
        from queuectl.explaining import explain

        store = self._store
        job = store.jobs.get(v.ident("id", id))
        return explain(
            store, job, workers=self._live(), now_ms=processes.now_ms(), mono_ms=processes.mono_ms()
        )

    def events(
        self,
        *,
        job: str | None = None,
        verb: str | None = None,
        since: str | None = None,
        limit: int = 100,
    ) -> EventList:
        """List what was done to jobs, queues and settings, and by whom, the newest last.

        That jobs were enqueued and run is listed for one job, and where it is asked for: --verb enqueue, --verb run.

        Args:
            job: only of this job.
            verb: only this, such as enqueue, run, cancel, retry, edit, die or recover.
            since: since a time or an age like 2h.
            limit: at most this many.
        """
        found = self._store.history.story(
            job_id=None if job is None else v.ident("job", job), verb=None if verb is None else v.text("verb", verb, longest=64),
            since_ms=self._since(since), limit=rows_limit(limit),
        )  # fmt: skip
        return EventList(found)
