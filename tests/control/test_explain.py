"""`explain` has an answer for every reason a job can wait or have ended, and each is made true here."""

import subprocess
import sys

import pytest
from bench_line import claim, register, settle
from harness import await_true, job_processes

from queuectl import lifecycle, processes, reserve
from queuectl.answers import Explanation
from queuectl.errors import JobNotFound
from queuectl.store.line import Lost


def codes(q, job):
    return q.explain(job.id).codes


def text(q, job, code):
    return next(r.text for r in q.explain(job.id).reasons if r.code == code)


def test_no_worker_is_alive(q):
    job = q.enqueue("true")
    found = q.explain(job.id)
    assert (found.codes, found.advice) == (("no-worker",), ("queuectl worker",))


def test_a_worker_whose_process_is_gone_is_not_alive(q):
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    register(q._store, "w1", pid=gone.pid)
    job = q.enqueue("true")
    assert codes(q, job) == ("next",)
    gone.communicate(b"\n")
    assert codes(q, job) == ("no-worker",)


def test_the_next_job_is_said_to_be_next_and_another_how_many_are_in_front(q):
    register(q._store, "w1")
    first, second = q.enqueue("true"), q.enqueue("true")
    assert codes(q, first) == ("next",)
    assert text(q, second, "in-line") == "1 job is in front of it"
    assert q.explain(second.id).advice == (f"queuectl bump {second.id}",)
    q.bump(second.id)
    assert (codes(q, first), codes(q, second)) == (("in-line",), ("next",))


def test_no_worker_takes_its_queue(q):
    register(q._store, "w1", queues=["a", "b"])
    job = q.enqueue("true", queue="c")
    assert text(q, job, "no-worker-for-queue") == "no worker takes jobs of queue c; those alive take a,b"
    assert codes(q, q.enqueue("true", queue="b")) == ("next",)


def test_all_workers_of_its_queue_are_busy(q):
    register(q._store, "w1")
    busy = q.enqueue("true")
    claim(q._store)
    with q._store.write():
        q._store.workers.beat(
            [("busy", busy.seq, 0, 0, "w1")], now_ms=processes.now_ms(), mono_ms=processes.mono_ms()
        )
    job = q.enqueue("true")
    assert text(q, job, "busy") == "all 1 workers of its queue are busy; it is next"
    assert q.explain(job.id).reasons[0].jobs == (busy.id,)


def test_the_disk_is_full(q, monkeypatch):
    register(q._store, "w1")
    job = q.enqueue("true")
    monkeypatch.setattr(reserve, "free_bytes", lambda _: 300 << 10)
    assert codes(q, job) == ("disk-full",)
    assert "300 KiB are free" in text(q, job, "disk-full")


def test_its_workers_are_frozen(q):
    register(q._store, "w1")
    job = q.enqueue("true")
    q._store.connection.rows("update workers set heartbeat_at_ms = heartbeat_at_ms - 61000")
    assert codes(q, job) == ("silent",)
    assert "61 s" in text(q, job, "silent")


def test_its_workers_are_stopping(q):
    register(q._store, "w1")
    job = q.enqueue("true")
    q.stop_workers("w1")
    assert codes(q, job) == ("stopping",)


def test_its_queue_is_paused_or_all_are(q):
    register(q._store, "w1")
    job = q.enqueue("true", queue="slow")
    q.pause("slow")
    assert (text(q, job, "paused"), q.explain(job.id).advice) == (
        "queue slow is paused",
        ("queuectl resume slow",),
    )
    q.pause()
    assert codes(q, job) == ("all-paused", "paused")
    q.resume()
    assert codes(q, job) == ("next",)


def test_its_breaker_is_open(q):
    register(q._store, "w1")
    q.queue.set("default", "breaker", "1/1")
    job = q.enqueue("true", max_retries=1)
    store, rules = q._store, q._store.queues.rules()
    from queuectl.breaker import End
    from queuectl.model import Outcome

    with store.write():
        store.queues.record(
            "default", [End(99, 1, Outcome.FAILED)], rules.breaker("default"), now_ms=processes.now_ms()
        )
    assert codes(q, job)[0] == "breaker"
    assert "1 of the last 1 runs failed; it lets one job through at" in text(q, job, "breaker")


def test_its_limit_is_held_by_others(q):
    register(q._store, "w1")
    holder = q.enqueue("true", limit_key="gpu", limit=1)
    claim(q._store)
    job = q.enqueue("true", limit_key="gpu")
    found = q.explain(job.id)
    assert found.reasons[0].text == f"limit gpu lets 1 run at once, held by {holder.id}"
    assert found.reasons[0].jobs == (holder.id,)


def test_it_is_scheduled(q):
    register(q._store, "w1")
    job = q.enqueue("true", delay="2h")
    found = q.explain(job.id)
    assert found.codes == ("scheduled",)
    assert found.reasons[0].text.endswith("in 119 min")
    q.edit(job.id, delay=0)
    assert codes(q, job) == ("next",)


def test_a_snooze_is_told_from_a_schedule(q):
    register(q._store, "w1")
    job = q.enqueue("true")
    (taken,) = claim(q._store)
    settle(q._store, taken, "scheduled", outcome="snoozed", run_at_ms=processes.now_ms() + 60_000)
    assert text(q, job, "scheduled").startswith("asked to be tried later (exit status 75)")


def test_it_waits_out_its_back_off(q):
    register(q._store, "w1")
    job = q.enqueue("true")
    (taken,) = claim(q._store)
    due = 90_000
    settle(
        q._store, taken, "failed", attempts=1, reason="exit status 7", run_at_ms=processes.now_ms() + due, due_mono_ms=processes.mono_ms() + due
    )  # fmt: skip
    said = text(q, job, "back-off")
    assert said.startswith("attempt 1 of 3 failed (exit status 7); it is tried again in ")
    assert codes(q, job) == ("back-off",)


def test_it_waits_for_others_and_some_of_them_are_hopeless(q):
    register(q._store, "w1")
    a, b = q.enqueue("true"), q.enqueue("true")
    c = q.enqueue("true", after=a)
    d = q.enqueue("true", after=[b, c])
    assert text(q, d, "blocked") == f"waits for {b.id} (pending), {c.id} (blocked)"
    q.cancel(a.id)
    assert (
        text(q, c, "hopeless")
        == f"waits for {a.id}, which is cancelled; it cannot run by itself (on-dep-fail is block)"
    )
    assert text(q, d, "hopeless") == f"{c.id} cannot run any more, because {a.id} ended otherwise than needed"
    for job in (c, d):
        assert q.explain(job.id).advice[:1] == (f"queuectl retry {a.id}",)
    assert text(q, a, "keeps") == f"{c.id} cannot run because of it"


def test_it_was_interrupted_and_is_tried_alone(q):
    register(q._store, "w1")
    job = q.enqueue("true")
    (taken,) = claim(q._store)
    with q._store.write():
        change = lifecycle.interrupt(0, charged=True, limit=3)
        q._store.line.interrupted(
            Lost(taken.seq, taken.id, taken.run, "w1", 0, None), change, now_ms=processes.now_ms()
        )
    assert (
        text(q, job, "suspect")
        == "its worker died under it once, so it is tried alone, by a worker that has a slot free"
    )


def begin(q, job):
    """Let the worker say that it runs a claimed job."""
    row = ("busy", job.seq, 0, 0, "w1")
    with q._store.write():
        q._store.workers.beat([row], now_ms=processes.now_ms(), mono_ms=processes.mono_ms())


def test_it_is_claimed_and_has_not_started(q):
    register(q._store, "w1")
    first, job = q.enqueue("true"), q.enqueue("true")
    claim(q._store, 2)
    begin(q, first)
    assert (codes(q, first), codes(q, job)) == (("running",), ("claimed",))
    said = text(q, job, "claimed")
    assert said.startswith("was claimed by worker w1 (pid ") and said.endswith(
        "has not started: it waits for a slot"
    )
    q.cancel(job.id)
    assert codes(q, job) == ("cancelling", "claimed")


@pytest.mark.process
def test_a_job_runs_from_its_first_process_on(q, start):
    job = q.enqueue("exec sleep 1000")
    start("-s", "60")
    await_true(lambda: job_processes(q.path), what="the job")
    assert codes(q, job) == ("running",)


def test_it_runs(q):
    register(q._store, "w1")
    job = q.enqueue("true", timeout="1h")
    claim(q._store)
    begin(q, job)
    said = text(q, job, "running")
    assert said.startswith("runs on worker w1 (pid ") and said.endswith(" of its 60 min are left")
    q.cancel(job.id)
    assert codes(q, job) == ("cancelling", "running")


def test_it_ran_on_a_worker_that_is_gone(q):
    register(q._store, "w1")
    job = q.enqueue("true")
    claim(q._store)
    with q._store.write():
        q._store.workers.forget("r1")
    assert codes(q, job) == ("lost", "running")
    with q._store.write():  # as recovery would, so that the fixture finds a sound database
        lost = Lost(job.seq, job.id, 1, "w1", 0, None)
        q._store.line.interrupted(
            lost, lifecycle.interrupt(0, charged=True, limit=3), now_ms=processes.now_ms()
        )


def test_why_it_died_and_what_it_said_last(q):
    register(q._store, "w1")
    job = q.enqueue("true", max_retries=1)
    (taken,) = claim(q._store)
    settle(
        q._store,
        taken,
        "dead",
        attempts=1,
        reason="exit status 7",
        error="No such file",
        error_sig="abcd1234",
    )
    assert text(q, job, "dead").endswith(": exit status 7, the last of 1 attempts")
    assert text(q, job, "error") == "its last error (cause abcd1234): No such file"
    assert q.explain(job.id).advice == (f"queuectl dlq retry {job.id}",)
    assert [e.verb for e in q.explain(job.id).events] == ["die"]


def test_who_cancelled_it_and_that_it_completed(q):
    register(q._store, "w1")
    job, other = q.enqueue("true"), q.enqueue("true")
    q.cancel(job.id)
    assert text(q, job, "cancelled").endswith(", by python: cancelled while it waited")
    (taken,) = claim(q._store)
    settle(q._store, taken, "completed")
    assert codes(q, other) == ("completed",)


def test_where_each_setting_came_from(q):
    q.config.set("max-retries", "5")
    q.config.set("timeout", "1h")
    q.queue.set("slow", "timeout", "10m")
    q.queue.set("slow", "jitter", "0.5")
    job = q.enqueue("true", queue="slow", jitter=0.1)
    q.edit(job.id, priority=3)
    found = {s.name: (s.value, s.origin) for s in q.explain(job.id).settings}
    assert found["max-retries"] == ("5", "config")
    assert found["timeout"] == ("10m", "queue")
    assert found["jitter"] == ("0.1", "job")
    assert found["priority"] == ("3", "edit")
    assert found["backoff-base"] == ("2", "built-in")
    assert len(found) == 13


def test_an_explanation_is_a_record_with_a_line_and_a_page(q):
    job = q.enqueue("true")
    found = q.explain(job.id)
    assert isinstance(found, Explanation)
    assert repr(found) == f"<{job.id} pending: no worker is alive>"
    assert "<li>no worker is alive</li>" in found._repr_html_()
    with pytest.raises(JobNotFound):
        q.explain("nobody")


def test_what_a_command_said_is_data_on_every_page(q):
    register(q._store, "w1")
    job = q.enqueue("true", max_retries=1)
    (taken,) = claim(q._store)
    settle(q._store, taken, "dead", attempts=1, reason="<img src=x>", error="<script>\x1b[2J TOKEN=hunter2")
    page = q.explain(job.id)._repr_html_()
    assert "<img" not in page and "<script" not in page and "hunter2" not in page
