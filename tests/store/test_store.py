"""The store: first starts, refusals, fences, and the claim under contention."""

import hashlib
import multiprocessing
import os
import sqlite3
import stat

import pytest
from harness import size

from queuectl import _sqlite, lifecycle, processes, schema
from queuectl.errors import DatabaseMoved, DatabaseRefused, StateConflict
from queuectl.model import State
from queuectl.queue import Queue
from queuectl.store import Store, standing
from queuectl.store.filters import Filter
from queuectl.store.line import Lost, Settled
from queuectl.store.workers import Runner

SPAWN = multiprocessing.get_context("spawn")


def settled(job, **changes):
    now = processes.now_ms()
    base = Settled(
        job.seq, job.id, job.run, "w1", "completed", "ok", 0, None, None, None, now, now, True, 0, None, None, None, None, None, None, 1, 1, 1, 0, 0,
        None, None, None, None, None,
    )  # fmt: skip
    return base._replace(**changes)


def register(store, *ids):
    me = Runner(
        "r1",
        "here",
        processes.boot_id(),
        os.getpid(),
        processes.start_ticks(os.getpid()),
        processes.mono_ms(),
    )
    with store.write():
        store.workers.register(ids, me, queues=None, now_ms=processes.now_ms())


def claim(store, want=1, worker="w1"):
    with store.write():
        return store.line.claim(worker, want, queues=None, now_ms=processes.now_ms())


def test_the_shape_in_the_code_is_that_of_a_fresh_database(q):
    assert schema.shape(q._store.connection) == schema.SHAPE


def test_files_are_private(q):
    q.enqueue("true")
    assert stat.S_IMODE(os.stat(q.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(q.path + "-wal").st_mode) == 0o600


def test_the_engine_is_the_one_that_sqlite_utils_takes():
    assert _sqlite.sqlite3 is __import__("sqlite_utils.utils", fromlist=["sqlite3"]).sqlite3


def test_every_connection_is_durable_and_leaves_checkpoints_to_us(q):
    one = q._store.connection.rows
    assert one("pragma journal_mode") == [("wal",)]
    assert one("pragma synchronous") == [(2,)]
    assert one("pragma wal_autocheckpoint") == [(0,)]
    assert one("pragma foreign_keys") == [(1,)]


def _first_starts(paths, barrier, answers):
    for path in paths:
        barrier.wait(60)
        try:
            queue = Queue(path)
            queue.enqueue("true")
            queue.close()
            answers.put("ok")
        except BaseException as e:
            answers.put(repr(e))


@pytest.mark.sized
def test_many_first_starts_make_one_schema(tmp_path):
    """The processes are there already and start together, so that they meet more closely than new ones would."""
    many, rounds = size(8, 16), size(15, 50)
    paths = [str(tmp_path / f"d{n}" / "queue.db") for n in range(rounds)]
    barrier, answers = SPAWN.Barrier(many), SPAWN.Queue()
    starters = [SPAWN.Process(target=_first_starts, args=(paths, barrier, answers)) for _ in range(many)]
    for s in starters:
        s.start()
    assert [answers.get(timeout=60) for _ in range(many * rounds)] == ["ok"] * many * rounds
    for s in starters:
        s.join()
    for path in paths:
        with Queue(path)._store.connection.write() as sql:
            assert sql.execute("select count(*) from jobs").fetchone() == (many,)
            assert sql.execute("select count(*) from _sqlite_migrations").fetchone() == (1,)


def _claim_all(path, name, answers):
    store, got = Store(path), []
    try:
        while jobs := claim(store, 1, name):
            got += [j.seq for j in jobs]
        answers.put(got)
    except BaseException as e:
        answers.put(repr(e))


@pytest.mark.parametrize("journal", ["wal", "rollback"])
def test_claims_of_many_processes_are_never_double_and_never_locked_out(place, journal, monkeypatch):
    monkeypatch.setenv("QUEUECTL_JOURNAL", journal)  # the processes inherit it
    jobs = 1500 if journal == "wal" else size(300, 1500)
    q = Queue(place)
    q.enqueue_many(["true"] * jobs)
    assert q._store.connection.has_wal is (journal == "wal")
    names = [f"w{n}" for n in range(6)]
    register(q._store, *names)
    answers = SPAWN.Queue()
    claimers = [SPAWN.Process(target=_claim_all, args=(q.path, n, answers)) for n in names]
    for c in claimers:
        c.start()
    got = [answers.get(timeout=90) for _ in claimers]
    for c in claimers:
        c.join()
    assert all(isinstance(g, list) for g in got), got
    assert sorted(s for g in got for s in g) == list(range(1, jobs + 1))
    q.close()


def _claim_each_round(path, name, barrier, rounds, answers):
    store, got = Store(path), []
    for _ in range(rounds):
        barrier.wait(60)
        got.append(len(claim(store, 1, name)))
        barrier.wait(60)
    answers.put(got)


@pytest.mark.sized
def test_of_many_who_claim_one_job_at_once_exactly_one_gets_it(q):
    many, rounds = size(8, 32), size(20, 500)
    names = [f"w{n}" for n in range(many)]
    register(q._store, *names)
    barrier, answers = SPAWN.Barrier(many + 1), SPAWN.Queue()
    claimers = [
        SPAWN.Process(target=_claim_each_round, args=(q.path, n, barrier, rounds, answers)) for n in names
    ]
    for c in claimers:
        c.start()
    for _ in range(rounds):
        q.enqueue("true")
        barrier.wait(60)
        barrier.wait(60)
    got = [answers.get(timeout=60) for _ in claimers]
    for c in claimers:
        c.join()
    assert [sum(winners) for winners in zip(*got, strict=True)] == [1] * rounds


def test_a_late_result_changes_nothing(q):
    job = q.enqueue("true")
    register(q._store, "w1")
    (taken,) = claim(q._store)
    with q._store.write():
        change = lifecycle.interrupt(0, charged=True, limit=3)
        lost = Lost(taken.seq, taken.id, taken.run, "w1", 0, None)
        assert q._store.line.interrupted(lost, change, now_ms=processes.now_ms())
    (again,) = [*claim_suspect(q._store)]
    with q._store.write():
        late = q._store.line.settle([settled(taken)], now_ms=processes.now_ms())
    assert [(e.seq, e.run) for e in late] == [(taken.seq, taken.run)]
    assert q.show(job.id).job.state is State.PROCESSING
    with q._store.write():
        assert q._store.line.settle([settled(again)], now_ms=processes.now_ms()) == []
        assert not q._store.line.interrupted(
            Lost(again.seq, again.id, again.run, "w1", 1, None), change, now_ms=processes.now_ms()
        )
    assert q.show(job.id).job.state is State.COMPLETED


def claim_suspect(store):
    with store.write():
        return store.line.claim_suspect("w1", queues=None, now_ms=processes.now_ms())


def test_one_late_result_among_many_leaves_the_others_recorded(q):
    q.enqueue_many(["true"] * 3)
    register(q._store, "w1")
    jobs = claim(q._store, 3)
    with q._store.write():
        q._store.line.give_back([(jobs[1].seq, jobs[1].run)], now_ms=processes.now_ms())
        late = q._store.line.settle([settled(j) for j in jobs], now_ms=processes.now_ms())
    assert [e.seq for e in late] == [jobs[1].seq]
    assert q.status().counts[State.COMPLETED] == 2


def test_priority_goes_first_and_then_the_order_of_arrival(q):
    ids = [q.enqueue("true", priority=p).id for p in (0, 5, -1, 5)]
    register(q._store, "w1")
    got = [j.id for j in claim(q._store, 10)]
    assert got == [ids[1], ids[3], ids[0], ids[2]]
    with q._store.write():
        q._store.line.give_back([(n, 1) for n in range(1, 5)], now_ms=processes.now_ms())


def test_a_paused_queue_and_a_full_limit_are_not_claimed(q):
    q.enqueue("true", queue="slow")
    q.enqueue_many([{"command": "true", "limit_key": "db", "limit": 2}] * 4)
    q.pause("slow")
    register(q._store, "w1")
    first, second = claim(q._store, 10), claim(q._store, 10)
    assert (len(first), len(second)) == (2, 0)
    q.resume("slow")
    assert [j.queue for j in claim(q._store, 10)] == ["slow"]


FORGED = {
    "text": b"once upon a time, a file of text that is longer than a header of SQLite would be\n" * 20,
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(4000),
    "empty": b"",
    "noise": bytes(range(256)) * 32,
}


@pytest.mark.parametrize("kind", [*FORGED, "foreign", "newer", "truncated", "trigger"])
def test_a_file_that_is_not_ours_is_refused_untouched(place, kind):
    if kind in FORGED:
        place.write_bytes(FORGED[kind])
    else:
        make_forged(place, kind)
    os.chmod(place, 0o600)
    before = untouched(place)
    with pytest.raises(DatabaseRefused):
        Queue(place).enqueue("true")
    assert untouched(place) == before


def untouched(place):
    """What tells whether a file was touched: bytes, time of change, mode, and what lies beside it."""
    found = place.stat()
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    return digest, found.st_mtime_ns, found.st_ctime_ns, found.st_mode, sorted(os.listdir(place.parent))


def make_forged(place, kind):
    if kind != "foreign":
        queue = Queue(place)
        queue.enqueue("true")
        queue.close()
    c = sqlite3.connect(place)
    if kind == "foreign":
        c.execute("create table jobs (id integer primary key, command text)")
    elif kind == "newer":
        c.execute("pragma user_version = 9999")
    elif kind == "trigger":
        c.execute("create trigger t after insert on jobs begin update jobs set command = 'evil'; end")
    c.commit()
    c.close()
    if kind == "truncated":
        place.write_bytes(place.read_bytes()[:5000])


def test_unsafe_places_are_refused(place, tmp_path):
    queue = Queue(place)
    queue.enqueue("true")
    queue.close()
    (tmp_path / "link.db").symlink_to(place)
    with pytest.raises(DatabaseRefused, match="symbolic link"):
        Queue(tmp_path / "link.db").status()
    os.link(place, tmp_path / "second.db")
    with pytest.raises(DatabaseRefused, match="hard links"):
        Queue(place).status()
    os.unlink(tmp_path / "second.db")
    os.chmod(place, 0o606)
    with pytest.raises(DatabaseRefused, match="anyone may write"):
        Queue(place).status()


def test_a_database_that_is_replaced_while_open_acknowledges_nothing(place):
    queue = Queue(place)
    queue.enqueue("true")
    os.rename(place, str(place) + ".away")
    with pytest.raises(DatabaseMoved):
        queue.enqueue("true")


def test_a_taken_id_is_refused_and_the_first_kept(q):
    q.enqueue("echo first", id="mine")
    with pytest.raises(StateConflict):
        q.enqueue_many([{"command": "true"}, {"command": "echo second", "id": "mine"}])
    assert [j.command for j in q.list()] == ["echo first"]


@pytest.mark.parametrize(("state", "freed"), [("completed", {"ok", "any"}), ("dead", {"fail", "any"})])
def test_children_become_ready_in_the_commit_that_ends_their_parent(q, state, freed):
    parent = q.enqueue("true")
    waits = {"ok": "after", "any": "after_any", "fail": "after_fail"}
    children = {needs: q.enqueue("true", **{flag: parent.id}).id for needs, flag in waits.items()}
    register(q._store, "w1")
    (taken,) = claim(q._store)
    with q._store.write():
        q._store.line.settle([settled(taken, state=state)], now_ms=processes.now_ms())
    assert {n for n, i in children.items() if q.show(i).job.state is State.PENDING} == freed


def test_children_of_a_poison_pill_become_ready_too(q):
    parent = q.enqueue("true")
    child = q.enqueue("true", after_fail=parent.id)
    register(q._store, "w1")
    (taken,) = claim(q._store)
    lost = Lost(taken.seq, taken.id, taken.run, "w1", 2, None)
    with q._store.write():
        change = lifecycle.interrupt(2, charged=True, limit=3)
        assert q._store.line.interrupted(lost, change, now_ms=processes.now_ms())
    assert q.show(child.id).job.state is State.PENDING


def test_another_file_in_the_place_of_an_open_one_acknowledges_nothing(place, tmp_path):
    other = Queue(tmp_path / "other" / "queue.db")
    other.enqueue("true")
    other.close()
    queue = Queue(place)
    queue.enqueue("true")
    os.replace(other.path, place)  # the -wal stays where it is: only the file's own identity tells
    with pytest.raises(DatabaseMoved):
        queue.enqueue("true")


def test_a_late_result_of_a_deleted_job_never_meets_the_job_that_came_next(q):
    q.enqueue("true", id="old")
    register(q._store, "w1")
    (taken,) = claim(q._store)
    q.delete("old", force=True)
    q.enqueue("true", id="new")
    (other,) = claim(q._store)
    with q._store.write():
        assert q._store.line.settle([settled(taken)], now_ms=processes.now_ms()) != []
    assert (other.run, q.show("new").job.state) == (taken.run, State.PROCESSING)


def test_a_claim_given_back_whose_key_was_taken_meanwhile_goes_on_without_it(q):
    first = q.enqueue("true", unique_key="k", unique_for="queued")
    register(q._store, "w1")
    (taken,) = claim(q._store)
    second = q.enqueue("true", unique_key="k", unique_for="queued")
    with q._store.write():
        q._store.line.give_back([(taken.seq, taken.run)], now_ms=processes.now_ms())
    assert (q.show(first.id).job.state, q.show(first.id).job.unique_key) == (State.PENDING, None)
    assert q._store.jobs.holder("k") == second.id


def test_no_look_at_the_few_walks_over_all_jobs(q):
    q.enqueue_many(["true"] * 3)
    store, asked = q._store, []
    store.connection.sql.set_trace_callback(asked.append)
    for look in (
        store.queues.limits, store.jobs.progress, lambda: store.line.lost(None), lambda: store.line.lost("r"), store.line.next_due,
        lambda: store.line.to_cancel(["w"], [(1, 1)]), lambda: store.line.suspects(None), lambda: standing.Standing(store.connection).holders("k"),
        *(lambda s=s: store.jobs.newest(Filter(states=(s,)), limit=5) for s in State if s is not State.COMPLETED),
    ):  # fmt: skip
        look()
    store.connection.sql.set_trace_callback(None)
    plans = {query: store.connection.rows("explain query plan " + query) for query in set(asked)}
    walks = [query for query, plan in plans.items() if any(step[3] == "SCAN jobs" for step in plan)]
    assert len(plans) > 12 and walks == []
