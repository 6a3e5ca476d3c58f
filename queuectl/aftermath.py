"""The aftermath: what follows from the ends of runs besides their jobs' own fates — breakers, probes and hooks.

With neither a breaker nor a hook set, all of it is one look at a flag.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence

from queuectl import breaker, processes
from queuectl.breaker import Breaker, End
from queuectl.chores import Chore, Moment
from queuectl.executors import Done
from queuectl.hooks import Firing, Hooks
from queuectl.ids import new_id
from queuectl.lifecycle import Claimed
from queuectl.model import Outcome, State
from queuectl.recovery import recover
from queuectl.settings import HOOKS
from queuectl.store import Store
from queuectl.store.line import Settled

COUNTED = ("ok", *(o.value for o in breaker.FAILURES))
EVENTS = {
    "opened": "opened: {why}; a probe is let through now and then",
    "closed": "closed: its probe went well",
    "probe failed": "stays open: its probe failed",
}


class Aftermath(Chore):
    """Breakers and hooks of a runner; as a chore, the clock of the probes.

    Args:
        store: the queue's database.
        tell: called with a line for whoever watches the worker.
        runner: the runner's id.
        queues: those that it works, None for all.
        solo: it only tries suspect jobs.
    """

    def __init__(
        self,
        store: Store,
        tell: Callable[[str], None] = lambda _: None,
        *,
        runner: str,
        queues: Sequence[str] | None,
        solo: bool,
    ) -> None:
        super().__init__(store, tell)
        self._queues, self._solo = queues, solo
        home = os.path.dirname(store.path)
        self.hooks = Hooks(os.path.join(home, "logs"), name=runner, cwd=home)
        self._open: dict[str, int] = {}  # queues that their breaker has paused, and when a probe is due
        self._asked_ms: int | None = None  # when the runner was last woken for a probe
        self.has_opened = (
            False  # whether a breaker has, and what was claimed ahead of its queue must not start
        )
        self._firings: list[Firing] = []
        self._lines: list[str] = []
        self._tripped = False
        self.wants_companion = False  # whether the only probe there is must be tried alone

    def configure(self) -> None:
        """Read the settings."""
        self._rules = self.store.queues.rules()
        self._breaks, self._hooked = self._rules.any("breaker"), self._rules.any(*HOOKS)
        self._look(processes.now_ms())

    @property
    def may_break(self) -> bool:
        """Whether a queue has a breaker: then nothing is claimed ahead, for what waits in front of a slot would still start when it opens."""
        return self._breaks

    # --- ends of runs ---

    def recorded(
        self, ended: Sequence[Done], rows: Sequence[Settled], late: Sequence[Settled], *, now_ms: int
    ) -> None:
        """In the transaction that settled them: count the ends, and prepare the hooks they call for."""
        self._firings, self._lines, self._tripped = [], [], False
        if not (self._breaks or self._hooked) or not rows:
            return
        gone = {(r.seq, r.run) for r in late}
        told = [(d.job, r) for d, r in zip(ended, rows, strict=True) if (r.seq, r.run) not in gone]
        if self._breaks:
            self._count(told, now_ms)
        if self._hooked:
            self._prepare(told)

    def committed(self) -> None:
        """After the commit: start the hooks, and say what happened to breakers."""
        for firing in self._firings:
            self.hooks.fire(firing)
        for line in self._lines:
            self.tell(line)
        self.has_opened = self.has_opened or self._tripped
        self._tripped = False
        self._firings, self._lines = [], []

    def _count(self, told: Sequence[tuple[Claimed, Settled]], now_ms: int) -> None:
        by_queue: dict[str, list[End]] = {}
        for job, r in told:
            by_queue.setdefault(job.queue, []).append(End(r.seq, r.run, Outcome(r.outcome)))
        for queue, ends in by_queue.items():
            rule = self._rules.breaker(queue)
            if rule is None:
                continue
            found = self.store.queues.record(queue, ends, rule, now_ms=now_ms)
            if found.breaker.is_open:
                self._open[queue] = found.breaker.probe_at_ms or now_ms
            else:
                self._open.pop(queue, None)
            self._tripped = self._tripped or found.event == "opened"
            if found.event:
                self._say(queue, EVENTS[found.event].format(why=found.breaker.why), now_ms)

    def _say(self, queue: str, what: str, now_ms: int) -> None:
        self.store.history.note("breaker", None, f"{queue}: {what}", actor="worker", now_ms=now_ms)
        self._lines.append(f"Breaker of queue {queue} {what}")

    # --- hooks ---

    def _prepare(self, told: Sequence[tuple[Claimed, Settled]]) -> None:
        last: dict[str, tuple[Claimed, Settled]] = {}
        for job, r in told:
            hooks = self._rules.of(job.queue)
            for name in _called(r.state, r.outcome):
                if hooks[name]:
                    self._firings.append(self._firing(name, hooks[name], job, r))
            if r.is_final and hooks["on-queue-empty"]:
                last[job.queue] = (job, r)
        for queue, (job, r) in last.items():
            # Serialised by the write lock: of several runners one records the last end, and it alone finds nothing left.
            if not self.store.line.unfinished((queue,)):
                self._firings.append(
                    self._firing("on-queue-empty", self._rules.of(queue)["on-queue-empty"], job, r)
                )

    def _firing(self, name: str, command: str, job: Claimed, r: Settled) -> Firing:
        return _firing(
            name, command, worker=r.worker_id, database=self.store.path, job_id=job.id, run=job.run, state=r.state, outcome=r.outcome,
            exit_code=r.exit_code, signal=r.signal, reason=r.reason, error=r.error, error_sig=r.error_sig, attempts=r.attempts,
            max_retries=job.max_retries, queue=job.queue, job_command=job.command,
        )  # fmt: skip

    def died(self, job_id: str) -> None:
        """In the transaction that recovers it: a job has died because its workers did, and nobody settled it."""
        if not self._hooked:
            return
        job = self.store.jobs.get(job_id)
        rules = self._rules.of(job.queue)
        empty = rules["on-queue-empty"] and not self.store.line.unfinished((job.queue,))
        for name in ("on-dead", *(("on-queue-empty",) if empty else ())):
            if rules[name] is None:
                continue
            self.hooks.fire(_firing(
                name, rules[name], worker=job.worker_id or "", database=self.store.path, job_id=job.id, run=job.runs, state=job.state.value,
                outcome=job.outcome, exit_code=job.exit_code, signal=job.signal, reason=job.reason, error=job.error,
                error_sig=job.error_sig, attempts=job.attempts, max_retries=job.max_retries, queue=job.queue, job_command=job.command,
            ))  # fmt: skip

    # --- probes ---

    def look(self, now: Moment) -> None:
        """Learn which queues their breakers have paused."""
        self._look(now.wall_ms)

    def _look(self, now_ms: int) -> None:
        self._asked_ms = None
        found = self.store.queues.open_breakers() if self._breaks else {}
        mine = {q: b for q, b in found.items() if self._queues is None or q in self._queues}
        self.has_opened = self.has_opened or bool(mine.keys() - self._open.keys())
        self._open = {q: self._due_ms(q, b, now_ms) for q, b in mine.items()}

    def _due_ms(self, queue: str, b: Breaker, now_ms: int) -> int:
        rule = self._rules.breaker(queue)
        return now_ms if rule is None else breaker.probe_due_ms(b, rule, now_ms=now_ms)

    def due_in_ms(self, now: Moment) -> int | None:
        """Return how long until a probe is due that the runner was not yet woken for."""
        due = [at for at in self._open.values() if self._asked_ms is None or at > self._asked_ms]
        return min(due) - now.wall_ms if due else None

    def tend(self, now: Moment) -> bool:
        """Wake the runner: the probe is claimed in its own transaction."""
        self._asked_ms = now.wall_ms
        return True

    def probe(self, worker: str, *, now_ms: int) -> list[Claimed]:
        """In the transaction of a claim: claim one job of a queue whose breaker lets one through now."""
        self.wants_companion = False
        for queue, due_ms in list(self._open.items()):
            if due_ms <= now_ms and (claimed := self._probe(queue, worker, now_ms)):
                return claimed
        return []

    def _probe(self, queue: str, worker: str, now_ms: int) -> list[Claimed]:
        queues, rule = self.store.queues, self._rules.breaker(queue)
        b = queues.breaker(queue)
        if rule is None or not b.is_open:
            del self._open[queue]
            return []
        self._open[queue] = self._due_ms(queue, b, now_ms)
        if not breaker.may_probe(b, rule, now_ms=now_ms, probe_runs=queues.probe_runs(b)):
            return []
        line = self.store.line
        queues.unlock(queue)
        if self._solo:
            claimed = line.claim_suspect(worker, queues=(queue,), now_ms=now_ms)
        else:
            claimed = line.claim(worker, 1, queues=(queue,), now_ms=now_ms)
            self.wants_companion = self.wants_companion or (not claimed and line.suspects((queue,)) > 0)
        queues.lock(queue)
        for job in claimed:
            queues.let_through(queue, rule, seq=job.seq, run=job.run, now_ms=now_ms)
            self._open[queue] = now_ms + rule.probe_ms
            self.store.history.note(
                "breaker", job.id, f"{queue}: lets a probe through", actor="worker", now_ms=now_ms
            )
        return claimed


def recover_at_the_end(store: Store, *, queues: Sequence[str] | None, hooks_s: float) -> None:
    """Recover what a runner left that was killed while it stopped, with nobody to follow it; give the hooks of what died so long."""
    after = Aftermath(store, runner=new_id(), queues=queues, solo=False)
    after.configure()
    recover(store, me="", boot_id=processes.boot_id(), died=after.died)
    after.hooks.end_within(hooks_s)
    while not after.hooks.have_ended():
        time.sleep(0.02)


def _called(state: str, outcome: str) -> Iterable[str]:
    """Return the hooks that the end of a run calls for."""
    if state == State.COMPLETED:
        yield "on-success"
    if outcome in COUNTED and outcome != Outcome.OK:
        yield "on-failure"
    if state == State.DEAD:
        yield "on-dead"


def _firing(
    name: str, command: str, *, worker: str, database: str, job_id: str, run: int, job_command: str, queue: str, **facts: object
) -> Firing:  # fmt: skip
    variables = {
        "HOOK": name, "JOB_ID": job_id, "RUN": f"{job_id}.{run}", "WORKER_ID": worker, "DB": database, "QUEUE": queue,
        "COMMAND": job_command, **{k.upper(): "" if x is None else str(x) for k, x in facts.items()},
    }  # fmt: skip
    about = f"queue {queue}" if name == "on-queue-empty" else f"job {job_id} run {run}"
    return Firing(
        name, command, about, {f"QUEUECTL_{k}": x.replace("\0", "\ufffd") for k, x in variables.items()}
    )
