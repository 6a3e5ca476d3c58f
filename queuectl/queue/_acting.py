"""What is done to jobs that are in the queue already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from queuectl import lifecycle, processes, selection
from queuectl import validate as v
from queuectl.answers import ActionResult, Change
from queuectl.bulk import NEW_JOB, Plan, Verb
from queuectl.ids import new_id
from queuectl.model import Job, State
from queuectl.queue._base import Base
from queuectl.records import replace
from queuectl.settings import SETTINGS
from queuectl.store.filters import Filter
from queuectl.store.foresight import Place
from queuectl.store.queues import BY_PERSON

ALL = "*"  # every queue, those that come later too
STILL_PAUSED = "{0}: resumed, but all queues are paused (queuectl resume)"


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
        yes: bool = False,
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
            yes: do not ask before several jobs of a filter are cancelled.
        """

        def plan(jobs: Sequence[Place], now: int) -> Plan:
            return Plan({}, lambda: self._store.changes.cancel(jobs, now_ms=now, actor=self._actor))

        wanted = self._filter(state=state, queue=queue, tag=tag, sig=sig, since=since)
        verb = Verb("cancel", (*lifecycle.sources("cancel"), State.PROCESSING), plan)
        return self._act(verb, ids, wanted, dry_run=dry_run, yes=yes)

    def retry(
        self,
        *ids: str,
        state: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        since: str | None = None,
        max_retries: int | None = None,
        command: str | None = None,
        dry_run: bool = False,
        yes: bool = False,
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
            command: run this instead, as a new job in the place of the old one, which keeps its history.
            dry_run: only say what would be done.
            yes: do not ask before several jobs of a filter are retried.
        """
        wanted = self._filter(state=state, queue=queue, tag=tag, sig=sig, since=since)
        return self._requeue(
            "retry", lifecycle.sources("requeue"), ids, wanted, max_retries=max_retries, command=command, dry_run=dry_run,
            yes=yes,
        )  # fmt: skip

    def delete(
        self,
        *ids: str,
        state: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        force: bool = False,
        cascade: bool = False,
        dry_run: bool = False,
        yes: bool = False,
    ) -> ActionResult:
        """Remove jobs and their runs for good.

        Args:
            ids: the jobs.
            state: those in this state.
            queue: those of this queue.
            tag: those with this tag.
            sig: those of this cause.
            force: also jobs that run now; what they started is killed.
            cascade: also the jobs that wait for them; without it a job that others wait for is left alone.
            dry_run: only say what would be done.
            yes: do not ask before several jobs of a filter are deleted.
        """
        states = tuple(s for s in State if force or s is not State.PROCESSING)
        wanted = self._filter(state=state, queue=queue, tag=tag, sig=sig)
        return self._delete("delete", states, ids, wanted, cascade=cascade, dry_run=dry_run, yes=yes)

    def _delete(
        self,
        verb: str,
        states: tuple[State, ...],
        ids: tuple[Any, ...],
        wanted: Filter,
        *,
        cascade: bool,
        **how: Any,
    ) -> ActionResult:
        def plan(jobs: Sequence[Place], now: int) -> Plan:
            refused, goes, also = self._store.foresight.delete(jobs, cascade=cascade)
            running = any(state is State.PROCESSING for _, state in jobs)
            do = partial(self._store.changes.delete, goes, running=running, now_ms=now)
            return Plan(refused, do, also=also)

        return self._act(Verb(verb, states, plan), ids, wanted, **how)

    def _requeue(
        self,
        verb: str,
        states: tuple[State, ...],
        ids: tuple[Any, ...],
        wanted: Filter,
        *,
        max_retries: int | None = None,
        command: str | None = None,
        **how: Any,
    ) -> ActionResult:
        budget = None if max_retries is None else SETTINGS["max-retries"].read(max_retries)
        step = lifecycle.step_ms(self._store.settings.get("priority-aging"))
        chosen = selection.chosen(ids, path=self.path)
        if command is not None:
            text = v.command(command)
            plan = self._superseding(lambda _: text, budget, step)
            return self._act(Verb(verb, states, plan), chosen, wanted, named=bool(ids), **how)

        def again(jobs: Sequence[Place], now: int) -> Plan:
            refused, waits = self._store.foresight.requeue(jobs)
            able = [place for place in jobs if place[0] not in refused]
            do = partial(
                self._store.changes.requeue, able, waits=waits, step_ms=step, max_retries=budget, now_ms=now, actor=self._actor
            )  # fmt: skip
            return Plan(refused, do)

        commands = {name: v.command(text) for name, text in chosen.commands.items()}
        differently = self._superseding(lambda job: commands[job.id], budget, step)

        def as_edited(jobs: Sequence[Place], now: int) -> Plan:
            """Those whose command was edited in a frame as new jobs, the others as they are."""
            edited = {
                j.seq
                for j in self._store.jobs.at(seq for seq, _ in jobs)
                if commands.get(j.id, j.command) != j.command
            }
            same = again([p for p in jobs if p[0] not in edited], now)
            other = differently([p for p in jobs if p[0] in edited], now)

            def do() -> None:
                same.do()
                other.do()

            return other._replace(refused=same.refused | other.refused, do=do)

        plan = as_edited if commands else again
        result = self._act(Verb(verb, states, plan), chosen, wanted, named=bool(ids), **how)
        if result.changes:
            return result
        if len(result.done) == 1 and ids and not result.dry_run:
            job = self._store.jobs.get(result.done[0])
            note = f"Job {job.id} has been requeued with max_retries = {job.max_retries}"
            return replace(result, notes=(note,))
        return result

    def _superseding(
        self, command: Callable[[Job], str], budget: int | None, step_ms: int
    ) -> Callable[[Sequence[Place], int], Plan]:
        """Return what would put new jobs with another command in the places of old ones."""
        store = self._store

        def plan(jobs: Sequence[Place], now: int) -> Plan:
            refused = store.foresight.supersede(jobs)
            able = [
                (old, new_id(), command(old))
                for old in store.jobs.at(s for s, _ in jobs)
                if old.seq not in refused
            ]

            def do() -> None:
                for old, name, text in able:
                    store.changes.supersede(
                        old.seq, by=name, command=text, step_ms=step_ms, max_retries=budget, now_ms=now, actor=self._actor
                    )  # fmt: skip

            return Plan(
                refused,
                do,
                notes=[f"Job {old.id} has been retried as {name}" for old, name, _ in able],
                details={old.seq: f"as {name}, with another command" for old, name, _ in able},
                changes=[
                    c for old, name, text in able
                    for c in (Change(old.id, "command", old.command, text), Change(old.id, NEW_JOB, old.id, name))
                ],
            )  # fmt: skip

        return plan

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
        name, now = ALL if queue is None else v.ident("queue", queue), processes.now_ms()
        with self._store.write():
            before = self._store.settings.pauses()
            if paused:
                changed = [] if before.get(name, 0) & BY_PERSON else [name]
            else:
                changed = [q for q in before if name in (ALL, q)]
            for each in changed:
                self._store.settings.pause(each, paused, now_ms=now)
            if changed:
                self._store.history.note(verb, None, name, actor=self._actor, now_ms=now)
        label = "all queues" if name == ALL else name
        if not changed:
            what = "paused already" if paused else "not paused"
            return ActionResult(verb, notes=(f"{label}: {what}; nothing was done",))
        held = not paused and name != ALL and ALL in before
        return ActionResult(verb, (label,), notes=(STILL_PAUSED.format(name),) if held else ())
