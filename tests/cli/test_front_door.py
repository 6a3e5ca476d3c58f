"""Errors are one line, exit codes mean something, help is plain, and the streams behave."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl import errors
from queuectl.cli import main
from queuectl.cli.table import SECTIONS, command, functions

CODES = [
    (errors.QueuectlError, 1),
    (errors.InvalidValue, 2),
    (errors.DatabaseRefused, 2),
    (errors.JobNotFound, 3),
    (errors.NothingMatched, 3),
    (errors.WaitTimeout, 4),
    (errors.StateConflict, 5),
    (errors.DatabaseBusy, 1),
]


@pytest.mark.parametrize("kind, code", CODES, ids=[kind.__name__ for kind, _ in CODES])
def test_an_error_is_one_line_and_its_exit_code(
    kind: Any, code: int, typed: Any, fake: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(fake, "fails", kind("job x is\nnot \x1b[2J here; TOKEN=hunter2"))
    assert typed("list") == (code, "", "queuectl: job x is\\nnot \\x1b[2J here; TOKEN=***\n")


def test_a_bug_is_one_line_too_and_says_how_to_see_more(typed: Any, fake: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(fake, "fails", TypeError("oops"))
    assert typed("list") == (
        1,
        "",
        "queuectl: unexpected TypeError: oops (QUEUECTL_TRACEBACK=1 shows where)\n",
    )
    monkeypatch.setenv("QUEUECTL_TRACEBACK", "1")
    assert typed("list").err.startswith("Traceback")


def test_a_system_error_names_the_file(typed: Any, fake: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(fake, "fails", PermissionError(13, "Permission denied", "/x/queue.db"))
    assert typed("list") == (1, "", "queuectl: /x/queue.db: Permission denied\n")


def test_ctrl_c_is_130(typed: Any, fake: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(fake, "fails", KeyboardInterrupt())
    assert typed("list") == (130, "", "")


HELP = ["", "--help", "-h", "help", "enqueue --help", "enqueue -h", "help enqueue", "dlq --help", "help dlq"]
HELP += [
    "dlq retry -h",
    "enqueue -c x --help",
    "enqueue -c --help",
    "worker --stop -h",
    "completion --help",
    "--db x -h",
]


@pytest.mark.parametrize("line", HELP)
def test_help_is_plain_text_on_stdout_and_runs_nothing(line: str, typed: Any, fake: Any) -> None:
    ended = typed(*line.split())
    assert (ended.code, ended.err) == (0, "")
    assert "Usage: queuectl" in ended.out and "\x1b" not in ended.out
    assert fake.calls == [] and fake.paths == []


def test_help_shows_short_flags_defaults_units_and_an_example(typed: Any) -> None:
    page = typed("help", "enqueue").out
    assert "  -c, --command COMMAND" in page
    assert "      --max-retries N         Failed attempts before the job is dead.\n" in page
    assert 'Example: queuectl enqueue -c "python train.py' in page
    assert "Raises" not in page and "Returns" not in page
    assert (
        "-s, --sleep NUMBER" in typed("help", "worker").out and "(default: 3)" in typed("help", "worker").out
    )


@pytest.mark.parametrize("columns, widest", [("60", 60), ("200", 100), ("0", 80), ("1", 80), ("x", 80)])
def test_help_fits_the_terminal(columns: str, widest: int, typed: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for page in ("help list", "help", "help completion"):
        lines = [
            line
            for line in typed(*page.split()).out.split("\n")
            if not line.startswith(("bash:", "zsh:", "fish:"))
        ]
        assert max(map(len, lines)) <= widest


def test_the_version_is_one_line(typed: Any) -> None:
    from queuectl import __version__

    assert typed("--version") == (0, f"queuectl {__version__}\n", "")


def test_the_commands_are_the_public_verbs(fake: Any) -> None:
    assert set(functions(fake)) == {
        *((v,) for v in ("enqueue", "enqueue-many", "list", "map", "pause", "show", "status", "worker")),
        *(("dlq", v) for v in ("list", "purge", "retry")),
        *(("config", v) for v in ("get", "set")),
    }


def test_a_commands_parameters_are_its_methods(fake: Any) -> None:
    worker = command(("worker",), fake.worker)
    assert [(p.name, p.kind, p.short) for p in worker.parameters] == [
        ("verbose", "flag", "v"),
        ("count", "whole", "c"),
        ("sleep", "number", "s"),
        ("limit", "whole", "l"),
        ("stop", "flag", ""),
    ]


def test_every_section_of_the_help_names_each_command_once() -> None:
    names = [name for section in SECTIONS.values() for name in section]
    assert len(names) == len(set(names))


class Closed(io.StringIO):
    """A stream whose reader has left, or whose disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


def test_a_closed_pipe_is_quiet(fake: Any) -> None:
    err = io.StringIO()
    assert main(["list"], stdout=Closed(BrokenPipeError(32, "Broken pipe")), stderr=err, api=fake) == 0
    assert err.getvalue() == ""


def test_a_full_disk_under_stdout_is_said_once(fake: Any) -> None:
    err = io.StringIO()
    assert main(["list"], stdout=Closed(OSError(28, "No space left on device")), stderr=err, api=fake) == 1
    assert err.getvalue().startswith("queuectl: standard output: No space left on device; ")


FAKE_COMMAND = """
import sys; sys.path.insert(0, {folder!r})
from conftest import FakeQueue
import queuectl.cli, queuectl.__main__
queuectl.cli._queue_class = lambda lean: FakeQueue
FakeQueue.returns = {returns}
sys.exit(queuectl.__main__.run())
"""


def real(line: str, *, returns: str = "'done'", shell: str = "", env: dict[str, str] | None = None) -> Any:
    """Run the command in a process of its own, with the shell's redirections."""
    program = FAKE_COMMAND.format(folder=str(Path(__file__).parent), returns=returns)
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {line} {shell}', sys.executable, program],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=60,
    )


def test_a_reader_that_leaves_early_sees_one_line_and_no_complaint() -> None:
    ended = real("list", returns="'x' + chr(10) * 200_000", shell="| head -1; exit ${PIPESTATUS[0]}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "x\n", "")


def test_a_full_device_is_one_clear_line() -> None:
    ended = real("list", shell="> /dev/full")
    assert ended.returncode == 1
    assert (
        ended.stderr.startswith("queuectl: standard output: No space left on device")
        and ended.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(shell: str) -> None:
    ended = real("list", shell=shell)
    assert ended.returncode == 0 and ended.stderr == ""


def test_ascii_terminals_are_shown_escapes() -> None:
    ended = real("list", returns="'caf\\u00e9 \\U0001f389'", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert (ended.returncode, ended.stdout) == (0, "caf\\xe9 \\U0001f389\n")


def test_arguments_that_are_not_utf_8_are_refused() -> None:
    ended = real("enqueue -c $'caf\\xe9'")
    assert ended.returncode == 2 and ended.stderr == "queuectl: 'caf\\udce9' is not valid UTF-8 text\n"


def test_help_needs_neither_a_pager_nor_a_terminal() -> None:
    ended = real("help", env={"PAGER": "false"}, shell="| cat")
    assert ended.stdout.startswith("Run and repair background jobs") and ended.stderr == ""
