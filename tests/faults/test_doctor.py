"""The doctor finds each fault that is provoked here, names a remedy, and changes nothing."""

import hashlib
import importlib.metadata
import io
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
from harness import await_true, runner_pid

from queuectl import doctor, place, processes, reserve
from queuectl.cli import main
from queuectl.queue import Queue

HOUR = 3_600_000


def found(queue, check, *, now=None):
    diagnosis = doctor.examine(queue.path, now_ms=now or processes.now_ms())
    return [f for f in diagnosis if f.check == check]


def by_hand(path, *statements):
    """Change a database behind queuectl's back."""
    with sqlite3.connect(path) as c:
        for statement in statements:
            c.execute(statement)
    c.close()


def content(folder):
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in Path(folder).iterdir()
        if p.is_file() and not p.name.endswith("-shm")
    }


def run(*words):
    out, err = io.StringIO(), io.StringIO()
    return main([*words], stdout=out, stderr=err), out.getvalue(), err.getvalue()


def test_a_sound_queue_has_no_findings_and_exit_code_0(q):
    q.enqueue("true")
    code, out, _ = run("--db", q.path, "doctor")
    assert code == 0 and out.startswith("No findings in 14 checks of ")


def test_it_is_1_with_a_finding_in_every_form(q):
    q.enqueue("true", queue="slow")
    q.pause("slow")
    code, out, _ = run("--db", q.path, "doctor")
    assert code == 1 and "queue slow is paused, with 1 pending job in it" in out
    assert f"  remedy  queuectl --db {q.path} resume slow\n" in out
    code, out, _ = run("--db", q.path, "doctor", "--json")
    first = json.loads(out.splitlines()[0])
    assert code == 1 and (first["level"], first["check"]) == ("warning", "waiting jobs")
    code, out, _ = run("--db", q.path, "doctor", "--csv")
    assert code == 1 and out.splitlines()[0] == "level,check,what,why,remedy"


@pytest.mark.parametrize("closed", [True, False])
def test_it_changes_nothing(place, closed):
    queue = Queue(place)
    queue.enqueue("true", id="a")
    if closed:
        queue.close()
    before = content(place.parent)
    assert not doctor.examine(str(place), now_ms=processes.now_ms()).is_ill
    assert content(place.parent) == before
    assert queue.show("a").job.command == "true"
    queue.close()


def test_it_leaves_the_log_of_a_killed_program_where_it_is(place):
    if (pid := os.fork()) == 0:
        Queue(place).enqueue("true", id="a")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    before = content(place.parent)
    assert before["queue.db-wal"] != hashlib.sha256(b"").hexdigest()
    assert not doctor.examine(str(place), now_ms=processes.now_ms()).is_ill
    assert content(place.parent) == before


def test_a_missing_database_is_not_made(place):
    diagnosis = doctor.examine(str(place), now_ms=processes.now_ms())
    assert not diagnosis.is_ill and "no database" in diagnosis[-1].what
    assert list(place.parent.iterdir()) == []


# --- the installation and the place ---


def test_a_missing_or_old_package(q, monkeypatch):
    q.status()
    lines = ["no-such-package>=1.2", "tqdm<99999,>=9999", "pytest>=9999; extra == 'dev'", "pandas"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: lines)
    missing, old = found(q, "installation")
    assert "no-such-package is not installed" in missing.what and "'no-such-package>=1.2'" in missing.remedy
    assert old.what.startswith("tqdm is ") and sys.executable in old.remedy


VERSIONS = [((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 50, 6), True), ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), False)]  # fmt: skip


@pytest.mark.parametrize(("version", "bad"), VERSIONS)
def test_a_sqlite_with_the_reset_race(q, monkeypatch, version, bad):
    q.status()
    monkeypatch.setattr(doctor._sqlite.sqlite3, "sqlite_version_info", version)
    assert any("race" in f.what for f in found(q, "engine")) is bad


def test_a_second_engine_in_the_process(q, monkeypatch):
    q.status()

    class Other:
        sqlite_version = "3.99.0"

    monkeypatch.setitem(sys.modules, "pysqlite3", Other)
    assert any(f.level == "error" and "two SQLite engines" in f.what for f in found(q, "engine"))


@pytest.mark.parametrize("kind", ["nfs4", "9p", "virtiofs"])
def test_a_network_file_system(q, monkeypatch, kind):
    q.status()
    monkeypatch.setattr(place, "file_system", lambda _: kind)
    (finding,) = found(q, "file system")
    assert finding.level == "error" and kind in finding.what and "QUEUECTL_JOURNAL=rollback" in finding.remedy


@pytest.mark.parametrize(
    ("path", "mode", "level", "words"),
    [
        ("queue.db", 0o660, "warning", "the group may write"),
        ("queue.db", 0o606, "error", "anyone may write"),
        (".", 0o770, "warning", "the group may write"),
        (".", 0o777, "error", "anyone may write"),
        ("queue.db-wal", 0o666, "error", "anyone may write"),
    ],
)
def test_permissions(place, path, mode, level, words):
    queue = Queue(place)
    queue.enqueue("true")
    os.chmod(place.parent / path, mode)
    finding = found(queue, "permissions")[0]
    assert (finding.level, words in finding.what) == (level, True)
    os.chmod(place.parent / path, 0o700)
    queue.close()


def test_commands_that_others_can_read(q):
    q.enqueue("true")
    os.chmod(q.path, 0o644)
    assert found(q, "permissions") == []  # the folder is closed
    os.chmod(os.path.dirname(q.path), 0o755)
    assert "others may read" in found(q, "permissions")[0].what


@pytest.mark.parametrize(("free", "level"), [(40 << 20, "warning"), (1 << 20, "error")])
def test_a_disk_that_is_nearly_full(q, monkeypatch, free, level):
    q.status()
    monkeypatch.setattr(reserve, "free_bytes", lambda _: free)
    (finding,) = found(q, "disk space")
    assert (finding.level, finding.remedy.startswith("df -h ")) == (level, True)


# --- the database ---


def test_a_log_that_has_grown(q):
    q.enqueue("true")
    reader = sqlite3.connect(q.path)
    reader.execute("begin")
    reader.execute("select count(*) from jobs").fetchall()  # while it reads, the log cannot be moved
    for _ in range(9):
        q.enqueue_many(["x" * 90_000] * 90)
    (finding,) = found(q, "log size")
    assert "MiB" in finding.what and finding.remedy == f"fuser -v {q.path}-wal"
    reader.close()


def test_a_file_that_is_not_ours_or_was_changed(q):
    q.enqueue("true")
    by_hand(q.path, "create trigger evil after insert on jobs begin delete from jobs; end")
    (finding,) = found(q, "database")
    assert finding.level == "error" and "its tables, triggers or views" in finding.what
    by_hand(q.path, "drop trigger evil")
    assert found(q, "database") == []


def test_a_damaged_file(place):
    queue = Queue(place)
    queue.enqueue_many([f"echo {n} {'x' * 500}" for n in range(300)])
    queue.close()
    with open(place, "r+b") as f:
        f.seek(place.stat().st_size - 40_960)
        f.write(b"\xa5" * 8192)
    findings = doctor.examine(str(place), now_ms=processes.now_ms())
    assert any(f.level == "error" and "damaged" in f.what and ".recover" in f.remedy for f in findings)


def test_rows_that_no_constraint_would_let_in(place):
    queue = Queue(place)
    queue.enqueue("true")
    queue.close()
    by_hand(place, "pragma ignore_check_constraints = on", "update jobs set state = 'banana'")
    queue = Queue(place)
    assert any("CHECK constraint failed in jobs" in f.what for f in found(queue, "integrity"))
    queue.close()


def test_counters_that_are_wrong(q):
    q.enqueue("true")
    by_hand(q.path, "update counters set n = 7")
    assert "pending: 7 instead of 1" in found(q, "counters")[0].what
    by_hand(q.path, "update counters set n = 1")


def test_a_clock_that_was_set_back(q):
    q.enqueue("true")
    (finding,) = found(q, "clock", now=processes.now_ms() - 2 * HOUR)
    assert "2 h behind" in finding.what or "1 h behind" in finding.what
    assert found(q, "clock") == []


def test_dead_workers_and_their_jobs(q, start):
    q.enqueue("sleep 60", id="held")
    worker = start("-c", 1)
    runner = runner_pid(q)
    await_true(lambda: q.show("held").job.state == "processing")
    assert found(q, "workers") == []
    worker.kill()
    os.kill(runner, signal.SIGKILL)
    worker.wait(10)
    await_true(lambda: found(q, "workers"), what="the finding")
    (finding,) = found(q, "workers")
    assert "1 worker registered whose process is gone" in finding.what and finding.remedy.endswith(" worker")
    by_hand(q.path, "delete from workers")
    assert "held" in found(q, "lost jobs")[0].what
    by_hand(q.path, "update jobs set state = 'pending', worker_id = null")


def test_another_host_on_the_same_file(q):
    q.enqueue("true")
    now = processes.now_ms()
    by_hand(
        q.path,
        f"""insert into workers (id, runner, state, host, boot_id, pid, pid_start, started_at_ms, heartbeat_at_ms, beat_mono_ms)
            values ('w', 'r', 'idle', 'elsewhere', 'other-boot', 1, 1, {now}, {now}, 1)""",
    )
    assert any(f.level == "error" and "elsewhere" in f.what for f in found(q, "workers"))


def test_jobs_that_are_blocked_for_ever(q):
    q.enqueue("true", id="parent")
    q.enqueue("true", id="child", after="parent")
    assert found(q, "blocked jobs") == []
    q.cancel("parent")
    (finding,) = found(q, "blocked jobs")
    assert "child" in finding.what and "retry parent" in finding.remedy


def test_work_that_nobody_does(q, start):
    q.enqueue("true")
    q.enqueue("true", delay="1s", queue="later")
    assert found(q, "waiting jobs") == []  # not yet
    findings = found(q, "waiting jobs", now=processes.now_ms() + 2 * HOUR)
    assert [f.remedy.split()[-2:] for f in findings] == [["worker", "--detach"]] * 2
    start("-c", 1, "--queues", "other")
    runner_pid(q)
    findings = found(q, "waiting jobs", now=processes.now_ms() + 2 * HOUR)
    assert {f.why for f in findings} == {"the workers that run serve other queues"}
