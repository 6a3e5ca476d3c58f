"""What verbs print for people, whole: sweeps, schedules, removals, explanations, events, changes, limits, held keys."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from queuectl.cli import main

WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def said(q):
    """Run a command line on the queue; return what it printed, times as <when>."""

    def run(*words: str, code: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        assert main([*words, "--db", q.path], stdout=out, stderr=err) == code, err.getvalue()
        return re.sub(WHEN, "<when>", out.getvalue())

    return run


@pytest.fixture
def params(tmp_path: Path) -> str:
    file = tmp_path / "params.csv"
    file.write_text("lr\n" + "".join(f"0.{n}\n" for n in range(1, 8)))
    return str(file)


def test_a_sweep_says_what_it_added_and_a_dry_run_what_it_would(said, q, params):
    tried = said("map", "train {lr}", params, "--dry-run").splitlines()
    assert tried[0] == "train 0.1" and tried[-1].endswith("nothing was enqueued)") and q.list() == []
    assert said("map", "train {lr}", params).startswith("7 jobs added successfully, with IDs from ")


def test_a_schedule_is_told_with_its_next_times(said):
    assert said("schedule", "list") == "No schedules.\n"
    added = said("schedule", "add", "nightly", "0 3 * * *", "-c", "make \x1b[31mbackup", "--timezone", "UTC")
    assert added == "Schedule added: nightly\n" + "  next: <when>\n" * 3
    said("schedule", "add", "hourly", "@hourly", "-c", "true", "--queue", "slow", "--timezone", "UTC")
    said("schedule", "pause", "nightly")
    first, second = said("schedule", "list").split("\n\n")
    assert first.splitlines()[:3] == [
        "hourly   @hourly   UTC",
        "  Command: true",
        "  Queue: slow   Misfire: one   Overlap: skip",
    ]
    assert second.splitlines()[0] == "nightly   0 3 * * *   UTC   PAUSED"
    assert r"  Command: make \x1b[31mbackup" in second
    assert said("schedule", "remove", "nightly") == "nightly: removed\n"


def test_a_removal_says_how_many(said, q):
    q.enqueue_many(["true"] * 3)
    q.cancel(state="pending")
    assert said("prune", "--older-than", "0s", "--dry-run") == "Would remove 3 cancelled jobs.\n"
    assert said("prune", "--older-than", "0s") == "Removed 3 cancelled jobs.\n"
    assert said("prune", "--older-than", "0s") == "Removed no jobs.\n"


def test_an_explanation_says_why_and_what_to_do_and_from_where_each_setting_came(said, q):
    parent = q.enqueue("true", id="first")
    q.enqueue("true", id="second", after=parent.id, timeout="5m")
    q.pause()
    text = said("explain", "second")
    assert text.startswith("second is blocked: ") and "first" in text.splitlines()[0]
    assert re.search(r"^timeout +5m +job$", text, re.MULTILINE)
    assert re.search(r"^max-retries +3 +built-in$", text, re.MULTILINE)
    assert "  try:  queuectl resume\n" in said("explain", "first")


def test_events_are_a_table_and_say_by_whom(said, q):
    assert said("events") == "No events.\n"
    q.enqueue("true", id="mine")
    said("cancel", "mine")
    header, line = said("events").splitlines()
    assert header.split() == ["TIME", "BY", "WHAT", "JOB", "DETAIL"]
    assert line.split()[:4] == ["<when>", "cli", "cancel", "mine"]
    assert said("explain", "mine").splitlines()[-1].split()[:4] == ["<when>", "cli", "cancel", "mine"]


def test_an_edit_shows_the_old_command_above_the_new_one(said, q):
    q.enqueue("echo old", id="mine", priority=1)
    changed = said("edit", "mine", "--command", "echo new", "--priority", "5", "--dry-run").splitlines()
    assert changed[0] == "mine: would be changed"
    assert sorted(changed[1:]) == ["  + echo new", "  - echo old", "  priority: 1 → 5"]
    assert q.show("mine").job.command == "echo old"


def test_limits_and_queues_say_who_holds_what(said, q, start, tmp_path):
    assert said("limit", "list") == "No limits.\n"
    gate = tmp_path / "gate"
    q.enqueue_many(
        [{"command": f"while ! test -e {gate}; do sleep 0.05; done", "limit_key": "db", "limit": 1}] * 2
    )
    first = q.list()[0].id
    start("-c", "2", "-s", "1")
    from harness import await_true

    await_true(lambda: f"1 of 1 running ({first}), 1 waiting" in said("status"), what="the first job")
    assert said("limit", "list").splitlines()[1].split() == ["db", "1", "1", "1", first]
    gate.touch()
    assert q.wait(timeout=30)
    said("queue", "set", "default", "timeout", "5m")
    assert re.search(r"^timeout +5m +queue$", said("queue", "get", "default"), re.MULTILINE)


def test_a_held_key_is_said_not_to_have_been_added(said, q, tmp_path):
    q.enqueue("true", id="holder", unique_key="k")
    same = ("--unique-key", "k", "--on-conflict", "skip")
    assert (
        said("enqueue", "-c", "true", *same) == "Nothing added: job holder (pending) holds the unique key k\n"
    )
    file = tmp_path / "jobs"
    file.write_text('{"command": "true", "unique_key": "k", "on_conflict": "skip"}\ntrue\ntrue\n')
    text = said("enqueue-many", str(file))
    assert re.fullmatch(
        r"2 jobs added successfully, with IDs from \w{8} to \w{8}\n1 not added: its unique key is held by jobs in the queue\n",
        text,
    )
    file.write_text("\n")
    assert said("enqueue-many", str(file)) == "No jobs added: there was no command.\n"
    assert said("enqueue-many", str(file), "--json") == ""


def test_a_wait_counts_and_names_those_that_failed_up_to_twenty(said, q):
    q.enqueue_many(["true"] * 23)
    ids = [j.id for j in q.list()]
    q.cancel(*ids)
    lines = said("wait", *ids, code=1).splitlines()
    assert lines[0] == "23 cancelled" and lines[1] == f"{ids[0]}: cancelled" and lines[-1] == "(3 more)"
    assert len(lines) == 22
    assert said("wait", *ids, "--csv", code=1).splitlines()[:2] == ["id,state", f"{ids[0]},cancelled"]


def test_some_done_and_some_skipped_is_told_id_by_id(said, q):
    for name in ("one", "two"):
        q.enqueue("true", id=name)
    q.cancel("two")
    assert said("cancel", "one", "two", "nobody").splitlines() == [
        "one: cancelled",
        "two: skipped, is cancelled; cancel needs a job that is scheduled or blocked or pending or failed or processing",
        "nobody: skipped, no job has this id",
    ]
