"""A full disk: nothing new is taken in or started, what ran is recorded all the same, and the work goes on by itself when there is space again."""

import contextlib
import os
import subprocess
import sys

import pytest
from harness import await_true, check_invariants, job_processes, runner_pid

from queuectl import reserve
from queuectl.errors import DiskFull
from queuectl.queue import Queue
from queuectl.reserve import FREE_BYTES, RESERVE_BYTES, Reserve, Space

needs_mount = pytest.mark.skipif(
    os.geteuid() != 0, reason="a small disk can be mounted by root only; the page limit stands in for it"
)


@pytest.fixture
def disk(tmp_path):
    """A disk of 6 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "queuectl-test", folder], check=True)
    yield folder
    for pid in job_processes(folder / "queue.db"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Leave no byte free."""
    handle = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with contextlib.suppress(OSError):
        while True:
            os.write(handle, bytes(4096))
    os.close(handle)
    assert reserve.free_bytes(str(folder / "x")) == 0


def test_a_job_that_finds_no_pages_is_refused_and_the_others_stay(q):
    q.enqueue("true", id="before")
    pages = q._store.connection.rows("pragma page_count")[0][0]
    q._store.connection.rows(f"pragma max_page_count = {pages + 8}")
    with pytest.raises(DiskFull, match="no space left"):
        q.enqueue_many(["x" * 50_000] * 20)
    assert [j.id for j in q.list()] == ["before"]
    q._store.connection.rows("pragma max_page_count = 1000000")
    assert q.enqueue("true", id="after").id == "after"


def test_nothing_is_taken_in_when_little_is_left(q, monkeypatch):
    q.enqueue("true", id="before")
    monkeypatch.setattr(reserve, "free_bytes", lambda _: FREE_BYTES - 1)
    with pytest.raises(DiskFull, match="expected 1,024 KiB of free space"):
        q.enqueue("true")
    assert [j.id for j in q.list()] == ["before"]


@needs_mount
def test_the_reserve_holds_real_space_and_gives_it_back(disk):
    held = Reserve(str(disk / "queue.db"))
    free = reserve.free_bytes(held.path)
    assert held.hold() and held.hold() and held.is_held()
    assert free - reserve.free_bytes(held.path) >= RESERVE_BYTES
    fill(disk)
    assert held.release() and not held.release()
    assert reserve.free_bytes(held.path) >= RESERVE_BYTES
    assert not held.hold()  # it would leave nothing for the work
    assert oct(os.stat(disk).st_mode)[-3:] == "700"


def test_a_reserve_is_no_way_to_write_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "queue.db-reserve").symlink_to(tmp_path / "precious")
    assert not Reserve(str(tmp_path / "queue.db")).hold()
    assert (tmp_path / "precious").read_text() == "mine"


def test_looks_at_a_full_disk_grow_rarer_and_complaints_are_few(tmp_path, monkeypatch):
    said, clock = [], 0.0
    space = Space(str(tmp_path / "queue.db"), say=said.append)
    monkeypatch.setattr(reserve, "free_bytes", lambda _: 0)
    looks = []
    while clock < 60:
        assert not space.look(now=clock) and space.is_short
        pause = space.next_look_s(now=clock)
        looks.append(pause)
        clock += pause
    assert looks[0] == 0.25 and max(looks) == 4.0 and looks == sorted(looks)
    assert len(said) == 2  # in a minute
    monkeypatch.setattr(reserve, "free_bytes", lambda _: 1 << 30)
    assert space.look(now=clock + 4) and not space.is_short
    assert "space on the disk again" in said[-1]


@needs_mount
def test_results_are_recorded_on_a_full_disk_and_work_goes_on_when_there_is_space(disk, tmp_path):
    place, gate, log = disk / "queue.db", tmp_path / "gate", tmp_path / "log"
    queue = Queue(place)
    for n in range(6):
        queue.enqueue(f"echo result {n}; until [ -e {gate} ]; do sleep 0.05; done", id=f"j{n}")
    with open(log, "w") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "worker", "-c", "2", "--db", str(place)], stdout=out, stderr=out, start_new_session=True
        )  # fmt: skip
    try:
        runner_pid(queue)
        await_true(lambda: queue.status().counts["processing"] == 2, what="two running jobs")
        await_true(lambda: all(b"".join(queue.logs(i)) for i in ("j0", "j1")), what="what they print")
        fill(disk)
        with pytest.raises(DiskFull):
            queue.enqueue("true", id="refused")
        gate.touch()
        await_true(
            lambda: {queue.show(i).job.state for i in ("j0", "j1")} == {"completed"}, what="their results"
        )
        assert reserve.free_bytes(str(place)) < FREE_BYTES + RESERVE_BYTES
        assert [b"".join(queue.logs(i)) for i in ("j0", "j1")] == [b"result 0\n", b"result 1\n"]
        await_true(lambda: "Workers start nothing" in log.read_text(), what="a word about it")
        fill(disk)
        assert {queue.show(f"j{n}").job.state for n in range(2, 6)} == {"pending"}
        (disk / "filler").unlink()
        await_true(
            lambda: all(queue.show(f"j{n}").job.state == "completed" for n in range(6)),
            seconds=15,
            what="the rest",
        )
        assert queue.enqueue("true", id="taken").id == "taken"
        await_true(lambda: queue.show("taken").job.state == "completed", what="a new job")
        lines = log.read_text().splitlines()
        assert sum("Workers start nothing" in line for line in lines) == 1
        assert sum("space on the disk again" in line for line in lines) == 1
        assert Reserve(str(place)).is_held()
        assert all(len(queue.show(f"j{n}").runs) == 1 for n in range(6))
    finally:
        worker.terminate()
        worker.wait(20)
    check_invariants(queue._store)
    queue.close()
