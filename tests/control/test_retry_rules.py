"""Which failures are retried: by exit code, range, kind and what was said; never at the price of a runner that hangs."""

import signal
import time

import pytest

from queuectl import lifecycle, patterns
from queuectl.errors import InvalidValue
from queuectl.lifecycle import Claimed, Ended, settle
from queuectl.model import State
from queuectl.settings import SETTINGS

JOB = Claimed(1, "a", 1, "x", "default", 0, 0, 3, 0, 60_000, 10_000, None, "fixed", 1.0, 1000, 0.0, None, None, 0, "/", None)  # fmt: skip

FAILURES = {
    "exit 1": {"exit_code": 1},
    "exit 70": {"exit_code": 70},
    "timeout": {"signal": 15, "stopped": "timeout"},
    "SIGKILL": {"signal": 9},
    "spawn": {"spawn_error": "No such file or directory: /nowhere"},
    "refused": {"exit_code": 7, "stderr": b"x" * 9000 + b"\nurllib: Connection refused\n"},
}
# rule -> the failures it covers
COVERS = {
    "1": {"exit 1"},
    "64-78": {"exit 70"},
    "2-69": {"refused"},
    "timeout": {"timeout"},
    "signal": {"SIGKILL"},
    "spawn": {"spawn"},
    "re:Connection (refused|reset)$": {"refused"},
    "1,64-78,timeout": {"exit 1", "exit 70", "timeout"},
    "re:a, b": set(),
}


def decide(job, **ended):
    return settle(job, Ended(0, 1000, **ended), mono_ms=0, dice=0.5, snooze_ms=60_000)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("rule", COVERS)
def test_each_rule_covers_its_failures_and_no_others(rule, failure):
    covered = failure in COVERS[rule]
    stored = SETTINGS["retry-on"].read(rule)
    only = decide(JOB._replace(retry_on=stored), **FAILURES[failure])
    never = decide(JOB._replace(no_retry_on=stored), **FAILURES[failure])
    assert only.state is (State.FAILED if covered else State.DEAD)
    assert never.state is (State.DEAD if covered else State.FAILED)
    if not covered:
        assert only.reason.endswith(f"; not retried: retry-on is {rule}")
    elif rule == "1,64-78,timeout":
        assert "; not retried: no-retry-on has " in never.reason
    else:
        assert never.reason.endswith(f"; not retried: no-retry-on has {rule}")


def test_both_rules_must_let_a_failure_be_retried():
    job = JOB._replace(retry_on='["1-9"]', no_retry_on='["3"]')
    assert [decide(job, exit_code=n).state for n in (2, 3, 10)] == [State.FAILED, State.DEAD, State.DEAD]


def test_exit_75_snoozes_whatever_the_rules_say_and_charges_nothing():
    v = decide(JOB._replace(retry_on='["1"]', no_retry_on='["75"]', attempts=2), exit_code=75)
    assert (v.state, v.attempts, v.run_at_ms) == (State.SCHEDULED, 2, 61_000)


@pytest.mark.parametrize(
    "rule", ["300", "9-3", "re:(", "re:" + "a" * 1001, "sometimes", "", "1-", "re:(?P<x>", []]
)
def test_a_rule_that_is_none_is_refused(rule):
    for name in ("retry-on", "no-retry-on"):
        with pytest.raises(InvalidValue, match=name):
            SETTINGS[name].read(rule)


HANGING = r"(a+)+b"
LETTERS = "a" * 60


def test_a_pattern_that_would_take_for_ever_is_stopped_and_not_tried_again(monkeypatch):
    monkeypatch.setattr(patterns, "_too_slow", set())
    job = JOB._replace(retry_on=f'["re:{HANGING}"]')
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    start = time.monotonic()
    said = {decide(job, exit_code=1, stderr=LETTERS.encode()).reason for _ in range(50)}
    assert time.monotonic() - start < 10  # each alone takes years
    assert said == {f"exit status 1; not retried: retry-on is re:{HANGING} (re:{HANGING} took too long and counted as no match)"}  # fmt: skip
    assert patterns._too_slow == {HANGING}
    assert before == (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL))


def test_it_is_the_alarm_that_ends_such_a_search():
    """The control: without one the search goes on for as long as we care to wait, here half a second."""
    with pytest.raises(patterns._Alarm):
        patterns._limited(HANGING, LETTERS, 0.5)


def test_only_the_end_of_what_was_said_is_searched():
    seen = "re:^early"
    job = JOB._replace(retry_on=f'["{seen}"]')
    assert decide(job, exit_code=1, stderr=b"early\n").state is State.FAILED
    assert decide(job, exit_code=1, stderr=b"early\n" + b"x\n" * lifecycle.STDERR_TAIL).state is State.DEAD
