"""What a command imports: a queue must not load the notebook to add a job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "pandas",
    "numpy",
    "ipywidgets",
    "anywidget",
    "IPython",
    "asyncio",
    "matplotlib",
    "tqdm",
    "ssl",
    "logging",
}
PROGRAM = """
import sys
from queuectl.__main__ import run
code = run()
sys.stdout.flush()
print("imported:", *sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def imported(line: str, folder: Path) -> set[str]:
    """Run a command line in a process of its own and return the modules it has imported at its end."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *line.split()],
        capture_output=True,
        text=True,
        env={**os.environ, "QUEUECTL_DB": str(folder / "queue.db")},
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.split("imported:")[1].split())


@pytest.mark.parametrize(
    "line", ["enqueue -c true", "list", "status", "worker --drain", "dlq list", "config get", "help"]
)
def test_a_command_imports_nothing_heavy(line: str, tmp_path: Path) -> None:
    imported("enqueue -c true", tmp_path)
    modules = imported(line, tmp_path)
    assert not HEAVY & modules
    assert "queuectl.cli" in modules


@pytest.mark.parametrize("line", ["enqueue -c true", "worker --drain"])
def test_sqlite_utils_is_not_needed_for_a_current_database(line: str, tmp_path: Path) -> None:
    imported("enqueue -c true", tmp_path)
    assert "sqlite_utils" not in imported(line, tmp_path)
