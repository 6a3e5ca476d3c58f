"""What `explain`, `events` and the verbs on many jobs look like on the command line."""

import io
import json

import pytest

from queuectl.cli import main
from queuectl.queue import Queue


@pytest.fixture
def typed(place):
    def run(*words):
        out, err = io.StringIO(), io.StringIO()
        code = main([*words, "--db", str(place)], stdout=out, stderr=err)
        return code, out.getvalue(), err.getvalue()

    return run


def test_explain_says_the_reason_then_what_helps_then_the_settings(typed):
    typed("enqueue", "--id", "a", "-c", "true", "--timeout", "1h")
    typed("pause")
    code, out, _ = typed("explain", "a")
    lines = out.splitlines()
    assert code == 0
    assert lines[:4] == [
        "a is pending: all queues are paused",
        "  also: no worker is alive",
        "  try:  queuectl resume",
        "  try:  queuectl worker",
    ]
    assert lines[5].split() == ["SETTING", "VALUE", "FROM"]
    assert [x.split() for x in lines if x.startswith(("timeout", "max-retries"))] == [
        ["max-retries", "3", "built-in"],
        ["timeout", "1h", "job"],
    ]
    found = json.loads(typed("explain", "a", "--json")[1])
    assert [r["code"] for r in found["reasons"]] == ["all-paused", "no-worker"]
    assert found["settings"]["timeout"] == {"value": "1h", "from": "job"}
    assert typed("explain", "nobody")[0] == 3


def test_events_are_columns(typed):
    typed("enqueue", "--id", "a", "-c", "true")
    typed("cancel", "a")
    code, out, _ = typed("events")
    title, line = out.splitlines()
    assert (code, title.split()) == (0, ["TIME", "BY", "WHAT", "JOB", "DETAIL"])
    assert line.split()[2:] == ["cli", "cancel", "a"]
    assert typed("events", "--csv")[1].splitlines()[0] == "seq,at_ms,actor,verb,job_id,detail"
    assert typed("events", "--verb", "retry")[1] == "No events.\n"


def test_what_an_edit_would_make_of_a_hostile_command_is_one_safe_line(typed):
    typed("enqueue", "--id", "a", "-c", "echo \x1b[2J --password=hunter2")
    out = typed("edit", "a", "--command", "echo \u202e x", "--dry-run")[1]
    assert out == "a: would be changed\n  - echo \\x1b[2J --password=***\n  + echo \\u202e x\n"
    changes = json.loads(typed("edit", "a", "--priority", "2", "--json")[1])["changes"]
    assert changes == [{"id": "a", "field": "priority", "before": "0", "after": "2"}]


def test_a_waiting_job_that_nothing_can_release_ends_a_wait_with_1(typed, place):
    typed("enqueue", "--id", "a", "-c", "true")
    typed("enqueue", "--id", "b", "-c", "true", "--after", "a")
    typed("cancel", "a")
    code, out, _ = typed("wait", "b", "--timeout", "20")
    assert (code, out) == (1, "1 blocked\nb: blocked\n")
    queue = Queue(place)
    assert queue.show("b").job.reason == "waits for a, which is cancelled"
    queue.close()


def test_every_flag_of_on_dep_fail_and_on_conflict_is_understood(typed):
    typed("enqueue", "--id", "a", "-c", "true", "--unique-key", "k")
    for rule in ("block", "cancel", "run"):
        assert typed("enqueue", "--id", rule, "-c", "true", "--after", "a", "--on-dep-fail", rule)[0] == 0
    assert typed("enqueue", "-c", "true", "--after", "a", "--on-dep-fail", "wait")[0] == 2
    assert typed("enqueue", "-c", "true", "--unique-key", "k")[0] == 5
    assert typed("enqueue", "-c", "true", "--unique-key", "k", "--on-conflict", "skip")[:2] == (
        0,
        "Nothing added: job a (pending) holds the unique key k\n",
    )
    assert typed("enqueue", "-c", "true", "--unique-key", "k", "--on-conflict", "take")[0] == 2
    assert (
        typed("enqueue", "--id", "n", "-c", "true", "--unique-key", "k", "--on-conflict", "replace")[0] == 0
    )
    states = {j["id"]: j["state"] for j in map(json.loads, typed("list", "--json")[1].splitlines())}
    assert states == {"a": "cancelled", "block": "blocked", "cancel": "cancelled", "run": "pending", "n": "pending"}  # fmt: skip
