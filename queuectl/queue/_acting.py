"""What is done to jobs that are in the queue already."""

from __future__ import annotations

from typing import Any

from queuectl import lifecycle, processes
from queuectl import validate as v
from queuectl.model import ActionResult, State
from queuectl.queue._base import Base
from queuectl.settings import SETTINGS
from queuectl.store.filters import Filter


class Acting(Base):
    """The verbs that change jobs."""

    def cancel(
        self,
        *ids: str,
        state: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        since: str | None = None,
        dry_run: bool = False,
    ) -> ActionResult:
        """Cancel jobs; running ones are ended with everything they started.

        Args:
            ids: the jobs.
            state: those in this state.
            queue: those of this queue.
            tag: those with this tag.
            sig: those of this cause.
            since: those that changed since a time or an age like 2h.
            dry_run: only say what would be done.
        """
        changes = self._store.changes

        def change(seq: int, found: State, now: int) -> bool:
            return (
                changes.ask_to_cancel(seq, now_ms=now)
                if found is State.PROCESSING
                else changes.cancel(seq, now_ms=now)
            )

        wanted = self._filter(state=state, queue=queue, tag=tag, sig=sig, since=since)
        return self._act(
            "cancel",
            ids,
            wanted,
            states=(*lifecycle.sources("cancel"), State.PROCESSING),
            dry_run=dry_run,
            change=change,
        )

    def retry(
        self,
        *ids: str,
        state: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        since: str | None = None,
        max_retries: int | None = None,
        dry_run: bool = False,
    ) -> ActionResult:
        """Run jobs again: dead and cancelled ones with a fresh budget, failed and scheduled ones at once.

        Args:
            ids: the jobs.
            state: those in this state.
            queue: those of this queue.
            tag: those with this tag.
            sig: those of this cause.
            since: those that changed since a time or an age like 2h.
            max_retries: a new number of attempts.
            dry_run: only say what would be done.
        """
        wanted = self._filter(state=state, queue=queue, tag=tag, sig=sig, since=since)
        return self._requeue(
            "retry", lifecycle.sources("requeue"), ids, wanted, max_retries=max_retries, dry_run=dry_run
        )

    def delete(
        self,
        *ids: str,
        state: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> ActionResult:
        """Remove jobs and their runs for good.

        Args:
            ids: the jobs.
            state: those in this state.
            queue: those of this queue.
            tag: those with this tag.
            sig: those of this cause.
            force: also jobs that run now.
            dry_run: only say what would be done.
        """
        states = tuple(s for s in State if force or s is not State.PROCESSING)
        wanted = self._filter(state=state, queue=queue, tag=tag, sig=sig)
        return self._act(
            "delete",
            ids,
            wanted,
            states=states,
            dry_run=dry_run,
            change=lambda seq, _s, _n: self._store.changes.delete(seq, force=force),
        )

    def _requeue(
        self,
        verb: str,
        states: tuple[State, ...],
        ids: tuple[Any, ...],
        wanted: Filter,
        *,
        all: bool = False,
        max_retries: int | None = None,
        dry_run: bool = False,
    ) -> ActionResult:
        budget = None if max_retries is None else SETTINGS["max-retries"].read(max_retries)
        aging = self._store.settings.get("priority-aging")

        def change(seq: int, found: State, now: int) -> bool:
            priority = self._store.jobs.priority_of(seq)
            return self._store.changes.requeue(
                seq, found, rank=lifecycle.rank(now, priority, aging), max_retries=budget, now_ms=now
            )

        result = self._act(verb, ids, wanted, states=states, all=all, dry_run=dry_run, change=change)
        if len(result.done) == 1 and ids and not dry_run:
            job = self._store.jobs.get(result.done[0])
            return ActionResult(
                verb,
                result.done,
                result.skipped,
                notes=(f"Job {job.id} has been requeued with max_retries = {job.max_retries}",),
            )
        return result

    def pause(self, queue: str | None = None) -> ActionResult:
        """Stop claiming jobs of a queue, or of all; running jobs are left alone.

        Args:
            queue: the queue's name.
        """
        return self._pause("pause", queue, True)

    def resume(self, queue: str | None = None) -> ActionResult:
        """Go on claiming jobs of a queue, or of all.

        Args:
            queue: the queue's name.
        """
        return self._pause("resume", queue, False)

    def _pause(self, verb: str, queue: str | None, paused: bool) -> ActionResult:
        name, now = "*" if queue is None else v.ident("queue", queue), processes.now_ms()
        with self._store.write():
            for each in [name] if paused or queue is not None else [*self._store.settings.paused(), "*"]:
                self._store.settings.pause(each, paused, now_ms=now)
            self._store.settings.event(verb, None, name, actor=self._actor, now_ms=now)
        return ActionResult(verb, ("all queues" if name == "*" else name,))
