"""Workers: run here, started in the background, listed, stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from queuectl import processes, selection
from queuectl import validate as v
from queuectl.answers import ActionResult
from queuectl.bulk import EMPTY
from queuectl.errors import InvalidValue, NothingMatched, QueuectlError, WaitTimeout
from queuectl.model import Worker
from queuectl.queue._base import Base
from queuectl.records import replace

# fleet and runner are imported where workers are started: causes, threads and sockets cost an enqueue 40 ms.
if TYPE_CHECKING:
    from queuectl.runner import Options


class Workers(list[Worker]):
    """Workers, oldest first."""


WORKERS_MAX = 64


class Working(Base):
    """The verbs about workers."""

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

        return Workers(fleet.start_background(options, store=self._store, arguments=arguments))

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

    def stop_workers(self, *ids: str, now: bool = False, wait: str | float | None = None) -> ActionResult:
        """Tell workers to stop: those named, else all that exist now. Running jobs are waited for, or with `now` put back in line.

        Args:
            ids: the workers; an empty list names none of them, and none is stopped.
            now: end their jobs.
            wait: return only when they are gone, or raise after this time.

        Raises:
            NothingMatched: no worker has one of the ids.
            WaitTimeout: they were not gone in time.
        """
        longest = None if wait is None else v.duration_ms("wait", wait) / 1000
        names = selection.ids_of(ids, path=self.path)
        if ids and not names:
            return ActionResult("worker --stop", notes=(EMPTY,))
        how = "now" if now else "graceful"
        with self._store.write():
            if ids:
                done = self._store.workers.ask_to_stop(names, how)
                if not done:
                    raise NothingMatched(
                        f"worker: expected the id of a worker, got {', '.join(names)} (see `queuectl workers`)"
                    )
                self._store.settings.signal("nudge", "", now_ms=processes.now_ms())
            else:
                done = [w.id for w in self._store.workers.all()]
                self._store.settings.signal("stop", how, now_ms=processes.now_ms())
            if done:
                said = f"{', '.join(done[:20])}{' now' if now else ''}"
                self._store.history.note("stop", None, said, actor=self._actor, now_ms=processes.now_ms())
        note = "Stop signal sent to all workers." if not ids else f"Stop signal sent to {', '.join(done)}."
        if longest is not None:
            from queuectl import fleet

            if not fleet.await_gone(self._store, done, timeout_s=longest):
                raise WaitTimeout(f"stop: the workers were not gone after {wait} s; they end with their jobs")
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
        found = self._store.workers.all()
        here = processes.host()  # the pid of a worker in another container means nothing to us
        alive = {w.pid: w.host != here or processes.read(w.pid) is not None for w in found}
        return Workers(w if alive[w.pid] else replace(w, state="stale") for w in found)
