"""Changes of jobs that wait: their values and their place in the line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from queuectl import editing, processes
from queuectl.answers import ActionResult, Change
from queuectl.bulk import Plan, Verb
from queuectl.model import WAITING, State
from queuectl.queue._base import Base
from queuectl.store.foresight import Place, Refused

IN_EVENT = 500  # characters of an edit that its event keeps


class Editing(Base):
    """The verbs `edit` and `bump`."""

    def edit(
        self, *ids: str, state: str | None = None, in_queue: str | None = None, with_tag: str | None = None, sig: str | None = None,
        since: str | None = None, command: str | None = None, queue: str | None = None, priority: int | None = None,
        timeout: str | float | None = None, kill_after: str | float | None = None, max_retries: int | None = None, backoff: str | None = None,
        backoff_base: float | None = None, backoff_max: str | float | None = None, jitter: float | None = None, retry_on: str | None = None,
        no_retry_on: str | None = None, on_dep_fail: str | None = None, delay: str | float | None = None, run_at: str | None = None,
        tag: str | Iterable[str] | None = None, cwd: str | None = None, warn: str | None = None, keep_children: bool | None = None,
        dry_run: bool = False, yes: bool = False,
    ) -> ActionResult:  # fmt: skip
        """Change jobs that wait: pending, scheduled, blocked or between two attempts. What runs or has ended is left alone.

        Args:
            ids: the jobs.
            state: those in this state.
            in_queue: those of this queue.
            with_tag: those with this tag.
            sig: those of this cause.
            since: those that changed since a time or an age like 2h.
            command: a new command.
            queue: move them to this queue.
            priority: a new priority; among equals their place stays that of before.
            timeout: a new time limit; none for no limit.
            kill_after: time between TERM and KILL at the limit.
            max_retries: failed attempts after which the job is dead.
            backoff: exponential, linear, fixed or a list of seconds.
            backoff_base: seconds; the n-th delay is base ** n, base * n or base.
            backoff_max: longest delay.
            jitter: random share of a delay, 0 to 1.
            retry_on: only these failures are retried; none for all.
            no_retry_on: these failures are not retried; none for no such rule.
            on_dep_fail: what to do when a job that is waited for ends otherwise: block, cancel, or run.
            delay: run them so long from now; 0 for now.
            run_at: run them at this date and time.
            tag: new tags in the place of the old ones.
            cwd: the folder to run in.
            warn: signal before the time limit, like USR1,30; none for none.
            keep_children: leave what the finished command left running.
            dry_run: only say what would be changed.
            yes: do not ask before several jobs of a filter are changed.

        Raises:
            InvalidValue: a value is not what was expected, or none was given; nothing was changed.
        """
        given = {
            "command": command, "queue": queue, "priority": priority, "timeout": timeout, "kill_after": kill_after, "max_retries": max_retries,
            "backoff": backoff, "backoff_base": backoff_base, "backoff_max": backoff_max, "jitter": jitter, "retry_on": retry_on,
            "no_retry_on": no_retry_on, "on_dep_fail": on_dep_fail, "delay": delay, "run_at": run_at, "tag": tag, "cwd": cwd, "warn": warn,
            "keep_children": keep_children,
        }  # fmt: skip
        asked = editing.read(given, now_ms=processes.now_ms())
        wanted = self._filter(state=state, queue=in_queue, tag=with_tag, sig=sig, since=since)
        return self._act(Verb("edit", WAITING, self._changing(asked)), ids, wanted, dry_run=dry_run, yes=yes)

    def _changing(self, asked: editing.Edit) -> Callable[[Sequence[Place], int], Plan]:
        store, aging = self._store, self._store.settings.get("priority-aging")

        def plan(jobs: Sequence[Place], now: int) -> Plan:
            refused, new = Refused(), dict[int, dict[str, Any]]()
            changes: list[Change] = []
            details: dict[int, str] = {}
            for job in store.jobs.at(seq for seq, _ in jobs):
                columns = editing.apply(asked, job, now_ms=now, mono_ms=processes.mono_ms(), aging_ms=aging)
                if isinstance(columns, str):
                    refused[job.seq] = columns
                    continue
                new[job.seq] = columns
                mine = editing.changes(job, columns)
                details[job.seq] = ", ".join(f"{c.field}: {c.before} → {c.after}" for c in mine)[:IN_EVENT]
                changes += mine

            def do() -> None:
                store.changes.put(new.items(), now_ms=now)
                if "on_dep_fail" in asked.columns:
                    blocked = [seq for seq, state in jobs if state is State.BLOCKED and seq in new]
                    store.family.reconsidered(blocked, now_ms=now, actor=self._actor)

            return Plan(refused, do, details=details, changes=changes)

        return plan

    def bump(
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
        """Move jobs to the front of their priority, in the order given; those that are not ready yet get their place when they are.

        Args:
            ids: the jobs.
            state: those in this state.
            queue: those of this queue.
            tag: those with this tag.
            sig: those of this cause.
            since: those that changed since a time or an age like 2h.
            dry_run: only say what would be done.
            yes: do not ask before several jobs of a filter are moved.
        """

        def plan(jobs: Sequence[Place], now: int) -> Plan:
            return Plan({}, lambda: self._store.changes.bump(jobs, now_ms=now))

        wanted = self._filter(state=state, queue=queue, tag=tag, sig=sig, since=since)
        return self._act(Verb("bump", WAITING, plan), ids, wanted, dry_run=dry_run, yes=yes)
