"""The circuit breaker: what opens and closes it, that several runners agree, and that waiting jobs lose nothing."""

import io

import pytest
from harness import await_true
from hypothesis import given
from hypothesis import strategies as st

from queuectl import breaker, processes
from queuectl.breaker import Breaker, End, Rule
from queuectl.cli import main
from queuectl.model import Outcome, State

OK, BAD = Outcome.OK, Outcome.FAILED
RULE = Rule(3, 5, 60_000)
NEUTRAL = (Outcome.CANCELLED, Outcome.LOST, Outcome.SNOOZED)


def after(outcomes, rule=RULE, b=None, now=1000):
    return breaker.record(b or Breaker(), [End(n, 1, o) for n, o in enumerate(outcomes)], rule, now_ms=now)


def opened(now=1000):
    return after([BAD] * 3, now=now).breaker


# --- the decision ---


@pytest.mark.parametrize("kind", [Outcome.FAILED, Outcome.TIMEOUT, Outcome.KILLED, Outcome.SPAWN])
def test_so_many_failures_among_the_last_runs_open_it(kind):
    found = after([OK, kind, OK, kind, kind])
    assert (found.event, found.breaker.why) == ("opened", "3 of the last 5 runs failed")
    assert (found.breaker.opened_at_ms, found.breaker.probe_at_ms) == (1000, 61_000)


def test_failures_further_back_do_not_count():
    assert after([BAD, BAD, OK, OK, OK, OK, BAD, OK, OK, BAD]).event is None


def test_few_runs_are_enough_when_they_all_fail():
    assert after([BAD, BAD, BAD]).breaker.why == "3 of the last 3 runs failed"


@pytest.mark.parametrize("outcome", NEUTRAL)
def test_what_says_nothing_about_the_jobs_does_not_count(outcome):
    assert after([BAD, BAD, outcome, outcome]).breaker.recent == "xx"


@given(st.lists(st.sampled_from([OK, BAD]), max_size=40), st.integers(1, 6), st.integers(0, 6))
def test_it_opens_exactly_when_a_window_has_enough_failures(outcomes, failures, more):
    rule = Rule(failures, failures + more, 1000)
    windows = [outcomes[max(0, n - rule.runs) : n] for n in range(1, len(outcomes) + 1)]
    assert after(outcomes, rule).breaker.is_open == any(w.count(BAD) >= failures for w in windows)


def test_one_by_one_is_as_all_at_once():
    b = Breaker()
    for n, o in enumerate([BAD, OK, BAD, OK, OK, BAD, BAD]):
        b = breaker.record(b, [End(n, 1, o)], RULE, now_ms=7).breaker
    assert b == after([BAD, OK, BAD, OK, OK, BAD, BAD], now=7).breaker


def test_open_it_heeds_its_probe_alone():
    b = breaker.let_through(opened(), RULE, seq=9, run=2, now_ms=70_000)
    assert after([OK, OK, BAD], b=b).breaker == b
    closed = breaker.record(b, [End(9, 2, OK)], RULE, now_ms=71_000)
    assert closed == (Breaker(), "closed")
    failed = breaker.record(b, [End(9, 2, BAD)], RULE, now_ms=80_000)
    assert (failed.event, failed.breaker.probe_at_ms, failed.breaker.is_open) == (
        "probe failed",
        140_000,
        True,
    )


@pytest.mark.parametrize("outcome", NEUTRAL)
def test_a_probe_that_says_nothing_makes_room_for_the_next(outcome):
    b = breaker.let_through(opened(), RULE, seq=9, run=2, now_ms=70_000)
    found = breaker.record(b, [End(9, 2, outcome)], RULE, now_ms=80_000)
    assert (found.event, found.breaker.probe_seq, found.breaker.is_open) == (None, None, True)


def test_one_probe_at_a_time_and_not_too_soon():
    b = opened()
    assert not breaker.may_probe(b, RULE, now_ms=60_999, probe_runs=False)
    assert breaker.may_probe(b, RULE, now_ms=61_000, probe_runs=False)
    assert not breaker.may_probe(b, RULE, now_ms=61_000, probe_runs=True)
    assert not breaker.may_probe(Breaker(), RULE, now_ms=61_000, probe_runs=False)


def test_a_clock_that_is_set_back_does_not_put_the_probe_off():
    b = opened(now=86_400_000)
    assert breaker.may_probe(b, RULE, now_ms=1000, probe_runs=False)
    assert not breaker.may_probe(b, RULE, now_ms=86_400_000, probe_runs=False)


def test_it_is_remembered_as_it_was():
    b = breaker.let_through(opened(), RULE, seq=9, run=2, now_ms=70_000)
    assert Breaker.load(b.dump()) == b and Breaker.load(None) == Breaker()


# --- the store ---


@pytest.fixture
def broken(q):
    """A queue that its breaker has paused, with five jobs that wait."""
    q.queue.set("net", "breaker", "2/4")
    q.queue.set("net", "breaker-probe", "5s")
    rule = q._store.queues.rules().breaker("net")
    with q._store.write():
        q._store.queues.record("net", [End(-1, 1, BAD), End(-2, 1, BAD)], rule, now_ms=1000)
    q.jobs_waiting = [q.enqueue("true", queue="net") for _ in range(5)]
    return q


def claim(q, want=9):
    with q._store.write():
        return q._store.line.claim("w1", want, queues=None, now_ms=processes.now_ms())


def test_nothing_is_claimed_of_a_queue_that_its_breaker_has_paused(broken):
    other = broken.enqueue("true", queue="other")
    c = broken._store.connection
    c.rows(
        """insert into workers (id, runner, state, host, boot_id, pid, pid_start, started_at_ms, heartbeat_at_ms, beat_mono_ms)
           values ('w1', 'r1', 'idle', 'here', 'b', 1, 1, 0, 0, 0)"""
    )
    assert [j.id for j in claim(broken)] == [other.id]
    (found,) = (s for s in broken.queue.list() if s.name == "net")
    assert (found.why, found.probe_at_ms) == ("paused by its breaker: 2 of the last 2 runs failed", 6000)
    assert [j.attempts for j in broken.list(queue="net")] == [0] * 5


def test_a_pause_by_a_person_outlasts_the_breakers_and_a_resume_ends_both(broken):
    broken.pause("net")
    rule = broken._store.queues.rules().breaker("net")
    with broken._store.write():
        broken._store.queues.let_through("net", rule, seq=7, run=1, now_ms=7000)
        broken._store.queues.record("net", [End(7, 1, OK)], rule, now_ms=8000)
    assert broken._store.settings.paused() == ("net",)
    assert broken.status().breakers == ()
    broken.resume("net")
    assert broken._store.settings.paused() == ()


def test_resumed_by_a_person_it_counts_from_the_beginning(broken):
    broken.resume()
    assert broken._store.settings.paused() == ()
    assert broken._store.queues.breaker("net") == Breaker()


@pytest.mark.parametrize("how", ["unset", "none", "config"])
def test_taken_away_it_resumes_its_queue(q, how):
    q.queue.set("net", "breaker", "1/1") if how != "config" else q.config.set("breaker", "1/1")
    rule = q._store.queues.rules().breaker("net")
    with q._store.write():
        q._store.queues.record("net", [End(1, 1, BAD)], rule, now_ms=1000)
    assert q._store.settings.paused() == ("net",)
    if how == "unset":
        q.queue.unset("net", "breaker")
    elif how == "none":
        q.queue.set("net", "breaker", "none")
    else:
        q.config.set("breaker", "none")
    assert q._store.settings.paused() == ()


def test_status_names_it(broken):
    out = io.StringIO()
    assert main(["status", "--db", broken.path], stdout=out) == 0
    assert (
        "Breaker: queue net paused by its breaker: 2 of the last 2 runs failed; next probe " in out.getvalue()
    )


# --- real workers ---

NET = 'test -e "$UP" && echo up || { echo down >&2; exit 1; }'


def story(q):
    return [
        d
        for (d,) in q._store.connection.rows("select detail from events where verb = 'breaker' order by seq")
    ]


@pytest.mark.process
@pytest.mark.parametrize("runners", [1, 3])
def test_a_queue_whose_jobs_fail_is_paused_and_a_probe_resumes_it(q, start, tmp_path, runners):
    up = tmp_path / "up"
    q.config.set("breaker", "3/5")
    q.config.set("breaker-probe", "1")
    first = [q.enqueue(NET, queue="net", env=[f"UP={up}"], max_retries=1) for _ in range(3)]
    for _ in range(runners):
        start("-c", "2", "-s", "60")
    await_true(lambda: q.status().breakers, what="the breaker")
    later = [q.enqueue(NET, queue="net", env=[f"UP={up}"], max_retries=1) for _ in range(40)]
    other = q.enqueue("true")
    await_true(lambda: q.show(other.id).job.state is State.COMPLETED, what="the other queue's job")
    await_true(lambda: any("probe failed" in d for d in story(q)), what="a probe that fails")
    up.touch()
    assert not q.wait(*later, timeout=30)
    ends = [q.show(j.id).job for j in later]
    probes = [d for d in story(q) if "lets a probe through" in d]
    failed = [j for j in ends if j.state is State.DEAD]
    assert len(failed) == len(probes) - 1 == sum("probe failed" in d for d in story(q)) >= 1
    assert {j.attempts for j in ends if j.state is State.COMPLETED} == {0}
    assert len(failed) + sum(j.state is State.COMPLETED for j in ends) == 40
    assert [q.show(j.id).job.state for j in first] == [State.DEAD] * 3
    assert (story(q)[0].split(";")[0], story(q)[-1]) == (
        "net: opened: 3 of the last 3 runs failed",
        "net: closed: its probe went well",
    )
    assert q.status().breakers == ()


SLOTS = 3


@pytest.mark.process
@pytest.mark.parametrize("runners", [1, 3])
def test_when_it_opens_nothing_starts_that_did_not_run_already(q, start, runners):
    q.queue.set("net", "breaker", "5/10")
    q.enqueue_many(["true"] * 60)  # so short that more of them are claimed ahead
    jobs = q.enqueue_many([{"command": "exit 1", "queue": "net", "max_retries": 1}] * 300)
    for _ in range(runners):
        start("-c", str(SLOTS // runners), "-s", "60")
    await_true(
        lambda: q.status().breakers and not q.status().counts[State.PROCESSING], what="the breaker, and quiet"
    )
    ends = [q.show(j.id).job for j in jobs]
    dead = sum(j.state is State.DEAD for j in ends)
    assert 5 <= dead <= 5 + SLOTS - 1, "what ran when it opened, and nothing else"
    assert {(j.attempts, j.runs) for j in ends if j.state is not State.DEAD} == {(0, 0)}


@pytest.mark.process
def test_the_breaker_outlives_its_workers_and_a_suspect_can_be_the_probe(q, start):
    q.queue.set("net", "breaker", "1/1")
    q.queue.set("net", "breaker-probe", "1")
    q.enqueue("exit 1", queue="net", max_retries=1)
    worker = start("-s", "60", "-l", "1")
    assert worker.wait(20) == 0
    assert [b.name for b in q.status().breakers] == ["net"]
    suspect = q.enqueue("true", queue="net")
    q._store.connection.rows("update jobs set interruptions = 1 where id = ?", (suspect.id,))
    start("-s", "60")
    await_true(lambda: q.show(suspect.id).job.state is State.COMPLETED, 15, "the suspect as a probe")
    await_true(lambda: not q.status().breakers, what="the end of the pause")


@pytest.mark.process
def test_a_probe_whose_worker_dies_makes_room_for_another(q, start, tmp_path):
    q.queue.set("net", "breaker", "1/1")
    q.queue.set("net", "breaker-probe", "1")
    rule = q._store.queues.rules().breaker("net")
    with q._store.write():
        q._store.queues.record("net", [End(-1, 1, BAD)], rule, now_ms=processes.now_ms() - 5000)
    job = q.enqueue(
        f"test -e {tmp_path}/once && exit 0; touch {tmp_path}/once; kill -9 $PPID; exec sleep 9", queue="net"
    )
    start("-s", "60")
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, 20, "the second run")
    assert sum("lets a probe through" in d for d in story(q)) == 2
    assert not q.status().breakers


def test_with_no_breaker_nothing_is_written_about_queues(q, start):
    q.enqueue_many(["exit 1"] * 5 + ["true"] * 5)
    q.config.set("max-retries", "1")
    assert start("-c", "2", "-l", "5").wait(30) == 0
    assert q._store.connection.rows("select count(*) from queues") == [(0,)]
