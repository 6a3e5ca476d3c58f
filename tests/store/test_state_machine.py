"""The queue against a model of it: random verbs, and after each one everything compared.

The real `Queue` is the people's side, the real store's line the worker's; both on a real database file. QUEUECTL_EXAMPLES and
QUEUECTL_STEPS make it longer.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from harness import check_invariants
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from queue_model import FINAL, Expected, Model

from queuectl import lifecycle, processes
from queuectl.errors import InvalidValue, JobNotFound, NothingMatched, StateConflict
from queuectl.lifecycle import EDGES, Ended
from queuectl.model import State
from queuectl.queue import Queue
from queuectl.recovery import recover
from queuectl.store.line import Settled
from queuectl.store.workers import Runner

RUNNERS = {"r1": ("w1", "w3"), "r2": ("w2",)}
BOOT = "boot-1"
LEGAL = {(str(e.source), str(e.target)) for e in EDGES if e.source is not None}
BORN = {str(e.target) for e in EDGES if e.source is None}

ENDS = {
    "ok": {"exit_code": 0},
    "failed": {"exit_code": 3},
    "killed": {"signal": 9},
    "timeout": {"signal": 15, "stopped": "timeout"},
    "snoozed": {"exit_code": 75},
    "cancelled": {"signal": 15, "stopped": "cancel"},
    "lost": {"signal": 15, "stopped": "stop"},
    "stuck": {"signal": 9, "stopped": "stuck"},
}
COLUMNS = (
    "state, queue, priority, rank, attempts, max_retries, runs, interruptions, snoozes, run_at_ms, due_mono_ms, cancel, "
    "case when state = 'processing' then worker_id end, finished_at_ms is not null, unique_key, seq"
)

some = st.sampled_from
maybe = st.none().__or__
queues = some(["default", "a", "b"])
pick = st.integers(0, 999)  # an index into a list that is known only when the rule runs, modulo its length
how_it_ends = some(sorted(ENDS))
SPEC = st.fixed_dictionaries(
    {"queue": queues},
    optional={
        "priority": st.integers(-2, 2),
        "max_retries": st.integers(0, 4),
        "backoff": some(["exponential", "linear", "fixed", "[2, 7]"]),
        "delay": st.integers(1, 90),
        "unique": st.tuples(some(["k1", "k2"]), some(["queued", "active", "success", "forever"])),
        "skip": st.booleans(),
        "limit": st.tuples(some(["l1", "l2"]), maybe(st.integers(1, 2))),
    },
)


class QueueMachine(RuleBasedStateMachine):
    """Verbs are rules; the model is told the same and asked what must have happened."""

    def __init__(self) -> None:
        super().__init__()
        # In memory where there is such a folder: what is tried here is what is written, not whether it survives.
        self.folder = tempfile.mkdtemp(
            prefix="queuectl-model-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
        )
        self.model = Model(now=1_800_000_000_000, mono=1_000_000)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(processes, "now_ms", lambda: self.model.now)
        self.patch.setattr(processes, "mono_ms", lambda: self.model.mono)
        self.q = Queue(os.path.join(self.folder, "queue.db"))
        self.store = self.q._store
        self.boots = 1
        self.names: list[str] = []  # of all jobs there ever were
        self.claims: list = []  # (claim, worker): all there ever were, so most have lost their job since
        self.watch_transitions()
        for runner in RUNNERS:
            self.register(runner)

    def teardown(self) -> None:
        self.q.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    def watch_transitions(self) -> None:
        """Write down each change of state that a statement makes, also those that a later one hides."""
        sql = self.store.connection.sql
        sql.execute("create temp table moves (a text, b text)")
        sql.execute(
            """create temp trigger moved after update of state on main.jobs when old.state <> new.state
               begin insert into moves values (old.state, new.state); end"""
        )
        sql.execute(
            "create temp trigger born after insert on main.jobs begin insert into moves values (null, new.state); end"
        )

    def register(self, runner: str) -> None:
        # Of another host, so that no process here is looked for, and silent for longer than any lease: dead whenever one looks.
        me = Runner(runner, "elsewhere", self.boot, 0, 1, -(10**9))
        with self.store.write():
            self.store.workers.register(RUNNERS[runner], me, queues=None, now_ms=self.model.now)
            self.store.line.rebase(self.boot, now_ms=self.model.now, mono_ms=self.model.mono)

    @property
    def boot(self) -> str:
        return f"boot-{self.boots}"

    # --- in ---

    @initialize(specs=st.lists(SPEC, min_size=1, max_size=8))
    def begin_with_some(self, specs):
        for spec in specs:
            self.added(**spec)

    @rule(specs=st.lists(SPEC, min_size=1, max_size=2))
    def enqueue(self, specs):
        for spec in specs:
            self.added(**spec)

    @rule(
        parents=st.lists(st.tuples(pick, some(["ok", "any", "fail"])), min_size=1, max_size=3),
        delay=maybe(st.integers(1, 90)),
    )
    def enqueue_after(self, parents, delay):
        self.added(delay=delay, parents={self.one_of(self.names, n): needs for n, needs in parents})

    def added(
        self, queue="default", priority=0, max_retries=None, backoff="fixed", delay=None, unique=None, skip=False, limit=None, parents=None
    ):  # fmt: skip
        parents = parents or {}
        model = self.model
        name = f"j{len(self.names)}"
        fields = {
            "id": name,
            "queue": queue,
            "priority": priority,
            "max_retries": max_retries,
            "backoff": backoff,
            "delay": delay,
        }
        if unique:
            fields |= {
                "unique_key": unique[0],
                "unique_for": unique[1],
                "on_conflict": "skip" if skip else "error",
            }
        if limit:
            fields |= {"limit_key": limit[0], "limit": limit[1]}
        for flag, needs in (("after", "ok"), ("after_any", "any"), ("after_fail", "fail")):
            fields[flag] = ",".join(p for p, n in parents.items() if n == needs) or None
        holder = model.holder(unique[0]) if unique else None
        if not set(parents) <= set(model.jobs):
            with pytest.raises(InvalidValue):
                self.q.enqueue("true", **fields)
            return
        if holder and not skip:
            with pytest.raises(StateConflict):
                self.q.enqueue("true", **fields)
            return
        job = self.q.enqueue("true", **fields)
        if holder:
            assert job.id == holder
            return
        assert self.q.show(name).job == job
        budget = model.max_retries if max_retries is None else max_retries
        made = Expected(
            name, 0, queue, priority, budget, backoff, model.now, "", 0, unique=unique, needs=parents
        )
        made.limit_key = limit[0] if limit else ""
        if limit and limit[1]:
            model.limits[limit[0]] = limit[1]
        model.add(made, delay_ms=None if delay is None else delay * 1000)
        self.names.append(name)

    @staticmethod
    def one_of(things, n):
        return things[n % len(things)]

    # --- the worker's side ---

    @rule(
        worker=some(["w1", "w2", "w3"]),
        want=st.integers(1, 5),
        only=maybe(st.sets(queues, min_size=1)),
    )
    def claim(self, worker, want, only):
        self.claimed(worker, want, only)

    def claimed(self, worker, want, only):
        expected = [j.id for j in self.model.claimable(only)][:want]
        with self.store.write():
            got = self.store.line.claim(
                worker, want, queues=None if only is None else sorted(only), now_ms=self.model.now
            )
        assert [c.id for c in got] == expected
        self.took(got, worker)

    @rule(worker=some(["w1", "w2"]))
    def claim_suspect(self, worker):
        expected = [j.id for j in self.model.claimable(None, suspects=True)][:1]
        with self.store.write():
            got = self.store.line.claim_suspect(worker, queues=None, now_ms=self.model.now)
        assert [c.id for c in got] == expected
        self.took(got, worker)

    def took(self, got, worker):
        for claim in got:
            job = self.model.jobs[claim.id]
            self.model.start(job, worker)
            assert (claim.seq, claim.run, claim.attempts, claim.max_retries) == (
                job.seq,
                job.runs,
                job.attempts,
                job.max_retries,
            )
            self.claims.append((claim, worker))

    def live(self):
        return [(c, w) for c, w in self.claims if self.model.is_current(c.id, c.seq, c.run)]

    @precondition(lambda self: self.live())
    @rule(ends=st.lists(how_it_ends, min_size=1, max_size=4))
    def settle(self, ends):
        self.settled(list(zip(self.live(), ends, strict=False)))

    @rule(worker=some(["w1", "w2"]), ends=st.lists(how_it_ends, max_size=4), want=st.integers(1, 4))
    def turn(self, worker, ends, want):
        """What a runner does all day."""
        self.settled(list(zip(self.live(), ends, strict=False)))
        self.claimed(worker, want, None)
        for claim in [c for c in self.claims if c not in self.live()][-2:]:
            self.settled([(claim, "ok")])  # who thaws now comes too late

    @precondition(lambda self: self.claims)
    @rule(ends=st.lists(st.tuples(pick, how_it_ends), min_size=1, max_size=4))
    def settle_whatever_was_claimed_once(self, ends):
        batch = {self.one_of(self.claims, n): how for n, how in ends}
        self.settled(list(batch.items()))

    def settled(self, batch):
        model, rows, late = self.model, [], []
        for (claim, worker), how in batch:
            ended = Ended(model.now, model.now, **ENDS[how])
            verdict = lifecycle.settle(claim, ended, mono_ms=model.mono, dice=0.5, snooze_ms=60_000)
            rows.append(as_written(claim, worker, ended, verdict, step=model.step))
        current = [model.is_current(c.id, c.seq, c.run) for (c, _), _ in batch]
        for ((claim, worker), how), is_current in zip(batch, current, strict=True):
            if is_current:
                model.finish(claim.id, how, worker=worker)
            else:
                late.append((claim.seq, claim.run))
        with self.store.write():
            refused = self.store.line.settle(rows, now_ms=model.now)
        assert [(r.seq, r.run) for r in refused] == late

    @precondition(lambda self: self.claims)
    @rule(picks=st.sets(pick, min_size=1, max_size=3))
    def give_back(self, picks):
        batch = {self.one_of(self.claims, n) for n in picks}
        for claim, _ in batch:
            if self.model.is_current(claim.id, claim.seq, claim.run):
                self.back(claim.id)
        with self.store.write():
            self.store.line.give_back([(c.seq, c.run) for c, _ in batch], now_ms=self.model.now)

    def back(self, name):
        """A claim that was never started is nobody's: the same run may be claimed again."""
        run = (name, self.model.jobs[name].runs)
        self.claims = [c for c in self.claims if (c[0].id, c[0].run) != run]
        self.model.give_back(name)

    @rule(
        survivor=some(["", "r1", "r2", "not even the machine"]),
        known=st.booleans(),
        one_started=st.booleans(),
    )
    def a_runner_dies(self, survivor, known, one_started):
        """All runners but the survivor die; of the first of them its supervisor knew which claims had been started."""
        if survivor == "not even the machine":
            self.the_machine_restarts()
            return
        model, dead = self.model, [r for r in RUNNERS if r != survivor]
        held = {
            r: [j for j in model.jobs.values() if j.state == "processing" and j.worker in RUNNERS[r]]
            for r in dead
        }
        first = held[dead[0]]
        started = frozenset((j.seq, j.runs) for j in first[: int(one_started)])
        recovered = 0
        for runner in dead:
            for job in held[runner]:
                if known and runner == dead[0] and (job.seq, job.runs) not in started:
                    self.back(job.id)
                else:
                    model.interrupt(job.id, charged=True)
                    recovered += 1
        assert recovered == recover(
            self.store,
            me=survivor,
            boot_id=self.boot,
            started=started if known else None,
            predecessor=dead[0],
        )
        for runner in dead:
            self.register(runner)

    def the_machine_restarts(self):
        for job in list(self.model.jobs.values()):
            if job.state == "processing":
                self.model.interrupt(job.id, charged=False)
        self.boots += 1
        recover(self.store, me="", boot_id=self.boot)
        self.model.reboot()
        for runner in RUNNERS:
            self.register(runner)

    @rule(ms=some([1, 500, 2_000, 4_000, 61_000, 600_000]))
    def time_passes(self, ms):
        self.model.now += ms
        self.model.mono += ms
        retried = self.model.promote()
        with self.store.write():
            got = self.store.line.promote(now_ms=self.model.now, mono_ms=self.model.mono)
        assert {row[0] for row in got} == retried
        assert {row[0]: row[1] for row in got} == {i: self.model.jobs[i].attempts for i in retried}

    # --- people's side, on jobs without parents and children (those are for the tests of dependencies) ---

    def job(self, n):
        """One of all names there ever were, and its job if that is still there."""
        name = self.one_of([i for i in self.names if self.is_single(i)], n)
        return name, self.model.jobs.get(name)

    def is_single(self, name):
        jobs = self.model.jobs
        return name not in jobs or not (jobs[name].needs or any(name in j.needs for j in jobs.values()))

    @precondition(lambda self: any(map(self.is_single, self.names)))
    @rule(n=pick)
    def cancel(self, n):
        name, job = self.job(n)
        if job is None or job.state in FINAL:
            with pytest.raises(JobNotFound if job is None else StateConflict):
                self.q.cancel(name)
            return
        assert self.q.cancel(name).done == (name,)
        self.model.cancel(job)

    @precondition(lambda self: any(map(self.is_single, self.names)))
    @rule(n=pick, max_retries=maybe(st.integers(0, 4)))
    def retry(self, n, max_retries):
        name, job = self.job(n)
        if job is None:
            with pytest.raises(JobNotFound):
                self.q.retry(name)
        elif State(job.state) not in lifecycle.sources("requeue") or not self.model.can_requeue(job):
            with pytest.raises(StateConflict):
                self.q.retry(name, max_retries=max_retries)
        else:
            assert self.q.retry(name, max_retries=max_retries).done == (name,)
            self.model.requeue(job, max_retries)

    @precondition(lambda self: all(self.is_single(j.id) for j in self.dead(None)))
    @rule(queue=maybe(queues), purge=st.booleans())
    def retry_or_purge_the_dead(self, queue, purge):
        found = self.dead(queue)
        verb = self.q.dlq.purge if purge else self.q.dlq.retry
        done = [j for j in found if purge or self.model.can_requeue(j)]
        # One by one: each may take the unique key that the next one would need.
        for job in list(done):
            if purge:
                self.model.delete(job)
            elif self.model.can_requeue(job):
                self.model.requeue(job, None)
            else:
                done.remove(job)
        if not found or (not done and len(found) == 1):
            with pytest.raises(StateConflict if found else NothingMatched):
                verb(queue=queue, all=queue is None)
        else:
            assert list(verb(queue=queue, all=queue is None).done) == [j.id for j in done]

    def dead(self, queue):
        return [j for j in self.model.jobs.values() if j.state == "dead" and queue in (None, j.queue)]

    @precondition(lambda self: any(map(self.is_single, self.names)))
    @rule(n=pick, force=st.booleans())
    def delete(self, n, force):
        name, job = self.job(n)
        if job is None or (job.state == "processing" and not force):
            with pytest.raises(JobNotFound if job is None else StateConflict):
                self.q.delete(name, force=force)
            return
        self.q.delete(name, force=force)
        self.model.delete(job)

    @rule(
        change=st.one_of(
            st.tuples(some(["pause", "resume"]), maybe(queues)),
            st.tuples(st.just("max-retries"), st.integers(0, 5)),
            st.tuples(st.just("priority-aging"), some([None, 1_000, 300_000])),
        )
    )
    def configure(self, change):
        match change:
            case "pause", queue:
                self.q.pause(queue)
                self.model.paused.add(queue or "*")
            case "resume", queue:
                self.q.resume(queue)
                self.model.paused -= {queue} if queue else set(self.model.paused)
            case "max-retries", n:
                self.q.config.set("max-retries", str(n))
                self.model.max_retries = n
            case "priority-aging", step:
                self.q.config.set("priority-aging", "none" if step is None else f"{step}ms")
                self.model.set_aging(step)

    # --- what must be true after each ---

    @invariant()
    def every_row_is_as_the_model_says(self):
        rows = self.store.connection.rows(f"select id, {COLUMNS} from jobs order by seq")
        assert {r[0]: r[1:] for r in rows} == {
            j.id: (
                j.state, j.queue, j.priority, j.rank, j.attempts, j.max_retries, j.runs, j.interruptions, j.snoozes, j.run_at, j.due,
                int(j.cancel), j.worker if j.state == "processing" else None, int(j.state in FINAL), j.unique and j.unique[0], j.seq,
            )
            for j in self.model.jobs.values()
        }  # fmt: skip

    @invariant()
    def every_run_is_recorded_once(self):
        rows = self.store.connection.rows(
            "select id, run, runs.outcome from runs join jobs on seq = job order by seq, run"
        )
        assert rows == [(j.id, *r) for j in self.model.jobs.values() for r in j.recorded]

    @invariant()
    def every_move_was_legal(self):
        sql = self.store.connection.sql
        moves = set(sql.execute("select a, b from moves").fetchall())
        assert {m for m in moves if m[0] is not None} <= LEGAL
        assert {b for a, b in moves if a is None} <= BORN
        sql.execute("delete from moves")

    @invariant()
    def the_queue_answers_as_the_model_does(self):
        jobs = self.model.jobs.values()
        assert {str(s): n for s, n in self.q.status().counts.items()} == {
            str(s): sum(j.state == s for j in jobs) for s in State
        }
        assert [j.id for j in self.q.list()] == [j.id for j in jobs]
        assert set(self.store.settings.paused()) == self.model.paused
        keys = {j.unique[0] for j in jobs if j.unique}
        assert {k: self.store.jobs.holder(k) for k in keys} == {k: self.model.holder(k) for k in keys}
        wanted = sorted((j.seq, j.runs) for j in jobs if j.state == "processing" and j.cancel)
        assert sorted(run for run, _ in self.store.line.to_cancel(["w1", "w2", "w3"])) == wanted

    @invariant()
    def the_database_is_in_order(self):
        check_invariants(self.store)


def as_written(claim, worker, ended, verdict, *, step):
    """The row that a runner writes for a run that has ended."""
    blank = dict.fromkeys(Settled._fields)
    return Settled(
        **blank
        | {
            "seq": claim.seq,
            "job_id": claim.id,
            "run": claim.run,
            "worker_id": worker,
            "state": verdict.state.value,
            "outcome": verdict.outcome.value,
            "attempts": verdict.attempts,
            "rank": None if verdict.run_at_ms is None else verdict.run_at_ms - claim.priority * step,
            "run_at_ms": verdict.run_at_ms,
            "due_mono_ms": verdict.due_mono_ms,
            "started_ms": ended.started_ms,
            "finished_ms": ended.finished_ms,
            "is_final": verdict.state.value in FINAL,
            "exit_code": ended.exit_code,
            "signal": ended.signal,
            "reason": verdict.reason,
            "stdout_bytes": 0,
            "stderr_bytes": 0,
        }
    )


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=int(os.environ.get("QUEUECTL_EXAMPLES", "150")),
    stateful_step_count=int(os.environ.get("QUEUECTL_STEPS", "50")),
    phases=[Phase.generate, Phase.shrink],
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
