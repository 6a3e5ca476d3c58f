"""What Linux says about processes: who lives, who is whose child, and which job a process belongs to.

A process is identified by (boot id, pid, start ticks), never by its pid alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from queuectl.errors import NotSupported
from queuectl.records import NamedTuple

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of glibc's mallopt
MMAP_BYTES = 65_536  # blocks as large as this get a mapping of their own; set, it does not grow by itself
RUN_COOKIE = b"QUEUECTL_RUN="
WORKER_COOKIE = b"QUEUECTL_WORKER_ID="


class Proc(NamedTuple):
    """One process as /proc tells it; `start` is in clock ticks since boot."""

    pid: int
    state: str
    ppid: int
    pgrp: int
    session: int
    start: int


def now_ms() -> int:
    """Return the wall clock, milliseconds UTC."""
    return time.time_ns() // 1_000_000


def mono_ms() -> int:
    """Return the monotonic clock of this boot, milliseconds; it stops while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000_000


def boot_id() -> str:
    """Return the identity of this boot of the machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return "unknown"


def host() -> str:
    """Return the name of this machine, or of this container: within it pids mean the same to all."""
    return os.uname().nodename


def require_linux() -> None:
    """Refuse to run workers where their promises cannot be kept."""
    if not os.path.exists("/proc/self/stat"):
        raise NotSupported(
            "worker: expected Linux with /proc mounted; queues can be read and filled here, but not worked"
        )


def read(pid: int) -> Proc | None:
    """Return a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            text = f.read()
    except OSError:
        return None
    # The name in parentheses may hold anything, so what follows starts after the last one.
    f2 = text[text.rindex(b")") + 2 :].split()
    return Proc(pid, f2[0].decode(), int(f2[1]), int(f2[2]), int(f2[3]), int(f2[19]))


def start_ticks(pid: int) -> int:
    """Return when a process started, in ticks since boot; 0 when it is gone."""
    found = read(pid)
    return found.start if found else 0


def is_alive(pid: int, start: int) -> bool:
    """Whether this very process still lives; zombies do not."""
    found = read(pid)
    return found is not None and found.start == start and found.state not in "ZX"


def table() -> dict[int, Proc]:
    """Return all processes by pid, zombies left out."""
    found = (read(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {p.pid: p for p in found if p is not None and p.state not in "ZX"}


def cookies(pid: int) -> tuple[str, str] | None:
    """Return (job id and run, worker id) from a process's environment, or None when it has none or hides it."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            text = b"\0" + f.read()
    except OSError:
        return None
    run, worker = (_value(text, name) for name in (RUN_COOKIE, WORKER_COOKIE))
    return (run, worker) if run and worker else None


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    try:
        with open(f"/proc/{pid}/status", "rb") as f:
            mask = f.read().partition(b"\nSigCgt:")[2].split(None, 1)[0]
    except (OSError, IndexError):
        return False
    return bool(int(mask, 16) >> (number - 1) & 1)


def is_marked(pid: int, *marks: str) -> bool:
    """Whether a process's environment holds all these `NAME=value`."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            text = b"\0" + f.read()
    except OSError:
        return False
    return all(b"\0" + os.fsencode(m) + b"\0" in text for m in marks)


def has_process(run: str, workers: Collection[str]) -> bool:
    """Whether a process of a run (`id.run`) of one of these workers lives, as far as we may see."""
    found = (cookies(pid) for pid in table())
    return any(c is not None and c[0] == run and c[1] in workers for c in found)


def _value(environ: bytes, name: bytes) -> str:
    at = environ.find(b"\0" + name)
    if at < 0:
        return ""
    at += 1 + len(name)
    return environ[at : environ.find(b"\0", at)].decode(errors="replace")


def descendants(roots: set[int], procs: dict[int, Proc]) -> set[int]:
    """Return the roots that live, and all their children's children."""
    found = {r for r in roots if r in procs}
    grown = True
    while grown:
        more = {p.pid for p in procs.values() if p.ppid in found} - found
        found |= more
        grown = bool(more)
    return found


def kill(pids: set[int], number: int, procs: dict[int, Proc]) -> set[int]:
    """Send a signal to these very processes; return those that are not ours to kill."""
    refused = set()
    for pid in pids:
        if start_ticks(pid) != procs[pid].start:
            continue
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            refused.add(pid)
    return refused


def kill_all(find: Callable[[dict[int, Proc]], set[int]], *, patience_s: float, pause_s: float) -> None:
    """Kill what `find` names among the processes, and all below, until it names none, only what is not ours to kill, or patience ends."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        procs = table()
        left = descendants(find(procs), procs) - {os.getpid()}
        if not left or kill(left, signal.SIGKILL, procs) == left:
            return
        time.sleep(pause_s)


def kill_workers_trees(workers: set[str], *, patience_s: float = 5.0) -> set[str]:
    """Kill every process that runs a job of these (dead) workers; return the runs (`id.run`) of which something still lives."""
    deadline = time.monotonic() + patience_s
    while True:
        procs = table()
        marked = {}
        for pid in procs:
            cookie = cookies(pid)
            if cookie is not None and cookie[1] in workers and pid != os.getpid():
                marked[pid] = cookie[0]
        if not marked:
            return set()
        sessions = {procs[p].session for p in marked if procs[p].session == p}
        roots = set(marked) | {p.pid for p in procs.values() if p.session in sessions}
        kill(descendants(roots, procs) - {os.getpid()}, signal.SIGKILL, procs)
        if time.monotonic() > deadline:
            return set(marked.values())
        time.sleep(0.005)


def adopted(handle: int) -> list[int]:
    """Return the children of a thread, given its open /proc/…/children file."""
    return [int(p) for p in os.pread(handle, 65536, 0).split()]


def open_children(pid: int, tid: int) -> int | None:
    """Open the list of a thread's children, or None where the kernel does not keep one."""
    try:
        return os.open(f"/proc/{pid}/task/{tid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


@cache
def _libc() -> Any:
    from ctypes import CDLL  # only where workers run

    return CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Let orphaned descendants become children of this process."""
    _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(number: int, parent: int) -> bool:
    """Ask for a signal when the parent (more exactly, the thread that forked us) ends; False when it already has."""
    _libc().prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    return os.getppid() == parent


def bound_heap() -> None:
    """Keep this process's heap from growing by what was in use only for a moment; for long-lived processes, before they start threads.

    Outputs of runs pass through memory for the length of a transaction, among small things that stay: on the heap they leave holes, and the heap
    grows past them. In mappings of their own they go back to the system at once. A heap of each thread's own is of no use to threads that wait.
    """
    with contextlib.suppress(AttributeError):  # a C library without it
        _libc().mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
        _libc().mallopt(_M_ARENA_MAX, 2)


def punch(handle: int, start: int, length: int) -> None:
    """Give a part of a file back to the disk, keeping its size."""
    from ctypes import c_long

    _libc().fallocate(handle, 3, c_long(start), c_long(length))  # KEEP_SIZE | PUNCH_HOLE
