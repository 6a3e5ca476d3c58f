"""Decisions: pure functions, tried at their edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import lifecycle
from queuectl.lifecycle import Claimed, Ended, ImpossibleTransition, delay_ms, interrupt, rank, settle
from queuectl.model import FINAL, Outcome, State

JOB = Claimed(
    1,
    "a",
    1,
    "x",
    "default",
    0,
    0,
    3,
    0,
    None,
    10_000,
    None,
    "exponential",
    2.0,
    3_600_000,
    0.0,
    None,
    None,
    0,
    "/",
    None,
)


def decide(job=JOB, dice=0.5, **ended):
    return settle(job, Ended(0, 1000, **ended), mono_ms=500, dice=dice, snooze_ms=60_000)


def test_success_completes_and_charges_nothing():
    v = decide(exit_code=0)
    assert (v.state, v.outcome, v.attempts) == (State.COMPLETED, Outcome.OK, 0)


def test_a_failure_waits_two_to_the_n_seconds_on_both_clocks():
    v = decide(exit_code=1)
    assert (v.state, v.attempts, v.run_at_ms, v.due_mono_ms, v.reason) == (
        State.FAILED,
        1,
        3000,
        2500,
        "exit status 1",
    )


@pytest.mark.parametrize("budget", [0, 1])
def test_zero_and_one_both_mean_no_retry(budget):
    assert decide(JOB._replace(max_retries=budget), exit_code=1).state is State.DEAD


def test_the_last_attempt_is_dead():
    assert decide(JOB._replace(attempts=2), signal=9).state is State.DEAD
    assert decide(JOB._replace(attempts=2), signal=9).reason == "killed by SIGKILL"


def test_exit_75_snoozes_uncharged():
    v = decide(exit_code=75)
    assert (v.state, v.attempts, v.run_at_ms) == (State.SCHEDULED, 0, 61_000)


def test_what_we_stopped_is_told_by_why_and_not_by_how_it_died():
    assert decide(signal=15, stopped="cancel").state is State.CANCELLED
    assert decide(signal=15, stopped="stop").state is State.PENDING
    assert (
        decide(JOB._replace(timeout_ms=600_000, attempts=2), signal=9, stopped="timeout").reason
        == "timed out after 600 s (attempt 3 of 3)"
    )


@pytest.mark.parametrize(
    ("rules", "ended", "retried"),
    [
        ('["3"]', {"exit_code": 3}, True),
        ('["64-78"]', {"exit_code": 63}, False),
        ('["64-78"]', {"exit_code": 64}, True),
        ('["signal"]', {"signal": 9}, True),
        ('["re:refused$"]', {"exit_code": 1, "stderr": b"x\nConnection refused\n"}, True),
        ('["spawn"]', {"spawn_error": "no such folder"}, True),
    ],
)
def test_rules_say_what_is_retried(rules, ended, retried):
    assert (decide(JOB._replace(retry_on=rules), **ended).state is State.FAILED) is retried
    assert (decide(JOB._replace(no_retry_on=rules), **ended).state is State.DEAD) is retried


def test_delays_follow_their_kind():
    assert [delay_ms(JOB._replace(backoff="linear"), n, dice=0) for n in (1, 2, 3)] == [2000, 4000, 6000]
    assert [delay_ms(JOB._replace(backoff="fixed"), n, dice=0) for n in (1, 2)] == [2000, 2000]
    assert [delay_ms(JOB._replace(backoff="[2, 10, 60]"), n, dice=0) for n in (1, 3, 9)] == [
        2000,
        60_000,
        60_000,
    ]


@given(st.integers(1, 10_000), st.floats(1, 86_400), st.floats(0, 1), st.floats(0, 1))
def test_a_delay_is_never_negative_and_never_above_its_cap(n, base, jitter, dice):
    job = JOB._replace(backoff_base=base, jitter=jitter)
    assert 0 <= delay_ms(job, n, dice=dice) <= job.backoff_max_ms


@given(st.integers(0, 4_102_444_800_000), st.integers(0, 4_102_444_800_000), st.integers(-1_000_000, 999_999))
def test_strict_priority_always_wins_and_fits_64_bits(a, b, priority):
    assert rank(a, priority + 1, None) < rank(b, priority, None)
    assert abs(rank(a, priority, None)) < 2**63


def test_three_interruptions_make_a_poison_pill_and_restarts_of_the_machine_do_not():
    assert interrupt(1, charged=True, limit=3).state is State.PENDING
    assert interrupt(2, charged=True, limit=3).state is State.DEAD
    assert interrupt(2, charged=False, limit=3).state is State.PENDING


def test_final_states_are_left_only_by_a_retry():
    assert {(e.source, e.event) for e in lifecycle.EDGES if e.source in FINAL} == {
        (State.DEAD, "requeue"),
        (State.CANCELLED, "requeue"),
        (State.CANCELLED, "requeue after"),
        (State.DEAD, "supersede"),
    }


def test_an_impossible_transition_is_a_bug_that_says_so():
    with pytest.raises(ImpossibleTransition, match="completed"):
        lifecycle.target(State.COMPLETED, "claim")
