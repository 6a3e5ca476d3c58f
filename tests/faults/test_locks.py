"""The file's locks: waited for, given up with a clear word, and lost by whoever opens the file beside SQLite; and where there are none."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from harness import await_true, job_processes

from queuectl import _sqlite
from queuectl.errors import DatabaseBusy, DatabaseMoved, NotSupported
from queuectl.model import Outcome
from queuectl.queue import Queue
from queuectl.store import Store


@pytest.fixture
def holder(q):
    """Another connection that holds the write lock; calling it lets go."""
    store, let_go, held = Store(q.path), threading.Event(), threading.Event()

    def hold():
        with store.write():
            held.set()
            let_go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    yield let_go.set
    let_go.set()
    thread.join()
    store.close()


def test_a_held_lock_is_waited_for(q, holder):
    threading.Timer(0.7, holder).start()
    q.enqueue("true")
    assert len(q.list()) == 1


def test_a_lock_that_is_held_too_long_is_given_up_with_a_clear_word(q, holder, monkeypatch):
    monkeypatch.setattr(_sqlite, "BUSY_S", 0.3)
    with pytest.raises(DatabaseBusy, match="has held the write lock"):
        q.enqueue("true")
    holder()
    assert q.list() == []


@pytest.mark.process
@pytest.mark.parametrize("journal", ["wal", "rollback"])
def test_time_limits_hold_while_another_program_holds_the_write_lock(
    place, start, tmp_path, journal, monkeypatch
):
    if journal == "rollback":
        monkeypatch.setenv("QUEUECTL_JOURNAL", journal)
    queue = Queue(place)
    short = f"echo > {tmp_path}/up; while test ! -e {tmp_path}/go; do sleep 0.02; done"
    queue.enqueue(short)
    late = queue.enqueue(
        "trap '' TERM; sleep 1000 & wait; wait; sleep 1000", timeout=1.5, kill_after=0.3, max_retries=1
    )
    start("-c", "2", "-s", "1")
    await_true(lambda: len(job_processes(place)) >= 3 and (tmp_path / "up").exists(), what="both jobs")
    with queue._store.write():
        (
            tmp_path / "go"
        ).touch()  # its end is to be recorded, so that the runner's main thread waits for the lock
        await_true(lambda: not job_processes(place), 15, "the end of the job, while the lock is held")
        assert queue.show(late.id).job.outcome is None
    await_true(lambda: queue.show(late.id).job.outcome is Outcome.TIMEOUT, what="the record of its end")
    queue.close()


def test_a_log_that_another_program_took_away_is_noticed_before_anything_is_acknowledged(place):
    """Opening the file in the process that holds it drops SQLite's locks; the next to close it deletes the log under us."""
    queue = Queue(place)
    queue.enqueue("true")
    with open(place, "rb"):
        pass
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select count(*) from jobs').fetchone(); c.close()"
    subprocess.run([sys.executable, "-c", program, str(place)], check=True)
    assert not Path(f"{place}-wal").exists(), "the trap has not snapped"
    with pytest.raises(DatabaseMoved):
        queue.enqueue("true")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "virtiofs", "9p"])
def test_a_file_system_without_shared_memory_is_refused_with_its_remedies(place, kind, monkeypatch):
    import queuectl.place as where

    monkeypatch.setattr(where, "file_system", lambda _: kind)
    with pytest.raises(NotSupported, match=f"is on {kind}.*local path.*QUEUECTL_JOURNAL=rollback"):
        Queue(place).enqueue("true")
    assert not place.exists()
    monkeypatch.setenv("QUEUECTL_JOURNAL", "rollback")
    queue = Queue(place)
    queue.enqueue("true")
    assert len(queue.list()) == 1
    queue.close()
