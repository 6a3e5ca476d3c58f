"""We never open or copy the database's file beside SQLite: that would drop SQLite's locks, and acknowledged commits with them."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import job_processes

from queuectl import _sqlite
from queuectl.errors import DatabaseMoved
from queuectl.queue import Queue

PACKAGE = Path(_sqlite.__file__).parent

# Every place of the package that opens, copies or links a file, and what it opens. A new one is to be thought about first:
# closing *any* descriptor of the database drops the locks that SQLite holds in the same process.
OPENED = {
    "_sqlite.py": {
        "os.open(folder, os.O_RDONLY | os.O_DIRECTORY)": "the folder, to sync names and to queue for it",
        "os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 384)": "a new file that no SQLite has opened yet",
        "os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)": "the log, on which SQLite holds no lock, as the test below shows",
    },
    "__main__.py": {
        "open(0, *)": "a descriptor that is open",
        "open(1, 'w', *)": "a descriptor that is open",
        "open(2, 'w', *)": "a descriptor that is open",
        "os.open(os.devnull, os.O_RDWR)": "nothing",
    },
    "place.py": {"open('/proc/self/mountinfo', *)": "mounts"},
    "output.py": {"open(path, 'rb')": "an output under logs"},
    "reserve.py": {"os.open(self.path, flags, 384)": "the reserve"},
    "parameters.py": {
        "open(path, *)": "a table of parameters that the user names",
    },
    "incident/__init__.py": {
        "open(handle, 'w', *)": "a report, by a descriptor",
        "os.link(draft, path)": "a report gets its name",
    },
    "refingerprint.py": {"open(os.path.join(logs, os.path.basename(name)), 'rb')": "an output under logs"},
    "executors/spool.py": {
        "os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 384)": "a spool",
        "open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 384), 'wb')": "an output under logs",
        "os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 384)": "an output under logs",
    },
    "executors/slot.py": {
        "os.open(self.result, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)": "a job's result",
        "shutil.rmtree(self.result)": "what a job left in the place of its result",
    },
    "executors/local.py": {"os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)": "nothing"},
    "sources.py": {"open(path, 'rb')": "a file of jobs that the user names"},
    "cron.py": {"open('/etc/timezone', *)": "the zone"},
    "cli/__init__.py": {"os.open(os.devnull, os.O_WRONLY)": "nothing"},
    "processes.py": {
        "open('/proc/sys/kernel/random/boot_id', *)": "/proc",
        "open(f'/proc/{pid}/stat', 'rb')": "/proc",
        "open(f'/proc/{pid}/environ', 'rb')": "/proc",
        "open(f'/proc/{pid}/status', 'rb')": "/proc",
        "os.open(f'/proc/{pid}/task/{tid}/children', os.O_RDONLY | os.O_CLOEXEC)": "/proc",
    },
    "executors/direct.py": {
        "os.open(cwd, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)": "a job's folder",
    },
    "hooks.py": {
        "os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 384)": "the hooks' log"
    },
    "fleet.py": {
        "open(log, 'rb')": "a worker's log",
        "open(log, *)": "a worker's log",
        "open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 384), 'wb')": "a worker's log",
        "os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 384)": "a worker's log",
    },
    "panel/widget.py": {
        "(folder / f'{name}.js').read_text(*)": "the panel's code",
        "(resources.files('queuectl.panel') / 'static' / 'panel.css').read_text(*)": "the panel's looks",
    },
}  # fmt: skip
NAMES = {
    "open",
    "read_bytes",
    "read_text",
    "write_bytes",
    "write_text",
    "sendfile",
    "link",
    "copy_file_range",
}


def openings(file):
    """Every call in a module that opens, reads, copies or links a file by its path."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.rpartition(".")[2] in NAMES or name.startswith("shutil."):
                named = bool(node.keywords)
                node.keywords = []
                text = ast.unparse(node)
                yield text[:-1] + (", *)" if node.args else "*)") if named else text


def test_every_place_that_opens_a_file_is_known_and_none_opens_the_database():
    found = {str(f.relative_to(PACKAGE)): set(openings(f)) for f in sorted(PACKAGE.rglob("*.py"))}
    unknown = {
        f: sorted(texts - set(OPENED.get(f, ())))
        for f, texts in found.items()
        if texts - set(OPENED.get(f, ()))
    }
    assert unknown == {}
    assert {f: sorted(set(known) - found[f]) for f, known in OPENED.items() if set(known) - found[f]} == {}


def locked(path):
    """How many locks processes hold on a file."""
    found = os.stat(path)
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return sum(name in line.split() for line in Path("/proc/locks").read_text().splitlines())


def test_sqlite_holds_no_lock_on_its_log_that_closing_it_could_lose(place):
    queue, other = Queue(place), Queue(place)
    queue.enqueue("true")
    connection = queue._store.connection
    other._store.connection.sql.execute("begin")
    assert len(other.list()) == 1
    with queue._store.write() as sql:
        sql.execute("update jobs set priority = 1")
        before = {end: locked(f"{place}{end}") for end in ("", "-wal", "-shm")}
        connection._nudge()
        after = {end: locked(f"{place}{end}") for end in ("", "-wal", "-shm")}
    other._store.connection.sql.execute("rollback")
    assert before["-wal"] == 0 and before["-shm"] > 0 and before[""] > 0
    assert after == before


@pytest.mark.parametrize("call", ["open(p)", "io.open(p, 'rb')", "os.open(p, 0)", "Path(p).read_bytes()", "shutil.copy2(p, q)", "p.open('rb')", "os.link(p, q)"])  # fmt: skip
def test_the_search_finds_each_way_to_open_a_file(tmp_path, call):
    (tmp_path / "m.py").write_text(f"def f(p, q):\n    return {call}\n")
    assert list(openings(tmp_path / "m.py")) == [call]


WATCH = """import os, sys
place, told = os.environ["WATCHED"], os.environ["TOLD"]
def look(event, args):
    if event in ("open", "shutil.copyfile", "os.link", "shutil.move"):
        for path in args[:2]:
            if isinstance(path, (str, bytes)) and os.fsdecode(path).startswith(place) and not os.fsdecode(path).endswith("-reserve"):
                if event == "open" and os.fsdecode(path) == place + "-wal" and args[2] == os.O_RDONLY | os.O_CLOEXEC:
                    continue
                with_ = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.write(with_, f"{event} {path} {sys.argv}\\n".encode())
                os.close(with_)
sys.addaudithook(look)
"""
VERBS = """import sys
from queuectl.cli import main
for line in sys.argv[1:]:
    code = main(line.split())
    assert code in (0, 1, 3), (line, code)
    print(f"{line}: {code}", file=sys.stderr)
"""
LINES = """config set max-retries 1
enqueue -c true --id a
enqueue-many {there}/jobs
map echo-{{a}} {there}/rows.csv
list
worker --drain -c 2
logs a
dlq retry --all
failures
doctor
report {there}/report.md
prune --older-than 1d --dry-run
delete a"""


def watched(place, tmp_path, *words):
    (tmp_path / "watch").mkdir(exist_ok=True)
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    env = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}/watch:{PACKAGE.parent}",
        "WATCHED": str(place),
        "TOLD": f"{tmp_path}/told",
        "QUEUECTL_DB": str(place),
    }
    return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, timeout=60)


def test_no_verb_and_no_worker_opens_the_databases_file_in_python(place, tmp_path):
    """Every opening by Python code of a process is seen by its audit hook; those of SQLite's own library are not."""
    (tmp_path / "jobs").write_text("true\nfalse\n")
    (tmp_path / "rows.csv").write_text("a\n1\n")
    before, after = (
        part.strip().splitlines() for part in LINES.format(there=tmp_path).split("worker --drain -c 2")
    )
    for lines in (before, None, after):
        if lines is None:
            done = watched(place, tmp_path, "-m", "queuectl", "worker", "--drain", "-c", "2")
        else:
            done = watched(place, tmp_path, "-c", VERBS, *lines)
            assert [line for line in lines if f"{line}: " not in done.stderr] == [], done
        assert done.returncode == 0 and "Traceback" not in done.stderr, (lines, done)
    assert not (tmp_path / "told").exists(), (tmp_path / "told").read_text()
    assert job_processes(place) == []


def test_the_watch_sees_an_opening(place, tmp_path):
    Queue(place).status()
    watched(place, tmp_path, "-c", f"open({str(place)!r}, 'rb')")
    assert str(place) in (tmp_path / "told").read_text()


AWAY = {
    "deleted": lambda place: place.unlink(),
    "another in its place": lambda place: os.replace(other_database(place), place),
    "copied in this process, closed in another": lambda place: copied(place),
}


def other_database(place):
    other = Queue(place.parent / "other" / "queue.db")
    other.enqueue("true")
    other.close()
    return other.path


def copied(place):
    shutil.copyfile(place, place.parent / "backup")  # drops the locks that SQLite holds in this process
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select count(*) from jobs').fetchone(); c.close()"
    subprocess.run([sys.executable, "-c", program, str(place)], check=True)
    assert not Path(f"{place}-wal").exists(), "the trap has not snapped"


def what_a_newcomer_finds(place):
    """Ids that another process reads from the file that has the name now."""
    if not place.exists():
        return set()
    # Another file is read without the log beside it, which is that of the file that was replaced.
    how = "immutable=1" if Path(f"{place}-wal").exists() and (place.parent / "other").exists() else "mode=ro"
    program = "import sqlite3, sys; print(*[r[0] for r in sqlite3.connect(sys.argv[1], uri=True).execute('select id from jobs')])"
    words = [sys.executable, "-c", program, f"file:{place}?{how}"]
    return set(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("event", AWAY)
def test_nothing_is_acknowledged_once_the_file_is_away(place, event):
    queue = Queue(place)
    queue.enqueue("true")
    AWAY[event](place)
    for _ in range(10):
        with pytest.raises(DatabaseMoved):
            queue.enqueue("true")


@pytest.mark.parametrize("event", AWAY)
def test_without_the_look_at_the_file_what_is_lost_is_acknowledged(place, event, monkeypatch):
    """The control: ten of ten are told of a job that nobody will ever find."""
    queue = Queue(place)
    queue.enqueue("true")
    AWAY[event](place)
    monkeypatch.setattr(_sqlite.Connection, "check_place", lambda _: None)
    told = {queue.enqueue("true").id for _ in range(10)}
    assert len(told) == 10
    assert told & what_a_newcomer_finds(place) == set()
