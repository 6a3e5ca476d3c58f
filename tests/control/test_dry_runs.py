"""A dry run reads and tells: what it says is what the act then does, whatever the queue looks like; it changes nothing and waits for nobody."""

import random
import sqlite3
from itertools import groupby

import pytest
from bench_line import claim, register, settle

from queuectl import processes
from queuectl.errors import QueuectlError
from queuectl.model import State

QUEUES = 40
VERBS = (
    "cancel",
    "retry",
    "retry as",
    "dlq retry",
    "delete",
    "cascade",
    "bump",
    "edit",
    "edit rule",
    "purge",
)
STATES = ("pending", "scheduled", "dead", "cancelled", "failed", "completed", "processing", None)


def fill(q, dice, prefix):
    """Jobs that wait for jobs and share keys, in every state."""
    names = [f"{prefix}{n}" for n in range(dice.randint(4, 12))]
    for n, name in enumerate(names):
        waits = {
            flag: dice.sample(names[:n], 1)
            for flag in ("after", "after_any", "after_fail")
            if n and dice.random() < 0.3
        }
        if len(waits) == 2:
            waits.popitem()
        key = dice.choice((None, None, "k1", "k2"))
        held = (
            {"unique_key": prefix + key, "unique_for": dice.choice(("queued", "active", "success"))}
            if key
            else {}
        )
        try:
            q.enqueue(
                "true", id=name, queue=prefix, priority=dice.choice((0, 0, 1)), max_retries=2, delay=dice.choice((None, None, "1h")),
                on_dep_fail=dice.choice(("block", "cancel", "run")), **waits, **held,
            )  # fmt: skip
        except QueuectlError:
            continue  # the key is held, or a parent is not there
        for _ in range(dice.randint(0, 2)):
            end_one(q, dice, prefix)
        if dice.random() < 0.3:
            some_act(q, dice, prefix, dry_run=False)
    return [j.id for j in q.list(queue=prefix)]


def end_one(q, dice, prefix):
    for job in claim(q._store, queues=(prefix,)):
        state = dice.choice(("completed", "dead", "failed", "cancelled", None))
        soon = (
            {"run_at_ms": processes.now_ms() + 60_000, "due_mono_ms": processes.mono_ms() + 60_000}
            if state == "failed"
            else {}
        )
        outcome = {"completed": "ok", "cancelled": "cancelled"}.get(state, "failed")
        if state:
            settle(q._store, job, state, attempts=int(outcome == "failed"), outcome=outcome, **soon)


def some_act(q, dice, prefix, *, dry_run=None, names=None):
    """Return a verb on some jobs, as something to call with dry_run; or call it."""
    known = names or [j.id for j in q.list(queue=prefix)]
    verb, state = dice.choice(VERBS), dice.choice(STATES)
    ids = dice.sample(known, dice.randint(1, len(known))) if known else ["none"]
    where = dice.choice(((), ids, [*ids, "nobody"]))
    how = {} if where else {"queue": prefix}

    def act(dry):
        try:
            match verb:
                case "dlq retry":
                    return q.dlq.retry(*where, **how, dry_run=dry)
                case "purge":
                    return q.dlq.purge(*where, **how, dry_run=dry)
                case "retry as":
                    return q.retry(*where, **how, command="false", dry_run=dry)
                case "cascade" | "delete":
                    return q.delete(
                        *where, **how, state=state, cascade=verb == "cascade", force=True, dry_run=dry
                    )
                case "edit":
                    return q.edit(*where, in_queue=how.get("queue"), priority=3, delay="2h", dry_run=dry)
                case "edit rule":
                    return q.edit(*where, in_queue=how.get("queue"), on_dep_fail="cancel", dry_run=dry)
            return getattr(q, verb)(*where, **how, state=state, dry_run=dry)
        except QueuectlError as e:
            return f"{type(e).__name__}: {e}"

    return act if dry_run is None else act(dry_run)


def told(result):
    """A report without what only a real act can know: the ids of new jobs."""
    if isinstance(result, str):
        return result
    changes = [c for c in result.changes if c.field not in ("job", "run-at")]
    return result.verb, result.done, result.skipped, changes


def everything(q):
    tables = [
        r[0]
        for r in q._store.connection.rows("select name from sqlite_schema where type = 'table' order by name")
    ]
    return {t: q._store.connection.rows(f"select * from {t}") for t in tables}


def check_done(q, result):
    """What was reported done has been done, and what was left alone was so for a reason that holds."""
    if isinstance(result, str):
        return
    states = dict(q._store.connection.rows("select id, state from jobs"))
    for name in result.done:
        match result.verb:
            case "cancel":
                assert states[name] in ("cancelled", "processing")
            case "delete" | "dlq purge":
                assert name not in states
            case "retry" | "dlq retry" if not result.changes:
                assert states[name] in ("pending", "blocked")
    for new in (c.after for c in result.changes if c.field == "job"):
        assert states[new] in ("pending", "blocked")
    for _, why in result.skipped:
        if why.endswith("retry that one first"):
            parent = why.split()[2].rstrip(",")
            assert parent not in result.done or states[parent] == "cancelled"


@pytest.mark.parametrize("seed", range(QUEUES))
def test_a_dry_run_tells_what_the_act_then_does_and_does_nothing_itself(q, seed):
    dice = random.Random(seed)
    register(q._store, "w1")
    for n in range(3):
        names = fill(q, dice, f"s{n}-")
        for _ in range(4):
            act = some_act(q, dice, f"s{n}-", names=names)
            before = everything(q)
            other = sqlite3.connect(q.path, isolation_level=None)
            other.execute("begin immediate")  # somebody writes all the while
            foretold = act(True)
            other.close()
            assert everything(q) == before
            done = act(False)
            assert told(foretold) == told(done), seed
            check_done(q, done)


def test_several_that_share_a_key_are_told_apart(q):
    """Of two cancelled jobs of one key the older one gets it back; the dry run knows."""
    for name in ("a", "b"):
        q.enqueue("true", id=name, unique_key="k")
        q.cancel(name)
    for dry in (True, False):
        result = q.retry("b", "a", dry_run=dry)
        assert (result.done, result.skipped) == (("a",), (("b", "another job holds its unique key"),))
    assert [q.show(n).job.state for n in ("a", "b")] == [State.PENDING, State.CANCELLED]


def test_a_parent_that_is_replaced_is_lost_to_a_cancelled_child(q):
    """The child still waits for the old parent, which is cancelled: a new child would be cancelled at once."""
    q.enqueue("true", id="p", delay="1h")
    q.enqueue("true", id="c", after="p", on_dep_fail="cancel")
    q.cancel("c")
    for dry in (True, False):
        result = q.retry("p", "c", command="false", dry_run=dry)
        assert result.done == ("p",)
        assert result.skipped == (("c", "waits for p, which is cancelled; retry that one first"),)


def test_who_waits_for_one_that_stays_keeps_all_above_it(q):
    q.enqueue_many(
        [{"command": "true", "id": i, "after": p} for i, p in zip("abcd", (None, *"abc"), strict=True)]
    )
    for dry in (True, False):
        result = q.delete("a", "b", "c", dry_run=dry)
        assert (result.done, dict(result.skipped)["a"].split(" (")[0]) == ((), "has 1 waiting for it: b")
    assert len(q.list()) == 4


def test_a_dry_run_names_no_job_that_will_never_be(q):
    q.enqueue("true", id="a")
    q.cancel("a")
    result = q.retry("a", command="false", dry_run=True)
    assert (result.done, result.notes, [c.field for c in result.changes]) == (("a",), (), ["command"])
    assert len(q.list()) == 1


def test_a_child_older_than_its_parent_goes_with_it(q):
    """A parent that was retried with another command is younger than what waits for it."""
    q.enqueue("true", id="p")
    q.enqueue("true", id="c", after="p")
    q.cancel("p")
    new = q.retry("p", command="false").notes[0].rpartition(" ")[2]
    assert set(q.delete(new, "c").done) == {new, "c"}


def test_a_great_many_are_changed_by_few_statements(q):
    """The cost of a verb is that of its rows, not of a statement each."""
    q.enqueue_many([{"command": "true", "id": f"j{n}"} for n in range(2000)])
    asked = []
    q._store.connection.sql.set_trace_callback(asked.append)
    for verb in (q.cancel, q.retry, q.bump, q.delete):
        assert len(verb(queue="default").done) == 2000
    q._store.connection.sql.set_trace_callback(None)
    # A trigger's work is traced as its statement once more; a statement for each row would have other values each time.
    assert len([s for s, _ in groupby(asked)]) < 60
