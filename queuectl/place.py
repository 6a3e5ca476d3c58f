"""The place: where a database may live. Looks with `stat` only, and touches nothing."""

from __future__ import annotations

import os
import stat

from queuectl.errors import DatabaseRefused, InvalidValue, NotSupported

NETWORK_FS = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "virtiofs",
    "fuse",
    "ceph",
    "lustre",
    "gfs",
    "ocfs",
    "afs",
    "glusterfs",
    "vboxsf",
    "prl_fs",
    "beegfs",
)

SUFFIXES = ("", "-wal", "-shm", "-journal", "-reserve")  # of a database's files
_ours: set[str] = set()  # databases that queues of this process use


def remember(path: str) -> None:
    """Note the path of a database that this process has or may get open."""
    _ours.add(path)


def check_foreign(path: str) -> None:
    """Refuse a file that is one of a queue's own, under whatever name. Looks, touches nothing.

    To open and close the file of a database beside SQLite drops the locks that SQLite holds on it in this process.

    Raises:
        InvalidValue: it is the database of a queue in use here, or its log or the like.
        OSError: there is no such file.
    """
    found = os.stat(path)
    for ours in {base + suffix for base in _ours for suffix in SUFFIXES}:
        try:
            other = os.stat(ours)
        except OSError:
            continue
        if os.path.samestat(found, other):
            raise InvalidValue(f"{path}: is a file of the queue's own database ({ours}); name another file")


def check_input(path: str) -> None:
    """Refuse what is no plain file to read from: a folder, a pipe (which could hang), a device, a file of a queue's own database.

    Raises:
        InvalidValue: it is one.
        OSError: there is no such file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise InvalidValue(f"{path}: expected a file")
    check_foreign(path)


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the path of a database as we use it everywhere: absolute, its folder resolved, itself not followed."""
    given = os.fspath(path)
    if not isinstance(given, str) or not given.strip() or "\0" in given or "\n" in given:
        raise InvalidValue(f"--db: expected a path, got {given!r}")
    folder, name = os.path.split(os.path.abspath(given))
    return os.path.join(os.path.realpath(folder), name)


def check_file(path: str) -> None:
    """Refuse a database file that is unsafe to run commands from. Looks, touches nothing.

    Raises:
        DatabaseRefused: a folder, symlink, hard link, somebody else's or world-writable file, or an open folder.
        NotSupported: a network file system, on which the write-ahead log cannot work.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise DatabaseRefused(f"{path}: is a symbolic link; give the file itself")
    if not stat.S_ISREG(found.st_mode):
        raise DatabaseRefused(f"{path}: expected a file, found {_kind(found.st_mode)}")
    if found.st_size == 0:
        raise DatabaseRefused(
            f"{path}: is an empty file that queuectl did not make; remove it or name another"
        )
    if found.st_nlink > 1:
        raise DatabaseRefused(
            f"{path}: has {found.st_nlink} hard links; SQLite needs a file with one name. Copy it with `sqlite3 … .backup`"
        )
    if found.st_uid != os.geteuid():
        raise DatabaseRefused(
            f"{path}: belongs to user {found.st_uid}; commands run as you, so only your own file is used"
        )
    if found.st_mode & stat.S_IWOTH:
        raise DatabaseRefused(f"{path}: anyone may write to it and so run commands as you; chmod o-w {path}")
    check_folder(os.path.dirname(path))


def check_folder(folder: str) -> None:
    """Refuse a folder that everybody may write to, and file systems without shared memory."""
    try:
        mode = os.stat(folder).st_mode
    except OSError as e:
        raise DatabaseRefused(
            f"{folder}: {e.strerror}; the database's folder must exist or be creatable"
        ) from None
    if not stat.S_ISDIR(mode):
        raise DatabaseRefused(f"{folder}: expected a folder, found {_kind(mode)}")
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise DatabaseRefused(
            f"{folder}: anyone may write to this folder; chmod o-w {folder}, or move the database"
        )
    kind = file_system(folder)
    if kind.startswith(NETWORK_FS) and not rollback_wanted():
        raise NotSupported(
            f"{folder}: is on {kind}, where SQLite's write-ahead log is unsafe; use a local path, "
            "or set QUEUECTL_JOURNAL=rollback and use the queue from this one host only"
        )


def _kind(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a FIFO" if stat.S_ISFIFO(mode) else "a device or socket"


def file_system(folder: str) -> str:
    """Return the type of the file system a folder is on (from /proc/self/mountinfo), or '' when unknown."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                head, _, tail = line.partition(" - ")
                if head.split()[2] == wanted:
                    return tail.split()[0]
    except OSError:
        pass
    return ""


def rollback_wanted() -> bool:
    value = os.environ.get("QUEUECTL_JOURNAL", "wal")
    if value not in ("wal", "rollback"):
        raise InvalidValue(f"QUEUECTL_JOURNAL: expected wal or rollback, got {value!r}")
    return value == "rollback"
