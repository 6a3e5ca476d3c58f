"""Bars are for people: on a terminal and on standard error only, and never before something has taken a while."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from queuectl import progress
progress.DELAY_S = progress.REFRESH_S = float(sys.argv.pop(1))
from queuectl.__main__ import run
code = run()
sys.stdout.flush()
sys.stderr.write("\\nimported tqdm: %s, asyncio: %s\\n" % ("tqdm" in sys.modules, "asyncio" in sys.modules))
sys.exit(code)
"""


def queuectl(
    place: Path, *words: str, delay: float = 0, terminal: bool = True, typed: str = ""
) -> tuple[int, str, str]:
    """Run a command with standard error on a terminal or in a pipe; return its exit code, stdout and what stderr showed."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(delay), *words, "--db", str(place)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(theirs)
    process.stdin.write(typed.encode())
    process.stdin.close()
    shown, until = b"", time.monotonic() + 60
    while select.select([ours], [], [], max(0, until - time.monotonic()))[0]:
        with contextlib.suppress(OSError):  # Linux says EIO when the other side of a terminal is gone
            if piece := os.read(ours, 65536):
                shown += piece
                continue
        break
    os.close(ours)
    out = process.stdout.read().decode()
    process.stdout.close()
    return process.wait(30), out, shown.decode().replace("\r\n", "\n")


def test_enqueue_many_shows_how_far_it_is_on_a_terminal(place):
    code, out, shown = queuectl(place, "enqueue-many", "-", typed="true\n" * 500)
    assert (code, out.startswith("500 jobs added successfully")) == (0, True)
    assert "adding:" in shown and "500/500" in shown and "writing" in shown


def test_wait_shows_what_has_ended_what_failed_and_what_runs(q, start, tmp_path):
    gate = tmp_path / "gate"
    q.enqueue_many(
        [
            {"command": "true"},
            {"command": "exit 3", "max_retries": 0},
            {"command": f"while ! test -e {gate}; do sleep 0.05; done"},
        ]
        + [{"command": f"touch {gate}", "delay": 1}]
    )
    start("-c", "2", "-s", "1")
    code, out, shown = queuectl(Path(q.path), "wait")
    assert (code, out.splitlines()[0]) == (1, "3 completed, 1 dead") or "1 dead, 3 completed" in out
    assert "waiting:" in shown and "4/4" in shown
    assert "2/4" in shown and "1 not completed, 1 running" in shown


@pytest.mark.parametrize(("terminal", "delay"), [(False, 0), (True, 3600)])
def test_nothing_is_shown_in_a_pipe_or_when_it_was_quick_and_tqdm_is_not_imported(q, start, terminal, delay):
    start("-s", "1")
    _, _, added = queuectl(
        Path(q.path), "enqueue-many", "-", typed="true\n" * 50, terminal=terminal, delay=delay
    )
    _, out, waited = queuectl(Path(q.path), "wait", terminal=terminal, delay=delay)
    assert added == waited == "\nimported tqdm: False, asyncio: False\n"
    assert re.fullmatch(r"\d+ completed\n|Nothing to wait for\.\n", out)  # what was left when `wait` came


def test_a_bar_can_be_had_in_a_pipe_and_done_without_on_a_terminal(q):
    many = ("enqueue-many", "-")
    assert "adding:" in queuectl(Path(q.path), *many, "--progress", typed="true\n" * 50, terminal=False)[2]
    assert "adding:" not in queuectl(Path(q.path), *many, "--no-progress", typed="true\n" * 50)[2]


def test_a_bar_in_a_program_leaves_its_last_state(q, capsys, monkeypatch):
    from queuectl import progress

    monkeypatch.setattr(progress, "DELAY_S", 0)
    q.enqueue_many(["true"] * 3, progress=True)
    q.cancel(state="pending")
    q.wait(*(j.id for j in q.list()), progress=True)
    printed = capsys.readouterr()
    assert "3/3" in printed.err and "3 not completed" in printed.err
    assert printed.out == ""
