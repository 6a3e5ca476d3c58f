"""Checkpoints: ours alone, and only while a sibling holds the write lock, so that SQLite's race of a checkpoint with a reset of the log is out of reach."""

import multiprocessing
import time

import pytest
from harness import check_invariants, size

from queuectl import _sqlite
from queuectl.queue import Queue

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def opened(monkeypatch):
    """Every connection that is opened during a test, with the statements it ran."""
    found, init = [], _sqlite.Connection.__init__

    def watched(self, *args, **options):
        init(self, *args, **options)
        said = []
        self.sql.set_trace_callback(
            lambda statement: (said.append(statement), order.append((self, statement)))
        )
        found.append((self, said))

    order = []
    monkeypatch.setattr(_sqlite.Connection, "__init__", watched)
    monkeypatch.setattr(_sqlite, "CHECKPOINT_BYTES", 20_000)
    return found, order


def test_every_connection_leaves_checkpoints_alone_before_it_does_anything_else(place, opened):
    q = Queue(place)
    for _ in range(30):
        q.enqueue_many(["true"] * 20)
    q.status()
    other = Queue(place)
    other.list()
    found, _ = opened
    assert len(found) > 5  # of two queues, and of the siblings that stood guard
    for connection, said in found:
        if ".new" in connection.path:  # a draft that nobody else can have open
            continue
        switched = next(n for n, s in enumerate(said) if s == "pragma wal_autocheckpoint=0")
        before = [s for s in said[:switched] if not s.lower().startswith("pragma ")]
        assert before == []
    other.close()
    q.close()


def test_a_checkpoint_runs_only_while_a_sibling_holds_the_write_lock(place, opened):
    q = Queue(place)
    for _ in range(30):
        q.enqueue_many(["true"] * 20)
    _, order = opened
    holder, checkpoints = None, 0
    for connection, statement in order:
        if statement == "begin immediate":
            holder = connection
        elif statement in ("commit", "rollback"):
            holder = None
        elif "wal_checkpoint(" in statement:
            checkpoints += 1
            assert holder is not None and holder is not connection
    assert checkpoints > 3
    q.close()


def _write(path, seconds, answers):
    _sqlite.CHECKPOINT_BYTES = 100_000
    q, told, end = Queue(path), [], time.monotonic() + seconds
    while time.monotonic() < end:
        told += [j.id for j in q.enqueue_many(["true"] * 5)]
        q.cancel(told[-1])
    answers.put(told)


@pytest.mark.sized
def test_writers_that_checkpoint_all_the_time_lose_nothing(place):
    first = Queue(place)
    first.status()
    answers = SPAWN.Queue()
    writers = [SPAWN.Process(target=_write, args=(str(place), size(1, 60), answers)) for _ in range(3)]
    for w in writers:
        w.start()
    told = [i for _ in writers for i in answers.get(timeout=120)]
    for w in writers:
        w.join()
    kept = {i for (i,) in first._store.connection.rows("select id from jobs")}
    print(f"{len(told)} jobs told of")
    assert set(told) == kept and len(told) == len(kept)
    check_invariants(first._store)
    first.close()
