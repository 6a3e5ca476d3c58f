"""Verbs on many jobs: what a dry run says is what would be done, several are confirmed, parents are kept for their children."""

import io
import os
import pty
import subprocess
import sys

import pytest

from queuectl.errors import NothingMatched, StateConflict
from queuectl.model import State
from queuectl.queue import Queue, command_line


def test_a_parent_is_deleted_only_with_the_jobs_that_wait_for_it(q):
    q.enqueue_many(
        [
            {"command": "true", "id": i, "after": p}
            for i, p in (("a", None), ("b", "a"), ("c", "b"), ("d", "a"))
        ]
    )
    with pytest.raises(StateConflict, match="2 waiting for it: b, d"):
        q.delete("a")
    assert q._store.connection.rows("delete from jobs returning id") == [
        ("c",),
        ("d",),
    ]  # nor by another program


def test_a_cascade_takes_all_that_waits_at_any_distance(q):
    q.enqueue_many(
        [
            {"command": "true", "id": i, "after": p}
            for i, p in (("a", None), ("b", "a"), ("c", "b"), ("d", None))
        ]
    )
    assert q.delete("a", cascade=True, dry_run=True).done == ("a", "b", "c")
    assert len(q.list()) == 4
    assert q.delete("a", cascade=True).done == ("a", "b", "c")
    assert [j.id for j in q.list()] == ["d"]


def test_a_selection_of_parents_and_children_goes_whole(q):
    q.enqueue_many(
        [{"command": "true", "id": i, "after": p} for i, p in (("a", None), ("b", "a"), ("c", "b"))]
    )
    assert q.delete(queue="default").done == ("a", "b", "c")


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(q):
    q.enqueue("true", id="a")
    q.enqueue("true", id="b", after="a", on_dep_fail="cancel")
    before = q._store.connection.rows("select * from jobs"), q._store.connection.rows("select * from events")
    result = q.cancel("a", "nobody", dry_run=True)
    assert (result.done, result.skipped) == (("a",), (("nobody", "no job has this id"),))
    assert before == (
        q._store.connection.rows("select * from jobs"),
        q._store.connection.rows("select * from events"),
    )


def test_stale_ids_are_reported_and_never_forced(q):
    q.enqueue_many(
        [{"command": "true", "id": i, "queue": w} for i, w in (("a", "x"), ("b", "y"), ("c", "x"))]
    )
    q.cancel("a")
    result = q.cancel("a", "b", "c", "d", queue="x")
    assert result.done == ("c",)
    why = dict(result.skipped)
    assert why["a"].startswith("is cancelled; cancel needs a job that is")
    assert (why["b"], why["d"]) == ("does not match the filter", "no job has this id")
    with pytest.raises(NothingMatched):
        q.cancel(queue="x")


def test_each_of_several_jobs_has_the_event_and_a_great_many_share_one(q):
    q.enqueue_many([{"command": "true", "id": f"j{n}"} for n in range(3)])
    q.cancel("j0", "j1")
    assert [(e.actor, e.verb, e.job_id) for e in q._store.history.events(verb="cancel")] == [
        ("python", "cancel", "j0"),
        ("python", "cancel", "j1"),
    ]
    q.enqueue_many(["true"] * 1001)
    q.cancel(state="pending")
    assert q._store.history.events()[-1].detail.startswith("1,002 jobs: j2, ")


def on_a_terminal(place, *words, answer):
    """Run the command on a terminal of its own and answer its question; return what the terminal showed and the exit code."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "queuectl", *words, "--db", str(place)], stdin=there, stdout=there, stderr=there, close_fds=True
    )  # fmt: skip
    os.close(there)
    os.write(here, answer)
    shown = b""
    try:
        while piece := os.read(here, 4096):
            shown += piece
    except OSError:  # the other side has closed
        pass
    os.close(here)
    return shown.decode(), process.wait(20)


def test_on_a_terminal_several_jobs_of_a_filter_are_confirmed(q):
    q.enqueue_many(["true"] * 3)
    shown, code = on_a_terminal(q.path, "cancel", "--state", "pending", answer=b"n\n")
    assert "cancel 3 jobs? [y/N]" in shown and "nothing was done" in shown and code == 0
    assert q.status().counts[State.PENDING] == 3
    shown, code = on_a_terminal(q.path, "cancel", "--state", "pending", "--yes", answer=b"")
    assert "[y/N]" not in shown and code == 0
    q.retry(state="cancelled")
    shown, code = on_a_terminal(q.path, "cancel", "--state", "pending", answer=b"y\n")
    assert shown.count(": cancelled") == 3
    assert q.status().counts[State.CANCELLED] == 3


def test_nobody_is_asked_where_nobody_sits(q, monkeypatch):
    q.enqueue_many(["true"] * 3)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    typed = command_line(lean=False)(q.path)
    assert len(typed.cancel(state="pending").done) == 3
    typed.close()


def test_a_wait_ends_when_no_blocker_can_end_as_needed(place):
    queue = Queue(place)
    queue.enqueue("true", id="a")
    queue.enqueue_many(
        [{"command": "true", "id": i, "after": p} for i, p in (("b", "a"), ("c", "b"), ("d", "c"))]
    )
    queue.cancel("b")
    assert queue.wait("c", "d", timeout=10).failed == ("c", "d")
    queue.close()
