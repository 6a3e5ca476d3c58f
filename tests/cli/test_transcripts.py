"""The commands of the original, word for word, in a pseudo-terminal and in a pipe."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

QUEUECTL = [sys.executable, "-m", "queuectl"]
ID = "[a-z0-9]{8}"
WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
DEADLINE_S = 60


class Shell:
    """Runs command lines in one folder, in a pipe or a pseudo-terminal, and compares what they print."""

    def __init__(self, folder: Path, terminal: bool) -> None:
        self.folder = folder
        self.terminal = terminal
        self.env = {k: v for k, v in os.environ.items() if k != "QUEUECTL_DB"}
        self.env["PYTHONPATH"] = str(Path(__file__).parents[2])

    def run(self, line: str, *, code: int = 0) -> str:
        """Run a line to its end and return what it printed on stdout (and, in a terminal, stderr)."""
        command = ["sh", "-c", line.replace("queuectl", " ".join(QUEUECTL))]
        ended = (self._in_terminal if self.terminal else self._in_pipe)(command)
        assert ended[0] == code, ended[1]
        return ended[1]

    def _in_pipe(self, command: list[str]) -> tuple[int, str]:
        ended = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self.env, timeout=DEADLINE_S
        )
        assert ended.stderr == "" or ended.returncode, ended.stderr
        return ended.returncode, ended.stdout

    def _in_terminal(self, command: list[str]) -> tuple[int, str]:
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe(command[0], command, self.env)
        printed, until = b"", time.monotonic() + DEADLINE_S
        try:
            while select.select([fd], [], [], max(0, until - time.monotonic()))[0]:
                try:
                    chunk = os.read(fd, 65536)
                except OSError:  # Linux says EIO when the other side is gone
                    break
                if not chunk:
                    break
                printed += chunk
        finally:
            os.close(fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), printed.decode().replace("\r\n", "\n")

    def says(self, line: str, expected: str) -> re.Match[str]:
        """Run a line whose whole output is `expected`, with <id>, <when> and <n> for what varies."""
        printed = self.run(line)
        match = re.fullmatch(pattern(expected), printed)
        assert match, f"expected:\n{expected}\ngot:\n{printed}"
        return match


def pattern(text: str) -> str:
    """Return a regular expression for a transcript; each <id> is a group."""
    return re.escape(text).replace("<id>", f"({ID})").replace("<when>", WHEN).replace("<n>", r"\d+")


@pytest.fixture(params=["pipe", "terminal"])
def sh(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(tmp_path, request.param == "terminal")


def test_configuration(sh: Shell) -> None:
    sh.says(
        "queuectl config set max-retries 5",
        """Configuration updated: max-retries = 5
Jobs will retry up to 5 times before moving to DLQ
""",
    )
    sh.says(
        "queuectl config set backoff-base 2",
        """Configuration updated: backoff-base = 2
Retry delays will be: 2s, 4s, 8s, 16s...
""",
    )
    sh.says(
        "queuectl config get",
        """
===== CONFIGURATION =====
max-retries  = 5
  Maximum retry attempts before moving to DLQ
backoff-base = 2
  Retry delays: 2s, 4s, 8s, 16s...
=========================
""",
    )


def test_a_job_from_enqueue_to_completed(sh: Shell) -> None:
    job_id = sh.says('queuectl enqueue -c "echo Hello World"', "Job added successfully with ID: <id>\n")[1]
    listed = """
ID: {id}
Command: echo Hello World
State: {state}
Attempts: 0
Max Retries: 3
Created At: <when>
Updated At: <when>
"""
    sh.says("queuectl list", listed.format(id=job_id, state="pending"))
    sh.says("queuectl worker -l 1", "Worker started: <id>\n")
    sh.says("queuectl list", listed.format(id=job_id, state="completed"))
    sh.says("queuectl list -s completed", listed.format(id=job_id, state="completed"))
    for state in ("pending", "processing", "failed", "dead", "scheduled", "blocked", "cancelled"):
        sh.says(f"queuectl list -s {state}", "No jobs found.\n")
    assert (sh.folder / "data" / "queue.db").is_file()


def test_verbose_workers_retry_and_give_up(sh: Shell) -> None:
    sh.run("queuectl config set backoff-base 1")
    sh.run('queuectl enqueue --id job001 -c "echo test"')
    sh.run('queuectl enqueue --id job002 -c "exit 1"')
    printed = sh.run("queuectl worker -v -c 3 -s 1 --drain")
    assert re.match(pattern("Worker started: <id>\n" * 3 + "\n"), printed), printed
    lines = [re.sub(rf"^\[{ID}\] ", "", line) for line in printed.split("\n")[4:-1]]
    assert [line for line in lines if "job001" in line] == [
        "Picked up NEW job: job001 (Command: echo test)",
        "Job job001 state: processing",
        "Job job001 state: completed",
    ]
    again = ["Job job002 state: failed - Will retry in 1s", "Job job002 state: pending (scheduled for retry)"]
    assert [line for line in lines if "job002" in line] == [
        "Picked up NEW job: job002 (Command: exit 1)",
        "Job job002 state: processing",
        "Job job002 FAILED (Attempt 1/3): exit status 1",
        *again,
        "RETRYING job job002 (Attempt 2)",
        "Job job002 FAILED (Attempt 2/3): exit status 1",
        *again,
        "RETRYING job job002 (Attempt 3)",
        "Job job002 FAILED (Attempt 3/3): exit status 1",
        "Job job002 state: DEAD",
    ]
    sh.says(
        "queuectl dlq list",
        """
===== DEAD LETTER QUEUE =====

ID: job002
Command: exit 1
Attempts: 3
Max_retries: 3
Updated: <when>

==============================
""",
    )
    sh.says("queuectl dlq retry job002", "Job job002 has been requeued with max_retries = 3\n")
    sh.says(
        "queuectl dlq list",
        "\n===== DEAD LETTER QUEUE =====\n\nNo jobs in the DLQ.\n\n==============================\n",
    )


def test_status_shows_jobs_and_workers_and_stop_ends_them(sh: Shell) -> None:
    sh.run("queuectl enqueue --id job001 -c true")
    sh.says(
        "queuectl status",
        """
===== JOB STATES =====
ID: job001   State: pending

===== ACTIVE WORKERS =====
No active workers.
===========================
""",
    )
    worker = subprocess.Popen(
        [*QUEUECTL, "worker", "-c", "2"], cwd=sh.folder, env=sh.env, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    try:
        started = [worker.stdout.readline(), worker.stdout.readline()]
        assert all(re.fullmatch(pattern("Worker started: <id>\n"), line) for line in started)
        eventually(lambda: "completed" in sh.run("queuectl status"))
        sh.says(
            "queuectl status",
            """
===== JOB STATES =====
ID: job001   State: completed

===== ACTIVE WORKERS =====
Worker: <id>   Heartbeat: <when>
Worker: <id>   Heartbeat: <when>
===========================
""",
        )
        sh.says("queuectl worker --stop", "Stop signal sent to all workers.\n")
        assert worker.wait(DEADLINE_S) == 0
    finally:
        worker.kill()
        worker.stdout.close()


def test_term_ends_a_worker_cleanly(sh: Shell) -> None:
    worker = subprocess.Popen(
        [*QUEUECTL, "worker", "-v", "-s", "1"], cwd=sh.folder, env=sh.env, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    try:
        worker.stdout.readline()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
    finally:
        worker.kill()
        worker.stdout.close()


def test_a_long_status_counts_first(sh: Shell) -> None:
    (sh.folder / "jobs.txt").write_text("true\n" * 60)
    sh.run("queuectl enqueue-many jobs.txt")
    printed = sh.run("queuectl status")
    assert "\n===== JOB STATES =====\npending: 60\nID: " in printed
    assert printed.count("State: pending") == 50 and "(10 older jobs not shown)" in printed


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most until the deadline."""
    until = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < until, "the condition never held"
        time.sleep(0.05)
