"""What a power cut would leave behind: recorded writes and syncs, replayed into images of the disk, each opened and compared with what was acknowledged.

The model is harder than most file systems. A write is durable only when its file was synced after it; until then it may be lost, kept, or torn at a
sector of 512 bytes, each independently of the others. A name (a new file, a rename, an unlink, a new folder) is durable only when its folder was
synced; until then any first part of the folder's changes may have reached the disk. The shared memory of the log holds noise.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from crash_workloads import BATCH
from harness import check_invariants

from queuectl.errors import QueuectlError
from queuectl.queue import Queue
from queuectl.store import Store

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
SECTOR = 512
_HEADER = struct.Struct("<IIQqIIQ")


class Operation(NamedTuple):
    """One recorded call."""

    kind: str
    thread: int
    inode: int
    offset: int
    path: str
    other: str
    data: bytes


def build_recorder(folder: Path) -> Path:
    """Compile the recorder."""
    out = folder / "recorder.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("expected a C compiler (cc), found none")
    source = HERE / "recorder.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", out, source, "-ldl"], check=True)
    return out


def record(
    recorder: Path, folder: Path, scenario: str, *, without: str = "", journal: str = "wal"
) -> list[Operation]:
    """Run a scenario in a process of its own and return what it asked of the file system, in order.

    Args:
        recorder: the compiled recorder.
        folder: an empty folder; the database is made below it.
        scenario: its name, of `crash_workloads.SCENARIOS`.
        without: a mechanism to leave out: `normal` or `off` for syncs of the log, `folder` for those of new folders.
        journal: wal or rollback.
    """
    root, log = folder / "disk", folder / "log"
    root.mkdir(mode=0o700)
    env = {
        **os.environ,
        "LD_PRELOAD": str(recorder),
        "RECORD_ROOT": str(root),
        "RECORD_LOG": str(log),
        "QUEUECTL_JOURNAL": journal,
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(HERE)]),
    }
    words = [scenario, str(root / "data" / "queue.db"), str(root / "told.ack"), without]
    subprocess.run([sys.executable, str(HERE / "crash_workloads.py"), *words], env=env, check=True)
    return list(_operations(log.read_bytes(), str(root)))


def _operations(log: bytes, root: str) -> Iterator[Operation]:
    at = 0
    while at < len(log):
        kind, thread, inode, offset, path, other, size = _HEADER.unpack_from(log, at)
        at += _HEADER.size
        names = []
        for length in (path, other):
            names.append(log[at : at + length].decode().removeprefix(root).lstrip("/"))
            at += length
        yield Operation(chr(kind), thread, inode, offset, *names, log[at : at + size])
        at += size


@dataclass(eq=False)
class File:
    """A file or a folder: what is on the disk for certain, and what was asked since."""

    is_folder: bool = False
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[str, int, bytes]] = field(default_factory=list)
    names: list[tuple[str, str, File | str | None]] = field(default_factory=list)  # of a folder: its changes
    settled: int = 0  # how many changes have become durable
    syncing: dict[int, int] = field(
        default_factory=dict
    )  # by thread: how many changes a sync that runs covers

    def changed(self) -> int:
        return self.settled + len(self.names if self.is_folder else self.pending)


class Disk:
    """Everything below the root, as a program sees it and as the disk holds it."""

    def __init__(self) -> None:
        self.view: dict[str, File] = {"": File(is_folder=True)}
        self.names: dict[str, File] = dict(self.view)  # durable
        self.inodes: dict[int, File] = {}
        self.told = ""
        self.syncs = 0

    def do(self, op: Operation) -> None:
        """Take one recorded call."""
        match op.kind:
            case "A":
                self.told += op.data.decode(errors="replace")
            case "C" | "D":
                known = self.view.get(op.path)
                if known is None or self.inodes.get(op.inode) is not known:
                    self._link(op.path, File(is_folder=op.kind == "D"), op.inode)
            case "W" | "T":
                self.inodes[op.inode].pending.append((op.kind, op.offset, op.data))
            case "B":
                file = self._file(op)
                file.syncing[op.thread] = file.changed()
            case "S":
                self._sync(self._file(op), op.thread)
            case "U":
                self.view.pop(op.path, None)
                self._folder(op.path).names.append(("unlink", op.path, None))
            case "R":
                self.view[op.other] = self.view.pop(op.path)
                self._folder(op.path).names.append(("rename", op.path, op.other))

    def _file(self, op: Operation) -> File:
        found = self.view.get(op.path)
        return found if found is not None and found.is_folder else self.inodes[op.inode]

    def _folder(self, path: str) -> File:
        return self.view[os.path.dirname(path)]

    def _link(self, path: str, file: File, inode: int) -> None:
        self.view[path] = self.inodes[inode] = file
        self._folder(path).names.append(("link", path, file))

    def _sync(self, file: File, thread: int) -> None:
        self.syncs += 1
        count = max(0, file.syncing.pop(thread) - file.settled)
        if file.is_folder:
            for change in file.names[:count]:
                _rename(self.names, change)
            del file.names[:count]
        else:
            for change in file.pending[:count]:
                _write(file.durable, change)
            del file.pending[:count]
        file.settled += count

    # --- what a power cut leaves ---

    def image(self, dice: random.Random, policy: str) -> dict[str, bytes | None]:
        """Return the files (and folders, None) that are there after a power cut now; what was not synced is lost, kept or torn."""
        names = dict(self.names)
        for folder in [f for f in self.view.values() if f.is_folder]:
            kept = {"lost": 0, "kept": len(folder.names)}.get(policy, dice.randint(0, len(folder.names)))
            for change in folder.names[:kept]:
                _rename(names, change)
        out: dict[str, bytes | None] = {}
        for path in sorted(names):
            if path and os.path.dirname(path) in {"", *out}:
                file = names[path]
                out[path] = None if file.is_folder else self._content(file, dice, policy)
        return out

    @staticmethod
    def _content(file: File, dice: random.Random, policy: str) -> bytes:
        content = bytearray(file.durable)
        for kind, offset, data in file.pending:
            fate = {"lost": 1.0, "kept": 0.0}.get(policy, dice.random())
            if fate < 0.5:
                _write(content, (kind, offset, data))
            elif fate < 0.7 and len(data) > SECTOR:
                cut = SECTOR * dice.randrange(1, (len(data) + SECTOR - 1) // SECTOR)
                head, tail = (kind, offset, data[:cut]), (kind, offset + cut, data[cut:])
                _write(content, dice.choice((head, tail)))
        return bytes(content)


def _write(content: bytearray, change: tuple[str, int, bytes]) -> None:
    kind, offset, data = change
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if kind == "T":
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


def _rename(names: dict[str, File], change: tuple[str, str, File | str | None]) -> None:
    kind, path, what = change
    if kind == "link":
        assert isinstance(what, File)
        names[path] = what
    elif kind == "unlink":
        names.pop(path, None)
    elif path in names:
        assert isinstance(what, str)
        names[what] = names.pop(path)


# --- looking at an image ---


@dataclass
class Tally:
    """How the images of one recording fared."""

    operations: int = 0
    syncs: int = 0
    told: int = 0
    images: int = 0
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)


class Fault(NamedTuple):
    """What is wrong with an image: `lost` (something acknowledged is not there) or `corrupt`."""

    kind: str
    what: str


def try_images(
    operations: list[Operation], folder: Path, *, seed: int, cuts: int, policies: tuple[str, ...]
) -> Tally:
    """Cut the power at so many random moments, make an image for each policy, and open every one."""
    dice, disk, tally = random.Random(seed), Disk(), Tally()
    about = [n for n, op in enumerate(operations) if not op.path.startswith("data/logs/")]
    moments = set(dice.sample(about, min(cuts, len(about))))
    for n, op in enumerate(operations):
        disk.do(op)
        if n not in moments:
            continue
        for policy in policies:
            image = disk.image(dice, policy)
            where = f"seed {seed}, after operation {n} ({op.kind} {op.path}), un-synced writes {policy}"
            if fault := look(image, disk.told, folder / "image", dice):
                getattr(tally, fault.kind).append(f"{where}: {fault.what}")
            tally.images += 1
    tally.operations, tally.syncs, tally.told = len(operations), disk.syncs, disk.told.count("\n")
    return tally


def look(image: dict[str, bytes | None], told: str, folder: Path, dice: random.Random) -> Fault | None:
    """Open an image with queuectl; return what is wrong with it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for path, content in image.items():
        if path.startswith("data/logs") or path.endswith((".ack", "-shm")):
            continue
        if content is None:
            (folder / path).mkdir(mode=0o700)
        else:
            (folder / path).write_bytes(content)
            (folder / path).chmod(0o600)
    database = folder / "data" / "queue.db"
    if database.exists() and dice.random() < 0.5:
        database.with_name("queue.db-shm").write_bytes(dice.randbytes(32768))
    queue = Queue(database)
    try:
        check_invariants(queue._store)
        if missing := _missing(queue._store, told):
            return Fault("lost", missing)
        queue.enqueue("true", id="afterwards")
        assert queue.show("afterwards").job.command == "true"
    except (QueuectlError, AssertionError) as e:
        return Fault("corrupt", f"{type(e).__name__}: {' '.join(str(e).split())[:200]}")
    finally:
        with contextlib.suppress(QueuectlError):
            queue.close()
    return None


def _missing(store: Store, told: str) -> str:
    """Return the first acknowledged fact that the database does not know, or ''."""
    jobs = {
        i: (s, n, a) for i, s, n, a in store.connection.rows("select id, state, runs, attempts from jobs")
    }
    runs = set(
        store.connection.rows("select jobs.id, runs.outcome from runs join jobs on jobs.seq = runs.job")
    )
    batches = [i.partition("-")[0] for i in jobs if "-" in i]
    for name in dict.fromkeys(batches):
        if batches.count(name) != BATCH:
            return f"{batches.count(name)} of the {BATCH} jobs of batch {name}"
    doomed = set(re.findall(r"^deleting (\S+)$", told, re.M))  # it may be gone before we are told so
    for pattern, holds in (
        (r"^there (\S+)$", lambda i: i in jobs or i in doomed),
        (r"^gone (\S+)$", lambda i: i not in jobs),
        (r"^state (\S+) cancelled$", lambda i: jobs[i][0] == "cancelled"),
        (r"^batch (\S+)$", lambda name: name in batches),
        (r"^config (\S+)$", lambda n: store.settings.get("max-retries") >= int(n)),
        (r"^paused (\S+)$", lambda name: name in store.settings.paused()),
        (r"Job (\S+) state: completed$", lambda i: jobs[i][0] == "completed" and (i, "ok") in runs),
        (r"Job (\S+) state: DEAD$", lambda i: jobs[i][0] == "dead" and (i, "failed") in runs),
        (r"Job (\S+) FAILED", lambda i: jobs[i][2] >= 1 and (i, "failed") in runs),
    ):
        for name in re.findall(pattern, told, re.M):
            if not holds(name):
                return f"acknowledged and not there: {name} ({pattern})"
    return ""
