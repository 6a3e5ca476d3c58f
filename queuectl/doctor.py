"""The doctor: looks at the installation, the place of a database and what is in it, and says what is wrong and what to do. Changes nothing."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from shlex import quote
from typing import Any

from queuectl import _sqlite, place, processes, recovery, reserve
from queuectl.errors import QueuectlError
from queuectl.records import record
from queuectl.store import Store
from queuectl.store.checks import Checks

DISTRIBUTION = "queuectl-jupyter"
OTHER_ENGINES = ("apsw", "duckdb", "connectorx", "adbc_driver_sqlite")
FREE_BYTES = 64 << 20  # less is worth a word
WAL_BYTES = 64 << 20
PATIENCE_MS = 60_000  # ready jobs without a worker, and clocks apart, are worth a word after this
SHOWN = 5
ERROR, WARNING, NOTE = "error", "warning", "note"


@record
class Finding:
    """One thing that is wrong (`error`), may go wrong (`warning`) or is good to know (`note`)."""

    level: str
    check: str
    what: str
    why: str
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {n: getattr(self, n) for n in ("level", "check", "what", "why", "remedy")}


class Diagnosis(list[Finding]):
    """What was found, the worst first; true when there are errors or warnings.

    Args:
        findings: them.
        path: the database.
        checks: the names of all checks that were made.
    """

    columns = ("level", "check", "what", "why", "remedy")

    def __init__(self, findings: list[Finding], *, path: str, checks: tuple[str, ...]) -> None:
        order = (ERROR, WARNING, NOTE)
        super().__init__(sorted(findings, key=lambda f: order.index(f.level)))
        self.path, self.checks = path, checks

    @property
    def is_ill(self) -> bool:
        """Whether there is an error or a warning; notes do not count."""
        return any(f.level != NOTE for f in self)


@record
class Patient:
    """What the checks look at."""

    path: str
    now_ms: int
    store: Store | None = None

    def command(self, words: str) -> str:
        """Return a command line to copy."""
        return f"queuectl --db {quote(self.path)} {words}"

    @property
    def db(self) -> Store:
        """The open database."""
        assert self.store is not None
        return self.store

    def beside(self, ending: str) -> str:
        """Return the path of a file beside the database."""
        return self.path + ending


Check = Callable[[Patient], Iterator[Finding]]


def examine(path: str, *, now_ms: int) -> Diagnosis:
    """Make all checks.

    Args:
        path: absolute path of the database; it need not exist.
        now_ms: the wall clock, milliseconds UTC.
    """
    patient = Patient(path, now_ms)
    found = [f for check in OUTSIDE for f in check(patient)]
    checks = [_name(c) for c in OUTSIDE]
    if not os.path.lexists(path):
        return Diagnosis([*found, _absent(patient)], path=path, checks=tuple(checks))
    checks.append("database")
    store = None
    try:
        store = Store(path, create=False, read_only=True)
        patient = Patient(path, now_ms, store)
        for check in INSIDE:
            checks.append(_name(check))
            found += _tried(check, patient)
    except QueuectlError as e:
        found.append(_refused(patient, e))
    finally:
        if store is not None:
            store.close()
    return Diagnosis(found, path=path, checks=tuple(checks))


def _tried(check: Check, patient: Patient) -> list[Finding]:
    """Make one check; one that a damaged file does not let through is a finding too."""
    try:
        return [*check(patient)]
    except QueuectlError as e:
        what = f"the file is damaged: {_name(check)} cannot be checked ({e})"
        return [
            Finding(
                ERROR,
                "integrity",
                what,
                "what is in it can no longer be trusted; queuectl repairs nothing",
                _recover(patient),
            )
        ]


def _recover(patient: Patient) -> str:
    return f"sqlite3 {quote(patient.path)} .recover | sqlite3 recovered.db   # or restore a backup"


def _name(check: Check) -> str:
    return check.__name__.strip("_").replace("_", " ")


def _absent(p: Patient) -> Finding:
    return Finding(NOTE, "database", f"there is no database at {p.path} yet", "it is made when it is first used", p.command('enqueue -c "echo Hello World"'))  # fmt: skip


def _refused(p: Patient, error: QueuectlError) -> Finding:
    remedy = f"sqlite3 {quote('file:' + p.path + '?mode=ro')} 'pragma integrity_check'"
    return Finding(ERROR, "database", str(error), "queuectl does not work with a file that it cannot trust; it was left untouched", remedy)  # fmt: skip


# --- the installation and the place ---


def _installation(_: Patient) -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    if sys.version_info < (3, 11):  # noqa: UP036  # a package can be run without being installed
        yield Finding(
            ERROR,
            "installation",
            f"Python is {sys.version.split()[0]}",
            "3.11 or newer is needed",
            "python3.11 -m venv .venv",
        )
    for name, wanted in _needs():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = ""
        if not found or _numbers(found) < _numbers(wanted):
            what = f"{name} is {found}" if found else f"{name} is not installed"
            yield Finding(ERROR, "installation", what, f"{wanted} or newer is needed", f"{quote(sys.executable)} -m pip install '{name}>={wanted}'")  # fmt: skip
    if not os.path.exists("/proc/self/stat"):
        yield Finding(WARNING, "installation", "this is not Linux with /proc mounted", "workers run on Linux only; queues can be read and filled here", "uname -a")  # fmt: skip


def _needs() -> list[tuple[str, str]]:
    """Return the packages that are needed and their least versions, as the installed distribution tells; none when run from its source."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []
    plain = (re.match(r"([\w.-]+)[^;]*>=([\d.]+)", line) for line in lines if "extra ==" not in line)
    return [(m[1], m[2]) for m in plain if m]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


def _engine(p: Patient) -> Iterator[Finding]:
    found = _sqlite.sqlite3.sqlite_version_info
    if resets_unsafely(found):
        text = ".".join(map(str, found))
        yield Finding(
            NOTE, "engine", f"SQLite is {text}, which can lose pages when a checkpoint races with a reset of the log",
            "queuectl's own processes cannot meet (they checkpoint while nobody can write); other programs that write to the file can",
            f"{quote(sys.executable)} -c 'import sqlite3; print(sqlite3.sqlite_version)'   # 3.51.3, 3.50.7 or 3.44.6 has the correction",
        )  # fmt: skip
    loaded = {"sqlite3", "pysqlite3"} & {m.partition(".")[0] for m in sys.modules}
    engines = {getattr(sys.modules[m], "sqlite_version", None) for m in loaded if m in sys.modules}
    if len(engines - {None}) > 1:
        yield Finding(
            ERROR, "engine", "two SQLite engines are loaded in this process (sqlite3 and pysqlite3)",
            "on one file they drop each other's locks, and acknowledged work is lost",
            f"{quote(sys.executable)} -m pip uninstall pysqlite3 pysqlite3-binary",
        )  # fmt: skip
    from importlib.util import find_spec

    others = [name for name in OTHER_ENGINES if find_spec(name)]
    if others:
        yield Finding(
            NOTE, "engine", f"{', '.join(others)} can open SQLite files with an engine of its own",
            "opened in a process that holds the queue, it drops that process's locks; use it from another process, or on a backup",
            f"sqlite3 {quote(p.path)} '.backup queue-copy.db'",
        )  # fmt: skip


def resets_unsafely(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite has the race between a checkpoint and a reset of the write-ahead log.

    Source: SQLite's release notes of 3.51.3, with corrections in 3.50.7 and 3.44.6.
    """
    corrected = {(3, 50): 7, (3, 44): 6}
    least = corrected.get(version[:2])
    return version < (3, 51, 3) if least is None else version[2] < least


def _file_system(p: Patient) -> Iterator[Finding]:
    folder = _existing(os.path.dirname(p.path))
    kind = place.file_system(folder)
    if kind.startswith(place.NETWORK_FS):
        chosen = place.rollback_wanted()
        yield Finding(
            NOTE if chosen else ERROR, "file system", f"{folder} is on {kind}",
            "the rollback journal works there for one host only; another host's locks are not seen" if chosen
            else "SQLite's write-ahead log needs shared memory, which this file system does not give",
            f"export QUEUECTL_JOURNAL=rollback   # or: export QUEUECTL_DB={quote(os.path.expanduser('~/queue.db'))}",
        )  # fmt: skip


def _existing(folder: str) -> str:
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder


def _permissions(p: Patient) -> Iterator[Finding]:
    folder = os.path.dirname(p.path)
    for path in (folder, p.path, p.beside("-wal"), p.beside("-shm")):
        try:
            found = os.lstat(path)
        except OSError:
            continue
        mode, name = stat.S_IMODE(found.st_mode), quote(path)
        if found.st_uid != os.geteuid() and path != folder:
            yield Finding(
                ERROR,
                "permissions",
                f"{path} belongs to user {found.st_uid}",
                "its owner can run commands as you",
                f"ls -l {name}",
            )
        elif mode & stat.S_IWOTH and not (path == folder and mode & stat.S_ISVTX):
            yield Finding(
                ERROR,
                "permissions",
                f"anyone may write to {path}",
                "who writes to it can run commands as you",
                f"chmod o-w {name}",
            )
        elif mode & stat.S_IWGRP:
            yield Finding(
                WARNING,
                "permissions",
                f"the group may write to {path}",
                "everyone in the group can run commands as you",
                f"chmod g-w {name}",
            )
        elif mode & (stat.S_IROTH | stat.S_IRGRP) and path != folder and not _is_closed(folder):
            yield Finding(
                WARNING,
                "permissions",
                f"others may read {path}",
                "they see every command and its output",
                f"chmod go= {name}",
            )


def _is_closed(folder: str) -> bool:
    return not stat.S_IMODE(os.stat(folder).st_mode) & (stat.S_IXOTH | stat.S_IXGRP)


def _disk_space(p: Patient) -> Iterator[Finding]:
    folder = _existing(os.path.dirname(p.path))
    free = reserve.free_bytes(os.path.join(folder, "x"))
    if free < FREE_BYTES:
        scarce = free < reserve.FREE_BYTES + reserve.RESERVE_BYTES
        yield Finding(
            ERROR if scarce else WARNING, "disk space", f"{free / (1 << 20):.1f} MiB are free on the disk of {folder}",
            "nothing new is taken in or started" if scarce else "when it is full nothing new is taken in or started",
            f"df -h {quote(folder)}; du -sh {quote(folder)}/* | sort -h | tail",
        )  # fmt: skip


# --- the database ---


def _log_size(p: Patient) -> Iterator[Finding]:
    try:
        size = os.stat(p.beside("-wal")).st_size
    except OSError:
        return
    if size > WAL_BYTES:
        yield Finding(
            WARNING, "log size", f"the write-ahead log has grown to {size / (1 << 20):.0f} MiB",
            "a program reads from the database without an end, so that the log cannot be moved into it",
            f"fuser -v {quote(p.beside('-wal'))}",
        )  # fmt: skip


def _integrity(p: Patient) -> Iterator[Finding]:
    for damage in Checks(p.db.connection).damage():
        yield Finding(
            ERROR, "integrity", f"the file is damaged: {damage}", "what is in it can no longer be trusted; queuectl repairs nothing",
            _recover(p),
        )  # fmt: skip


def _counters(p: Patient) -> Iterator[Finding]:
    counted, kept = p.db.jobs.recount(), p.db.jobs.counts()
    if counted != kept:
        wrong = ", ".join(f"{s}: {kept[s]} instead of {n}" for s, n in counted.items() if n != kept[s])
        yield Finding(
            ERROR, "counters", f"the counters by state are wrong ({wrong})", "another program changed jobs with triggers off; claims go by these counters",
            _recover(p),
        )  # fmt: skip


def _clock(p: Patient) -> Iterator[Finding]:
    ahead = Checks(p.db.connection).latest_ms() - p.now_ms
    if ahead > PATIENCE_MS:
        yield Finding(
            WARNING, "clock", f"the clock is {_span(ahead)} behind the latest entry", "it was set back; jobs at a time of day wait that much longer",
            "timedatectl status",
        )  # fmt: skip


def _workers(p: Patient) -> Iterator[Finding]:
    boot, mono, lease, here = (
        processes.boot_id(),
        processes.mono_ms(),
        p.db.settings.get("lease"),
        os.uname().nodename,
    )
    dead = [
        worker
        for r in p.db.workers.runners()
        if recovery.is_dead(r, host=here, boot_id=boot, lease_ms=lease, mono_ms=mono)
        for worker in p.db.workers.ids(r.id)
    ]
    foreign = {
        w.host
        for w in p.db.workers.all()
        if w.id in dead and w.host != here and p.now_ms - w.heartbeat_at_ms < lease
    }
    if dead:
        yield Finding(
            WARNING, "workers", f"{_count(len(dead), 'worker')} registered whose process is gone: {_some(dead)}",
            "the next worker that starts puts their jobs back in line", p.command("worker"),
        )  # fmt: skip
    if foreign:
        yield Finding(
            ERROR, "workers", f"another host works on this queue: {_some(sorted(foreign))}",
            "its processes and locks cannot be seen from here, and jobs may run twice", p.command("workers"),
        )  # fmt: skip


def _lost_jobs(p: Patient) -> Iterator[Finding]:
    lost = [j.id for j in p.db.line.lost(None)]
    if lost:
        yield Finding(
            WARNING, "lost jobs", f"{_count(len(lost), 'job')} said to be run by workers that are not registered: {_some(lost)}",
            "nobody runs them; the next worker that starts puts them back in line", p.command("worker"),
        )  # fmt: skip


def _blocked_jobs(p: Patient) -> Iterator[Finding]:
    hopeless = Checks(p.db.connection).hopeless()
    if hopeless:
        parents = sorted({parent for _, parent in hopeless})
        yield Finding(
            WARNING, "blocked jobs", f"{_count(len(hopeless), 'job')} blocked for ever: {_some([i for i, _ in hopeless])}",
            f"they wait for jobs that have ended otherwise: {_some(parents)}", p.command(f"retry {parents[0]}   # or: cancel {hopeless[0][0]}"),
        )  # fmt: skip


def _waiting_jobs(p: Patient) -> Iterator[Finding]:
    checks, paused, served = Checks(p.db.connection), set(p.db.settings.paused()), _served_queues(p)
    why = {s.name: s.why for s in p.db.queues.all()}
    for kind, waiting in (("pending", checks.ready()), ("scheduled", checks.overdue(now_ms=p.now_ms))):
        for queue, n, since_ms in waiting:
            jobs, age = _count(n, f"{kind} job"), p.now_ms - since_ms
            if paused & {queue, "*"}:
                yield Finding(
                    WARNING, "waiting jobs", f"queue {queue} is {why.get(queue) or 'paused'}, with {jobs} in it", "nothing of it is claimed until it is resumed",
                    p.command("resume" if "*" in paused else f"resume {queue}"),
                )  # fmt: skip
            elif served is not None and queue not in served and age > PATIENCE_MS:
                yield Finding(
                    WARNING, "waiting jobs", f"{jobs} of queue {queue}, ready for {_span(age)} and not started",
                    "the workers that run serve other queues" if served else "no worker runs", p.command("worker --detach"),
                )  # fmt: skip


def _served_queues(p: Patient) -> set[str] | None:
    """Return the queues that live workers serve, None when all."""
    alive = [w for w in p.db.workers.all() if processes.read(w.pid) is not None]
    if any(w.queues is None for w in alive):
        return None
    return {q for w in alive for q in (w.queues or "").split(",")}


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _span(ms: int) -> str:
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if ms >= size:
            return f"{ms // size} {unit}"
    return f"{ms // 1000} s"


OUTSIDE: tuple[Check, ...] = (_installation, _engine, _file_system, _permissions, _disk_space)
INSIDE: tuple[Check, ...] = (
    _integrity, _log_size, _counters, _clock, _workers, _lost_jobs, _blocked_jobs, _waiting_jobs,
)  # fmt: skip
