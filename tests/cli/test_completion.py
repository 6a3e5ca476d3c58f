"""Completion scripts, asked by the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.cli.completion import script
from queuectl.cli.table import functions

VERBS = {
    "enqueue",
    "enqueue-many",
    "map",
    "list",
    "show",
    "status",
    "pause",
    "worker",
    "dlq",
    "config",
    "completion",
    "help",
}


@pytest.fixture
def scripts(fake: Any, tmp_path: Path) -> Callable[[str], Path]:
    def write(shell: str) -> Path:
        path = tmp_path / f"_queuectl.{shell}"
        path.write_text(script([shell], functions(fake)))
        return path

    return write


def shell(name: str) -> str:
    """Return the shell's path; where it is missing the test is skipped, but never in CI."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def bash(file: Path, line: str, folder: Path) -> set[str]:
    """Return what bash offers for the last word of a line, as readline splits it."""
    program = f"""
source {file}
declare -F _queuectl > /dev/null || exit 9
line=$1
words=()
for word in ${{line//=/ = }}; do words+=("$word"); done
[[ $line == *' ' || $line == *= ]] && words+=('')
COMP_WORDS=("${{words[@]}}") COMP_CWORD=$(( ${{#words[@]}} - 1 ))
[[ $line == *= ]] && {{ COMP_WORDS=("${{words[@]:0:${{#words[@]}}-1}}"); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); }}
compopt() {{ :; }}
_queuectl || true
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return run([shell("bash"), "--norc", "-c", program, "bash", line], folder)


def fish(file: Path, line: str, folder: Path) -> set[str]:
    """Return what fish offers for the last word of a line."""
    offered = run([shell("fish"), "--no-config", "-c", f"source {file}; complete -C '{line}'"], folder)
    words = {o.split("\t")[0] for o in offered}
    return {
        w.partition("=")[2] if w.startswith("--") and line.rpartition(" ")[2].endswith("=") else w
        for w in words
    }


def zsh(file: Path, line: str, folder: Path) -> set[str]:
    """Return what zsh offers for the last word of a line: compadd is overheard, nothing is drawn."""
    program = f"""
compdef() {{ :; }}
_files() {{ print -l -- *(N) }}
compset() {{ :; }}
compadd() {{
  local -a offered; [[ $1 == -- ]] && shift
  local w; for w in "$@"; do [[ $w == ${{PREFIX}}* ]] && print -r -- $w; done
  return 0
}}
source {file}
line=$1
words=(${{(z)line}}); [[ $line == *' ' ]] && words+=('')
CURRENT=$#words
PREFIX=${{words[CURRENT]}}; [[ $PREFIX == --*=* ]] && PREFIX=${{PREFIX#*=}}
_queuectl || true
"""
    return run([shell("zsh"), "-f", "-c", program, "zsh", line], folder)


def run(command: list[str], folder: Path) -> set[str]:
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG")} | {"HOME": str(folder)}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return {line for line in ended.stdout.split("\n") if line}


SHELLS = [bash, zsh, fish]
CASES: list[tuple[str, set[str], set[str]]] = [
    ("queuectl ", VERBS, {"_secret", "jobs"}),
    ("queuectl en", {"enqueue", "enqueue-many"}, {"list"}),
    ("queuectl dlq ", {"list", "retry", "purge"}, {"enqueue", "frame"}),
    ("queuectl --db x.db dlq r", {"retry"}, {"list"}),
    ("queuectl list --st", {"--state"}, {"--limit"}),
    ("queuectl list -s ", {"pending", "processing", "completed", "failed", "dead", "scheduled"}, {"--state"}),
    ("queuectl list --state p", {"pending", "processing"}, {"dead"}),
    ("queuectl config set ", {"max-retries", "backoff-base"}, {"list"}),
    ("queuectl config get max-", {"max-retries"}, {"backoff-base"}),
    ("queuectl completion ", {"bash", "zsh", "fish"}, {"list"}),
    ("queuectl help d", {"dlq"}, {"list"}),
    ("queuectl help dlq p", set(), {"pending"}),
    ("queuectl enqueue --max", {"--max-retries"}, {"--priority"}),
    ("queuectl enqueue-many job", {"jobs.txt"}, set()),
    ("queuectl worker --j", set(), {"--state"}),
]


@pytest.mark.parametrize("ask", SHELLS, ids=[s.__name__ for s in SHELLS])
@pytest.mark.parametrize("line, offered, silent", CASES, ids=[c[0] for c in CASES])
def test_a_shell_offers(
    ask: Any, line: str, offered: set[str], silent: set[str], scripts: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "jobs.txt").touch()
    got = ask(scripts(ask.__name__), line, tmp_path)
    assert offered <= got
    assert not silent & got


@pytest.mark.parametrize("ask", SHELLS, ids=[s.__name__ for s in SHELLS])
def test_a_value_is_completed_after_an_equals_sign(
    ask: Any, scripts: Callable[[str], Path], tmp_path: Path
) -> None:
    assert ask(scripts(ask.__name__), "queuectl list --state=de", tmp_path) & {"dead", "--state=dead"}
    assert len(ask(scripts(ask.__name__), "queuectl list --state=", tmp_path)) >= 8


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_script_is_valid_and_starts_nothing(name: str, scripts: Callable[[str], Path]) -> None:
    file = scripts(name)
    check = "--no-execute" if name == "fish" else "-n"
    ended = subprocess.run([shell(name), check, str(file)], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sys.executable not in file.read_text()


def test_bash_completes_through_its_own_machinery(scripts: Callable[[str], Path], tmp_path: Path) -> None:
    """The registration works too: a real interactive bash in a pseudo-terminal expands a word on Tab."""
    import pty
    import select

    file = scripts("bash")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(
            shell("bash"),
            ["bash", "--norc", "--noprofile", "-i"],
            {"PATH": os.environ["PATH"], "PS1": "$ ", "TERM": "dumb"},
        )
    try:
        os.write(terminal, f'source {file}; queuectl() {{ echo "<$*>"; }}\nqueuectl dlq ret\t-x\n'.encode())
        seen = b""
        while b"<dlq retry -x>" not in seen:
            ready, _, _ = select.select([terminal], [], [], 20)
            assert ready, seen
            seen += os.read(terminal, 4096)
    finally:
        os.write(terminal, b"exit\n")
        os.close(terminal)
        os.waitpid(pid, 0)
