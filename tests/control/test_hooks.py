"""Hooks: what is run, with what in its environment, and that whatever it does is its own affair."""

import os
import signal

import pytest
from harness import await_true, job_processes, runner_pid

from queuectl import hooks, processes
from queuectl.errors import InvalidValue
from queuectl.hooks import BACKLOG, LOG, Firing, Hooks
from queuectl.model import State

MARKS = {"QUEUECTL_RUN": "j.1", "QUEUECTL_WORKER_ID": "w1", "QUEUECTL_HOOK": "on-failure"}
SAY = 'echo "$QUEUECTL_HOOK $QUEUECTL_JOB_ID" >> "$SAID"'


def log(folder):
    path = folder / "hooks.log"
    return path.read_text() if path.exists() else ""


# --- by themselves ---


@pytest.fixture
def run(tmp_path):
    """Run some hooks to their end with a limit; return the log."""

    def _run(*commands, limit_s=5.0, patience_s=20.0):
        made = Hooks(str(tmp_path / "logs"), name="r1", cwd=str(tmp_path), limit_s=limit_s)
        for command in commands:
            made.fire(
                Firing(
                    "on-failure",
                    command,
                    "job j run 1",
                    MARKS | {"QUEUECTL_DB": str(tmp_path)},
                )
            )
        made.end_within(patience_s)
        await_true(made.have_ended, 30, "the end of the hooks")
        return log(tmp_path / "logs")

    return _run


def test_the_log_says_which_about_what_and_how_it_ended(run):
    text = run("echo out; echo err >&2; exit 3")
    first, *rest = text.splitlines()
    assert first[20:].startswith("on-failure job j run 1: exit status 3 after ")
    assert rest == ["  | out", "  | err"]


def test_secrets_and_control_characters_do_not_reach_the_log(run):
    text = run("printf 'token=s3cr3t-value \\033[2J'; echo; echo --password=hunter22")
    assert "s3cr3t" not in text and "hunter22" not in text and "\x1b" not in text


def test_megabytes_leave_two_ends(run, tmp_path):
    text = run("seq 2000000")
    assert "  | 1\n" in text and text.endswith("  | 2000000\n") and "bytes left out" in text
    assert len(text) < 10_000
    assert not list((tmp_path / "logs").glob("*.hook"))


def test_one_that_hangs_is_ended_with_all_it_started(run, tmp_path):
    text = run(
        "trap '' TERM; setsid sleep 1000 & (setsid sleep 1000 &) & nohup sleep 1000 & while :; do sleep 1; done",
        limit_s=1.0,
    )
    assert "ended at its limit after 1." in text
    assert job_processes(tmp_path) == []


def test_what_it_leaves_running_ends_with_it(run, tmp_path):
    assert "exit status 0" in run("sleep 1000 & sleep 1000 & echo started")
    assert job_processes(tmp_path) == []


@pytest.mark.parametrize("command", ["kill -9 $$", "if then", "no-such-command-here"])
def test_one_that_fails_is_noted_and_the_next_runs(run, command):
    text = run(command, "echo next")
    assert text.count("on-failure") == 2 and text.endswith("  | next\n")


def test_one_that_cannot_be_started_is_noted_and_the_next_runs(run):
    text = run("x" * 3_000_000, "echo next")
    assert "could not be started" in text and text.endswith("  | next\n")


def test_too_many_are_dropped_with_a_note(run):
    text = run("sleep 0.2", *["true"] * (BACKLOG + 40))
    assert f"hooks were dropped: {BACKLOG} were waiting already" in text
    assert BACKLOG <= text.count("exit status 0") <= BACKLOG + 2


def test_those_that_wait_longer_than_the_worker_are_dropped_with_a_note(run):
    text = run("sleep 100", "true", "true", patience_s=0.3)
    assert "ended with its worker" in text and "2 hooks were dropped: the worker has ended" in text


def test_a_full_log_makes_room_and_keeps_one_before(tmp_path):
    path = tmp_path / "hooks.log"
    for n in range(5):
        hooks._append(str(path), str(n).encode() * (LOG // 2 + 1))
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["hooks.log", "hooks.log.1"]
    assert (path.read_bytes()[:1], (tmp_path / "hooks.log.1").read_bytes()[:1]) == (b"4", b"3")


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "logs" / "hooks.log").mkdir(parents=True)
    made = Hooks(str(tmp_path / "logs"), name="r1", cwd=str(tmp_path))
    for n in range(2):
        made.fire(Firing("on-dead", f"touch ran{n}", "job j run 1", MARKS))
    made.end_within(10)
    await_true(made.have_ended, what="the end of the hooks")
    assert (tmp_path / "ran0").exists() and (tmp_path / "ran1").exists()


# --- settings ---


@pytest.mark.parametrize("name", ["on-success", "on-failure", "on-dead", "on-queue-empty"])
def test_a_hook_is_a_command_or_none(q, name):
    q.config.set(name, "echo 'x'  # y")
    assert q.config.get(name) == {name: "echo 'x'  # y"}
    q.config.set(name, "none")
    assert q.config.get(name) == {name: None}
    for bad in ("", "   ", "a\0b", 5):
        with pytest.raises(InvalidValue, match=f"{name}: expected"):
            q.config.set(name, bad)


# --- real workers ---


@pytest.mark.process
def test_each_end_calls_its_hooks_with_the_job_in_the_environment(q, start, tmp_path, place):
    said = tmp_path / "said"
    env = {"SAID": str(said)}
    for name in ("on-success", "on-failure", "on-dead"):
        q.config.set(name, SAY)
    q.queue.set("quiet", "on-success", "none")
    q.queue.set("other", "on-failure", 'env | grep ^QUEUECTL_ | sort > "$SAID.env"')
    q.config.set("backoff-base", "1")
    good, bad = q.enqueue("true"), q.enqueue("exit 4", max_retries=2)
    q.enqueue("true", queue="quiet")
    other = q.enqueue("echo broken >&2; exit 7", queue="other", max_retries=1)
    assert start("-c", "2", "--drain", env=env).wait(30) == 0
    assert sorted(said.read_text().splitlines()) == sorted(
        [
            f"on-success {good.id}",
            f"on-failure {bad.id}",
            f"on-failure {bad.id}",
            f"on-dead {bad.id}",
            f"on-dead {other.id}",
        ]
    )
    seen = dict(x.split("=", 1) for x in (tmp_path / "said.env").read_text().splitlines())
    worker = seen.pop("QUEUECTL_WORKER_ID")
    assert len(worker) == 8 and seen.pop("QUEUECTL_ERROR_SIG")
    assert seen == {
        "QUEUECTL_HOOK": "on-failure", "QUEUECTL_JOB_ID": other.id, "QUEUECTL_RUN": f"{other.id}.1", "QUEUECTL_STATE": "dead",
        "QUEUECTL_OUTCOME": "failed", "QUEUECTL_EXIT_CODE": "7", "QUEUECTL_SIGNAL": "", "QUEUECTL_REASON": "exit status 7",
        "QUEUECTL_ERROR": "broken", "QUEUECTL_ATTEMPTS": "1", "QUEUECTL_MAX_RETRIES": "1", "QUEUECTL_QUEUE": "other",
        "QUEUECTL_COMMAND": "echo broken >&2; exit 7", "QUEUECTL_DB": str(place),
    }  # fmt: skip


@pytest.mark.process
def test_an_empty_queue_is_told_once_however_many_workers_empty_it(q, start, tmp_path):
    q.config.set("on-queue-empty", 'echo "$QUEUECTL_QUEUE" >> "$SAID"')
    said = tmp_path / "said"
    q.enqueue_many([{"command": "true", "queue": "ab"[n % 2]} for n in range(60)])
    workers = [start("-c", "2", "--drain", env={"SAID": str(said)}) for _ in range(3)]
    assert [w.wait(30) for w in workers] == [0, 0, 0]
    assert sorted(said.read_text().split()) == ["a", "b"]
    q.enqueue("true", queue="a")
    assert start("--drain", env={"SAID": str(said)}).wait(30) == 0
    assert sorted(said.read_text().split()) == ["a", "a", "b"]


@pytest.mark.process
def test_a_job_that_kills_its_workers_calls_on_dead(q, start, tmp_path):
    q.config.set("on-dead", 'echo "$QUEUECTL_JOB_ID $QUEUECTL_REASON" >> "$SAID"')
    q.config.set("max-interruptions", "1")
    job = q.enqueue("kill -9 $PPID; exec sleep 9")
    start("-s", "60", env={"SAID": str(tmp_path / "said")})
    await_true(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text(), what="the hook")
    assert (tmp_path / "said").read_text() == f"{job.id} {q.show(job.id).job.reason}\n"


@pytest.mark.process
def test_what_dies_with_a_runner_that_was_stopping_calls_its_hooks_too(q, start, tmp_path):
    """Nobody follows such a runner; its supervisor recovers what it held, and that may be the end of the queue's last job."""
    for name in ("on-dead", "on-queue-empty"):
        q.config.set(name, 'echo "$QUEUECTL_HOOK $QUEUECTL_JOB_ID" >> "$SAID"')
    q.config.set("max-interruptions", "1")
    job = q.enqueue("exec sleep 1000")
    worker = start("-s", "60", env={"SAID": str(tmp_path / "said")})
    await_true(lambda: job_processes(q.path), what="the job")
    runner = runner_pid(q)
    worker.send_signal(signal.SIGTERM)
    os.kill(runner, signal.SIGKILL)
    assert worker.wait(20) == 0
    assert q.show(job.id).job.state is State.DEAD
    assert (tmp_path / "said").read_text() == f"on-dead {job.id}\non-queue-empty {job.id}\n"


@pytest.mark.process
def test_a_hook_that_hangs_holds_up_no_job(q, start, tmp_path):
    q.config.set("on-success", f"touch {tmp_path}/began; setsid sleep 1000 & exec sleep 1000")
    first = q.enqueue("true")
    worker = start("-s", "60")
    await_true(lambda: (tmp_path / "began").exists() and len(job_processes(q.path)) >= 2, what="the hook")
    later = q.enqueue_many(["true"] * 30)
    assert q.wait(*[j.id for j in later], timeout=20)
    assert all(q.show(j.id).job.runs == 1 for j in (first, *later))
    # Jobs that leave something behind are cleared up beside it.
    messy = q.enqueue("sleep 1000 & setsid sleep 1000 &")
    assert q.wait(messy.id, timeout=20)
    assert len(job_processes(q.path)) == 2
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert job_processes(q.path) == []


@pytest.mark.process
@pytest.mark.parametrize("who", ["runner", "everybody"])
def test_a_hook_dies_with_its_worker_and_is_not_run_again(q, start, tmp_path, who):
    q.config.set("on-success", f"echo began >> {tmp_path}/began; setsid sleep 1000 & exec sleep 1000")
    job = q.enqueue("true")
    worker = start("-s", "60")
    await_true(lambda: (tmp_path / "began").exists() and len(job_processes(q.path)) >= 2, what="the hook")
    old, runner = set(job_processes(q.path)), runner_pid(q)
    if who == "everybody":
        os.kill(worker.pid, signal.SIGSTOP)  # so that it cannot start another before it dies
    keeper = processes.read(runner).ppid
    os.kill(runner, signal.SIGKILL)
    if who == "everybody":
        for pid in (keeper, worker.pid):
            os.kill(pid, signal.SIGKILL)
        worker.wait(10)
        start("-s", "60")
    await_true(lambda: not old & set(job_processes(q.path)), 10, "the end of the hook")
    after = q.enqueue("exit 3", max_retries=1)
    assert not q.wait(after.id, timeout=20)
    assert (tmp_path / "began").read_text() == "began\n"
    assert (q.show(job.id).job.state, q.show(job.id).job.runs) == (State.COMPLETED, 1)


@pytest.mark.process
def test_what_a_job_was_allowed_to_leave_running_outlives_the_hook_about_it(q, start, tmp_path):
    q.config.set("on-success", f"sleep 1000 & touch {tmp_path}/ran")
    job = q.enqueue("exec sleep 1000 & exit 0", keep_children=True)
    start("-s", "60")
    assert q.wait(job.id, timeout=10)
    await_true(lambda: (tmp_path / "ran").exists(), what="the hook")
    await_true(lambda: log(tmp_path / "data" / "logs"), what="the end of the hook")
    assert len(job_processes(q.path)) == 1
