"""Direct starts: a command of plain words, executed as `sh -c` would have executed it, without the shell in between.

A shell that is given one external command has nothing to do but to start it, to wait for it and to pass on how it ended, which takes as long as many
a command itself. It is left out where that comes to the same: the shell is dash, the command has no character that means something to it and does
not begin with a word of its own, and a trial on this machine has shown that the environment we give is the one that the shell gives.
Whatever cannot be started so, because it is missing say, is given to the shell after all, and fails in its words; and of a
command that a signal ends we say what a shell that waited for it would have said. See docs/decisions/plain-commands-without-a-shell.md.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Mapping, Sequence

from queuectl.records import NamedTuple

SHELL = "/bin/sh"
_PLAIN = re.compile(r"[ \t]*[A-Za-z0-9_./+,:@%-]+(?:[ \t]+[A-Za-z0-9_./+,:@%=-]+)*[ \t]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# dash's own words: special and other built-in commands, and what begins or ends a compound command.
OF_THE_SHELL = frozenset((
    ".", ":", "[", "alias", "bg", "break", "cd", "chdir", "command", "continue", "echo", "eval", "exec", "exit", "export", "false", "fc", "fg", "getopts",
    "hash", "history", "jobs", "kill", "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "test", "times", "trap", "true", "type",
    "ulimit", "umask", "unalias", "unset", "wait",
    "!", "{", "}", "case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "then", "until", "while",
))  # fmt: skip
SETSID = "setsid"  # behaves otherwise when it leads a session, as without a shell it would, also at the end of another command's words
QUIET = (signal.SIGINT, signal.SIGPIPE)  # deaths of which dash says nothing
# Of a process: what it was given, and its pid.
TRIAL = "cat /proc/self/environ /proc/self/stat"


def words(command: str) -> list[str] | None:
    """Return the words of a command that means nothing but them and begins with no word of the shell's; None for any other."""
    first = command.split(None, 1)[:1]
    if not first or first[0] in OF_THE_SHELL or SETSID in command or not _PLAIN.fullmatch(command):
        return None
    return command.split()


class Direct:
    """Whether commands may be started without a shell, and the environment that they then need; shared by the slots of a runner.

    Args:
        environment: what all commands get.
        shell: path of the shell that is left out.
    """

    def __init__(self, environment: Mapping[str, str], *, shell: str = SHELL) -> None:
        self._pwd = environment.get("PWD", "")
        path = environment.get("PATH", "").split(":")
        # In dash's PATH `%` is a mark of its own, and a relative folder would depend on where one stands.
        may = all(p.startswith("/") and "%" not in p for p in path)
        may = may and os.path.basename(os.path.realpath(shell)) == "dash"
        self._lock = threading.Lock()
        self._is_exact: bool | None = None if may else False
        self.waits = True  # whether the shell waits for the command, instead of becoming it

    def is_exact(self, trial: Callable[[], Trial | None]) -> bool:
        """Whether a direct start is what the shell's would be; the trial is made once."""
        if self._is_exact is None:
            with self._lock:
                if self._is_exact is None:
                    found = trial()
                    self.waits = found is not None and found.waits
                    self._is_exact = found is not None and found.as_given
        return self._is_exact

    def pwd(self, cwd: str) -> str | None:
        """Return what the shell would call the folder it is started in, None where that is not plain."""
        try:
            if self._pwd.startswith("/"):
                there = _stat(self._pwd)
                if there is not None and os.path.samestat(os.stat(cwd), there):
                    return self._pwd
            handle = os.open(cwd, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                name = os.readlink(f"/proc/self/fd/{handle}")
            finally:
                os.close(handle)
        except OSError:
            return None
        return name if name.startswith("/") and not name.endswith(" (deleted)") else None


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def passed_on(strings: Sequence[bytes]) -> list[bytes]:
    """Return those of an environment's strings that the shell passes on: with a name that it can have as a variable; PWD it sets itself."""
    named = [(os.fsdecode(s.partition(b"=")[0]), s) for s in strings]
    return [s for name, s in named if name != "PWD" and _NAME.fullmatch(name)]


class Trial(NamedTuple):
    """What a trial has shown: whether the command got what we would have given it, and whether the shell waited for it."""

    as_given: bool
    waits: bool


def told(output: bytes, *, given: Sequence[bytes], pid: int) -> Trial:
    """Return what a trial's output tells.

    Args:
        output: of the command `TRIAL`.
        given: the environment that a direct start would have given.
        pid: the shell's.
    """
    environment, _, stat = output.rpartition(b"\0")
    return Trial(sorted(environment.split(b"\0")) == sorted(given), stat.split(b" ", 1)[0] != b"%d" % pid)


def last_words(status: int) -> bytes:
    """Return what dash writes to standard error of a command that a signal ended; `status` is the one that `wait` gives."""
    number = os.WTERMSIG(status)
    if number in QUIET:
        return b""
    said = (signal.strsignal(number) or "")[:32]
    return f"{said}{' (core dumped)' if os.WCOREDUMP(status) else ''}\n".encode()
