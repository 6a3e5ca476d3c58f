"""How jobs come into the queue."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from queuectl.ids import new_id
from queuectl.model import Job
from queuectl.queue._base import Base

Step = str | Mapping[str, Any]

if TYPE_CHECKING:
    from queuectl.progress import Bar

_TOLD_AT_ONCE = 1000  # jobs between two words to the bar


class AddedJobs(Sequence[Job]):
    """Jobs just enqueued, in their order; the command line says how many instead of listing them.

    Args:
        jobs: may make each one when it is asked for, so that of a hundred thousand only those are made that are looked at.
    """

    def __init__(self, jobs: Sequence[Job] = ()) -> None:
        self._jobs = jobs

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, at: int) -> Job: ...
    @overload
    def __getitem__(self, at: slice) -> AddedJobs: ...
    def __getitem__(self, at: int | slice) -> Job | AddedJobs:
        return AddedJobs(self._jobs[at]) if isinstance(at, slice) else self._jobs[at]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.jobs_html(list(self), 0)


class Adding(Base):
    """The verbs that add jobs."""

    def enqueue(
        self, command: str, *, id: str | None = None, queue: str | None = None, priority: int | None = None, timeout: str | float | None = None,
        kill_after: str | float | None = None, max_retries: int | None = None, backoff: str | None = None, backoff_base: float | None = None,
        backoff_max: str | float | None = None, jitter: float | None = None, retry_on: str | None = None, no_retry_on: str | None = None,
        delay: str | float | None = None, run_at: str | None = None, after: str | Job | Iterable[str | Job] | None = None,
        after_any: str | Job | Iterable[str | Job] | None = None, after_fail: str | Job | Iterable[str | Job] | None = None,
        on_dep_fail: str | None = None, unique_key: str | None = None, unique_for: str | None = None, on_conflict: str | None = None,
        limit_key: str | None = None, limit: int | None = None, tag: str | None = None, cwd: str | None = None, env: str | list[str] | None = None,
        warn: str | None = None, keep_children: bool | None = None,
    ) -> Job:  # fmt: skip
        """Add a shell command to the queue; when this returns, it is on disk.

        Args:
            command: what `sh -c` runs, stored byte for byte.
            id: the job's id; 8 random characters by default.
            queue: the queue's name; default by default.
            priority: higher runs first; 0 by default.
            timeout: time limit of one run, seconds or 90s, 10m, 2h.
            kill_after: time between TERM and KILL at the limit.
            max_retries: failed attempts after which the job is dead; 0 and 1 both mean no retry.
            backoff: exponential, linear, fixed or a list of seconds.
            backoff_base: seconds; the n-th delay is base ** n, base * n or base.
            backoff_max: longest delay.
            jitter: random share of a delay, 0 to 1.
            retry_on: only these failures are retried: exit codes, 64-78, timeout, signal, spawn, re:REGEX.
            no_retry_on: these failures are not retried.
            delay: time to wait before the job is ready.
            run_at: date and time at which it is ready.
            after: ids of jobs that must have completed before.
            after_any: ids of jobs that must have ended before, either way.
            after_fail: ids of jobs that must have failed for good before.
            on_dep_fail: what to do when one of them ends otherwise: block (stay, saying why), cancel, or run.
            unique_key: only one job with this key may be in the queue.
            unique_for: how long the key is held: queued, active, success or forever.
            on_conflict: what to do when it is held: error, skip (return the job that holds it) or replace (cancel that one if it waits).
            limit_key: jobs with this key share a limit.
            limit: how many of them may run at once.
            tag: one or more names, separated by commas.
            cwd: the folder to run in; the current one by default.
            env: NAME=VALUE, or NAME to copy it from here.
            warn: signal before the time limit, like USR1,30, to those of its processes that catch it.
            keep_children: leave what the finished command left running.

        Raises:
            InvalidValue: a value is not what was expected; nothing was enqueued.
            StateConflict: the id or the unique key is taken.
        """
        said = locals()
        if list(said.values()).count(None) == len(said) - 2:  # all but self and the command
            return self._enqueuer.add_command(command, actor=self._actor)
        given = {k: x for k, x in said.items() if k != "self" and x is not None}
        return self._enqueuer.add([given], actor=self._actor)[0]

    def enqueue_many(
        self, source: str | Iterable[str | Mapping[str, Any]], *, progress: bool | None = None
    ) -> AddedJobs:
        """Add many commands in one transaction, all or none.

        Args:
            source: a file (`-` for standard input) with one command or one JSON object of enqueue's fields a line; from Python also an
                iterable of commands and mappings.
            progress: show a bar on standard error; by default where that is a terminal, and in a notebook.

        Raises:
            InvalidValue: the message names the line that is wrong; nothing was enqueued.
        """
        from queuectl import progress as bars
        from queuectl.sources import specs

        found = specs(source)
        with bars.bar(len(found), label="adding", shown=progress) as bar:
            plain = isinstance(found[0], str) if found else False  # then there is nothing to be told of each
            told = found if plain else _telling(found, bar)
            return AddedJobs(self._enqueuer.add(told, batch=f"b{time.time_ns():x}", actor=self._actor))

    def chain(
        self,
        steps: Iterable[Step | Iterable[Step]],
        *,
        after: str | Job | Iterable[str | Job] | None = None,
        on_dep_fail: str | None = None,
    ) -> AddedJobs:
        """Add jobs that run one after the other, all or none: each waits until the one before has completed.

        Args:
            steps: commands, or mappings of enqueue's fields; a list among them is a group, whose jobs run side by side between the step
                before and the step after.
            after: jobs that the first step waits for.
            on_dep_fail: what becomes of the rest when a step dies: block (until it is retried), cancel or run.

        Returns:
            The jobs, in order.

        Raises:
            InvalidValue: a step is not what was expected; nothing was enqueued.

        Example:
            q.chain(["make data", ["train --seed 1", "train --seed 2"], "make report"])
        """
        specs: list[dict[str, Any]] = []
        waits: Any = after
        for step in steps:
            group = [step] if isinstance(step, (str, Mapping)) else list(step)
            made = [_linked(one, waits, on_dep_fail) for one in group]
            specs += made
            waits = [spec["id"] for spec in made] or waits
        return AddedJobs(self._enqueuer.add(specs, batch=f"b{time.time_ns():x}", actor=self._actor))


def _linked(step: Step, waits: Any, on_dep_fail: str | None) -> dict[str, Any]:
    """Return a step's fields, with an id and what it waits for."""
    spec: dict[str, Any] = {"command": step} if isinstance(step, str) else dict(step)
    spec["id"] = spec.get("id") or new_id()
    if waits:
        spec["after"] = [waits, spec["after"]] if spec.get("after") else waits
    if on_dep_fail is not None:
        spec.setdefault("on_dep_fail", on_dep_fail)
    return spec


def _telling(found: Sequence[Step], bar: Bar) -> Iterator[Step]:
    """Yield the specs while the bar goes along with them."""
    for start in range(0, len(found), _TOLD_AT_ONCE):
        piece = found[start : start + _TOLD_AT_ONCE]
        yield from piece
        bar.update(len(piece))
    bar.to(len(found), "writing")
