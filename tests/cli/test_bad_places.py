"""Bad files, environments and texts, numbered as in the list of bad inputs: refused untouched, or done without harm."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_bad_input import content, database, process, run, stored  # noqa: F401  # database is a fixture

from queuectl import place, processes
from queuectl.errors import DatabaseBusy, DatabaseMoved, DatabaseRefused, InvalidValue
from queuectl.queue import Queue

ROOT = os.geteuid() == 0
PROJECT = str(Path(__file__).resolve().parents[2])


def by_hand(path: Path, *statements: str) -> None:
    """Change a database behind queuectl's back."""
    c = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        c.execute(statement)
    c.close()


def checkpointed(path: Path) -> bytes:
    """Return the bytes of a database whose log was moved into it."""
    Queue(path).close()
    by_hand(path, "pragma wal_checkpoint(truncate)")
    return path.read_bytes()


def refused(path: Path, message: str, *words: str, code: int = 2) -> None:
    """See that every kind of verb refuses this database with one line, and leaves its bytes alone."""
    for verb in (
        [list(words)] if words else [["list"], ["enqueue", "-c", "x"], ["config", "set", "max-retries", "4"]]
    ):
        before = hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""
        ended = run(path, *verb)
        assert (ended[0], ended[1], ended[2].count("\n")) == (code, "", 1), ended
        assert message in ended[2], ended
        assert (hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"") == before


# --- 75 to 92: files ---


def test_75_a_folder_for_a_database(tmp_path: Path) -> None:
    refused(tmp_path, "expected a file, found a folder")


def test_76_a_parent_that_is_a_file_or_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "queue.db", "folder")
    refused(Path("/proc/nowhere/queue.db"), "folder")


def test_77_links_are_not_followed(database: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "link.db").symlink_to(database)
    refused(tmp_path / "link.db", "symbolic link")
    (tmp_path / "dangling.db").symlink_to(tmp_path / "nowhere.db")
    refused(tmp_path / "dangling.db", "symbolic link")
    assert not (tmp_path / "nowhere.db").exists()


@pytest.mark.parametrize("kind", ["text", "empty", "jpeg"])
def test_78_files_of_other_kinds(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "queue.db"
    path.write_bytes(
        {"text": b"once upon a time " * 200, "empty": b"", "jpeg": b"\xff\xd8\xff\xe0" + bytes(4000)}[kind]
    )
    path.chmod(0o600)
    refused(path, "empty file" if kind == "empty" else "not a queuectl database")


@pytest.mark.parametrize("damage", ["truncated", "header", "page"])
def test_79_damaged_databases(database: Path, damage: str) -> None:  # noqa: F811
    whole = checkpointed(database)
    broken = {
        "truncated": whole[:5000],
        "header": b"X" * 16 + whole[16:],
        "page": whole[:4096] + b"\xa5" * (len(whole) - 4096),
    }
    database.write_bytes(broken[damage])
    for verb in (["list"], ["enqueue", "-c", "x"]):
        code, out, err = run(database, *verb)
        assert (code, out) == (2, "") and "restore a backup" in err and err.count("\n") == 1
    assert database.read_bytes() == broken[damage]


def test_80_another_programs_database(database: Path) -> None:  # noqa: F811
    by_hand(database, "pragma application_id = 252006674")
    refused(database, "another program's")


def test_81_a_newer_queuectls_database(database: Path) -> None:  # noqa: F811
    by_hand(database, "pragma user_version = 9999")
    refused(database, "made by a newer queuectl")


CHANGED = {
    "a table less": "drop table limits",
    "a column less": "alter table limits drop column n",
    "a column more": "alter table jobs add column extra text",
    "a trigger": "create trigger t after insert on jobs begin update jobs set command = 'evil'; end",
    "a view": "create view v as select * from jobs",
    "a view for a table": "drop table limits; create view limits as select 'x' as key, 1 as n",
}


@pytest.mark.parametrize("change", CHANGED)
def test_82_what_was_added_or_taken_away(database: Path, change: str) -> None:  # noqa: F811
    by_hand(
        database,
        *CHANGED[change].split("; ") if "create trigger" not in CHANGED[change] else [CHANGED[change]],
    )
    refused(database, "not those that queuectl made")


PLANTED = {
    "state banana": "state = 'banana'",
    "attempts of text": "attempts = 'many'",
    "no token": "max_retries = null",
    "negative retries": "max_retries = -1",
    "a time that is none": "created_at_ms = 'soon'",
    "an empty command": "command = ''",
    "a running job without a worker": "state = 'processing'",
}


@pytest.mark.parametrize("what", PLANTED)
def test_83_rows_that_cannot_be_are_refused_by_the_tables(database: Path, what: str) -> None:  # noqa: F811
    with pytest.raises(sqlite3.IntegrityError):
        by_hand(database, f"update jobs set {PLANTED[what]}")


def test_83_a_planted_row_is_listed_as_invalid_and_never_run(database: Path, tmp_path: Path) -> None:  # noqa: F811
    run(database, "enqueue", "--id", "planted", "-c", f"touch {tmp_path}/ran")
    by_hand(
        database,
        "pragma ignore_check_constraints = on",
        "update jobs set state = 'banana' where id = 'planted'",
    )
    run(database, "worker", "--drain")
    assert not (tmp_path / "ran").exists()
    assert "State: completed" in run(database, "show", "job1")[1]
    code, out, err = run(database, "list")
    assert code == 0 and "job1" in out and "banana" in out, err
    assert "CHECK constraint failed in jobs" in run(database, "doctor")[1]


@pytest.mark.parametrize(("path", "mode"), [("queue.db", 0o602), ("queue.db", 0o666), (".", 0o777)])
def test_84_what_everybody_may_write(database: Path, path: str, mode: int) -> None:  # noqa: F811
    (database.parent / path).chmod(mode)
    refused(database, "anyone may write")
    (database.parent / path).chmod(0o700)


def test_84_what_the_group_may_write_is_a_warning_of_the_doctor(database: Path) -> None:  # noqa: F811
    database.chmod(0o660)
    assert run(database, "list")[0] == 0
    assert "the group may write" in run(database, "doctor")[1]


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_85_another_owners_file(database: Path) -> None:  # noqa: F811
    os.chown(database, 12345, -1)
    refused(database, "belongs to user 12345")


@pytest.mark.skipif(not ROOT, reason="only root can make a file that even it cannot write")
def test_86_a_file_system_that_is_read_only(database: Path) -> None:  # noqa: F811
    checkpointed(database)
    folder = database.parent
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        before = hashlib.sha256(database.read_bytes()).digest()
        code, out, err = run(database, "list")
        assert (code, err) == (0, "") and "job1" in out
        for verb in (["enqueue", "-c", "x"], ["config", "set", "max-retries", "4"], ["delete", "job1"]):
            code, out, err = run(database, *verb)
            assert (code, out, err.count("\n")) == (2, "", 1) and "for writing" in err, (verb, code, err)
        assert hashlib.sha256(database.read_bytes()).digest() == before
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_87_a_log_that_is_foreign_or_gone(database: Path) -> None:  # noqa: F811
    checkpointed(database)
    log = Path(f"{database}-wal")
    for foreign in (b"not a log at all" * 100, b"\x37\x7f\x06\x82" + bytes(8000)):
        log.write_bytes(foreign)
        code, out, _ = run(database, "list")
        assert code == 0 and "job1" in out  # its checksums do not fit, so nothing of it is taken


@pytest.mark.parametrize("log", ["-wal", "-journal"])
def test_87_a_log_whose_database_is_gone_is_not_given_to_a_new_one(database: Path, log: str) -> None:  # noqa: F811
    checkpointed(database)
    database.unlink()
    left = Path(f"{database}{log}")
    left.write_bytes(b"pages of the database that was here" * 300)
    before = hashlib.sha256(left.read_bytes()).digest()
    ended = run(database, "enqueue", "-c", "x")
    assert (ended[0], ended[1], ended[2].count("\n")) == (2, "", 1) and "without its database" in ended[2]
    assert not database.exists() and hashlib.sha256(left.read_bytes()).digest() == before
    left.unlink()
    assert run(database, "enqueue", "-c", "x")[0] == 0


NAMES: dict[str, Callable[[Path, str], Any]] = {
    "itself": lambda *_: None,
    "a symbolic link": lambda given, file: given.symlink_to(file),
    "a second name": lambda given, file: os.link(file, given),
}


def held(path: Path) -> int:
    """Return how many locks this process holds on a database's files; opening and closing one of them in Python drops them."""
    files = {str(os.stat(f"{path}{s}").st_ino) for s in ("", "-wal", "-shm")}
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum(
        lock[1] == "POSIX" and lock[4] == str(os.getpid()) and lock[5].rpartition(":")[2] in files
        for lock in locks
    )


def digests(path: Path) -> str:
    """Return the checksums of database and log, read by another process."""
    return subprocess.run(
        ["sha256sum", path, f"{path}-wal"], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("name", NAMES)
def test_63_the_queues_own_files_are_no_files_of_jobs_or_reports(
    database: Path,  # noqa: F811
    tmp_path: Path,
    suffix: str,
    name: str,
) -> None:
    q = Queue(database)
    q.enqueue("true")
    file = f"{database}{suffix}"
    before, locks = digests(database), held(database)
    assert locks
    made = [tmp_path / "rows", tmp_path / "rows.csv", tmp_path / "rows.jsonl", tmp_path / "report.md"]
    for one in made:
        NAMES[name](one, file)
    rows, csv, jsonl, report = (str(one if name != "itself" else file) for one in made)
    tried = [["enqueue-many", rows]]
    if name != "itself":  # what these take has an ending that the database has not
        tried += [["map", "echo {a}", csv], ["map", "echo {a}", jsonl], ["report", report, "--force"]]
    for words in tried:
        code, out, err = run(database, *words)
        assert (code, out, err.count("\n")) == (2, "", 1), (words, code, out, err)
        assert "is a file of the queue's own database" in err or (
            words[0] == "report" and "hard links" in err
        ), err
    with pytest.raises(InvalidValue, match="own database"):
        Queue(tmp_path / "other.db").enqueue_many(rows)  # another queue of this process has it open
    assert (held(database), digests(database)) == (locks, before)
    q.close()


def test_63_a_database_whose_name_ends_like_a_table_is_no_table_and_no_report(tmp_path: Path) -> None:
    for name, words in (("queue.csv", ["map", "echo {a}"]), ("queue.md", ["report", "--force"])):
        file = tmp_path / name
        q = Queue(file)
        q.enqueue("true")
        before, locks = digests(file), held(file)
        code, out, err = run(file, *words, str(file))
        assert (code, out, err.count("\n")) == (2, "", 1) and "own database" in err, err
        assert locks and (held(file), digests(file)) == (locks, before)
        q.close()


def test_63_a_pipe_for_a_table_is_refused_at_once(database: Path, tmp_path: Path) -> None:  # noqa: F811
    os.mkfifo(tmp_path / "pipe.csv")
    code, _, err = run(database, "map", "echo {a}", str(tmp_path / "pipe.csv"))
    assert code == 2 and "expected a file" in err  # opening it would wait for ever


def test_88_a_lock_that_is_held_too_long(database: Path, monkeypatch: Any) -> None:  # noqa: F811
    monkeypatch.setattr("queuectl._sqlite.BUSY_S", 0.3)
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("begin immediate")
    refused(database, "has held the write lock for 0.3 s", "enqueue", "-c", "x", code=1)
    assert run(database, "list")[0] == 0  # who only reads is not held up
    holder.execute("rollback")
    holder.close()
    assert run(database, "enqueue", "-c", "x")[0] == 0
    assert DatabaseBusy.exit_code == 1


@pytest.mark.parametrize("event", ["deleted", "replaced", "moved"])
def test_89_a_database_that_goes_away_while_it_is_open(database: Path, tmp_path: Path, event: str) -> None:  # noqa: F811
    q = Queue(database)
    q.enqueue("true")
    if event == "deleted":
        database.unlink()
    elif event == "moved":
        database.rename(tmp_path / "elsewhere.db")
    else:
        other = Queue(tmp_path / "other" / "queue.db")
        other.enqueue("true")
        other.close()
        os.replace(other.path, database)
    with pytest.raises(DatabaseMoved, match="not acknowledged"):
        q.enqueue("true")
    assert DatabaseMoved.exit_code == 1


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse.sshfs"])
def test_90_network_file_systems(database: Path, monkeypatch: Any, kind: str) -> None:  # noqa: F811
    monkeypatch.setattr(place, "file_system", lambda _: kind)
    refused(
        database,
        f"is on {kind}, where SQLite's write-ahead log is unsafe; use a local path, or set QUEUECTL_JOURNAL=rollback",
    )


def test_91_a_file_with_two_names(database: Path, tmp_path: Path) -> None:  # noqa: F811
    os.link(database, tmp_path / "second.db")
    refused(database, "2 hard links")


def test_92_a_copy_with_the_workers_of_another_boot_kills_nobody(database: Path) -> None:  # noqa: F811
    bystander = subprocess.Popen(["sleep", "60"])
    found = processes.read(bystander.pid)
    assert found is not None
    now = processes.now_ms()
    by_hand(
        database,
        f"""insert into workers (id, runner, state, host, boot_id, pid, pid_start, started_at_ms, heartbeat_at_ms, beat_mono_ms)
            values ('w1', 'r1', 'busy', 'elsewhere', 'another-boot', {bystander.pid}, {found.start}, {now}, {now}, 1)""",
        "update jobs set state = 'processing', worker_id = 'w1', runs = 1",
    )
    run(database, "worker", "--drain")
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert "State: completed" in run(database, "show", "job1")[1]


# --- 93 to 100: the environment ---


@pytest.mark.parametrize(
    ("given", "made"),
    [("", None), ("~/q.db", "~/q.db"), ("$X/q.db", "$X/q.db"), ("a\nb", None), ("file:q.db?mode=memory", "file:q.db?mode=memory")],
)  # fmt: skip
def test_93_names_of_databases_are_paths_and_nothing_else(
    tmp_path: Path, given: str, made: str | None
) -> None:
    env = {k: v for k, v in os.environ.items() if k != "HOME"} | {
        "QUEUECTL_DB": given,
        "PYTHONPATH": PROJECT,
    }
    words = [sys.executable, "-m", "queuectl", "enqueue", "-c", "true"]
    ended = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ended.returncode == (2 if made is None else 0) and ended.stderr.count("\n") == (made is None)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == (
        [made] if made else []
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_94_closed_streams(database: Path, closed: str) -> None:  # noqa: F811
    ended = process(database, "enqueue --id j -c true", shell=closed)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr
    assert stored(database) == "true"


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, {"COLUMNS": "0"}, {"COLUMNS": "1"}, {"TZ": "Nowhere/Else"}], ids=["95", "96", "96 again", "97"]
)  # fmt: skip
def test_95_96_97_odd_locales_terminals_and_zones(database: Path, env: dict[str, str]) -> None:  # noqa: F811
    run(database, "enqueue", "--id", "j", "-c", "echo 🎉")
    for line in ("list", "status", "show j", "help list", "list --json"):
        ended = process(database, line, env=env)
        assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout


def test_98_a_current_folder_that_was_deleted(database: Path, tmp_path: Path) -> None:  # noqa: F811
    gone = tmp_path / "gone"
    line = f'mkdir {gone} && cd {gone} && rmdir {gone} && exec "$0" -m queuectl "$@"'
    env = {
        **os.environ,
        "QUEUECTL_DB": str(database),
        "PYTHONPATH": PROJECT,
    }
    before = content(database)
    ended = subprocess.run(
        ["bash", "-c", line, sys.executable, "enqueue", "-c", "x"], capture_output=True, text=True, env=env
    )
    assert ended.returncode == 2 and "folder was deleted" in ended.stderr and ended.stderr.count("\n") == 1, (
        ended.stderr
    )
    assert content(database) == before
    ended = subprocess.run(
        ["bash", "-c", line, sys.executable, "list"], capture_output=True, text=True, env=env
    )
    assert ended.returncode == 0 and "job1" in ended.stdout


def test_99_few_handles(database: Path) -> None:  # noqa: F811
    ended = subprocess.run(
        ["bash", "-c", 'ulimit -n 8; exec "$0" -m queuectl enqueue --id j -c true', sys.executable],
        capture_output=True, text=True, env={**os.environ, "QUEUECTL_DB": str(database)},
    )  # fmt: skip
    assert "Traceback" not in ended.stderr and ended.returncode in (0, 1), ended.stderr
    assert ended.returncode == 0 or ended.stderr.count("\n") == 1


@pytest.mark.parametrize("year", [1970, 2038, 2099])
def test_100_clocks_far_from_now(database: Path, monkeypatch: Any, year: int) -> None:  # noqa: F811
    monkeypatch.setattr(processes, "now_ms", lambda: (year - 1970) * 31_556_952_000 + 5_000)
    assert run(database, "enqueue", "--id", "then", "-c", "true")[0] == 0
    code, out, err = run(database, "show", "then")
    assert (code, err) == (0, "") and "Created At: " in out


# --- 101 to 106: what is shown ---

HOSTILE = {
    "101 markup": "<img src=x onerror=alert(1)></script><b>bold</b>",
    "102 the name of a file": "/etc/passwd",
    "103 escapes": "\x1b]52;c;aGk=\x07 \x1b[2J \x1b]8;;http://x\x07link \r over \x9b31m \u202eabc \x7f",
    "104 a formula": "=cmd|'/c calc'!A0",
    "105 mathematics and markdown": "$x^2$ \\(y\\) `code` | a | b",
    "106 a megabyte": "x" * 99_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_101_to_106_hostile_text_is_shown_as_text(database: Path, name: str) -> None:  # noqa: F811
    command = HOSTILE[name].replace("\0", "")
    assert run(database, "enqueue", "--id", "j", "-c", command)[0] == 0
    q = Queue(database)
    for line in ("list", "show j", "status", "explain j", "events"):
        out = run(database, *line.split())[1]
        assert (
            not any(ord(c) < 32 and c != "\n" for c in out)
            and "\x7f" not in out
            and "\u202e" not in out
            and "\x9b" not in out
        )
    shown = [
        q.list()._repr_html_(),
        q.show("j")._repr_html_(),
        q.status()._repr_html_(),
        q.show("j").job._repr_html_(),
    ]
    for html in shown:
        assert "<img" not in html and "</script" not in html and "<b>bold" not in html and "$x" not in html
        assert len(html) < 60_000
    assert stored(database) == command
    cells = run(database, "list", "--csv")[1]
    assert "\n=cmd" not in cells and ",=cmd" not in cells and ',"=cmd' not in cells
    q.close()


def test_refusals_are_of_the_kind_that_says_so() -> None:
    assert DatabaseRefused.exit_code == 2


def test_every_number_of_the_list_has_its_test() -> None:
    import re

    import test_bad_input
    import test_bad_values

    names: list[str] = [
        b[0]
        for b in test_bad_input.BAD + test_bad_values.WORDS + test_bad_values.CALLS + test_bad_values.FILES
    ]  # type: ignore[operator]
    names += [*HOSTILE]
    for module in (test_bad_input, test_bad_values, sys.modules[__name__]):
        names += [n.removeprefix("test_").replace("_", " ") for n in vars(module) if n.startswith("test_")]
    found = {int(n) for name in names for n in re.match(r"[\d ]*", name)[0].split()}  # type: ignore[index]
    assert set(range(1, 107)) - found == set()


@pytest.mark.parametrize(("command", "status"), [("if then", 2), ("nosuchcmd", 127)], ids=["11", "12"])
def test_11_12_commands_that_are_none_fail_when_they_run(database: Path, command: str, status: int) -> None:  # noqa: F811
    run(
        database,
        "enqueue",
        "--id",
        "j",
        "-c",
        command,
        "--max-retries",
        "2",
        "--backoff-base",
        "1",
        "--backoff",
        "[0,0]",
    )
    run(database, "worker", "--drain")
    q = Queue(database)
    details = q.show("j")
    assert (details.job.state, details.job.attempts, details.job.exit_code) == ("dead", 2, status)
    assert b"".join(q.logs("j", stderr=True))
    q.close()
