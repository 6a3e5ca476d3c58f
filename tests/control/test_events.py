"""What happened to a job, when and by whom: for every change, from its first to its last."""

import io
import json

from bench_line import claim, register, settle

from queuectl.chores.schedules import tick
from queuectl.cli import main
from queuectl.enqueue import Enqueuer


def typed(place, *words):
    out = io.StringIO()
    assert main([*words, "--db", str(place)], stdout=out) == 0
    return out.getvalue()


def story(q, **which):
    return [(e.actor, e.verb, e.job_id, e.detail) for e in q.events(**which)]


def test_a_jobs_story_is_told_from_its_first_change_to_its_last(q, place):
    register(q._store, "w1")
    typed(place, "enqueue", "-c", "exit 3", "--id", "a", "--queue", "slow")
    q.edit("a", priority=2)
    (job,) = claim(q._store)
    settle(q._store, job, "dead", attempts=1, reason="exit status 3")
    typed(place, "retry", "a", "--max-retries", "5")
    q.cancel("a")
    assert story(q, job="a") == [
        ("cli", "enqueue", "a", "to queue slow"),
        ("python", "edit", "a", "priority: 0 → 2"),
        ("worker", "run", "a", "run 1 by w1: failed, exit status 3"),
        ("worker", "die", "a", "exit status 3"),
        ("cli", "retry", "a", None),
        ("python", "cancel", "a", None),
    ]
    assert story(q, job="a", verb="run") == story(q, verb="run") == story(q, job="a")[2:3]
    assert "run 1 by w1: failed, exit status 3" in typed(place, "events", "--job", "a")
    # Among everything that was done only the acts are listed: of a busy queue the runs would hide them.
    assert {verb for _, verb, _, _ in story(q)} == {"edit", "die", "retry", "cancel"}


def test_who_enqueued_a_job_is_known_whichever_way_it_came(q, place, tmp_path):
    by_python, typed_one = (
        q.enqueue("true").id,
        json.loads(typed(place, "enqueue", "-c", "true", "--json"))["id"],
    )
    table, file = tmp_path / "p.csv", tmp_path / "commands"
    table.write_text("x\n1\n2\n")
    file.write_text("true\ntrue\n")
    typed(place, "map", "echo {x}", str(table))
    typed(place, "enqueue-many", str(file))
    q.schedule.add("each", "* * * * *", command="true")
    q._store.connection.rows("update schedules set next_ms = next_ms - 60000")
    tick(q._store, now_ms=q.schedule.list()[0].next_ms, enqueuer=Enqueuer(q._store))
    who = {job: by for by, _, job, _ in story(q, verb="enqueue") if job}
    assert (who[by_python], who[typed_one]) == ("python", "cli")
    assert [j.added_by for j in q.list()] == ["python", *["cli"] * 5, "worker"]
    assert [by for by, _, job, _ in story(q, verb="enqueue") if job is None] == ["cli", "cli"]


def test_who_enqueued_a_job_is_no_setting_and_outlives_an_edit(q, place):
    typed(place, "enqueue", "-c", "true", "--id", "a", "--timeout", "5")
    assert q.show("a").job.settings_from == {"timeout": "job"}
    q.edit("a", timeout=7)
    assert (q.show("a").job.settings_from, q.show("a").job.added_by) == ({"timeout": "edit"}, "cli")
    q.cancel("a")
    new = q.retry("a", command="false").notes[0].rpartition(" ")[2]
    assert story(q, job=new) == [("python", "enqueue", new, "to queue default, in the place of a")]
    assert q.explain("a").advice == (f"queuectl explain {new}",)
    assert q.show(new).job.settings_from == {"timeout": "edit"}
