"""The file: SQLite opened our way, and the only module that imports sqlite-utils.

One engine per process: sqlite-utils takes pysqlite3 when it is installed, so we do too; two engines on one file in one process
drop each other's POSIX locks. For the same reason nothing here opens, reads or copies the database file itself: what must be known
of it is asked with `stat`, or of SQLite.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from queuectl import inode, place
from queuectl.errors import (
    DatabaseBusy,
    DatabaseMoved,
    DatabaseRefused,
    DiskFull,
    QueuectlError,
)

if TYPE_CHECKING:
    import sqlite3 as sqlite3

    import sqlite_utils
else:
    sqlite3 = importlib.import_module("pysqlite3" if importlib.util.find_spec("pysqlite3") else "sqlite3")

APPLICATION_ID = 0x71637431  # "qct1"
BUSY_S = 30.0
CHECKPOINT_BYTES = 4 << 20
ROOMY_KIB = 32_768
BUSY_CODES = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED (primary codes)

lean = False  # set by command and worker processes: sqlite-utils is then imported without pandas and numpy

_orphans: list[
    Any
] = []  # connections inherited through fork: never used, never closed (closing would drop the parent's WAL)


def utils() -> Any:
    """Import sqlite-utils; in a lean process without the pandas and numpy that it would import along."""
    if "sqlite_utils" in sys.modules or not lean:
        return importlib.import_module("sqlite_utils")
    masked = [m for m in ("pandas", "numpy") if m not in sys.modules]
    for name in masked:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("sqlite_utils")
    finally:
        for name in masked:
            del sys.modules[name]


class Connection:
    """One open database: `write()` for changes, `rows()` for questions, `utils` for sqlite-utils' face of the same connection.

    Args:
        path: absolute path of an existing database file.
        waiting: called again and again while the write lock is held by somebody else, also within a transaction; it must not
            use this connection (a worker beats its heart there, and keeps the limits of its jobs).
        read_only: change nothing, and do not even move the log into the database at the end.
        cache_kib: most memory for pages of the file, KiB; None for SQLite's own 2000.
    """

    def __init__(
        self,
        path: str,
        *,
        waiting: Callable[[], None] | None = None,
        read_only: bool = False,
        cache_kib: int | None = None,
    ) -> None:
        self.path, self.read_only = path, read_only
        self._log = path + "-wal"
        self.cache_kib = cache_kib
        self.waiting = waiting
        self.pid = os.getpid()
        self.rollback_journal = place.rollback_wanted()
        self.has_wal = False
        self.wal_bytes = 0
        # Whoever closes last moves the log and removes it; opened `ro` SQLite leaves it alone, but would leave an empty one where there was none.
        has_log = os.path.exists(self._log)
        mode = "ro" if read_only and has_log else "rw"
        if not os.access(os.path.dirname(path), os.W_OK):
            mode = "ro" if has_log else "ro&immutable=1"  # without a log to read nobody can be writing
        uri = f"file:{path.replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
        with translated(path):
            self.sql: sqlite3.Connection = sqlite3.connect(
                uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        self._utils: sqlite_utils.Database | None = None
        self._file = _inode(path)
        self._wal: tuple[int, int] | None = None
        self._look: Callable[[], inode.Named] | None = None

    def configure(self) -> None:
        """Set what a connection must set each time; the journal mode is part of the file, which therefore decides.

        Raises:
            DatabaseBusy: the rollback journal is asked for, and others still hold the file with its write-ahead log.
        """
        mode = self.rows("pragma journal_mode")[0][0]
        if self.rollback_journal and mode == "wal" and not self.read_only:
            mode = self.rows("pragma journal_mode=delete")[0][0]
        self.has_wal = mode == "wal"
        self.rollback_journal = not self.has_wal
        sync = "full" if self.has_wal else "extra"
        for pragma in (
            f"synchronous={sync}",
            "wal_autocheckpoint=0",
            f"journal_size_limit={CHECKPOINT_BYTES}",  # a log that starts anew is cut, so that its size tells what is in it
            "foreign_keys=on",
            "trusted_schema=off",
            "temp_store=memory",
        ):
            self.rows(f"pragma {pragma}")
        if self.cache_kib is not None:
            self.rows(f"pragma cache_size=-{self.cache_kib}")
        if self.read_only:
            self.rows("pragma query_only=on")

    def close(self) -> None:
        """Close the connection, unless it was inherited through fork."""
        if self.pid != os.getpid():
            _orphans.append(self.sql)
            return
        self.sql.close()

    @property
    def utils(self) -> sqlite_utils.Database:
        """The same connection as a sqlite-utils Database, for schema, reports and maintenance."""
        if self._utils is None:
            self._utils = utils().Database(self.sql, execute_plugins=False)
        return self._utils

    def rows(self, sql: str, args: Any = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one read, or of one statement inside `write()`."""
        self._check_pid()
        patience = _Patience(self.path, self.waiting)
        while True:
            try:
                return self.sql.execute(sql, args).fetchall()
            except sqlite3.OperationalError as e:
                if self.sql.in_transaction or not _is_busy(e):
                    raise self.fault(e) from e
                patience.wait()
            except sqlite3.DatabaseError as e:
                raise self.fault(e) from e

    def one(self, sql: str, args: Any = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        rows = self.rows(sql, args)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One `begin immediate` transaction: committed, synced and checked when the block ends without an error.

        Args:
            durable: False leaves the sync to the next durable commit: safe from crashes of processes, lost with all that is as new in a power cut.

        Raises:
            DatabaseBusy: the write lock was held by others for 30 s.
            DatabaseMoved: the file was replaced while open; what was written is not acknowledged.
            DiskFull: no space; nothing was written.
        """
        if self.sql.in_transaction:
            yield self.sql
            return
        self._check_pid()
        relaxed = self.has_wal and not durable
        if relaxed:
            self.sql.execute("pragma synchronous=normal")
        try:
            yield from self._transaction()
        finally:
            if relaxed:
                self.sql.execute("pragma synchronous=full")
        self._acknowledge()

    def insert(self, sql: str, args: Any) -> int:
        """One insert of one row, or of none, as a durable transaction of its own, as `write` makes it, in fewer statements.

        Returns: the row's number, 0 for none.

        Raises:
            sqlite3.IntegrityError: a constraint refuses the row; nothing was written.
        """
        if self.sql.in_transaction or not self.has_wal:
            with self.write() as connection:
                return _number(connection.execute(sql, args))
        self._check_pid()
        try:
            number = _number(self._patiently(sql, args))
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as e:
            raise self.fault(e) from e
        self._acknowledge()
        return number

    @contextlib.contextmanager
    def roomy(self) -> Iterator[None]:
        """Keep more pages in memory during one large change, so that none is written to the log twice."""
        usual = int(self.rows("pragma cache_size")[0][0])
        self.rows(f"pragma cache_size=-{ROOMY_KIB}")
        try:
            yield
        finally:
            self.rows(f"pragma cache_size={usual}")

    def _acknowledge(self) -> None:
        """After a commit, before anybody is told that it is done."""
        if self.has_wal and self.waiting is None:
            self._nudge()  # first: whoever waits for it need not wait for our look
        self.check_place()

    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._begin()
        try:
            yield self.sql
            self._patiently("commit")
        except BaseException as e:
            if self.sql.in_transaction:
                self.sql.execute("rollback")
            if isinstance(e, sqlite3.DatabaseError) and not isinstance(e, sqlite3.IntegrityError):
                raise self.fault(e) from e
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """One read transaction: all reads in the block show the same moment."""
        if self.sql.in_transaction:
            yield
            return
        self._check_pid()
        patience = _Patience(self.path, self.waiting)
        while True:
            try:
                self.sql.execute("begin")
                self.sql.execute(
                    "select 1 from sqlite_schema limit 1"
                ).fetchall()  # the moment is that of the first read
                break
            except sqlite3.OperationalError as e:
                if self.sql.in_transaction:
                    self.sql.execute("rollback")
                if not _is_busy(e):
                    raise self.fault(e) from e
                patience.wait()
        try:
            yield
        finally:
            if self.sql.in_transaction:
                self.sql.execute("rollback")

    def _begin(self) -> None:
        try:
            self._patiently("begin immediate")
        except sqlite3.OperationalError as e:
            raise self.fault(e) from e

    def _patiently(self, statement: str, args: Any = ()) -> sqlite3.Cursor:
        """Begin, commit (with the rollback journal that waits for those who read, and the transaction stays open meanwhile), or both in one statement."""
        patience = _Patience(self.path, self.waiting)
        while True:
            try:
                return self.sql.execute(statement, args)
            except sqlite3.OperationalError as e:
                if not _is_busy(e):
                    raise
                patience.wait()

    def _nudge(self) -> None:
        """Tell sleeping runners that a commit can be seen now: they watch the log, and its last write was before the sync.

        They hear that it was opened and closed, which leaves no trace on it: a new time of change would make the next sync half as long again. SQLite
        has no locks on the log that closing it here could lose.
        """
        try:
            os.close(os.open(self._log, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass

    def check_place(self) -> None:
        """Check that the path still names the file we hold, and its -wal the log we wrote to."""
        try:
            here = _inode(self.path)
            wal = None
            if self.has_wal:
                device, node, self.wal_bytes = self._look_at_log()
                wal = (device, node)
        except OSError:
            here, wal = (0, 0), None
        if here != self._file or (self._wal is not None and wal != self._wal):
            raise DatabaseMoved(
                f"database was moved: {self.path} or its -wal was deleted or replaced while open; "
                "the last change was not acknowledged. Restore the file, then start again"
            )
        self._wal = wal

    def _look_at_log(self) -> inode.Named:
        if self._wal is None:  # for the first time, and in a single command the last
            return inode.by_stat(self._log)
        if self._look is None:
            self._look = inode.looker(self._log)
        return self._look()

    def data_version(self) -> int:
        """A number that changes when another connection has committed."""
        return int(self.rows("pragma data_version")[0][0])

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, under a sibling's write lock.

        SQLite before 3.51.3 can lose pages when a checkpoint races with a reset of the log; while nobody can write, none is reset.
        """
        if self.rollback_journal:
            return
        sibling = Connection(self.path, waiting=self.waiting)
        try:
            sibling.rows("pragma wal_autocheckpoint=0")
            sibling._begin()
            self.rows("pragma wal_checkpoint(passive)")
            sibling.sql.execute("rollback")
        finally:
            sibling.close()

    def checkpoint_if_large(self) -> None:
        """Checkpoint when the log has passed 4 MiB."""
        if self.wal_bytes > CHECKPOINT_BYTES:
            self.checkpoint()
            self.wal_bytes = 0

    def fault(self, error: sqlite3.DatabaseError) -> QueuectlError:
        """Return an engine's error in our words."""
        return _fault(error, self.path)

    def _check_pid(self) -> None:
        if self.pid != os.getpid():
            raise QueuectlError(
                "this connection was opened before a fork; open the queue again in the child process"
            )


def _number(inserted: sqlite3.Cursor) -> int:
    return (inserted.lastrowid or 0) if inserted.rowcount else 0


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in BUSY_CODES


class _Patience:
    """Waiting for the write lock: short random naps, so that of many waiters each gets its turn."""

    def __init__(self, path: str, waiting: Callable[[], None] | None) -> None:
        self.path, self.waiting = path, waiting
        self.since = 0.0

    def wait(self) -> None:
        now = time.monotonic()
        self.since = self.since or now
        if now - self.since > BUSY_S:
            raise DatabaseBusy(
                f"{self.path}: another program has held the write lock for {BUSY_S:g} s; end it and try again"
            )
        if self.waiting:
            self.waiting()
        import random  # who never waits does without

        time.sleep(random.uniform(0.0001, 0.0006) if now - self.since < 1 else random.uniform(0.001, 0.004))


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn the engine's errors into ours."""
    try:
        yield
    except sqlite3.DatabaseError as e:
        raise _fault(e, path) from e


def _fault(error: sqlite3.DatabaseError, path: str) -> QueuectlError:
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if code in BUSY_CODES:
        return DatabaseBusy(f"{path}: locked by another program; try again")
    if code in (11, 26):  # CORRUPT, NOTADB
        return DatabaseRefused(
            f"{path}: not a queuectl database, or damaged ({error}); it was left untouched: restore a backup or name another file"
        )
    if code == 13 or (code == 10 and "disk" in str(error) and _no_space(path)):
        return DiskFull(
            f"{path}: no space left on the disk; nothing was recorded. Free some space and try again"
        )
    if code in (8, 14):  # READONLY, CANTOPEN
        return DatabaseRefused(
            f"{path}: cannot be opened for writing ({error}); check the permissions of the file and its folder"
        )
    return QueuectlError(f"{path}: {error}")


def _no_space(path: str) -> bool:
    info = os.statvfs(os.path.dirname(path))
    return info.f_bavail * info.f_frsize < 1 << 20


def _inode(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def create(path: str, fill: Callable[[Connection], None]) -> None:
    """Make a new database so that it appears whole or not at all: filled beside its place, then renamed into it.

    All creators queue for a lock on the folder, so one makes it and the others find it.
    """
    folder = os.path.dirname(path)
    try:
        _make_folder(folder)
        place.check_folder(folder)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as e:
        raise DatabaseRefused(
            f"{folder}: {e.strerror}; the database's folder must exist or be creatable"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not os.path.lexists(path):
            _refuse_orphans(path)
            _make(path, folder, fill)
            os.fsync(handle)
            _sync_folder(os.path.dirname(folder))  # whoever made the folder may not have come to it yet
    except OSError as e:
        if isinstance(e, QueuectlError):
            raise
        raise DatabaseRefused(f"{path}: cannot be created: {e.strerror}") from None
    finally:
        os.close(handle)


def _refuse_orphans(path: str) -> None:
    """Refuse to make a database beside the log of one that was deleted or moved: SQLite would take the old pages for the new file's.

    Raises:
        DatabaseRefused: there is such a log, and it is not empty.
    """
    for log in (path + "-wal", path + "-journal"):
        try:
            left = os.lstat(log).st_size
        except FileNotFoundError:
            continue
        if left:
            raise DatabaseRefused(
                f"{log}: lies there without its database; move the database back, or move this file away to start anew"
            )


def _make_folder(folder: str) -> None:
    """Make a folder and those above it that are missing, each one's name synced: a file is no safer than its path."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # may be passed through but not listed; what lies in it was there before us
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make(path: str, folder: str, fill: Callable[[Connection], None]) -> None:
    draft = os.path.join(folder, f".{os.path.basename(path)}.new")
    for old in (draft, draft + "-wal", draft + "-shm", draft + "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(old)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = Connection(draft)
    try:
        fill(connection)
        connection.rows(f"pragma journal_mode={'delete' if connection.rollback_journal else 'wal'}")
    finally:
        connection.close()
    os.rename(draft, path)
