"""Jobs that wait are edited and moved; ended ones are retried, also with another command; and all of it leaves its event."""

import io
import json

import pytest
from bench_line import claim, register, settle

from queuectl.cli import main
from queuectl.errors import InvalidValue, StateConflict
from queuectl.model import State


def order(q):
    rows = q._store.connection.rows("select id from jobs where state = 'pending' order by rank, seq")
    return [r[0] for r in rows]


def three(q, **fields):
    return [q.enqueue("true", id=i, **fields).id for i in "abc"]


def test_a_dry_run_shows_the_old_command_above_the_new_one(q):
    q.enqueue("train --lr 0.1 --token=hunter2", id="a", priority=1)
    out = io.StringIO()
    words = ["edit", "a", "--command", "train --lr 0.01", "--priority", "5", "--dry-run", "--db", q.path]
    assert main(words, stdout=out) == 0
    assert (
        out.getvalue()
        == "a: would be changed\n  - train --lr 0.1 --token=***\n  + train --lr 0.01\n  priority: 1 → 5\n"
    )
    assert q.show("a").job.command.startswith("train --lr 0.1 ")


def test_an_edit_changes_what_is_named_and_nothing_else(q):
    q.enqueue("true", id="a", tag="x", max_retries=7)
    before = q.show("a").job
    q.edit("a", timeout="10m", queue="slow", tag="y,z", retry_on="1-3")
    after = q.show("a").job
    assert (after.timeout_ms, after.queue, after.tag_list, after.retry_on) == (
        600_000,
        "slow",
        ("y", "z"),
        '["1-3"]',
    )
    assert (after.max_retries, after.command, after.rank, after.priority) == (7, "true", before.rank, 0)
    assert q._store.jobs.counts("slow")[State.PENDING] == 1
    q.edit("a", timeout="none", retry_on="none")
    assert (q.show("a").job.timeout_ms, q.show("a").job.retry_on) == (None, None)


def test_a_new_priority_keeps_the_place_among_equals(q):
    three(q)
    q.enqueue("true", id="d", priority=1)
    q.edit("c", priority=1)
    q.edit("a", priority=1)
    assert order(q) == ["a", "c", "d", "b"]


def test_bump_goes_to_the_front_of_its_priority_and_no_further(q):
    three(q)
    q.enqueue("true", id="high", priority=1)
    q.bump("c", "b")
    assert order(q) == ["high", "c", "b", "a"]
    register(q._store, "w1")
    assert [c.id for c in claim(q._store, 2)] == ["high", "c"]


def test_a_job_is_put_off_and_brought_forward(q):
    q.enqueue("true", id="a")
    q.edit("a", delay="1h")
    assert (q.show("a").job.state, q.explain("a").codes[0]) == (State.SCHEDULED, "scheduled")
    q.edit("a", delay=0)
    assert (q.show("a").job.state, q.show("a").job.run_at) == (State.PENDING, None)
    q.enqueue("true", id="b", after="a")
    q.edit("b", run_at="2099-01-01T00:00:00Z")
    assert q.show("b").job.state is State.BLOCKED
    register(q._store, "w1")
    settle(q._store, *claim(q._store), "completed")
    assert q.show("b").job.state is State.SCHEDULED


def test_a_failed_job_is_edited_within_its_budget(q):
    register(q._store, "w1")
    q.enqueue("true", id="a", max_retries=5)
    (taken,) = claim(q._store)
    settle(q._store, taken, "failed", attempts=2, run_at_ms=1, due_mono_ms=1 << 50)
    with pytest.raises(StateConflict, match="has failed 2 times"):
        q.edit("a", max_retries=2)
    q.edit("a", max_retries=3, delay=0)
    with q._store.write():
        from queuectl import processes

        q._store.line.promote(now_ms=processes.now_ms(), mono_ms=processes.mono_ms())
    assert q.show("a").job.state is State.PENDING


def test_what_cannot_be_edited_is_said(q):
    register(q._store, "w1")
    three(q)
    claim(q._store)
    q.cancel("b")
    result = q.edit("a", "b", "c", priority=2)
    assert result.done == ("c",)
    assert [(i, why.split(";")[0]) for i, why in result.skipped] == [
        ("a", "is processing"),
        ("b", "is cancelled"),
    ]
    with pytest.raises(StateConflict, match="is so already"):
        q.edit("c", priority=2)
    with pytest.raises(InvalidValue, match="expected a new value"):
        q.edit("c")
    with pytest.raises(InvalidValue, match="expected ids or a filter"):
        q.edit(priority=1)


def test_a_blocked_job_may_be_told_to_run_after_all(q):
    q.enqueue("true", id="a")
    q.enqueue("true", id="b", after="a")
    q.cancel("a")
    q.edit("b", on_dep_fail="run")
    assert q.show("b").job.state is State.PENDING


def dead(q, name, **fields):
    register(q._store, "w1")
    q.enqueue("broken", id=name, **fields)
    (taken,) = claim(q._store)
    settle(q._store, taken, "dead", attempts=1, reason="exit status 127")


def test_a_retry_with_another_command_is_a_new_job_in_the_old_ones_place(q):
    dead(q, "a", timeout="10m", tag="t", priority=4, unique_key="k", unique_for="forever")
    q.enqueue("true", id="child", after="a")
    q.enqueue("true", id="wary", after="a", on_dep_fail="cancel")
    result = q.dlq.retry("a", command="mended", max_retries=2)
    new = q.show(result.notes[0].rpartition(" ")[2]).job
    assert (new.command, new.retry_of, new.state, new.attempts, new.max_retries) == (
        "mended",
        "a",
        State.PENDING,
        0,
        2,
    )
    assert (new.timeout_ms, new.tag_list, new.priority, new.unique_key) == (600_000, ("t",), 4, "k")
    old = q.show("a").job
    assert (old.state, old.command, old.reason) == (
        State.CANCELLED,
        "broken",
        f"retried as {new.id}; before: exit status 127",
    )
    assert [b.id for b in q._store.family.blockers(q.show("child").job.seq)] == [new.id]
    assert (q.show("child").job.reason, q.dlq.list()) == (None, [])
    settle(q._store, *claim(q._store), "completed")
    assert q.show("child").job.state is State.PENDING
    assert (
        q._store.history.events(job_id="a", verb="dlq retry")[0].detail
        == f"as {new.id}, with another command"
    )


def test_a_retry_with_another_command_waits_for_what_the_old_one_waited_for(q):
    q.enqueue("true", id="a")
    q.enqueue("true", id="b", after="a")
    q.cancel("b")
    result = q.retry("b", command="other")
    new = q.show(result.notes[0].rpartition(" ")[2]).job
    assert new.state is State.BLOCKED
    assert [x.id for x in q._store.family.blockers(new.seq)] == ["a"]


def test_a_retry_whose_key_another_job_has_is_refused_and_changes_nothing(q):
    dead(q, "a", unique_key="k")
    q.enqueue("true", id="b", unique_key="k")
    for given in ({}, {"command": "other"}):
        with pytest.raises(StateConflict, match="another job holds its unique key"):
            q.retry("a", **given)
    assert (q.show("a").job.state, len(q.list())) == (State.DEAD, 2)


def test_every_change_leaves_an_event_with_its_actor(q):
    three(q)
    q.edit("a", priority=1)
    q.bump("b")
    q.cancel("c")
    q.retry("c")
    q.delete("c")
    q.pause("slow")
    q.config.set("max-retries", "4")
    out = io.StringIO()
    assert main(["retry", "nobody", "--db", q.path], stdout=out, stderr=out) == 3
    assert main(["cancel", "b", "--db", q.path], stdout=out) == 0
    found = [(e.actor, e.verb, e.job_id) for e in q.events()]
    assert found == [
        ("python", "edit", "a"), ("python", "bump", "b"), ("python", "cancel", "c"), ("python", "retry", "c"), ("python", "delete", "c"),
        ("python", "pause", None), ("python", "config", None), ("cli", "cancel", "b"),
    ]  # fmt: skip
    assert q.events(job="a")[-1].detail == "priority: 0 → 1"
    assert [e.verb for e in q.events(verb="cancel", limit=1)] == ["cancel"]
    assert q.events(since="1h") == q.events() and q.events(job="zz") == []
    out = io.StringIO()
    assert main(["events", "--job", "a", "--json", "--db", q.path], stdout=out) == 0
    assert [json.loads(line)["verb"] for line in out.getvalue().splitlines()] == ["enqueue", "edit"]
    assert "priority: 0 → 1" in q.events()._repr_html_()


def test_a_chain_runs_in_order_with_groups_between(q):
    jobs = q.chain(["a", [{"command": "b", "priority": 2}, "c"], "d"], on_dep_fail="cancel")
    first, left, right, last = jobs
    assert [j.state for j in jobs] == [State.PENDING, *[State.BLOCKED] * 3]
    assert {b.id for b in q._store.family.blockers(last.seq)} == {left.id, right.id}
    assert [b.id for b in q._store.family.blockers(left.seq)] == [first.id]
    assert left.priority == 2
    q.cancel(first.id)
    assert q.status().counts[State.CANCELLED] == 4
    assert q.chain(["x"], after=jobs)[0].state is State.BLOCKED
    with pytest.raises(InvalidValue, match="command"):
        q.chain(["x", ""])
    assert len(q.list()) == 5
