"""Too much of something: output, bytes of any kind, arguments, log."""

import contextlib
import os
import resource
import threading
from pathlib import Path

import pytest
from harness import await_true, runner_pid, size

from queuectl import _sqlite
from queuectl.model import State

pytestmark = pytest.mark.process
MIB = 1 << 20


def high_water(pid):
    """The most memory that a process has held, bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


class Disk(threading.Thread):
    """Watches what the files below a folder take of the disk, within a `with`: a test that fails must neither wait for it nor leave it behind."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.samples, self.over = Path(folder), [], threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def now(self):
        taken = 0
        for f in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                taken += f.stat().st_blocks * 512
        return taken

    def run(self):
        while not self.over.wait(0.002):
            self.samples.append(self.now())

    def figures(self):
        """The median and the maximum, bytes; to be asked for once it has ended."""
        return sorted(self.samples)[len(self.samples) // 2], max(self.samples)


@pytest.mark.sized
def test_endless_output_fills_neither_memory_nor_disk(q, start):
    slots = 4
    q.config.set("output-cap", "1M")
    jobs = [q.enqueue("yes", timeout=size(1, 5), kill_after=0.2, max_retries=1) for _ in range(slots)]
    start("-c", slots, "-s", "1")
    runner = runner_pid(q)
    with Disk(Path(q.path).parent / "logs") as disk:
        await_true(lambda: all(q.show(j.id).job.state is State.DEAD for j in jobs), what="the end of all")
    median, most = disk.figures()
    assert high_water(runner) < 64 * MIB
    written = 0
    for job in jobs:
        (run,) = q.show(job.id).runs
        kept = b"".join(q.logs(job.id))
        assert len(kept) <= MIB
        assert run.stdout_bytes > 20 * MIB
        assert kept.startswith(b"y\ny\n") and kept.endswith(b"y\n")
        written += run.stdout_bytes
    print(
        f"wrote {written / MIB:,.0f} MiB; on disk {median / MIB:.1f} (median), {most / MIB:.1f} MiB at most"
    )
    # Untrimmed, all that was written is there at the end. How close to the cap it stays depends on the machine; the docs have measured figures.
    assert most < written / 2
    assert median < written / 4
    assert disk.now() < (slots + 0.4) * MIB


@pytest.mark.sized
def test_a_burst_of_output_after_a_silence_is_counted_and_cut_to_its_cap(q, start):
    large = size(512, 2048) * MIB
    q.config.set("output-cap", "1M")
    job = q.enqueue(f"sleep 0.5; printf begin; head -c {large} /dev/zero; printf end")
    start("-s", "1")
    runner = runner_pid(q)
    with Disk(Path(q.path).parent / "logs") as disk:
        await_true(lambda: q.show(job.id).job.state is State.COMPLETED, seconds=60, what="the end")
    median, most = disk.figures()
    assert high_water(runner) < 64 * MIB
    (run,) = q.show(job.id).runs
    kept = b"".join(q.logs(job.id))
    assert run.stdout_bytes == large + len("beginend")
    assert len(kept) <= MIB and kept.startswith(b"begin\0") and kept.endswith(b"\0end")
    print(f"wrote {large / MIB:,.0f} MiB; on disk {median / MIB:.1f} (median), {most / MIB:.1f} MiB at most")
    assert most < large / 2
    assert disk.now() < 1.1 * MIB


def test_output_of_any_bytes_comes_back_as_it_was(q, start, tmp_path):
    data = bytes(range(256)) + os.urandom(10_000) + b"\xff\xfe\x1b[31m\0\r"
    (tmp_path / "bytes").write_bytes(data)
    job = q.enqueue(f"cat {tmp_path}/bytes; cat {tmp_path}/bytes >&2")
    assert start("--drain").wait(30) == 0
    assert b"".join(q.logs(job.id)) == data
    assert b"".join(q.logs(job.id, stderr=True)) == data
    assert q.show(job.id).job.state is State.COMPLETED


def test_a_command_that_the_kernel_refuses_is_one_failed_attempt_and_the_worker_lives(q, start):
    def small_stack():
        resource.setrlimit(
            resource.RLIMIT_STACK, (512 << 10, 512 << 10)
        )  # a quarter of it holds the arguments

    job = q.enqueue("true " + "x" * 95_000, env={"FILLER": "y" * 60_000}, max_retries=1)
    other = q.enqueue("true")
    worker = start("-s", "1", preexec_fn=small_stack)
    assert q.wait(other.id, timeout=20)
    found = q.show(job.id)
    assert (found.job.state, [r.outcome for r in found.runs]) == (State.DEAD, ["spawn"])
    assert found.job.reason == "could not be started: Argument list too long: /bin/sh"
    assert worker.poll() is None


def wal_bytes(q):
    return os.stat(q.path + "-wal").st_size


def test_a_log_that_a_long_reader_let_grow_shrinks_again(q):
    q.enqueue("true")
    reader = _sqlite.Connection(q.path)
    reader.sql.execute("begin")
    reader.rows("select count(*) from jobs")
    for _ in range(20):
        q.enqueue_many([": " + "x" * 99_000] * 10)
    assert wal_bytes(q) > 16 * MIB
    reader.close()
    for _ in range(3):
        q.enqueue("true")
    assert wal_bytes(q) < 8 * MIB


def test_a_log_is_checkpointed_when_it_is_large_and_not_at_every_commit(q):
    asked = []
    q.enqueue_many([": " + "x" * 99_000] * 60)
    q.enqueue("true")
    q._store.connection.sql.set_trace_callback(asked.append)
    for _ in range(20):
        q.enqueue("true")
    q._store.connection.sql.set_trace_callback(None)
    assert sum("wal_checkpoint" in a for a in asked) <= 1


def test_a_worker_with_few_file_handles_says_so_or_works(q, start):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    q.enqueue_many(["true"] * 20)
    worker = start("-c", "2", "--drain", preexec_fn=few)
    assert worker.wait(30) in (0, 1)
    if worker.returncode:
        assert "Too many open files" in worker.stdout.read()
    else:
        assert q.status().counts[State.COMPLETED] == 20
