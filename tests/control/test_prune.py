"""Retention: nothing goes by default, what is old enough goes in small steps beside the work, and its files with it."""

import io
import os

import pytest
from harness import await_true

from queuectl import processes
from queuectl.chores import Moment, of_a_runner
from queuectl.chores._pace import LEAST, MOST, STEP_MS, Pace
from queuectl.chores.litter import Litter, folder_of
from queuectl.chores.outputs import OutputTotal
from queuectl.chores.retention import DEAD, ENDED, Pass, Retention
from queuectl.cli import main
from queuectl.errors import InvalidValue, NothingMatched, StateConflict
from queuectl.model import State
from queuectl.store.retention import TURN_MS, Place

HOUR, DAY = 3_600_000, 86_400_000
AGES = {"new": HOUR, "old": 8 * DAY}


def finish(q, ids, state, *, age_ms, runs=1):
    """Let jobs have ended so long ago, with a run and an output each."""
    at = processes.now_ms() - age_ms
    with q._store.write() as sql:
        for i in ids:
            (seq,) = sql.execute("select seq from jobs where id = ?", (i,)).fetchone()
            sql.execute(
                "update jobs set state = ?, finished_at_ms = ?, updated_at_ms = ?, runs = ? where seq = ?",
                (state, at, at, runs, seq),
            )
            for run in range(1, runs + 1):
                sql.execute(
                    "insert into runs (job, run, started_at_ms, finished_at_ms, outcome) values (?, ?, ?, ?, 'ok')",
                    (seq, run, at, at),
                )
                sql.execute("insert into outputs values (?, ?, 3, x'616263', null)", (seq, run))


def ended(q, state, age, n=1):
    jobs = q.enqueue_many(["true"] * n)
    finish(q, [j.id for j in jobs], state, age_ms=AGES[age])
    return [j.id for j in jobs]


def moment(later_ms=0):
    return Moment(processes.now_ms() + later_ms, processes.mono_ms() + later_ms)


def settle(chores, *, hours=0):
    """Tend until nothing is due within a second."""
    for _ in range(10_000):
        now = moment(hours * HOUR)
        chores.tend(now)
        left = chores.next_due_s(now)
        if left is None or left > 1:
            return
    raise AssertionError("the chores never came to rest")


def left(q):
    return {j.id for j in q.list(limit=100_000)}


# --- by age ---


def test_nothing_is_removed_by_default(q):
    kept = ended(q, "completed", "old", 20) + ended(q, "dead", "old") + ended(q, "cancelled", "old")
    chores = of_a_runner(q._store, tell=print)
    settle(chores)
    assert chores.next_due_s(moment()) is None
    assert left(q) == set(kept)


def test_what_has_ended_longer_ago_than_the_retention_goes_and_nothing_else(q):
    gone = ended(q, "completed", "old", 30) + ended(q, "cancelled", "old", 3)
    kept = ended(q, "completed", "new", 3) + ended(q, "cancelled", "new") + ended(q, "dead", "old", 3)
    kept += [q.enqueue("true").id, q.enqueue("true", delay="1h").id]
    with q._store.write() as sql:  # waits for a retry since long ago
        sql.execute(
            "update jobs set created_at_ms = 5, updated_at_ms = 5 where state in ('pending', 'scheduled')"
        )
    q.config.set("retention", "7d")
    said = []
    settle(of_a_runner(q._store, tell=said.append))
    assert left(q) == set(kept)
    assert said == [f"Retention: {len(gone)} old jobs removed"]
    one = q._store.connection.rows
    assert one("select count(*) from runs") == one("select count(*) from outputs") == [(7,)]


def test_dead_jobs_go_only_by_a_setting_of_their_own(q):
    ended(q, "dead", "old", 3)
    kept = ended(q, "dead", "new") + ended(q, "completed", "old")
    q.config.set("retention-dead", "7d")
    settle(of_a_runner(q._store, tell=print))
    assert left(q) == set(kept)


def test_a_retention_that_is_shortened_or_ended_is_obeyed_from_then_on(q):
    ended(q, "completed", "new", 3)
    chores = of_a_runner(q._store, tell=print)
    q.config.set("retention", "7d")
    settle(chores)
    assert len(left(q)) == 3
    settle(chores, hours=7 * 24)  # they grow old
    assert left(q) == set()
    q.config.set("retention", "none")
    chores.notice()
    settle(chores, hours=8 * 24)
    assert chores.next_due_s(moment(8 * DAY)) is None


def test_a_job_that_others_wait_for_stays_until_they_need_it_no_more(q):
    parent, other = q.enqueue("true"), q.enqueue("true")
    child = q.enqueue("true", after=f"{parent.id},{other.id}")
    finish(q, [parent.id], "cancelled", age_ms=AGES["old"])
    q.prune(older_than="7d")
    assert left(q) == {parent.id, other.id, child.id}
    assert q.show(child.id).job.state is State.BLOCKED
    q.delete(child.id)
    assert q.prune(older_than="7d").jobs == {State.COMPLETED: 0, State.CANCELLED: 1}
    assert left(q) == {other.id}


@pytest.mark.parametrize(
    ("unique_for", "state", "stays"),
    [("forever", "completed", True), ("forever", "cancelled", True), ("success", "completed", True), ("success", "cancelled", False),
     ("active", "completed", False)],
)  # fmt: skip
def test_a_key_that_completion_does_not_free_is_not_freed_by_retention(q, unique_for, state, stays):
    job = q.enqueue("true", unique_key="k", unique_for=unique_for)
    finish(q, [job.id], state, age_ms=AGES["old"])
    q.prune(older_than="7d")
    assert (left(q) == {job.id}) is stays
    if stays:
        with pytest.raises(StateConflict):
            q.enqueue("true", unique_key="k", unique_for=unique_for)


def test_many_jobs_that_stay_are_passed_over_and_not_looked_at_again_and_again(q):
    parents = [j.id for j in q.enqueue_many(["true"] * 300)]
    child = q.enqueue("true", after=",".join(parents))
    finish(q, parents, "cancelled", age_ms=AGES["old"])
    ended(q, "completed", "old", 5)
    work = Pass(q._store, ENDED, before_ms=processes.now_ms(), who="me", clock=lambda: 0.0)
    steps = 0
    while not work.is_over:
        work.step(now_ms=processes.now_ms())
        steps += 1
    assert (work.removed, left(q)) == (5, {*parents, child.id})
    assert steps < 10


def test_events_of_jobs_that_are_gone_go_at_the_same_age_and_others_stay(q):
    (gone,) = ended(q, "completed", "old")
    (kept,) = ended(q, "completed", "new")
    (dead,) = ended(q, "dead", "old")
    old = processes.now_ms() - 8 * DAY
    with q._store.write():
        for job, at in ((gone, old), (gone, old + 7 * DAY), (kept, old), (dead, old), (None, old)):
            q._store.history.note("cancel", job, actor="cli", now_ms=at)
    q.config.set("retention", "7d")
    settle(of_a_runner(q._store, tell=print))
    assert q._store.connection.rows("select job_id, at_ms from events where verb = 'cancel' order by seq") == [
        (gone, old + 7 * DAY), (kept, old), (dead, old), (None, old)
    ]  # fmt: skip
    q.prune(older_than=0)
    assert q._store.connection.rows("select job_id from events where verb = 'cancel' order by seq") == [
        (dead,),
        (None,),
    ]


# --- in small steps ---


def test_a_step_takes_few_rows_and_the_pace_is_learned_from_what_it_took(q):
    ended(q, "completed", "old", 400)
    work = Pass(q._store, ENDED, before_ms=processes.now_ms(), who="me")
    work.step(now_ms=processes.now_ms())
    assert len(left(q)) == 350
    pace = Pace(100)
    assert (pace.rest_ms(STEP_MS, idle=False), pace.n) == (4 * STEP_MS, 100)
    assert (pace.rest_ms(2 * STEP_MS, idle=True), pace.n) == (2 * STEP_MS, 50)
    for _ in range(20):
        pace.rest_ms(1000, idle=False)
    assert pace.n == LEAST
    for _ in range(30):
        pace.rest_ms(0.5, idle=False)
    assert pace.n == MOST


def test_one_process_removes_at_a_time_until_it_is_silent(q):
    ended(q, "completed", "old", 200)
    now = processes.now_ms()
    first, second = (Pass(q._store, ENDED, before_ms=now, who=w) for w in ("a", "b"))
    first.step(now_ms=now)
    assert second.step(now_ms=now) == TURN_MS
    assert (first.removed, second.removed) == (50, 0)
    second.step(now_ms=now + TURN_MS + 1)
    assert second.removed > 0
    assert first.step(now_ms=now + TURN_MS + 2) == TURN_MS


@pytest.mark.parametrize(
    ("states", "index"), [(ENDED, "jobs_removable"), (DEAD, "jobs_dead"), (ENDED[:1], "jobs_removable")]
)
def test_looking_for_old_jobs_walks_their_index_in_its_order(q, states, index):
    asked = []
    q._store.connection.sql.set_trace_callback(asked.append)
    q._store.retention.places(states, before_ms=10**15, after=Place(5, 5), limit=10)
    q._store.connection.sql.set_trace_callback(None)
    plan = " ".join(r[3] for r in q._store.connection.rows("explain query plan " + asked[-1]))
    assert index in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.process
def test_old_jobs_go_while_two_workers_drain(q, start):
    ended(q, "completed", "old", 3000)
    dead = ended(q, "dead", "old", 5)
    q.config.set("retention", "7d")
    jobs = [j.id for j in q.enqueue_many(["true"] * 300)]
    workers = [start(), start()]
    await_true(lambda: q.status().counts[State.COMPLETED] == 300, what="the old gone and the new done")
    assert left(q) == {*jobs, *dead}
    assert q._store.connection.rows("select count(*) from runs where run = 1 and job > 3005") == [(300,)]
    for w in workers:
        w.terminate()
        assert w.wait(20) == 0


# --- files and outputs ---


def files(q):
    try:
        return sorted(n for n in os.listdir(folder_of(q._store)) if n != "live")
    except FileNotFoundError:
        return []


LARGE = "head -c 100000 /dev/zero | tr '\\0' x"


@pytest.mark.process
def test_large_outputs_go_with_their_jobs_whoever_removes_them(q, start):
    pruned, deleted, kept, dead = (q.enqueue(c, max_retries=1, id=i) for c, i in
                                   ((LARGE, "a.1.out"), (LARGE, "b"), (f"{LARGE}; {LARGE} >&2", "c"), (f"{LARGE}; exit 1", "d")))  # fmt: skip
    assert start("--drain").wait(30) == 0
    assert files(q) == ["a.1.out.1.out", "b.1.out", "c.1.err", "c.1.out", "d.1.out"]
    q.delete(deleted.id)
    q.dlq.purge(dead.id)
    finish_later = "update jobs set finished_at_ms = 1 where id = ?"
    with q._store.write() as sql:
        sql.execute(finish_later, (pruned.id,))
    assert files(q) != []
    report = q.prune(older_than="7d")
    assert (report.jobs[State.COMPLETED], report.files, files(q)) == (1, 3, ["c.1.err", "c.1.out"])
    assert len(b"".join(q.logs(kept.id))) == 100_000


def test_files_of_removed_runs_are_unlinked_beside_the_work_and_an_id_used_again_keeps_its_own(q):
    folder = folder_of(q._store)
    os.makedirs(folder)
    names = [f"j{n}.1.out" for n in range(50)]
    for name in [*names, "used.1.out", "running.1.out", "worker-x.log"]:
        with open(os.path.join(folder, name), "w") as f:
            f.write("x")
    jobs = q.enqueue_many(
        [{"command": "true", "id": f"j{n}"} for n in range(50)]
        + [{"command": "true", "id": "used"}, {"command": "true", "id": "running"}]
    )
    finish(q, [j.id for j in jobs], "completed", age_ms=AGES["old"])
    with q._store.write() as sql:
        sql.execute("update runs set stdout_file = (select id from jobs where seq = job) || '.1.out'")
    q.prune(older_than="7d", dry_run=True)
    with q._store.write() as sql:
        sql.execute("delete from jobs")
    q.enqueue_many([{"command": "true", "id": "used"}, {"command": "true", "id": "running"}])
    with q._store.write() as sql:  # the new run of the one id has its file, that of the other is about to
        sql.execute("insert into workers (id, runner, state, host, boot_id, pid, pid_start, started_at_ms, heartbeat_at_ms, beat_mono_ms)"
                    " values ('w', 'r', 'idle', 'h', 'b', 1, 1, 1, 1, 1)")  # fmt: skip
        sql.execute("update jobs set state = 'processing', worker_id = 'w', runs = 1 where id = 'running'")
    finish(q, ["used"], "completed", age_ms=AGES["new"])
    with q._store.write() as sql:
        sql.execute("update runs set stdout_file = 'used.1.out'")
    litter = Litter(q._store)
    litter.look(moment())
    for _ in range(100):
        if litter.due_in_ms(moment()) is None:
            break
        litter.tend(moment())
    assert files(q) == ["running.1.out", "used.1.out", "worker-x.log"]
    assert q._store.retention.litter_count() == 0


def test_an_output_that_no_run_speaks_of_is_swept_by_prune_and_other_files_are_not(q):
    folder = folder_of(q._store)
    q.enqueue("true", id="here")
    os.makedirs(folder)
    for name in ("here.1.out", "gone.2.err", "worker-abc.log", "notes.txt", "x.out"):
        with open(os.path.join(folder, name), "w") as f:
            f.write("x")
    assert q.prune(older_than="7d").files == 2
    assert files(q) == ["notes.txt", "worker-abc.log", "x.out"]


@pytest.mark.process
def test_above_their_total_the_oldest_outputs_are_dropped_and_their_runs_say_so(q, start):
    small = q.enqueue("echo small")
    large = [q.enqueue(f"head -c 300000 /dev/zero | tr '\\0' {n}") for n in range(6)]
    assert start("--drain").wait(30) == 0
    q.config.set("output-total", "1M")
    worker = start("-s", "0.2")
    await_true(lambda: len(files(q)) == 3, what="the oldest dropped")
    worker.terminate()
    assert worker.wait(20) == 0
    kept = [b"".join(q.logs(j.id))[:1] for j in large[3:]]
    assert kept == [b"3", b"4", b"5"]
    for job in (small, *large[:3]):
        assert q.show(job.id).runs[0].output_dropped_ms is not None
        with pytest.raises(NothingMatched, match="its output was dropped on"):
            list(q.logs(job.id))
    assert q.show(large[5].id).runs[0].output_dropped_ms is None
    assert q.status().counts[State.COMPLETED] == 7


def test_outputs_within_their_total_are_kept_and_new_ones_counted_without_the_old(q):
    ended(q, "completed", "new", 50)
    q.config.set("output-total", "1M")
    chore = OutputTotal(q._store)
    chore.look(moment())
    chore.tend(moment())
    assert chore._bytes == 150
    ended(q, "completed", "new", 10)
    chore.tend(moment())
    assert chore._bytes == 180
    assert q._store.connection.rows("select count(*) from outputs") == [(60,)]


# --- the verb ---


def test_prune_removes_what_is_named_and_dead_jobs_only_by_name(q):
    ended(q, "completed", "old", 3)
    kept = ended(q, "completed", "new", 2)
    dead = ended(q, "dead", "old", 2)
    assert q.prune(older_than="7d", dry_run=True).jobs == {State.COMPLETED: 3, State.CANCELLED: 0}
    assert len(left(q)) == 7
    assert q.prune(older_than="7d", state="completed").jobs == {State.COMPLETED: 3}
    assert left(q) == {*kept, *dead}
    assert q.prune(older_than="7d", state="dead").jobs == {State.DEAD: 2}
    assert q.prune(older_than=0).total == 2
    assert left(q) == set()
    assert [
        e[3]
        for e in reversed(
            q._store.connection.rows(
                "select seq, at_ms, actor, verb, detail from events order by seq desc limit 2"
            )
        )
    ] == ["prune"] * 2


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"older_than": "soon"},
        {"older_than": -1},
        {"older_than": "7d", "state": "pending"},
        {"older_than": "7d", "state": "failed"},
    ],
)
def test_prune_without_an_age_or_with_a_state_that_has_not_ended_removes_nothing(q, given):
    kept = ended(q, "completed", "old", 2) + ended(q, "dead", "old")
    with pytest.raises(InvalidValue):
        q.prune(**given)
    assert left(q) == set(kept)


def test_prune_takes_the_age_from_the_settings(q):
    ended(q, "completed", "old", 2)
    q.config.set("retention", "7d")
    assert q.prune().total == 2
    with pytest.raises(InvalidValue, match="retention-dead"):
        q.prune(state="dead")


def test_compacting_gives_the_space_back_and_waits_for_no_worker(q, start):
    q.enqueue_many([{"command": "true", "params": {"x": "y" * 2000}}] * 2000)
    with q._store.write() as sql:
        sql.execute("update jobs set state = 'completed', finished_at_ms = 1")
    q._store.connection.checkpoint()
    before = os.stat(q.path).st_size
    worker = start("-s", "30")
    await_true(lambda: q.workers(), what="a worker")
    with pytest.raises(StateConflict, match="stop them first"):
        q.prune(older_than="7d", compact=True)
    worker.terminate()
    assert worker.wait(20) == 0
    assert q.prune(older_than="7d", compact=True).total == 2000
    assert os.stat(q.path).st_size < before / 5


def test_prune_says_how_many(q):
    ended(q, "completed", "old", 1200)

    def typed(*words):
        out = io.StringIO()
        return main(["--db", str(q.path), *words], stdout=out, stderr=out), out.getvalue()

    assert typed("prune", "--older-than", "7d", "--dry-run") == (
        0,
        "Would remove 1,200 completed jobs.\n",
    )
    assert typed("prune", "--older-than", "7d") == (0, "Removed 1,200 completed jobs.\n")
    assert typed("prune")[0] == 2
    assert '"completed": 0' in typed("prune", "--older-than", "7d", "--json")[1]


def test_the_chore_rests_until_something_is_old_enough(q):
    ended(q, "completed", "new")
    q.config.set("retention", "2h")
    chore = Retention(q._store)
    now = moment()
    chore.look(now)
    for _ in range(2):  # jobs, then events
        chore.tend(now)
    assert HOUR * 0.9 < chore.due_in_ms(now) <= HOUR
