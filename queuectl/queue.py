"""`Queue`: the one public API. Every public method is also a command of the same name; both are this implementation."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from queuectl import _sqlite, bulk, lifecycle, place, processes, selection
from queuectl import validate as v
from queuectl.enqueue import Enqueuer
from queuectl.errors import InvalidValue, NothingMatched, QueuectlError, WaitTimeout
from queuectl.model import FINAL, ActionResult, Job, JobDetails, JobList, State, Status, WaitResult, Worker
from queuectl.settings import SETTINGS, ConfigChange, ConfigTable, setting, shown
from queuectl.store import Store
from queuectl.store.filters import Filter

# fleet and runner are imported where workers are started: causes, threads and sockets cost an enqueue 40 ms.
if TYPE_CHECKING:
    from queuectl.runner import Options

Workers = list[Worker]
DEFAULT_PATH = os.path.join("data", "queue.db")
LIMIT_MAX = 100_000
WORKERS_MAX = 64


class _Group:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue


class Config(_Group):
    """Settings of this database."""

    def set(self, key: str, value: str) -> ConfigChange:
        """Change a setting for jobs enqueued from now on.

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
            store.settings.set(s.name, stored, now_ms=now)
            if s.name == "priority-aging":
                store.settings.rerank(lifecycle.step_ms(stored))
            store.settings.event(
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


class AddedJobs(JobList):
    """Jobs just enqueued, in their order; the command line says how many instead of listing them."""


class DeadList(JobList):
    """Dead jobs, in the order in which they died."""


class Dlq(_Group):
    """The dead letter queue: jobs that failed too often."""

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
        found = self._queue._store.jobs.latest_dead(wanted, limit=_limit(limit))
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
        dry_run: bool = False,
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
            dry_run: only say what would be done.

        Raises:
            StateConflict: a job that was named is not dead.
        """
        return self._queue._requeue("dlq retry", (State.DEAD,), ids, Filter(queue=queue, tag=tag, sig=sig, since_ms=self._queue._since(since)),
                                    all=all, max_retries=max_retries, dry_run=dry_run)  # fmt: skip

    def purge(
        self,
        *ids: str,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        all: bool = False,
        dry_run: bool = False,
    ) -> ActionResult:
        """Remove dead jobs for good.

        Args:
            ids: the jobs.
            queue: those of this queue.
            tag: those with this tag.
            sig: those of this cause.
            all: all dead jobs.
            dry_run: only say what would be done.
        """
        wanted = Filter(queue=queue, tag=tag, sig=sig)
        return self._queue._act("dlq purge", ids, wanted, states=(State.DEAD,), all=all, dry_run=dry_run,
                                change=lambda seq, _s, _n: self._queue._store.changes.delete(seq, force=False))  # fmt: skip


def _limit(value: object) -> int:
    return min(v.whole("limit", value, low=1, high=10**12), LIMIT_MAX)


class Queue:
    """A queue of shell commands in one SQLite file.

    Args:
        path: the database file; $QUEUECTL_DB, else data/queue.db under the current folder when None. Made on first use.
    """

    _groups = {"config": Config, "dlq": Dlq}  # noqa: RUF012
    _python_only = ("start_workers", "stop_workers", "workers_running", "close", "path", "panel")
    _actor = "python"

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        if path is None:
            path = os.environ.get("QUEUECTL_DB", DEFAULT_PATH)
        self.path = place.absolute(path)
        self._pid = 0
        self._opened: Store | None = None
        self._adder: Enqueuer | None = None
        self.config, self.dlq = Config(self), Dlq(self)

    @property
    def _store(self) -> Store:
        # A forked child opens its own; the parent's connection is left alone there, not closed.
        if self._opened is None or self._pid != os.getpid():
            if self._opened is not None:
                self._opened.close()
            self._opened, self._pid = Store(self.path), os.getpid()
            self._adder = Enqueuer(self._opened)
        return self._opened

    @property
    def _enqueuer(self) -> Enqueuer:
        _ = self._store
        assert self._adder is not None
        return self._adder

    def close(self) -> None:
        """Close the database; the next call opens it again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __repr__(self) -> str:
        return f"Queue({self.path!r})"

    # --- in ---

    def enqueue(
        self, command: str, *, id: str | None = None, queue: str | None = None, priority: int | None = None, timeout: str | float | None = None,
        kill_after: str | float | None = None, max_retries: int | None = None, backoff: str | None = None, backoff_base: float | None = None,
        backoff_max: str | float | None = None, jitter: float | None = None, retry_on: str | None = None, no_retry_on: str | None = None,
        delay: str | float | None = None, run_at: str | None = None, after: str | None = None, after_any: str | None = None,
        after_fail: str | None = None, unique_key: str | None = None, unique_for: str | None = None, on_conflict: str | None = None,
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
            unique_key: only one job with this key may be in the queue.
            unique_for: how long the key is held: queued, active, success or forever.
            on_conflict: what to do when it is held: error, or skip (return the job that holds it).
            limit_key: jobs with this key share a limit.
            limit: how many of them may run at once.
            tag: one or more names, separated by commas.
            cwd: the folder to run in; the current one by default.
            env: NAME=VALUE, or NAME to copy it from here.
            warn: signal before the time limit, like USR1,30.
            keep_children: leave what the finished command left running.

        Raises:
            InvalidValue: a value is not what was expected; nothing was enqueued.
            StateConflict: the id or the unique key is taken.
        """
        given = {k: x for k, x in locals().items() if k != "self" and x is not None}
        return self._enqueuer.add([given])[0]

    def enqueue_many(self, source: str | Iterable[str | Mapping[str, Any]]) -> AddedJobs:
        """Add many commands in one transaction, all or none.

        Args:
            source: a file (`-` for standard input) with one command or one JSON object of enqueue's fields a line; from Python also an
                iterable of commands and mappings.

        Raises:
            InvalidValue: the message names the line that is wrong; nothing was enqueued.
        """
        from queuectl.sources import specs

        return AddedJobs(self._enqueuer.add(specs(source), batch=f"b{time.time_ns():x}"))

    # --- look ---

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
        return self._store.jobs.newest(wanted, limit=_limit(limit))

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
        jobs = store.jobs.newest(Filter(), limit=_limit(limit))
        return Status(
            store.jobs.counts(), tuple(jobs), jobs.left_out, tuple(self._live()), store.settings.paused()
        )

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

    def wait(self, *ids: str, timeout: str | float | None = None) -> WaitResult:
        """Wait until jobs have ended: those named, else all that are not finished now. Ctrl-C leaves the jobs alone.

        Args:
            ids: the jobs.
            timeout: give up after this time.

        Raises:
            WaitTimeout: they had not all ended in time.
            JobNotFound: no job has one of the ids.
        """
        names = selection.ids_of(ids, path=self.path)
        end = None if timeout is None else time.monotonic() + v.duration_ms("timeout", timeout) / 1000
        store = self._store
        if not names:
            names = [
                i for _, i, s in store.jobs.ids(Filter(states=tuple(s for s in State if s not in FINAL)))
            ]
        for name in names:
            store.jobs.get(name)
        nap = 0.005
        while True:
            states = store.jobs.states_of(names)
            if all(s in FINAL for s in states.values()) or self._is_hopeless(states):
                return WaitResult(states)
            if end is not None and time.monotonic() >= end:
                left = [i for i, s in states.items() if s not in FINAL]
                raise WaitTimeout(
                    f"wait: {len(left)} of {len(names)} jobs had not ended after {timeout} s: {', '.join(left[:5])}"
                )
            time.sleep(nap)
            nap = min(nap * 1.5, 0.2)

    def _is_hopeless(self, states: Mapping[str, State]) -> bool:
        """Whether all that has not ended is blocked by jobs that have, and so can no longer run by itself."""
        left = [i for i, s in states.items() if s not in FINAL]
        return (
            bool(left)
            and all(states[i] is State.BLOCKED for i in left)
            and not self._store.changes.can_unblock(left)
        )

    # --- act ---

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

    def _act(self, verb: str, ids: Sequence[Any], wanted: Filter, **how: Any) -> ActionResult:
        return bulk.act(
            self._store,
            verb,
            selection.ids_of(ids, path=self.path),
            wanted,
            named=bool(ids),
            actor=self._actor,
            **how,
        )

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

    # --- workers ---

    def worker(
        self, *, verbose: bool = False, count: int = 1, sleep: float = 3.0, limit: int | None = None, queues: str | None = None,
        drain: bool = False, detach: bool = False, stop: bool = False, now: bool = False,
    ) -> ActionResult | None:  # fmt: skip
        """Run workers here until they are stopped, or start them in the background, or stop all that run.

        Args:
            verbose: say what each worker does.
            count: how many jobs to run at once.
            sleep: seconds between checks where nothing wakes the workers.
            limit: jobs per worker, then it ends.
            queues: only these, separated by commas.
            drain: end when nothing is left to run.
            detach: run in the background, surviving this terminal.
            stop: tell all workers to stop when their jobs have ended.
            now: with stop: end running jobs and put them back in line.
        """
        if stop:
            return self.stop_workers(now=now)
        if now:
            raise InvalidValue("now: expected together with stop, got it alone")
        options = self._options(
            verbose=verbose, count=count, sleep=sleep, limit=limit, queues=queues, drain=drain
        )
        if detach:
            return ActionResult("worker", tuple(w.id for w in self._start(options)))
        lease = self._store.settings.get("lease")
        self.close()  # the supervisor forks, and no connection may be carried through a fork
        from queuectl import fleet

        if fleet.supervise(options, lease_ms=lease):
            raise QueuectlError("worker: ended by a fault; the line before says which")
        return None

    def _options(
        self,
        *,
        verbose: bool,
        count: int,
        sleep: float,
        limit: int | None,
        queues: str | Iterable[str] | None,
        drain: bool,
    ) -> Options:
        from queuectl.runner import Options

        names = queues.split(",") if isinstance(queues, str) else queues
        return Options(
            self.path, v.whole("count", count, low=1, high=WORKERS_MAX), v.number("sleep", sleep, low=0.01, high=3600),
            None if limit is None else v.whole("limit", limit, low=1), None if names is None else tuple(v.ident("queues", n) for n in names),
            drain, verbose,
        )  # fmt: skip

    def _start(self, options: Options) -> Workers:
        arguments = ["-c", str(options.count), "-s", str(options.poll_s)]
        arguments += ["--queues", ",".join(options.queues)] if options.queues else []
        arguments += ["-l", str(options.limit)] if options.limit else []
        arguments += ["--drain"] if options.drain else []
        arguments += ["-v"] if options.verbose else []
        from queuectl import fleet

        return fleet.start_background(options, store=self._store, arguments=arguments)

    def start_workers(
        self, n: int = 1, *, queues: str | Iterable[str] | None = None, drain: bool = False
    ) -> Workers:
        """Start n workers in the background; they outlive this process. Return them once they are ready.

        Raises:
            WorkerStartFailed: they did not come up; the message has the tail of their log.
        """
        return self._start(
            self._options(verbose=True, count=n, sleep=3.0, limit=None, queues=queues, drain=drain)
        )

    def stop_workers(self, *ids: str, now: bool = False) -> ActionResult:
        """Tell workers to stop: those named, else all that exist now. Running jobs are waited for, or with `now` put back in line."""
        how = "now" if now else "graceful"
        with self._store.write():
            if ids:
                done = self._store.workers.ask_to_stop(selection.ids_of(ids, path=self.path), how)
                self._store.settings.signal("nudge", "", now_ms=processes.now_ms())
            else:
                done = [w.id for w in self._store.workers.all()]
                self._store.settings.signal("stop", how, now_ms=processes.now_ms())
        if ids and not done:
            raise NothingMatched(
                f"worker: expected the id of a worker, got {', '.join(map(str, ids))} (see `queuectl workers`)"
            )
        note = "Stop signal sent to all workers." if not ids else f"Stop signal sent to {', '.join(done)}."
        return ActionResult("worker --stop", tuple(done), notes=(note,))

    @contextmanager
    def workers_running(self, n: int = 1) -> Iterator[Workers]:
        """Have n background workers for the length of a block."""
        started = self.start_workers(n)
        try:
            yield started
        finally:
            from queuectl import fleet

            names = [w.id for w in started]
            self.stop_workers(*names)
            fleet.await_gone(self._store, names, timeout_s=30)

    def workers(self) -> Workers:
        """List the workers."""
        return self._live()

    def _live(self) -> Workers:
        from dataclasses import replace

        found = self._store.workers.all()
        alive = {w.pid: processes.read(w.pid) is not None for w in found}
        return [w if alive[w.pid] else replace(w, state="stale") for w in found]

    # --- notebook ---

    def panel(self, *, basic: bool = False, read_only: bool = False) -> Any:
        """Show the control panel in a notebook; in one kernel the same one each time, so that a cell can be run again.

        Args:
            basic: use stock ipywidgets only.
            read_only: look, but change nothing.
        """
        from queuectl.panel import panel

        return panel(self, basic=basic, read_only=read_only)

    # --- helpers ---

    def _since(self, since: str | None) -> int | None:
        return None if since is None else v.since_ms("since", since, now_ms=processes.now_ms())

    def _filter(
        self,
        *,
        state: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Filter:
        now = processes.now_ms()
        after, before = self._since(since), None if until is None else v.since_ms("until", until, now_ms=now)
        if after is not None and before is not None and after > before:
            raise InvalidValue(f"since: expected a time before until, got {since!r} and {until!r}")
        return Filter(
            states=None if state is None else (State(v.choice("state", state, tuple(State))),),
            queue=None if queue is None else v.ident("queue", queue), tag=None if tag is None else v.ident("tag", tag),
            sig=None if sig is None else v.ident("sig", sig), since_ms=after, until_ms=before,
        )  # fmt: skip


def command_line(*, lean: bool) -> type[Queue]:
    """Return the Queue whose changes are noted as made by the command line.

    Args:
        lean: the process is the command's own and needs no pandas.
    """
    _sqlite.lean = _sqlite.lean or lean

    class CommandLine(Queue):
        _actor = "cli"

    return CommandLine


__all__ = ["Config", "ConfigChange", "ConfigTable", "DeadList", "Dlq", "Queue", "command_line"]
