"""Spawning: `sh -c` in a session of its own, by the C library's posix_spawn called without the interpreter's lock.

A run's program, descriptors, session and signals are the same each time, so they are prepared once per slot; of the environment only the few
strings that differ are new. Compared with `subprocess.Popen` this halves what a spawn costs the parent, and slots do not wait for each other.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any

SHELL = "/bin/sh"
_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80  # the same in glibc and musl
_ROOM = 1024  # bytes; more than any C library's types need (glibc: 80, 336 and 128)


def _load() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.posix_spawn_file_actions_addchdir_np  # noqa: B018  # an AttributeError here says: too old a library
    for name in ("posix_spawn", "posix_spawn_file_actions_adddup2", "posix_spawn_file_actions_addchdir_np"):
        getattr(libc, name).restype = ctypes.c_int
    libc.posix_spawn.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_void_p] * 4
    return libc


class CannotStart(OSError):
    """A command that could not be started; `filename` is what was missing or refused."""


class Spawner:
    """Starts one slot's commands; not to be shared by threads.

    Args:
        stdin: descriptor that commands read from.
        environment: what all commands get.
        names: the variables that each command gets a value of its own for, in the order in which `start` takes the values.
    """

    def __init__(self, *, stdin: int, environment: Mapping[str, str], names: Sequence[str]) -> None:
        self._libc = _load()
        self._stdin, self._names = stdin, [os.fsencode(n) + b"=" for n in names]
        self._base = [os.fsencode(f"{k}={v}") for k, v in environment.items() if k not in names]
        self._envp = (ctypes.c_char_p * (len(self._base) + len(names) + 1))(*self._base)
        self._values: list[str | None] = [None] * len(names)  # those that `_envp` holds
        self._argv = (ctypes.c_char_p * 5)(SHELL.encode(), b"-c", b"--", None, None)
        self._attr = ctypes.create_string_buffer(_ROOM)
        mask = ctypes.create_string_buffer(_ROOM)
        self._libc.posix_spawnattr_init(self._attr)
        self._libc.posix_spawnattr_setflags(self._attr, ctypes.c_short(_SETSID | _SETSIGDEF | _SETSIGMASK))
        self._libc.sigemptyset(mask)
        self._libc.posix_spawnattr_setsigmask(self._attr, mask)
        self._libc.sigfillset(mask)
        self._libc.posix_spawnattr_setsigdefault(self._attr, mask)
        self._pid = ctypes.c_int()
        self._pid_at = ctypes.addressof(self._pid)
        self._path = ctypes.c_char_p(SHELL.encode())
        self._actions: Any = None
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
        if self._key != (stdout, stderr, cwd):
            self._prepare(stdout, stderr, cwd)
        argv, envp = self._argv, self._envp
        argv[3] = os.fsencode(command)
        held, at = self._values, len(self._base)
        for i, value in enumerate(values):
            if value != held[i]:
                envp[at + i], held[i] = self._names[i] + os.fsencode(value), value
        if extra:
            envp = self._with(extra, values)
        code = self._libc.posix_spawn(self._pid_at, self._path, self._actions, self._attr, argv, envp)
        if code:
            raise self._failure(code, cwd)
        return self._pid.value

    def _prepare(self, stdout: int, stderr: int, cwd: str) -> None:
        self._forget_actions()
        actions = ctypes.create_string_buffer(_ROOM)
        self._libc.posix_spawn_file_actions_init(actions)
        self._libc.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(cwd))
        for source, target in ((self._stdin, 0), (stdout, 1), (stderr, 2)):
            self._libc.posix_spawn_file_actions_adddup2(actions, source, target)
        self._actions, self._key = actions, (stdout, stderr, cwd)

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

    def __init__(self, *, stdin: int, environment: Mapping[str, str], names: Sequence[str]) -> None:
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


def spawner(*, stdin: int, environment: Mapping[str, str], names: Sequence[str]) -> Spawner | Forker:
    """Return the fastest way to start commands that this C library allows."""
    try:
        return Spawner(stdin=stdin, environment=environment, names=names)
    except AttributeError:
        return Forker(stdin=stdin, environment=environment, names=names)
