"""Job control with real workers: cancels, time limits, unique keys, rules and dependencies as they come out in the end."""

import subprocess
import sys
import time

import pytest
from harness import await_true, job_processes
from storm import CHILDREN

from queuectl.model import State

pytestmark = pytest.mark.process

KINDS = {
    **{name: command for name, command in CHILDREN.items() if command},
    "holds the output": "(trap '' HUP; sleep 900; echo late) &",
}


def test_seven_kinds_of_children_survive_neither_a_cancel_nor_a_limit_under_which_they_do_not_go(
    q, start, tmp_path
):
    assert len(KINDS) == 7
    stays = "touch {}; trap '' TERM; while :; do sleep 0.1; done"
    jobs = {}
    for kind, children in KINDS.items():
        for end in ("cancel", "timeout"):
            mark = tmp_path / f"{len(jobs)}"
            jobs[kind, end] = q.enqueue(
                f"{children}\n{stays.format(mark)}", max_retries=1, timeout=0.6 if end == "timeout" else None, kill_after=0.3
            )  # fmt: skip
    worker = start("-c", "7", "--drain")
    cancelled = [job for (_, end), job in jobs.items() if end == "cancel"]
    for n, (_, end) in enumerate(jobs):
        if end == "cancel":
            await_true((tmp_path / f"{n}").exists, what="the start of a job that is to be cancelled")
            q.cancel([*jobs.values()][n].id)
    assert worker.wait(60) == 0
    for (kind, end), job in jobs.items():
        found = q.show(job.id)
        want = State.CANCELLED if end == "cancel" else State.DEAD
        assert (found.job.state, len(found.runs)) == (want, 1), (kind, end, found.job.reason)
    assert {q.show(j.id).job.reason for j in cancelled} == {"cancelled while it ran"}
    assert job_processes(q.path) == []


def test_a_cancel_waits_the_jobs_own_time_between_term_and_kill(q, start, tmp_path):
    """With a kill-after of a minute the job may end in its own way; with one of nothing it may not."""
    tidy = "trap 'echo tidied > {}; exit 0' TERM; touch {}; while :; do sleep 0.05; done"
    slow = q.enqueue(tidy.format(tmp_path / "slow", tmp_path / "s"), kill_after="60s")
    fast = q.enqueue(tidy.format(tmp_path / "fast", tmp_path / "f"), kill_after=0)
    start("-c", "2", "--drain")
    await_true(lambda: (tmp_path / "s").exists() and (tmp_path / "f").exists(), what="both jobs")
    q.cancel(slow.id, fast.id)
    await_true(lambda: q.status().counts[State.CANCELLED] == 2, what="the ends")
    assert (tmp_path / "slow").read_text() == "tidied\n"
    assert not (tmp_path / "fast").exists()
    assert (q.show(slow.id).runs[0].exit_code, q.show(fast.id).runs[0].signal) == (0, 9)


def test_a_cancel_reaches_a_job_that_is_on_its_way_to_a_slot(q, start, tmp_path):
    """Short jobs are claimed ahead; one of them is cancelled before its slot has taken it, and never starts."""
    gate, seen = tmp_path / "gate", tmp_path / "seen"
    q.enqueue_many(["true"] * 60 + [f"while ! test -e {gate}; do sleep 0.02; done"] + [f"touch {seen}"] * 5)
    worker = start("-c", "1", "--drain")
    await_true(lambda: "while" in " ".join(j.command for j in q.list(state="processing")) and job_processes(q.path), what="the gate")  # fmt: skip
    left = [j for j in q.list() if "touch" in j.command]
    assert State.PROCESSING in {j.state for j in left}  # claimed ahead, as short jobs are
    q.cancel([j.id for j in left])
    time.sleep(0.3)  # for the runner to have heard of it, if it hears
    gate.touch()
    assert worker.wait(30) == 0
    assert {q.show(j.id).job.state for j in left} == {State.CANCELLED}
    assert len(left) == 5 and not seen.exists()


def test_a_running_job_that_is_deleted_is_killed_and_its_worker_goes_on(q, start):
    job = q.enqueue("setsid sleep 1000 & sleep 1000")
    start()
    await_true(lambda: len(job_processes(q.path)) >= 2, what="the job")
    assert q.delete(job.id, force=True).done == (job.id,)
    await_true(lambda: job_processes(q.path) == [], what="the end of all it had started")
    other = q.enqueue("true")
    await_true(lambda: q.show(other.id).job.state is State.COMPLETED, what="the next job")
    assert [j.id for j in q.list()] == [other.id]


def test_rules_decide_in_a_real_run_and_a_hanging_pattern_holds_nobody_up(q, start):
    hanging = q.enqueue(f"echo {'a' * 60} >&2; exit 1", retry_on="re:(a+)+b")
    coded = q.enqueue("exit 3", no_retry_on="3")
    said = q.enqueue(
        "echo Connection reset by peer >&2; exit 1",
        retry_on="re:reset by peer$",
        max_retries=2,
        backoff_base=1,
    )
    busy = q.enqueue('test "$QUEUECTL_RUN" = "$QUEUECTL_JOB_ID.2" || exit 75', retry_on="1")
    q.config.set("snooze", "100ms")
    assert start("-c", "2", "--drain").wait(30) == 0
    assert q.show(hanging.id).job.reason.endswith("took too long and counted as no match)")
    assert q.show(coded.id).job.reason == "exit status 3; not retried: no-retry-on has 3"
    assert (q.show(said.id).job.attempts, q.show(said.id).job.reason) == (2, "exit status 1")
    start("--drain").wait(30)
    await_true(lambda: q.show(busy.id).job.state is not State.PROCESSING, what="the snoozed job")
    found = q.show(busy.id)
    assert found.runs[0].outcome == "snoozed" and found.job.attempts == 0


def test_a_family_ends_as_it_should_under_real_workers(q, start):
    """Deaths, poison, retries and rules, through two worker processes that settle at the same time."""
    q.enqueue("exit 1", id="dies", max_retries=1)
    q.enqueue("true", id="completes")
    q.enqueue("kill -9 $PPID; sleep 5", id="poison")
    q.enqueue("true", id="needs-ok", after="dies")
    q.enqueue("true", id="drops", after="dies", on_dep_fail="cancel")
    q.enqueue("true", id="runs", after="dies", on_dep_fail="run")
    q.enqueue("true", id="cleans-up", after_fail=["dies", "poison"])
    q.enqueue("true", id="anyway", after_any=["dies", "completes", "poison", "drops"])
    q.enqueue("true", id="reduce", after=["completes", "runs", "anyway"])
    q.enqueue("true", id="never", after_fail="completes")
    q.chain(["true", ["true", "true"], {"command": "true", "id": "last"}])
    workers = [start("-c", "2", "-s", "0.5"), start("-c", "2", "-s", "0.5")]
    q.wait("poison", "cleans-up", "anyway", "reduce", "last", timeout=60)
    states = {i: str(s) for i, s in q.wait(["needs-ok", "never", "drops"], timeout=30).states.items()}
    assert states == {"needs-ok": "blocked", "never": "blocked", "drops": "cancelled"}
    done = ("completes", "runs", "cleans-up", "anyway", "reduce", "last")
    assert {q.show(i).job.state for i in done} == {State.COMPLETED}
    assert "poison pill" in q.show("poison").job.reason
    assert q.show("never").job.reason == "waits for completes to fail, which has completed"
    assert q.show("needs-ok").job.reason == "waits for dies, which is dead"
    q.retry("dies", command="true")
    assert q.wait("needs-ok", timeout=30)
    for worker in workers:
        worker.terminate()
        worker.wait(20)


def test_what_a_job_waits_for_has_always_ended_before_it_starts(q, start, tmp_path):
    """Each job writes when it starts and ends; a chain of groups read back shows no step before its turn."""
    log = tmp_path / "log"
    step = f'echo "start {{}}" >> {log}; sleep 0.02; echo "end {{}}" >> {log}'
    steps = [[step.format(f"{s}.{n}", f"{s}.{n}") for n in range(4)] for s in range(6)]
    jobs = q.chain(steps)
    assert start("-c", "3", "--drain").wait(60) == 0
    assert q.wait([j.id for j in jobs], timeout=5)
    open_steps, seen = {}, []
    for word, name in (line.split() for line in log.read_text().splitlines()):
        number = int(name.split(".")[0])
        open_steps[number] = open_steps.get(number, 0) + (1 if word == "start" else -1)
        assert all(n == 0 for s, n in open_steps.items() if s != number), (
            f"{word} {name} overlaps another step"
        )
        seen.append(number)
    assert seen == sorted(seen) and len(seen) == 48


ONE_KEY = """
import sys
from queuectl.queue import Queue
q = Queue(sys.argv[1])
q.status()
print("ready", flush=True)
for line in sys.stdin:
    how, conflict = line.split()
    job = q.enqueue("true", unique_key="one", unique_for=how, on_conflict=conflict)
    print(job.id, type(job).__name__, flush=True)
"""


@pytest.fixture
def twenty(q):
    """Twenty processes that each enqueue the one key when told how."""
    made = [
        subprocess.Popen([sys.executable, "-c", ONE_KEY, q.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(20)
    ]  # fmt: skip
    assert [p.stdout.readline() for p in made] == ["ready\n"] * 20

    def tell(line):
        for p in made:
            p.stdin.write(line + "\n")
            p.stdin.flush()
        return [tuple(p.stdout.readline().split()) for p in made]

    yield tell
    for p in made:
        p.communicate(timeout=30)
        assert p.returncode == 0


def test_twenty_processes_that_enqueue_one_key_make_one_job(q, twenty):
    for how in ("queued", "active", "success", "forever"):
        answers = twenty(f"{how} skip")
        holder = q._store.jobs.holder("one")
        assert [j.id for j in q.list()] == [holder], how
        assert {i for i, _ in answers} == {holder}
        assert sorted(kind for _, kind in answers) == ["HeldJob"] * 19 + ["Job"]
        answers = twenty(f"{how} replace")
        last, jobs = q._store.jobs.holder("one"), q.list()
        assert [j.id for j in jobs if j.state is State.PENDING] == [last], how
        # Each one but the last was replaced by exactly one other, in a line without forks.
        followers = [j.reason.removeprefix("replaced by ") for j in jobs if j.state is State.CANCELLED]
        assert len(jobs) == 21 and sorted(followers) == sorted({i for i, _ in answers})
        q.delete([j.id for j in jobs])
