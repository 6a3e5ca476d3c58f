"""Sweeps: one command with many parameters, and the group of jobs that it becomes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from queuectl import processes
from queuectl import validate as v
from queuectl.answers import ActionResult, WaitResult
from queuectl.errors import InvalidValue, NothingMatched
from queuectl.model import FINAL, JobList, State
from queuectl.queue._base import Base
from queuectl.records import record
from queuectl.store.filters import Filter

if TYPE_CHECKING:
    from queuectl.queue import Queue

SHOWN_COMMANDS = 10
_OWN = ("template", "params", "allow_unused", "dry_run")


@record
class Group:
    """The jobs of one sweep.

    Attributes:
        id: what they have in common, the column `batch` of each.
        template: the command with names in it; empty when the group was looked up.
        ids: the jobs, in the order of the rows; none after a dry run.
        commands: the first commands.
        rows: how many there are.
        dry_run: whether nothing was enqueued.
    """

    id: str
    template: str
    ids: tuple[str, ...]
    commands: tuple[str, ...]
    rows: int
    dry_run: bool = False
    _queue: Queue | None = None  # neither shown nor compared

    def __len__(self) -> int:
        return self.rows

    @property
    def jobs(self) -> JobList:
        """The jobs as they are now, in the order of the rows."""
        found = self._of._store.jobs.newest(Filter(batch=self.id), limit=max(1, self.rows))
        return JobList(list(found))

    @property
    def _of(self) -> Queue:
        if self._queue is None or self.dry_run:
            raise InvalidValue("group: expected one that was enqueued, got a dry run")
        return self._queue

    def status(self) -> dict[State, int]:
        """Return how many jobs are in which state."""
        states = list(self._states().values())
        return {s: states.count(s) for s in State if s in states}

    def _states(self) -> dict[str, State]:
        return self._of._store.jobs.states_of(self.ids)

    def wait(self, timeout: str | float | None = None) -> WaitResult:
        """Wait until all have ended; true when all completed.

        Raises:
            WaitTimeout: they had not all ended in time.
        """
        return self._of.wait(*self.ids, timeout=timeout)

    def cancel(self) -> ActionResult:
        """Cancel those that have not ended; running ones are ended with everything they started."""
        left = [i for i, s in self._states().items() if s not in FINAL]
        return self._of.cancel(*left) if left else ActionResult("cancel")

    def retry(self) -> ActionResult:
        """Run those again that are dead, cancelled or wait for a retry."""
        again = (State.DEAD, State.CANCELLED, State.FAILED)
        left = [i for i, s in self._states().items() if s in again]
        return self._of.retry(*left) if left else ActionResult("retry")

    def frame(self) -> Any:
        """Return the parameters with what became of each row.

        Returns:
            DataFrame, one row per job in the order of the rows, index `id`; the parameters' columns, then `state` (str), `exit_code`
            (Int64), `duration` (seconds, float64), `error` (str) and one column per key of the jobs' results. A column whose
            name a parameter has already is called `job.NAME` or `result.NAME`.
        """
        from queuectl.queue._sweep_frame import frame

        return frame(self.jobs, path=self._of.path)

    def as_dict(self) -> dict[str, Any]:
        """Return the group as plain data."""
        return {
            "id": self.id, "template": self.template, "rows": self.rows, "dry_run": self.dry_run, "jobs": list(self.ids),
            "commands": list(self.commands),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        from queuectl import html

        if self.dry_run:
            return html.table((f"{self.rows:,} commands, nothing enqueued",), [(c,) for c in self.commands])
        return html.table(("group", "state", "jobs"), [(self.id, s, n) for s, n in self.status().items()])


class Sweeping(Base):
    """The verbs about sweeps."""

    def map(
        self, template: str, params: str | Any, *, allow_unused: bool = False, dry_run: bool = False, queue: str | None = None,
        priority: int | None = None, timeout: str | float | None = None, kill_after: str | float | None = None,
        max_retries: int | None = None, backoff: str | None = None, backoff_base: float | None = None,
        backoff_max: str | float | None = None, jitter: float | None = None, retry_on: str | None = None, no_retry_on: str | None = None,
        delay: str | float | None = None, run_at: str | None = None, after: str | None = None, limit_key: str | None = None,
        limit: int | None = None, tag: str | None = None, cwd: str | None = None, env: str | Iterable[str] | None = None,
        warn: str | None = None, keep_children: bool | None = None,
    ) -> Group:  # fmt: skip
        """Add one job for each row of parameters, all or none.

        Args:
            template: a command with the parameters' names in it, as in `train.py --lr {lr:.3g}`; values are quoted for the shell.
            params: a .csv, .tsv, .json or .jsonl file; from Python also a DataFrame, a mapping of lists, or mappings.
            allow_unused: keep columns that the template does not use instead of refusing them.
            dry_run: only show the first commands.
            queue: the queue's name; default by default.
            priority: higher runs first; 0 by default.
            timeout: time limit of one run, seconds or 90s, 10m, 2h.
            kill_after: time between TERM and KILL at the limit.
            max_retries: failed attempts after which a job is dead; 0 and 1 both mean no retry.
            backoff: exponential, linear, fixed or a list of seconds.
            backoff_base: seconds; the n-th delay is base ** n, base * n or base.
            backoff_max: longest delay.
            jitter: random share of a delay, 0 to 1.
            retry_on: only these failures are retried: exit codes, 64-78, timeout, signal, spawn, re:REGEX.
            no_retry_on: these failures are not retried.
            delay: time to wait before the jobs are ready.
            run_at: date and time at which they are ready.
            after: ids of jobs that must have completed before.
            limit_key: jobs with this key share a limit.
            limit: how many of them may run at once.
            tag: one or more names, separated by commas.
            cwd: the folder to run in; the current one by default.
            env: NAME=VALUE, or NAME to copy it from here.
            warn: signal before the time limit, like USR1,30.
            keep_children: leave what a finished command left running.

        Raises:
            InvalidValue: a name is missing or too many, or a value is not what was expected; nothing was enqueued.
        """
        given = {k: x for k, x in locals().items() if k not in ("self", *_OWN) and x is not None}
        specs, text = _specs(template, params, allow_unused=allow_unused)
        specs = [spec | given for spec in specs]
        commands = tuple(spec["command"] for spec in specs[:SHOWN_COMMANDS])
        batch = f"b{time.time_ns():x}"
        if dry_run:
            now = processes.now_ms()
            for spec in specs[:1]:
                self._enqueuer.row(spec, now_ms=now)
            return Group("", text, (), commands, len(specs), dry_run=True)
        jobs = self._enqueuer.add(specs, batch=batch, actor=self._actor)
        ids = tuple(j.id for j in jobs)
        return Group(batch, text, ids, commands, len(ids), _queue=self)  # type: ignore[arg-type]

    def group(self, id: str) -> Group:
        """Return the jobs of a sweep by its id (`batch` of each of its jobs), for one that was enqueued elsewhere.

        Raises:
            NothingMatched: no job has it.
        """
        batch = v.ident("id", id)
        found = self._store.jobs.ids(Filter(batch=batch))
        if not found:
            raise NothingMatched(f"group {batch}: no job has this batch")
        return Group(batch, "", tuple(i for _, i, _ in found), (), len(found), _queue=self)  # type: ignore[arg-type]


def _specs(template: Any, params: Any, *, allow_unused: bool) -> tuple[list[dict[str, Any]], str]:
    from queuectl.parameters import kept, rows_of
    from queuectl.template import Template, commands

    wanted = Template(template)
    names, rows = rows_of(params)
    _check_names(wanted.names, names, allow_unused=allow_unused)
    return [
        {"command": c, "params": kept(row)} for c, row in zip(commands(wanted, rows), rows, strict=True)
    ], wanted.text


def _check_names(wanted: tuple[str, ...], names: tuple[str, ...], *, allow_unused: bool) -> None:
    missing = [n for n in wanted if n not in names]
    if missing:
        raise InvalidValue(
            f"template: no column for {', '.join(missing)}; params have {', '.join(names)} "
            "(braces that belong to the command are written {{ and }}); nothing was enqueued"
        )
    unused = [n for n in names if n not in wanted]
    if unused and not allow_unused:
        raise InvalidValue(
            f"params: {', '.join(unused)} {'is' if len(unused) == 1 else 'are'} not in the template; leave out what is not "
            "needed, or keep it with --allow-unused; nothing was enqueued"
        )
