"""What a kill -9 leaves of a transaction: all of it or nothing, at whichever statement it falls."""

import os
import random
import signal

import pytest
from harness import check_invariants, size

from queuectl import _sqlite, schema
from queuectl.queue import Queue

SEED = int(os.environ.get("QUEUECTL_TEST_SEED", "20"))


def in_child(act, *, kill_at=None):
    """Run `act` in a process that kills itself as its `kill_at`-th statement begins; return whether it was killed."""
    pid = os.fork()
    if not pid:
        try:
            die_at(kill_at)
            act()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def die_at(statement):
    """Count the statements of all connections that are opened from now on, and die when the given one begins."""
    begun, init = [0], _sqlite.Connection.__init__

    def count(_):
        begun[0] += 1
        if begun[0] == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def opened(self, *args, **options):
        init(self, *args, **options)
        self.sql.set_trace_callback(count)

    _sqlite.Connection.__init__ = opened
    return begun


def statements_of(act):
    """How many statements something takes."""
    told, answer = os.pipe()
    assert not in_child(lambda: (begun := die_at(None), act(), os.write(answer, str(begun[0]).encode())))
    return int(os.read(told, 100))


def kill_at_each_statement(act, look):
    """Let `act` be killed at its first statement, its second and so on until it survives; `look` after each; return how many kills it took."""
    kills = 0
    while in_child(act, kill_at=kills + 1):
        kills += 1
        look()
    return kills


def test_a_first_start_that_is_killed_at_any_statement_leaves_no_database_or_a_whole_one(tmp_path):
    tried = iter(range(1000))
    path = lambda n: tmp_path / f"d{n}" / "queue.db"  # noqa: E731
    now = [next(tried)]

    def look():
        place, now[0] = path(now[0]), next(tried)
        if place.exists():
            file = _sqlite.sqlite3.connect(f"file:{place}?mode=ro", uri=True)
            assert file.execute("pragma user_version").fetchone() == (schema.VERSION,)
            file.close()
        q = Queue(place)
        q.enqueue("true")
        check_invariants(q._store)
        q.close()
        assert not [f for f in os.listdir(place.parent) if ".new" in f]

    assert kill_at_each_statement(lambda: Queue(path(now[0])).status(), look) >= 30


STEPS = [
    "create table notes (id integer primary key, job integer, text text) strict",
    *(f"create index notes_{n} on notes(job, text, {n})" for n in range(20)),
    "alter table notes add column more text",
    "update jobs set tags = tags",
    "insert into notes (job, text) select seq, command from jobs",
    "drop index notes_7",
    "create view noted as select * from notes",
]


@pytest.fixture
def next_version(monkeypatch):
    """What a next version's migration would be: calling it makes the program that version; returns its shape."""
    original = schema.migrations

    def migrations():
        steps = original()
        steps(name="002_notes")(lambda db: [db.execute(s) for s in STEPS])
        return steps

    def become(shape):
        monkeypatch.setattr(schema, "migrations", migrations)
        monkeypatch.setattr(schema, "VERSION", 2)
        monkeypatch.setattr(schema, "SHAPE", shape)

    return become


def version_and_shape(place):
    connection = _sqlite.Connection(str(place))
    try:
        return schema.version(connection), schema.shape(connection)
    finally:
        connection.close()


def migrate(place):
    """What opening does to an older file."""
    connection = _sqlite.Connection(str(place))
    connection.configure()
    schema.fill(connection)
    connection.close()


def made(tmp_path, name):
    place = tmp_path / name / "queue.db"
    q = Queue(place)
    q.enqueue_many(["true"] * 5)
    q.close()
    return place


def test_a_migration_that_is_killed_at_any_statement_leaves_the_old_tables_or_the_new(
    tmp_path, next_version, monkeypatch
):
    monkeypatch.setattr(schema, "TABLES", schema.TABLES | {"notes"})
    place, other = made(tmp_path, "a"), made(tmp_path, "b")
    old = version_and_shape(place)
    next_version(0)
    migrate(other)
    new = version_and_shape(other)
    next_version(new[1])
    found = []

    def look():
        found.append(version_and_shape(place))
        assert found[-1] in (old, new)

    assert kill_at_each_statement(lambda: Queue(place).status(), look) >= 30
    assert found[0] == old and version_and_shape(place) == new
    q = Queue(place)
    assert len(q.list()) == 5
    check_invariants(q._store)
    q.close()


def test_without_its_transaction_a_migration_that_is_killed_leaves_neither(
    tmp_path, next_version, monkeypatch
):
    """The control: this is what the test above would see."""
    place = made(tmp_path, "a")
    old = version_and_shape(place)
    next_version(0)

    def bare(connection):
        for step in STEPS:
            connection.rows(step)
        connection.rows("pragma user_version = 2")

    monkeypatch.setattr(schema, "fill", bare)
    monkeypatch.setattr(schema, "TABLES", schema.TABLES | {"notes"})
    assert in_child(lambda: migrate(place), kill_at=20)
    version, shape = version_and_shape(place)
    assert version == old[0] and shape != old[1]


@pytest.mark.sized
def test_a_batch_whose_process_is_killed_is_there_whole_or_not_at_all(tmp_path):
    rng, place = random.Random(SEED), tmp_path / "data" / "queue.db"
    q = Queue(place)
    said = tmp_path / "said"
    found, before = [], 0

    def add():
        mine = Queue(place)
        mine.enqueue_many(["true"] * 1000)
        said.touch()
        for _ in range(20):  # more statements to be killed at, after the answer
            mine._store.connection.rows("select 1")

    q.status()
    statements = statements_of(lambda: Queue(tmp_path / "other" / "queue.db").enqueue_many(["true"] * 1000))
    for n in range(size(8, 100)):
        # Near the beginning, anywhere, and around the commit in turn.
        first, last = ((1, 40), (1, statements), (statements - 5, statements + 20))[n % 3]
        killed = in_child(add, kill_at=rng.randint(first, last))
        (count,) = q._store.connection.one("select count(*) from jobs")
        found.append(count - before)
        assert found[-1] in (0, 1000)
        assert found[-1] == 1000 or (killed and not said.exists())
        said.unlink(missing_ok=True)
        before = count
        check_invariants(q._store)
    print(f"seed {SEED}: {found.count(1000)} whole, {found.count(0)} not at all")
    assert set(found) == {0, 1000}, "kills at the wrong moments"
    q.close()
