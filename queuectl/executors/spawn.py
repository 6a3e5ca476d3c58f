"""Spawning: `sh -c`, or what comes to the same, in a session of its own, by the C library's posix_spawn called without the interpreter's lock.

A run's program, descriptors, session and signals are the same each time, so they are prepared once per slot; of the environment only the few
strings that differ are new. Compared with `subprocess.Popen` this halves what a spawn costs the parent, and slots do not wait for each other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from queuectl.executors import direct
from queuectl.executors.direct import SHELL, Direct

_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80  # the same in glibc and musl
_ENCODING = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()  # what os.fsencode uses
_ROOM = 1024  # bytes; more than any C library's types need (glibc: 80, 336 and 128)


def _load() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.posix_spawn_file_actions_addchdir_np  # noqa: B018  # an AttributeError here says: too old a library
    for name in (
        "posix_spawn",
        "posix_spawnp",
        "posix_spawn_file_actions_adddup2",
        "posix_spawn_file_actions_addchdir_np",
    ):
        getattr(libc, name).restype = ctypes.c_int
    libc.posix_spawn.argtypes = libc.posix_spawnp.argtypes = [ctypes.c_void_p] * 6
    return libc


class CannotStart(OSError):
    """A command that could not be started; `filename` is what was missing or refused."""


class Spawner:
    """Starts one slot's commands; not to be shared by threads.

    Args:
        stdin: descriptor that commands read from.
        environment: what all commands get.
        names: the variables that each command gets a value of its own for, in the order in which `start` takes the values.
        without_shell: whether plain commands may be started without a shell; None: never.
    """

    def __init__(
        self,
        *,
        stdin: int,
        environment: Mapping[str, str],
        names: Sequence[str],
        without_shell: Direct | None = None,
    ) -> None:
        self._libc = _load()
        self._direct, self._is_direct = without_shell, False
        self._stdin, self._names = stdin, [os.fsencode(n) + b"=" for n in names]
        self._base = [os.fsencode(f"{k}={v}") for k, v in environment.items() if k not in names]
        self._envp = (ctypes.c_char_p * (len(self._base) + len(names) + 1))(*self._base)
        self._values: list[str | None] = [None] * len(names)  # those that `_envp` holds
        self._passed_on = direct.passed_on(self._base)
        self._direct_envp = (ctypes.c_char_p * (len(self._passed_on) + len(names) + 2))(*self._passed_on)
        self._argv = (ctypes.c_char_p * 5)(SHELL.encode(), b"-c", b"--", None, None)
        self._shell = ctypes.create_string_buffer(SHELL.encode())
        self._attr = ctypes.create_string_buffer(_ROOM)
        mask = ctypes.create_string_buffer(_ROOM)
        self._libc.posix_spawnattr_init(self._attr)
        self._libc.posix_spawnattr_setflags(self._attr, ctypes.c_short(_SETSID | _SETSIGDEF | _SETSIGMASK))
        self._libc.sigemptyset(mask)
        self._libc.posix_spawnattr_setsigmask(self._attr, mask)
        self._libc.sigfillset(mask)
        self._libc.posix_spawnattr_setsigdefault(self._attr, mask)
        self._pid = ctypes.c_int()
        # Addresses, so that ctypes need not find them each time.
        self._pid_at, self._shell_at, self._attr_at, self._argv_at, self._envp_at = map(
            ctypes.addressof, (self._pid, self._shell, self._attr, self._argv, self._envp)
        )
        self._actions: Any = None
        self._actions_at = 0
        self._key: tuple[int, int, str] | None = None

    def start(
        self, command: str, *, stdout: int, stderr: int, cwd: str, values: Sequence[str], extra: Mapping[str, str] | None = None
    ) -> int:  # fmt: skip
        """Start a command; return its pid, which is also its session and process group.

        Args:
            command: for `sh -c`.
            stdout: descriptor it writes to.
            stderr: descriptor it writes errors to.
            cwd: the folder it starts in.
            values: of the names given at first.
            extra: variables of this command alone; they win.

        Raises:
            CannotStart: too long, no such folder, no shell, no more processes allowed.
        """
        how = None if extra else self._direct
        words = None
        if how is not None and (words := direct.words(command)) and not how.is_exact(lambda: self._try(how)):
            words = None
        self._set(stdout, stderr, cwd, values)
        self._is_direct = how is not None and words is not None and self._start_directly(how, words, cwd)
        if not self._is_direct:
            self._start_shell(command, cwd, self._with(extra, values) if extra else self._envp_at)
        return self._pid.value

    def _set(self, stdout: int, stderr: int, cwd: str, values: Sequence[str]) -> None:
        """Prepare for a command what is not as it was for the one before."""
        if self._key != (stdout, stderr, cwd):
            self._prepare(stdout, stderr, cwd)
        held, at = self._values, len(self._base)
        for i, value in enumerate(values):
            if value != held[i]:
                self._envp[at + i], held[i] = self._names[i] + value.encode(*_ENCODING), value

    def _start_shell(self, command: str, cwd: str, envp: Any) -> None:
        self._argv[3] = command.encode(*_ENCODING)
        code = self._libc.posix_spawn(
            self._pid_at, self._shell_at, self._actions_at, self._attr_at, self._argv_at, envp
        )
        if code:
            raise self._failure(code, cwd)

    @property
    def speaks_for_shell(self) -> bool:
        """Whether the command last started has no shell where one would have waited for it, and said it when a signal ends it."""
        return self._is_direct and self._direct is not None and self._direct.waits

    def _start_directly(self, how: Direct, words: Sequence[str], cwd: str) -> bool:
        """Start a command without the shell; return False when the shell must say why it does not start."""
        here = how.pwd(cwd)
        if here is None:
            return False
        envp, at = self._direct_envp, len(self._passed_on)
        for i in range(len(self._names)):
            envp[at + i] = self._envp[len(self._base) + i]
        envp[at + len(self._names)] = b"PWD=" + os.fsencode(here)
        argv = (ctypes.c_char_p * (len(words) + 1))(*[w.encode() for w in words])
        code = self._libc.posix_spawnp(
            self._pid_at, ctypes.c_char_p(argv[0]), self._actions_at, self._attr_at, argv, envp
        )
        return bool(code == 0)

    def _try(self, how: Direct) -> direct.Trial | None:
        """Let the shell start a command that tells what it was given, and compare it with what we would have given; None when it failed."""
        output = os.memfd_create("trial", os.MFD_CLOEXEC)
        try:
            here, values = how.pwd("/"), [v or "" for v in self._values]
            self._set(output, output, "/", values)
            self._start_shell(direct.TRIAL, "/", self._envp_at)
            pid = self._pid.value
            _, status = os.waitpid(pid, 0)
            own = [n + os.fsencode(v) for n, v in zip(self._names, values, strict=True)]
            given = [*self._passed_on, *own, b"PWD=" + os.fsencode(here or "")]
            return direct.told(os.pread(output, 1 << 22, 0), given=given, pid=pid) if status == 0 else None
        except OSError:
            return None
        finally:
            os.close(output)
            self._forget_actions()

    def _prepare(self, stdout: int, stderr: int, cwd: str) -> None:
        self._forget_actions()
        actions = ctypes.create_string_buffer(_ROOM)
        self._libc.posix_spawn_file_actions_init(actions)
        self._libc.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(cwd))
        for source, target in ((self._stdin, 0), (stdout, 1), (stderr, 2)):
            self._libc.posix_spawn_file_actions_adddup2(actions, source, target)
        self._actions, self._key = actions, (stdout, stderr, cwd)
        self._actions_at = ctypes.addressof(actions)

    def _with(self, extra: Mapping[str, str], values: Sequence[str]) -> Any:
        keys = {os.fsencode(k) + b"=" for k in extra}
        ours = [n + os.fsencode(v) for n, v in zip(self._names, values, strict=True)]
        kept = [e for e in self._base + ours if e[: e.index(b"=") + 1] not in keys]
        strings = kept + [os.fsencode(f"{k}={v}") for k, v in extra.items()]
        return (ctypes.c_char_p * (len(strings) + 1))(*strings)

    @staticmethod
    def _failure(code: int, cwd: str) -> CannotStart:
        # One number for three steps: what is left of the folder tells which of them it was.
        culprit = SHELL
        if code in (errno.ENOENT, errno.ENOTDIR, errno.EACCES) and not (
            os.path.isdir(cwd) and os.access(cwd, os.X_OK)
        ):
            culprit = cwd
        return CannotStart(code, os.strerror(code), culprit)

    def _forget_actions(self) -> None:
        if self._actions is not None:
            self._libc.posix_spawn_file_actions_destroy(self._actions)
            self._actions, self._key = None, None

    def close(self) -> None:
        """Free what the C library holds."""
        self._forget_actions()
        self._libc.posix_spawnattr_destroy(self._attr)


def close_on_exec() -> None:
    """Keep descriptors that we inherited from whoever started us out of commands."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # the listing's own
                pass


class Forker:
    """What `Spawner` does, by `subprocess`, for C libraries that cannot change the folder of what they spawn."""

    speaks_for_shell = False

    def __init__(
        self,
        *,
        stdin: int,
        environment: Mapping[str, str],
        names: Sequence[str],
    ) -> None:
        self._stdin, self._environment, self._names = stdin, dict(environment), names

    def start(
        self, command: str, *, stdout: int, stderr: int, cwd: str, values: Sequence[str], extra: Mapping[str, str] | None = None
    ) -> int:  # fmt: skip
        """Start a command, as `Spawner.start` does."""
        from subprocess import Popen

        env = {**self._environment, **dict(zip(self._names, values, strict=True)), **(extra or {})}
        try:
            child = Popen(
                [SHELL, "-c", "--", command], stdin=self._stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env, start_new_session=True
            )  # fmt: skip
        except OSError as e:
            raise CannotStart(e.errno, e.strerror, e.filename or SHELL) from None
        child.returncode = 0  # reaped by whoever started it: Popen must not wait for a pid that may be somebody else's by then
        return child.pid

    def close(self) -> None:
        """Nothing is held."""


def spawner(
    *, stdin: int, environment: Mapping[str, str], names: Sequence[str], without_shell: Direct | None = None
) -> Spawner | Forker:
    """Return the fastest way to start commands that this C library allows."""
    try:
        return Spawner(stdin=stdin, environment=environment, names=names, without_shell=without_shell)
    except AttributeError:
        return Forker(stdin=stdin, environment=environment, names=names)
