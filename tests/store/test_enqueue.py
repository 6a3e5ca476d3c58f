"""Putting jobs in: all or none, defaults frozen, parents by id, and every bad value refused before anything is written."""

import json
import math
import sqlite3
import threading

import pytest

from queuectl import Queue
from queuectl.cli import main
from queuectl.enqueue import Enqueuer
from queuectl.errors import InvalidValue, QueuectlError, StateConflict
from queuectl.ids import Ids, new_id
from queuectl.model import ADDED_BY, State
from queuectl.records import as_dict
from queuectl.store import Store
from queuectl.store.workers import Runner


def test_settings_are_frozen_at_enqueue_and_say_where_they_came_from(q):
    q.config.set("max-retries", "5")
    job = q.enqueue("true", timeout="10m")
    q.config.set("max-retries", "7")
    found = q.show(job.id).job
    assert (found.max_retries, found.timeout_ms) == (5, 600_000)
    assert found.settings_from == {"max-retries": "config", "timeout": "job"}


@pytest.mark.parametrize(
    "text", ["123", "True", "[1, 2]", "a, b", "make #all", '"q"', "-ls", "x" * 100_000, "é\u202e\x1b"]
)
def test_a_command_is_stored_byte_for_byte(q, text):
    assert q.show(q.enqueue(text).id).job.command == text


BAD = [
    {"command": ""}, {"command": "  "}, {"command": "a\0b"}, {"command": "\udcff"}, {"command": "x" * 100_001}, {"command": None},
    {"command": ["ls"]}, {"command": b"ls"}, {"max_retries": -1}, {"max_retries": 1.5}, {"max_retries": "1_000"}, {"max_retries": " 3"},
    {"max_retries": "٣"}, {"max_retries": True}, {"max_retries": 2**63}, {"priority": 1e308}, {"timeout": 0}, {"timeout": -1},
    {"timeout": math.inf}, {"timeout": math.nan}, {"timeout": "soon"}, {"backoff_base": 0}, {"backoff_base": -2}, {"backoff": "often"},
    {"backoff": "[]"}, {"jitter": 2}, {"id": ""}, {"id": "../../etc/passwd"}, {"id": "a/b"}, {"id": "."}, {"id": "1 OR 1=1"}, {"id": "é"},
    {"id": "x" * 65}, {"queue": "a b"}, {"delay": "x"}, {"run_at": "2025-13-01"}, {"run_at": "yesterday"}, {"delay": 1, "run_at": "2030-01-01"},
    {"after": "nobody"}, {"env": {"A=B": "x"}}, {"env": {"A": "x\0"}}, {"env": {"": "x"}}, {"env": {"A": 1}}, {"env": "NOT_SET_ANYWHERE"},
    {"cwd": "/nowhere/at/all"}, {"cwd": "/etc/passwd"}, {"retry_on": "re:("}, {"retry_on": "x"}, {"unique_for": "active"}, {"limit": 2},
    {"warn": "USR9,3"}, {"retrys": 3},
]  # fmt: skip


@pytest.mark.parametrize("fields", BAD, ids=lambda f: json.dumps(f, default=repr)[:40])
def test_a_bad_value_is_refused_and_nothing_is_written(q, fields):
    spec = {"command": "true", **fields}
    with pytest.raises(InvalidValue):
        q.enqueue_many([{"command": "true"}, spec])
    assert q.list() == []
    assert q._store.connection.rows("select count(*) from dependencies") == [(0,)]


def test_the_bad_one_of_a_thousand_is_named_and_none_is_kept(q):
    specs = [{"command": "true"}] * 1000
    specs[776] = {"command": "true", "priority": "high"}
    with pytest.raises(InvalidValue, match="job 777: priority"):
        q.enqueue_many(specs)
    assert q.list() == []


def test_an_iterable_that_breaks_off_leaves_nothing(q):
    def broken():
        yield "true"
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        q.enqueue_many(broken())
    assert q.list() == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'true\n{"command": "x", "command": "y"}\n', "line 2"),
        (b'{"command": "x"', "line 1"),
        (b"\xef\xbb\xbftrue\n", "byte order mark"),
        (b"\xff\xfet\0", "byte order mark"),
        (b"true\n\xff\n", "line 2"),
        (b"{" * 100_000, "line 1"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(q, tmp_path, text, says):
    file = tmp_path / "jobs"
    file.write_bytes(text)
    with pytest.raises(QueuectlError, match=says):
        q.enqueue_many(str(file))
    assert q.list() == []


def test_jobs_of_one_file_may_wait_for_each_other(q):
    first, second = q.enqueue_many([{"command": "true", "id": "a"}, {"command": "true", "after": "a"}])
    assert (first.state, second.state) == (State.PENDING, State.BLOCKED)
    with pytest.raises(InvalidValue, match="which no job has"):
        q.enqueue_many([{"command": "true", "after": "later"}, {"command": "true", "id": "later"}])


def test_a_unique_key_is_held_while_its_job_is_active(q):
    job = q.enqueue("true", unique_key="nightly")
    with pytest.raises(StateConflict):
        q.enqueue("true", unique_key="nightly")
    assert q.enqueue("true", unique_key="nightly", on_conflict="skip").id == job.id
    q.cancel(job.id)
    assert q.enqueue("true", unique_key="nightly").id != job.id


def test_ids_of_digits_and_numbers_are_ids(q):
    assert [q.enqueue("true", id=i).id for i in ("00012345", "0e12", "1e5")] == ["00012345", "0e12", "1e5"]


def test_a_held_key_returns_its_job_and_says_so(q, capsys):
    job = q.enqueue("true", unique_key="nightly")
    assert (
        main(["enqueue", "-c", "true", "--unique-key", "nightly", "--on-conflict", "skip", "--db", q.path])
        == 0
    )
    assert capsys.readouterr().out == f"Nothing added: job {job.id} (pending) holds the unique key nightly\n"
    assert q.enqueue("true", unique_key="nightly", on_conflict="skip").as_dict()["added"] is False
    many = [{"command": "true", "unique_key": k, "on_conflict": "skip"} for k in ("nightly", "new", "new")]
    found = q.enqueue_many(many)
    assert (found[0].id, found[1].id) == (job.id, found[2].id)
    assert q.status().counts[State.PENDING] == 2


@pytest.mark.parametrize("how", ["queued", "active", "success", "forever"])
def test_a_waiting_holder_of_a_key_is_replaced_in_one_transaction(q, how):
    old = q.enqueue("echo 1", unique_key="k", unique_for=how)
    child = q.enqueue("true", after=old)
    new = q.enqueue("echo 2", unique_key="k", unique_for=how, on_conflict="replace")
    found = q.show(old.id).job
    assert (found.state, found.reason) == (State.CANCELLED, f"replaced by {new.id}")
    assert (new.state, q._store.jobs.holder("k")) == (State.PENDING, new.id)
    assert q.show(child.id).job.reason == f"waits for {old.id}, which is cancelled"


def test_a_running_holder_of_a_key_is_not_replaced(q):
    old = q.enqueue("true", unique_key="k")
    with q._store.write():
        q._store.workers.register(["w1"], Runner("r1", "here", "boot", 1, 1, 1), queues=None, now_ms=1)
        q._store.line.claim("w1", 1, queues=None, now_ms=2)
    with pytest.raises(StateConflict, match=f"job {old.id} holds k and is processing"):
        q.enqueue("true", unique_key="k", on_conflict="replace")
    assert [j.id for j in q.list()] == [old.id]


def test_parents_may_be_jobs_and_lists_and_the_strictest_need_counts(q):
    a, b = q.enqueue("true"), q.enqueue("true")
    child = q.enqueue("true", after=[a, b.id], after_any=a)
    assert [(x.id, x.needs) for x in q._store.family.blockers(child.seq)] == [(a.id, "ok"), (b.id, "ok")]
    with pytest.raises(InvalidValue, match="after-fail"):
        q.enqueue("true", after=a, after_fail=[a])


@pytest.mark.parametrize(
    ("rule", "state", "reason"),
    [
        ("block", State.BLOCKED, "waits for p, which is cancelled"),
        ("cancel", State.CANCELLED, "waits for p, which is cancelled"),
        ("run", State.PENDING, None),
    ],
)
def test_what_happens_when_a_parent_is_lost_is_the_childs_to_say(q, rule, state, reason):
    q.enqueue("true", id="p")
    early = q.enqueue("true", after="p", on_dep_fail=rule)
    q.cancel("p")
    late = q.enqueue("true", after="p", on_dep_fail=rule)
    for job in (early, late):
        assert (q.show(job.id).job.state, q.show(job.id).job.reason) == (state, reason)


def test_the_jobs_returned_of_a_batch_are_those_in_the_database(q):
    mixed = ["a", "b", {"command": "c", "priority": 3, "tag": "x"}, "d", {"command": "e", "delay": 60}, "f"]
    jobs = q.enqueue_many(mixed)
    assert [j.command for j in jobs] == list("abcdef")
    assert len({j.id for j in jobs}) == 6
    assert [q.show(j.id).job for j in jobs] == jobs


def test_bare_commands_go_in_as_they_are_and_are_counted(q, monkeypatch):
    monkeypatch.setattr("queuectl.store.jobs.PIECE_CHARS", 40)  # several statements
    commands = [
        "echo 'ä\U0001f600'",
        "  printf '\t\\n'\n",
        '\\u0041 \x01 "x"',
        *(f"echo {n}" for n in range(97)),
    ]
    added = q.enqueue_many(commands)
    kept = q._store.connection.rows("select id, command, seq from jobs order by seq")
    assert [c for _, c, _ in kept] == commands
    assert [(j.id, j.command, j.seq) for j in added] == kept
    assert list(added) == [q.show(j.id).job for j in added] and added[-2:] == list(added)[-2:]
    assert [i for i, _, _ in kept] == sorted({i for i, _, _ in kept})  # the index takes them in order
    assert q.status().counts[State.PENDING] == 100
    q.enqueue_many([{"command": "true", "queue": "b"}, "true"])
    assert q._store.jobs.counts() == q._store.jobs.recount()
    q.delete(added[5])
    assert q._store.jobs.counts() == q._store.jobs.recount()


def drawn(monkeypatch, *ids):
    """Draw these ids first, of batches and of single jobs; then others."""
    left = list(ids)
    monkeypatch.setattr("queuectl.enqueue.new_id", lambda: left.pop(0) if left else new_id())
    monkeypatch.setattr("queuectl.enqueue.new_ids", lambda n: Ids("".join(left[:n])))
    return left


TAKEN = "aaaaaaaa"
ADD = {
    "one": lambda q: [q.enqueue("echo 0")],
    "one with more": lambda q: [q.enqueue("echo 0", priority=1)],
    "several": lambda q: q.enqueue_many(["echo 0", "echo 1"]),
    "several with more": lambda q: q.enqueue_many([{"command": "echo 0", "priority": 1}, "echo 1"]),
}


@pytest.mark.parametrize("how", ADD)
def test_an_id_that_happens_to_be_taken_is_drawn_anew(q, monkeypatch, how):
    q.enqueue("true", id=TAKEN)
    drawn(monkeypatch, TAKEN, "bbbbbbbb")
    added = ADD[how](q)
    assert [j.command for j in added] == ["echo 0", "echo 1"][: len(added)]
    assert [q.show(j.id).job for j in added] == list(added)
    assert len({TAKEN} | {j.id for j in added}) == len(added) + 1
    assert q._store.jobs.counts() == q._store.jobs.recount()


@pytest.mark.parametrize("how", ADD)
def test_when_all_that_is_drawn_is_taken_nothing_is_left(q, monkeypatch, how):
    q.enqueue("true", id=TAKEN)
    monkeypatch.setattr("queuectl.enqueue.new_id", lambda: TAKEN)
    monkeypatch.setattr("queuectl.enqueue.new_ids", lambda n: Ids(TAKEN * n))
    monkeypatch.setattr("queuectl.ids.new_id", lambda: TAKEN)
    with pytest.raises(StateConflict, match=f"{TAKEN} exists"):
        ADD[how](q)
    assert [j.command for j in q.list()] == ["true"] and q.status().counts[State.PENDING] == 1


def test_within_a_transaction_an_id_that_is_taken_is_an_error(q, monkeypatch):
    """What the call inserted before it met the id would stay beside what it inserts anew."""
    q.enqueue("true", id=TAKEN)
    drawn(monkeypatch, "bbbbbbbb", TAKEN)
    monkeypatch.setattr("queuectl.store.jobs.PIECE_CHARS", 1)
    with pytest.raises(StateConflict), q._store.write():
        q.enqueue_many(["true", "true"])
    assert len(q.list()) == 1


def test_an_id_that_was_given_is_never_changed(q):
    q.enqueue("true", id=TAKEN)
    with pytest.raises(StateConflict, match=f"{TAKEN} exists"):
        q.enqueue_many([{"command": "true", "id": TAKEN}, "true"])
    assert len(q.list()) == 1


@pytest.mark.parametrize("second", [TAKEN, "b"], ids=["an older job's", "one of the same call"])
def test_the_id_that_is_taken_is_named_not_those_that_went_in_before_it(q, second):
    q.enqueue("true", id=TAKEN)
    specs = [{"command": "true", "id": i} for i in ("a", "b", second, "c")]
    with pytest.raises(StateConflict, match=f"a job {second} exists"):
        q.enqueue_many(specs)
    assert [j.id for j in q.list()] == [TAKEN]


def test_a_bare_command_that_is_wrong_is_named(q):
    for wrong in ("", " \n", "a\0b", "\ud800", "x" * 100_001, 7, None):
        with pytest.raises(InvalidValue, match="job 2: "):
            q.enqueue_many(["true", wrong])
    assert q.enqueue_many([]) == [] and q.list() == []
    assert len(q.enqueue_many(["x" * 30_000, "ä" * 40_000])) == 2  # long, and allowed


def test_bare_commands_one_by_one_see_what_has_changed_between_them(q, tmp_path, monkeypatch):
    first = q.enqueue("true")
    q.config.set("priority", 7)
    q.config.set("priority-aging", "1m")
    monkeypatch.chdir(tmp_path)
    second = q.enqueue("echo 2")
    assert second == q.show(second.id).job and first.id != second.id
    assert (second.command, second.priority, second.cwd) == ("echo 2", 7, str(tmp_path))
    assert second.rank == second.created_at_ms - 7 * 60_000
    assert q.enqueue("true", queue="b").queue == "b" and q.enqueue("true").queue == "default"
    assert q.enqueue("echo 3").rank >= second.rank


@pytest.mark.parametrize(
    "change",
    [
        lambda q: q.config.set("max-retries", 9),
        lambda q: q.queue.set("default", "max-retries", "9"),
    ],
    ids=["config", "queue"],
)
def test_commands_heed_settings_that_another_connection_has_changed(q, change):
    q.enqueue("true"), q.enqueue("true", priority=1)
    change(Queue(q.path))
    assert [q.enqueue("true").max_retries, q.enqueue("true", priority=1).max_retries] == [9, 9]


def test_commands_do_not_read_the_settings_again_because_others_commit(q, monkeypatch):
    q.enqueue("true")
    Queue(q.path).enqueue("true")
    monkeypatch.setattr(type(q._store.settings), "changed", lambda _: pytest.fail("read again"))
    assert q.enqueue("true").id != q.enqueue("true", priority=1).id


def test_a_bare_command_is_noted_with_who_adds_it_not_with_who_did_before(q):
    adder = Enqueuer(Store(q.path))
    jobs = [adder.add_command("true", actor=a) for a in ("cli", "python", "cli", "panel")]
    assert [j.origins and json.loads(j.origins).get(ADDED_BY) for j in jobs] == ["cli", None, "cli", "panel"]
    assert [q.show(j.id).job for j in jobs] == jobs


def test_a_bare_command_is_what_it_is_with_more_said_of_it(q):
    short, long = q.enqueue("echo 1"), q.enqueue("echo 1", priority=0, queue="default")
    own = ("seq", "id", "rank", "created_at_ms", "updated_at_ms", "origins")
    assert {k: v for k, v in as_dict(short).items() if k not in own} == {
        k: v for k, v in as_dict(long).items() if k not in own
    }
    assert q._store.jobs.counts() == q._store.jobs.recount()


def test_a_bare_command_waits_for_the_write_lock(q):
    q.enqueue("true")
    other = sqlite3.connect(q.path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    added = []
    thread = threading.Thread(target=lambda: added.append(Queue(q.path).enqueue("echo 2")))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive() and len(q.list()) == 1
    other.execute("commit")
    thread.join(10)
    assert q.show(added[0].id).job == added[0]
    other.close()


def test_a_bare_command_within_a_transaction_is_part_of_it(q):
    def half() -> None:
        with q._store.write():
            q.enqueue("echo 2")
            raise ZeroDivisionError

    q.enqueue("true")
    with pytest.raises(ZeroDivisionError):
        half()
    assert [j.command for j in q.list()] == ["true"]
