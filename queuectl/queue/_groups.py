"""Groups of verbs: `config` and `dlq`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from queuectl import lifecycle, processes
from queuectl.answers import ActionResult
from queuectl.model import JobList, State
from queuectl.queue._base import Group, rows_limit
from queuectl.settings import ConfigChange, ConfigTable, setting, shown
from queuectl.store.filters import Filter

if TYPE_CHECKING:
    import pandas as pd


class Config(Group):
    """Settings of this database."""

    def set(self, key: str, value: str) -> ConfigChange:
        """Change a setting. Those of jobs hold for jobs enqueued from now on; hooks, breakers and what workers obey hold at once.

        Args:
            key: the setting's name, such as max-retries.
            value: its new value; times are seconds or 90s, 10m, 2h.

        Raises:
            InvalidValue: no such setting, or not a value for it.
        """
        s = setting(key)
        stored = s.read(value)
        store, now = self._queue._store, processes.now_ms()
        with store.write():
            if s.name == "priority-aging":
                before = store.settings.get(s.name)
                store.settings.rerank(lifecycle.step_ms(before), lifecycle.step_ms(stored))
            store.settings.set(s.name, stored, now_ms=now)
            if s.name == "breaker":
                self._queue._resume_without_breaker(now)
            store.history.note(
                "config", None, f"{s.name} = {shown(s.name, stored)}", actor=self._queue._actor, now_ms=now
            )
        self._queue._enqueuer.forget()
        return ConfigChange(s.name, stored)

    def get(self, key: str | None = None) -> ConfigTable:
        """Show the settings: max-retries, backoff-base and those that were changed, or one.

        Args:
            key: one setting's name.
        """
        store = self._queue._store
        if key is not None:
            name = setting(key).name
            return ConfigTable({name: store.settings.get(name)})
        base = {k: store.settings.get(k) for k in ("max-retries", "backoff-base")}
        return ConfigTable(base | store.settings.changed())


class DeadList(JobList):
    """Dead jobs, in the order in which they died."""


class Dlq(Group):
    """The dead letter queue: jobs that failed too often."""

    _python_only = ("frame",)

    def frame(
        self, *, queue: str | None = None, tag: str | None = None, sig: str | None = None, since: Any = None, until: Any = None,
        ids: Any = None, limit: int | None = None, columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Return the dead jobs as a frame: one row per job, index `id`, oldest first; `died_at` and `last_error` beside a job's columns.

        Args:
            queue: only of this queue.
            tag: only with this tag.
            sig: only of this cause (see `failures`).
            since: changed since a moment or an age like 2h.
            until: changed before a moment or an age.
            ids: only these: ids, jobs, or a frame, Series or Index of them.
            limit: the newest so many; all by default.
            columns: only these columns.
        """
        from queuectl import frames
        from queuectl.queue._frames import frame_limit

        q = self._queue
        wanted = q._jobs_wanted(
            state="dead", queue=queue, tag=tag, sig=sig, since=since, until=until, ids=ids
        )
        return frames.dead(q._store, wanted, columns=columns, limit=frame_limit(limit))

    def list(
        self, *, queue: str | None = None, tag: str | None = None, sig: str | None = None, limit: int = 100
    ) -> DeadList:
        """List dead jobs, the latest last.

        Args:
            queue: only of this queue.
            tag: only with this tag.
            sig: only of this cause (see `failures`).
            limit: at most this many.
        """
        wanted = Filter(states=(State.DEAD,), queue=queue, tag=tag, sig=sig)
        found = self._queue._store.jobs.latest_dead(wanted, limit=rows_limit(limit))
        return DeadList(found, left_out=found.left_out)

    def retry(
        self,
        *ids: str,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        since: str | None = None,
        all: bool = False,
        max_retries: int | None = None,
        command: str | None = None,
        dry_run: bool = False,
        yes: bool = False,
    ) -> ActionResult:
        """Put dead jobs back in line with a fresh budget of attempts.

        Args:
            ids: the jobs.
            queue: those of this queue.
            tag: those with this tag.
            sig: those of this cause (see `failures`).
            since: those that changed since a time or an age like 2h.
            all: all dead jobs.
            max_retries: a new number of attempts.
            command: run this instead, as a new job in the place of the dead one, which keeps its history.
            dry_run: only say what would be done.
            yes: do not ask before several jobs of a filter are retried.

        Raises:
            StateConflict: a job that was named is not dead.
        """
        return self._queue._requeue("dlq retry", (State.DEAD,), ids, Filter(queue=queue, tag=tag, sig=sig, since_ms=self._queue._since(since)),
                                    all=all, max_retries=max_retries, command=command, dry_run=dry_run, yes=yes)  # fmt: skip

    def purge(
        self,
        *ids: str,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        all: bool = False,
        cascade: bool = False,
        dry_run: bool = False,
        yes: bool = False,
    ) -> ActionResult:
        """Remove dead jobs for good.

        Args:
            ids: the jobs.
            queue: those of this queue.
            tag: those with this tag.
            sig: those of this cause.
            all: all dead jobs.
            cascade: also the jobs that wait for them; without it a job that others wait for is left alone.
            dry_run: only say what would be done.
            yes: do not ask before several jobs of a filter are removed.
        """
        wanted = Filter(queue=queue, tag=tag, sig=sig)
        return self._queue._delete("dlq purge", (State.DEAD,), ids, wanted, all=all, cascade=cascade, dry_run=dry_run, yes=yes)  # fmt: skip
