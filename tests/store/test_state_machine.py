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
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
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


class QueueMachine(RuleBasedStateMachine):
    """Verbs are rules; the model is told the same and asked what must have happened."""

    ids = Bundle("ids")
    claims = Bundle("claims")  # (claim, worker), also such as have lost their job since

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="queuectl-model-")
        self.model = Model(now=1_800_000_000_000, mono=1_000_000)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(processes, "now_ms", lambda: self.model.now)
        self.patch.setattr(processes, "mono_ms", lambda: self.model.mono)
        self.q = Queue(os.path.join(self.folder, "queue.db"))
        self.store = self.q._store
        self.boots = 1
        self.made = 0
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
        # A runner of a host that is not this one, and of no process here: recovery believes it dead whenever it looks.
        me = Runner(runner, "elsewhere", self.boot, 0, 1, self.model.mono)
        with self.store.write():
            self.store.workers.register(RUNNERS[runner], me, queues=None, now_ms=self.model.now)
            self.store.line.rebase(self.boot, now_ms=self.model.now, mono_ms=self.model.mono)

    @property
    def boot(self) -> str:
        return f"boot-{self.boots}"

    # --- in ---

    @rule(
        target=ids,
        queue=queues,
        priority=st.integers(-2, 2),
        max_retries=maybe(st.integers(0, 4)),
        backoff=some(["exponential", "linear", "fixed", "[2, 7]"]),
        delay=maybe(st.integers(1, 90)),
        unique=maybe(st.tuples(some(["k1", "k2"]), some(["queued", "active", "success", "forever"]))),
        skip=st.booleans(),
        limit=maybe(st.tuples(some(["l1", "l2"]), maybe(st.integers(1, 2)))),
    )
    def enqueue(self, queue, priority, max_retries, backoff, delay, unique, skip, limit):
        return self.added(queue, priority, max_retries, backoff, delay, unique, skip, limit, {})

    @precondition(lambda self: self.model.jobs)
    @rule(
        target=ids,
        parents=st.lists(
            st.tuples(ids, some(["ok", "any", "fail"])), min_size=1, max_size=3, unique_by=lambda p: p[0]
        ),
        delay=maybe(st.integers(1, 90)),
    )
    def enqueue_after(self, parents, delay):
        return self.added("default", 0, None, "fixed", delay, None, False, None, dict(parents))

    def added(self, queue, priority, max_retries, backoff, delay, unique, skip, limit, parents):
        model = self.model
        self.made += 1
        name = f"j{self.made}"
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
            return multiple()
        if holder and not skip:
            with pytest.raises(StateConflict):
                self.q.enqueue("true", **fields)
            return multiple()
        job = self.q.enqueue("true", **fields)
        if holder:
            assert job.id == holder
            return multiple()
        assert self.q.show(name).job == job
        budget = model.max_retries if max_retries is None else max_retries
        made = Expected(
            name, 0, queue, priority, budget, backoff, model.now, "", 0, unique=unique, needs=parents
        )
        made.limit_key = limit[0] if limit else ""
        if limit and limit[1]:
            model.limits[limit[0]] = limit[1]
        model.add(made, delay_ms=None if delay is None else delay * 1000)
        return name

    # --- the worker's side ---

    @rule(
        target=claims,
        worker=some(["w1", "w2", "w3"]),
        want=st.integers(1, 5),
        only=maybe(st.sets(queues, min_size=1)),
    )
    def claim(self, worker, want, only):
        expected = [j.id for j in self.model.claimable(only)][:want]
        with self.store.write():
            got = self.store.line.claim(
                worker, want, queues=None if only is None else sorted(only), now_ms=self.model.now
            )
        assert [c.id for c in got] == expected
        return self.took(got, worker)

    @rule(target=claims, worker=some(["w1", "w2"]))
    def claim_suspect(self, worker):
        expected = [j.id for j in self.model.claimable(None, suspects=True)][:1]
        with self.store.write():
            got = self.store.line.claim_suspect(worker, queues=None, now_ms=self.model.now)
        assert [c.id for c in got] == expected
        return self.took(got, worker)

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
        return multiple(*((claim, worker) for claim in got))

    @rule(batch=st.lists(st.tuples(consumes(claims), some(sorted(ENDS))), min_size=1, max_size=4))
    def settle(self, batch):
        self.settled(batch)

    @rule(one=claims, how=some(sorted(ENDS)))
    def settle_and_perhaps_once_more(self, one, how):
        self.settled([(one, how)])

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

    @rule(batch=st.lists(consumes(claims), min_size=1, max_size=3))
    def give_back(self, batch):
        for claim, _ in batch:
            if self.model.is_current(claim.id, claim.seq, claim.run):
                self.model.give_back(claim.id)
        with self.store.write():
            self.store.line.give_back([(c.seq, c.run) for c, _ in batch], now_ms=self.model.now)

    @rule(survivor=some(["", "r1", "r2"]), known=st.booleans(), one_started=st.booleans())
    def a_runner_dies(self, survivor, known, one_started):
        """All runners but the survivor die; of the first of them its supervisor knew which claims had been started."""
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
                    model.give_back(job.id)
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

    @rule()
    def the_machine_restarts(self):
        model = self.model
        for job in list(model.jobs.values()):
            if job.state == "processing":
                model.interrupt(job.id, charged=False)
        self.boots += 1
        recover(self.store, me="", boot_id=self.boot)
        model.reboot()
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

    # --- people's side ---

    @rule(name=ids)
    def cancel(self, name):
        job = self.model.jobs.get(name)
        if job is None or job.state in FINAL:
            with pytest.raises(JobNotFound if job is None else StateConflict):
                self.q.cancel(name)
            return
        assert self.q.cancel(name).done == (name,)
        self.model.cancel(job)
        self.follow_the_blocked()

    @rule(name=ids, max_retries=maybe(st.integers(0, 4)))
    def retry(self, name, max_retries):
        job = self.model.jobs.get(name)
        if job is None:
            with pytest.raises(JobNotFound):
                self.q.retry(name)
        elif State(job.state) not in lifecycle.sources("requeue") or not self.model.can_requeue(job):
            with pytest.raises(StateConflict):
                self.q.retry(name, max_retries=max_retries)
        else:
            assert self.q.retry(name, max_retries=max_retries).done == (name,)
            self.model.requeue(job, max_retries)

    @rule(queue=maybe(queues))
    def retry_the_dead(self, queue):
        done = []
        for job in self.dead(queue):
            if self.model.can_requeue(job):
                self.model.requeue(job, None)
                done.append(job.id)
        if not done and not self.dead(queue):
            with pytest.raises(NothingMatched):
                self.q.dlq.retry(queue=queue, all=queue is None)
        elif not done and len(self.dead(queue)) == 1:
            with pytest.raises(StateConflict):
                self.q.dlq.retry(queue=queue, all=queue is None)
        else:
            assert list(self.q.dlq.retry(queue=queue, all=queue is None).done) == done

    @rule(queue=queues)
    def purge_the_dead(self, queue):
        names = [j.id for j in self.dead(queue)]
        if not names:
            with pytest.raises(NothingMatched):
                self.q.dlq.purge(queue=queue)
            return
        self.q.dlq.purge(queue=queue)
        for name in names:
            self.model.delete(self.model.jobs[name])
        self.follow_the_blocked()

    def dead(self, queue):
        return [j for j in self.model.jobs.values() if j.state == "dead" and queue in (None, j.queue)]

    @rule(name=ids, force=st.booleans())
    def delete(self, name, force):
        job = self.model.jobs.get(name)
        if job is None or (job.state == "processing" and not force):
            with pytest.raises(JobNotFound if job is None else StateConflict):
                self.q.delete(name, force=force)
            return
        self.q.delete(name, force=force)
        self.model.delete(job)
        self.follow_the_blocked()

    @rule(queue=maybe(queues), resume=st.booleans())
    def pause_or_resume(self, queue, resume):
        if resume:
            self.q.resume(queue)
            self.model.paused -= {queue} if queue else set(self.model.paused)
        else:
            self.q.pause(queue)
            self.model.paused.add(queue or "*")

    @rule(n=st.integers(0, 5))
    def set_the_default_budget(self, n):
        self.q.config.set("max-retries", str(n))
        self.model.max_retries = n

    @rule(step=some([None, 1_000, 300_000]))
    def set_the_worth_of_priority(self, step):
        self.q.config.set("priority-aging", "none" if step is None else f"{step}ms")
        self.model.set_aging(step)

    def follow_the_blocked(self):
        """What becomes of blocked children of cancelled and deleted jobs is for the tests of dependencies; here it must only be legal."""
        for child in self.model.jobs.values():
            if child.state != "blocked":
                continue
            rows = self.store.connection.rows(
                "select state, run_at_ms, rank from jobs where id = ?", (child.id,)
            )
            child.state, child.run_at, child.rank = rows[0]
            child.met = {
                r[0]
                for r in self.store.connection.rows(
                    "select parent.id from dependencies join jobs as parent on parent.seq = parent where child = ? and met = 1",
                    (child.seq,),
                )
            }

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
        assert sorted(self.store.line.to_cancel(["w1", "w2", "w3"])) == wanted

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
    max_examples=int(os.environ.get("QUEUECTL_EXAMPLES", "60")),
    stateful_step_count=int(os.environ.get("QUEUECTL_STEPS", "40")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
