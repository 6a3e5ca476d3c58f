"""A wrong word or value changes nothing: one clear line, exit code 2, and the database as it was, byte for byte."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import await_true

from queuectl.cli import main


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with one pending job, checkpointed so that its bytes are its content."""
    path = tmp_path / "data" / "queue.db"
    assert run(path, "enqueue", "--id", "job1", "-c", "true")[0] == 0
    return path


def run(path: Path, *words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(["--db", str(path), *words], stdout=out, stderr=err)
    return code, out.getvalue(), err.getvalue()


def content(path: Path) -> tuple[str, ...]:
    """Return the digests of the database and its log, and of what they say."""
    files = [path, path.with_name(path.name + "-wal")]
    digests = [hashlib.sha256(f.read_bytes() if f.exists() else b"").hexdigest() for f in files]
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        dump = "\n".join(db.iterdump())
    db.close()
    return (*digests, dump)


BAD: list[tuple[str, list[str], str]] = [
    ("5 bytes that are not text", ["enqueue", "-c", "caf\udce9"], "UTF-8"),
    ("1 empty", ["enqueue", "-c", ""], "command"),
    ("2 spaces", ["enqueue", "-c", "   "], "command"),
    ("3 a line end", ["enqueue", "-c", "\n"], "command"),
    ("4 NUL", ["enqueue", "-c", "a\0b"], "NUL"),
    ("6 too long", ["enqueue", "-c", "a" * 131_072], "100,000 bytes"),
    ("10 unquoted", ["enqueue", "ls", "-l"], "quote the command or put -- before it"),
    ("13 unknown flag", ["enqueue", "-c", "x", "--max-retrys=5"], "did you mean --max-retries?"),
    ("14 mistyped dry run", ["delete", "--dry-rum"], "did you mean --dry-run?"),
    ("14 mistyped dry run of a purge", ["dlq", "purge", "--dry-rum"], "did you mean --dry-run?"),
    ("15 neither true nor false", ["delete", "--dry-run=maybe"], "true or false"),
    ("16 no value", ["enqueue", "-c", "x", "--max-retries"], "needs a value"),
    ("17 given twice", ["enqueue", "-c", "x", "--priority", "1", "--priority", "2"], "given twice"),
    ("19 unknown command", ["enqueu", "-c", "x"], "did you mean enqueue?"),
    ("20 private", ["_private"], "unknown command"),
    ("20 dunder", ["__class__"], "unknown command"),
    ("20 attribute", ["conn"], "unknown command"),
    ("21 chaining", ["list", "-", "to_csv", "x"], "extra word '-'"),
    ("22 extra words", ["enqueue", "-c", "x", "y"], "extra word 'y'"),
    ("23 Fire's trace", ["enqueue", "-c", "x", "--", "--trace"], "given twice"),
    ("23 Fire's REPL", ["list", "--", "--interactive"], "extra word"),
    ("24 negative", ["enqueue", "-c", "x", "--max-retries", "-1"], "from 0 to"),
    ("25 fraction", ["enqueue", "-c", "x", "--max-retries", "1.5"], "whole number"),
    ("26 no number", ["enqueue", "-c", "x", "--max-retries", "abc"], "whole number"),
    ("27 underscore", ["enqueue", "-c", "x", "--max-retries", "1_000"], "whole number"),
    ("27 hexadecimal", ["enqueue", "-c", "x", "--max-retries", "0x10"], "whole number"),
    ("27 space", ["enqueue", "-c", "x", "--max-retries", " 3"], "whole number"),
    ("27 plus", ["enqueue", "-c", "x", "--max-retries", "+3"], "whole number"),
    ("27 Arabic digits", ["enqueue", "-c", "x", "--max-retries", "٣"], "whole number"),
    ("28 too large", ["enqueue", "-c", "x", "--max-retries", str(2**63)], "whole number"),
    ("29 infinite", ["enqueue", "-c", "x", "--backoff-base", "inf"], "number"),
    ("30 not a number", ["enqueue", "-c", "x", "--backoff-base", "nan"], "number"),
    ("31 base 0", ["enqueue", "-c", "x", "--backoff-base", "0"], "number"),
    ("33 no worker", ["worker", "-c", "0"], "count"),
    ("34 no pause", ["worker", "-s", "0"], "sleep"),
    ("35 negative time", ["enqueue", "-c", "x", "--timeout=-1"], "timeout"),
    ("36 negative limit", ["list", "--limit", "-1"], "limit"),
    ("37 SQL for a number", ["list", "--limit=1 union select"], "limit"),
    ("38 huge priority", ["enqueue", "-c", "x", "--priority", "1e308"], "whole number"),
    ("39 bool for a number", ["enqueue", "-c", "x", "--priority", "True"], "whole number"),
    ("48 misspelt state", ["list", "-s", "runnning"], "one of"),
    ("72 unknown setting", ["config", "set", "max-retrys", "3"], "did you mean max-retries?"),
    ("72 wrong type", ["config", "set", "max-retries", "three"], "max-retries"),
    ("72 empty", ["config", "set", "max-retries", ""], "max-retries"),
    ("72 negative", ["config", "set", "max-retries", "-1"], "max-retries"),
]


@pytest.mark.parametrize("words, message", [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_it_is_refused_and_nothing_changes(words: list[str], message: str, database: Path) -> None:
    before = content(database)
    code, out, err = run(database, *words)
    assert (code, out) == (2, ""), err
    assert message in err
    assert err.startswith("queuectl: ") and err.count("\n") == 1
    assert content(database) == before


def test_a_refused_word_does_not_even_make_the_database(tmp_path: Path) -> None:
    assert run(tmp_path / "data" / "queue.db", "enqueue", "-c", "x", "--prioirty", "3")[0] == 2
    assert list(tmp_path.iterdir()) == []


AS_GIVEN = [
    "123",
    "True",
    "None",
    "1e5",
    "2025-10-10",
    "[1,2]",
    "[1, 2]",
    "{a: b}",
    "a, b",
    "a # b",
    "make #all",
    '"q"',
]


@pytest.mark.parametrize("command", AS_GIVEN)
def test_8_a_command_is_stored_byte_for_byte(command: str, database: Path) -> None:
    assert run(database, "enqueue", "--id", "j", "-c", command)[0] == 0
    assert stored(database) == command


def test_9_a_command_may_start_with_a_dash(database: Path) -> None:
    assert run(database, "enqueue", "--id", "j", "--", "-ls")[0] == 0
    assert stored(database) == "-ls"


def test_18_help_inside_a_command_is_part_of_it(database: Path) -> None:
    assert run(database, "enqueue", "--id", "j", "--", "python", "x.py", "--help")[0] == 0
    assert stored(database) == "python x.py --help"


def test_a_command_after_dashes_is_quoted_word_by_word(database: Path) -> None:
    assert run(database, "enqueue", "--id", "j", "--", "python", "train.py", "--lr", "0.1", "a b")[0] == 0
    assert stored(database) == "python train.py --lr 0.1 'a b'"


def stored(database: Path) -> str:
    db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        found: str = db.execute("select command from jobs where id = 'j'").fetchone()[0]
        return found
    finally:
        db.close()


CODES: list[tuple[list[str], int]] = [
    (["show", "nosuchjob"], 3),
    (["cancel", "nosuchjob"], 3),
    (["dlq", "retry", "job1"], 5),
    (["wait", "job1", "--timeout", "0.01"], 4),
]


@pytest.mark.parametrize("words, code", CODES, ids=[" ".join(c[0]) for c in CODES])
def test_other_exit_codes(words: list[str], code: int, database: Path) -> None:
    assert run(database, *words)[0] == code


ENVIRONMENTS = [
    {"TZ": "Nowhere/Else"},
    {"COLUMNS": "0"},
    {"COLUMNS": "1"},
    {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"},
    {"TERM": ""},
]


@pytest.mark.parametrize("env", ENVIRONMENTS, ids=str)
def test_95_to_97_odd_environments_do_no_harm(env: dict[str, str], database: Path) -> None:
    assert run(database, "enqueue", "--id", "j", "-c", "echo 🎉")[0] == 0
    for line in ("list", "status", "show j", "dlq list", "help list", "list --json", "list --csv"):
        ended = process(database, line, env=env)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout


STREAMS = [
    (">&-", 0),
    ("2>&-", 0),
    ("<&-", 0),
    ("<&- >&- 2>&-", 0),
    ("> /dev/full", 1),
    ("| head -c 1 > /dev/null; exit ${PIPESTATUS[0]}", 0),
]


@pytest.mark.parametrize("shell, code", STREAMS, ids=[s for s, _ in STREAMS])
def test_94_closed_and_full_streams_lose_no_job(shell: str, code: int, database: Path) -> None:
    ended = process(database, "enqueue --id j -c true", shell=shell)
    assert ended.returncode == code and "Traceback" not in ended.stderr
    assert stored(database) == "true"
    with sqlite3.connect(database) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()


def test_ctrl_c_ends_a_wait_with_130_and_leaves_the_job(database: Path) -> None:
    waiting = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; print(flush=True); from queuectl.__main__ import run; sys.exit(run())",
        ]
        + ["--db", str(database), "wait", "job1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells ignore it in the background
    )
    assert waiting.stdout is not None and waiting.stdout.readline() == "\n"
    await_true(lambda: str(database) in opened_by(waiting.pid), what="the wait")
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, err) == (130, "")
    assert "State: pending" in run(database, "show", "job1")[1]


def opened_by(pid: int) -> set[str]:
    """Return the files that a process has open."""
    found = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(handle))
    return found


def process(database: Path, line: str, *, shell: str = "", env: dict[str, str] | None = None) -> Any:
    """Run a command line in a process of its own."""
    return subprocess.run(
        ["bash", "-c", f'"$0" -m queuectl {line} {shell}', sys.executable],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "QUEUECTL_DB": str(database), **(env or {})},
        timeout=60,
    )
