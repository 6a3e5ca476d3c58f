"""Queues and limits: whose word holds, what is claimed, and that a limit holds however many workers there are."""

import io
import json
from pathlib import Path

import pytest
from harness import await_true, job_processes

from queuectl import processes
from queuectl.cli import main
from queuectl.errors import InvalidValue, NothingMatched
from queuectl.model import State

# Takes the one place there is, or says that it was taken.
ALONE = 'mkdir "$ROOM/taken" || echo overlap >> "$ROOM/bad"; sleep 0.02; rmdir "$ROOM/taken"; echo "$QUEUECTL_QUEUE" >> "$ROOM/ran"'


def claim(q, want=10, queues=None):
    with q._store.write():
        return [j.id for j in q._store.line.claim("w1", want, queues=queues, now_ms=processes.now_ms())]


def typed(q, *words):
    out, err = io.StringIO(), io.StringIO()
    code = main([*words, "--db", q.path], stdout=out, stderr=err)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def held(q):
    """A worker's row, so that claims made here are held by somebody; they are given back at the end."""
    c = q._store.connection
    c.rows(
        """insert into workers (id, runner, state, host, boot_id, pid, pid_start, started_at_ms, heartbeat_at_ms, beat_mono_ms)
           values ('w1', 'r1', 'idle', 'here', 'b', 1, 1, 0, 0, 0)"""
    )
    return q


# --- settings of queues ---


def test_a_setting_is_the_jobs_word_then_the_queues_then_configs_then_built_in_and_frozen(q):
    built_in = q.enqueue("true", queue="gpu")
    q.config.set("timeout", "1h")
    config = q.enqueue("true", queue="gpu")
    q.queue.set("gpu", "timeout", "2h")
    queue = q.enqueue("true", queue="gpu")
    job = q.enqueue("true", queue="gpu", timeout="3h")
    other = q.enqueue("true", queue="cpu")
    assert [j.timeout_ms for j in (built_in, config, queue, job, other)] == [
        None,
        3_600_000,
        7_200_000,
        10_800_000,
        3_600_000,
    ]
    assert [j.settings_from.get("timeout") for j in (built_in, config, queue, job)] == [
        None,
        "config",
        "queue",
        "job",
    ]
    q.queue.set("gpu", "timeout", "5h")
    assert q.show(queue.id).job.timeout_ms == 7_200_000
    q.queue.unset("gpu", "timeout")
    assert q.enqueue("true", queue="gpu").timeout_ms == 3_600_000


def test_an_open_queue_object_sees_what_another_process_set_for_a_queue(q):
    assert q.enqueue("true", queue="gpu").max_retries == 3
    assert typed(q, "queue", "set", "gpu", "max-retries", "9") == (
        0,
        "Queue gpu updated: max-retries = 9\n",
        "",
    )
    assert q.enqueue("true", queue="gpu").max_retries == 9


def test_every_setting_of_a_job_can_be_given_to_a_queue_and_says_where_it_comes_from(q):
    values = {"max-retries": "7", "backoff": "[1,2]", "backoff-base": "3", "backoff-max": "10m", "jitter": "0.5", "timeout": "90s",
              "kill-after": "1s", "warn": "USR1,30", "priority": "5", "retry-on": "timeout", "no-retry-on": "2",
              "keep-children": "true", "on-dep-fail": "run"}  # fmt: skip
    for key, value in values.items():
        q.queue.set("gpu", key, value)
    origins = q.enqueue("true", queue="gpu").settings_from
    assert origins == dict.fromkeys(values, "queue")
    found = q.queue.get("gpu")
    assert {s.key for s in found if s.origin == "queue"} == set(values)
    assert q.queue.get("gpu", "timeout").by_key == {"timeout": 90_000}


@pytest.mark.parametrize(
    ("name", "key", "value", "says"),
    [
        ("gpu", "stop-grace", "5", "of workers"),
        ("gpu", "timeuot", "5", "did you mean timeout"),
        ("gpu", "timeout", "soon", "timeout: expected"),
        ("g/pu", "timeout", "5", "queue: expected"),
        ("*", "timeout", "5", "queue: expected"),
        ("gpu", "breaker", "11/10", "breaker: expected"),
        ("gpu", "breaker", "0/10", "breaker: expected"),
        ("gpu", "breaker-probe", "0", "breaker-probe: expected"),
    ],
)
def test_a_wrong_word_about_a_queue_changes_nothing(q, name, key, value, says):
    before = q._store.connection.data_version(), q.queue.list()
    with pytest.raises(InvalidValue, match=says):
        q.queue.set(name, key, value)
    assert (q._store.connection.data_version(), q.queue.list()) == before
    assert q._store.connection.rows("select count(*) from events") == [(0,)]


def test_queues_are_listed_with_their_jobs_and_why_they_stand_still(q):
    q.enqueue_many(
        [{"command": "true", "queue": "gpu"}] * 2 + [{"command": "true", "queue": "cpu", "delay": 60}]
    )
    q.queue.set("idle", "timeout", "1h")
    q.pause("gpu")
    found = {s.name: s for s in q.queue.list()}
    assert list(found) == ["cpu", "gpu", "idle"]
    assert found["gpu"].counts[State.PENDING] == 2 and found["cpu"].counts[State.SCHEDULED] == 1
    assert (found["gpu"].why, found["cpu"].why) == ("paused", None)
    code, text, _ = typed(q, "queue", "list")
    assert code == 0 and text.splitlines()[2].split() == ["gpu", "2", "0", "0", "0", "paused"]
    lines = typed(q, "queue", "list", "--json")[1].splitlines()
    assert [json.loads(x)["name"] for x in lines] == ["cpu", "gpu", "idle"]


# --- what is claimed ---


def test_a_paused_queue_is_not_claimed_and_the_others_are(held):
    a, b = held.enqueue("true", queue="a"), held.enqueue("true", queue="b")
    held.pause("a")
    assert claim(held) == [b.id]
    held.resume("a")
    assert claim(held) == [a.id]


def test_everything_paused_includes_queues_that_come_later(held):
    held.pause()
    job = held.enqueue("true", queue="new")
    assert claim(held) == []
    held.resume()
    assert claim(held) == [job.id]


def test_only_the_queues_asked_for_are_claimed_in_one_order(held):
    ids = [held.enqueue("true", queue=name).id for name in ("gpu", "default", "other", "gpu", "default")]
    assert claim(held, queues=("gpu", "default")) == [ids[0], ids[1], ids[3], ids[4]]


def test_the_room_of_a_key_is_shared_by_its_queues_and_only_its_own(held):
    ids = [held.enqueue("true", queue=name, limit_key="db", limit=2).id for name in ("a", "b", "a", "b")]
    free = held.enqueue("true", queue="a")
    assert claim(held) == [ids[0], ids[1], free.id]
    assert claim(held) == []


def test_a_limit_that_is_lowered_lets_running_jobs_end_and_one_that_is_raised_or_lifted_holds_at_once(held):
    ids = [held.enqueue("true", limit_key="db", limit=3).id for _ in range(8)]
    assert claim(held) == ids[:3]
    held.limit.set("db", 1)
    (state,) = held.limit.list()
    assert (state.n, state.holders, state.room, state.waiting) == (1, tuple(ids[:3]), 0, 5)
    assert claim(held) == []
    held.limit.set("db", 5)
    assert claim(held) == ids[3:5]
    held.limit.unset("db")
    assert claim(held) == ids[5:]
    with pytest.raises(NothingMatched, match="db has no limit"):
        held.limit.unset("db")
    with pytest.raises(InvalidValue, match="limit: expected"):
        held.limit.set("db", 0)


def test_a_suspect_does_not_pass_a_full_limit(held):
    first, suspect = (held.enqueue("true", limit_key="db", limit=1) for _ in range(2))
    held._store.connection.rows("update jobs set interruptions = 1 where id = ?", (suspect.id,))
    assert claim(held) == [first.id]
    with held._store.write():
        assert held._store.line.claim_suspect("w1", queues=None, now_ms=processes.now_ms()) == []


def test_status_says_who_holds_a_limit_and_nothing_where_there_is_none(held):
    assert "Limit" not in typed(held, "status")[1]
    ids = [held.enqueue("true", limit_key="db", limit=1).id for _ in range(3)]
    claim(held)
    assert f"Limit: db 1 of 1 running ({ids[0]}), 2 waiting\n" in typed(held, "status")[1]
    assert typed(held, "limit", "list")[1].splitlines()[1].split() == ["db", "1", "1", "2", ids[0]]


# --- real workers ---


@pytest.mark.process
def test_a_limit_holds_over_runners_queues_and_jobs_that_are_tried_alone(q, start, tmp_path):
    room = {"env": [f"ROOM={tmp_path}"], "limit_key": "db"}
    q.enqueue("true", limit_key="db", limit=1)
    for n in range(12):
        q.enqueue(ALONE, queue="a" if n % 2 else "b", **room)
    # Dies with its worker once; from then on it is a suspect, which a companion tries.
    q.enqueue(
        f'test -e "$ROOM/killed" || {{ touch "$ROOM/killed"; kill -9 $PPID; exec sleep 9; }}; {ALONE}',
        queue="a",
        priority=1,
        **room,
    )
    workers = [start("-c", "2", "--drain", "-s", "0.2") for _ in range(2)]
    assert [w.wait(60) for w in workers] == [0, 0]
    assert q.status().counts[State.COMPLETED] == 14
    assert (tmp_path / "killed").exists() and not (tmp_path / "bad").exists()
    assert len((tmp_path / "ran").read_text().split()) == 13


@pytest.mark.process
def test_raising_a_limit_starts_the_next_job_at_once(q, start):
    for _ in range(3):
        q.enqueue("sleep 1000", limit_key="db", limit=1)
    start("-c", "3", "-s", "60")
    await_true(
        lambda: q.status().counts[State.PROCESSING] == 1 and job_processes(q.path), what="the first job"
    )
    q.limit.set("db", 2)
    await_true(lambda: q.status().counts[State.PROCESSING] == 2, 10, "the second job")
    assert q.limit.list()[0].waiting == 1


@pytest.mark.process
def test_a_worker_takes_only_its_queues_and_leaves_the_others_alone(q, start, tmp_path):
    done = [q.enqueue("true", queue=name) for name in ("gpu", "default")]
    left = q.enqueue(f"touch {tmp_path}/wrong", queue="other")
    assert start("--queues", "gpu,default", "--drain").wait(30) == 0
    assert [q.show(j.id).job.state for j in (*done, left)] == [
        State.COMPLETED,
        State.COMPLETED,
        State.PENDING,
    ]
    assert not Path(tmp_path / "wrong").exists()


@pytest.mark.process
def test_a_pause_leaves_running_jobs_alone(q, start, tmp_path):
    running = q.enqueue(f"while ! test -e {tmp_path}/gate; do sleep 0.02; done", queue="slow")
    start("-c", "2", "-s", "60")
    await_true(lambda: job_processes(q.path), what="the job")
    q.pause("slow")
    waiting, other = q.enqueue("true", queue="slow"), q.enqueue("true")
    await_true(lambda: q.show(other.id).job.state is State.COMPLETED, what="the other queue's job")
    (tmp_path / "gate").touch()
    await_true(lambda: q.show(running.id).job.state is State.COMPLETED, what="the running job")
    assert q.show(waiting.id).job.state is State.PENDING
    q.resume("slow")
    await_true(lambda: q.show(waiting.id).job.state is State.COMPLETED, what="the waiting job")


def test_what_is_paused_or_not_paused_already_is_said(q):
    assert q.resume().notes == ("all queues: not paused; nothing was done",)
    assert not q.resume("none") and not q.resume("none").skipped
    assert q.pause("a") and q.pause("a").notes == ("a: paused already; nothing was done",)
    assert q.pause() and not q.pause()
    assert q.resume("a").notes == ("a: resumed, but all queues are paused (queuectl resume)",)
    assert q.resume().done == ("all queues",)
    assert [e.verb for e in q.events()] == ["pause", "pause", "resume", "resume"]
    assert q._store.connection.rows("select count(*) from queues where name = 'none'") == [(0,)]
