"""Progress lines and results: what a job says while it runs and when it ends, and where that is seen."""

import fcntl
import io
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from harness import await_true, check_invariants
from hypothesis import given
from hypothesis import strategies as st

from queuectl import processes
from queuectl.cli import main
from queuectl.model import Progress, State
from queuectl.panel import reads
from queuectl.progress_lines import TEXT_MAX, latest

# --- lines ---


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"::queuectl progress 30 100\n", Progress(30, 100)),
        (b"::queuectl progress 0.25 1 epoch 3 of 12 \nmore\n", Progress(0.25, 1, "epoch 3 of 12")),
        (b"::queuectl progress 1 9\n::queuectl progress 2 9\nloss 0.1\n", Progress(2, 9)),
        (b"5%|#\r::queuectl progress 2 9\r6%|##\r", Progress(2, 9)),
        (b"::queuectl progress 2 9\r\n", Progress(2, 9)),
        (b"\xff\xfe\n::queuectl progress 2 9 caf\xc3\xa9 \xff\n", Progress(2, 9, "caf\u00e9 \ufffd")),
        (b"::queuectl progress 12 10\n", Progress(12, 10)),
        (b"::queuectl progress 3", None),  # may become 30
        (b"::queuectl progress 1 9\n::queuectl progress 9 9", Progress(1, 9)),
        (b"say ::queuectl progress 1 9\n", None),
        (b"::queuectl progress\n::queuectl progress 5\n::queuectl progress five 9\n", None),
        (b"::queuectl progress -1 9\n::queuectl progress 1 0\n::queuectl progress nan 9\n", None),
        (b"::queuectl progress 1e400 1e400\n::queuectl progress 1e16 1\n::queuectl progress 1..2 9\n", None),
        (b"::queuectl progress 1 9\n::queuectl progress x 9\n", Progress(1, 9)),
        (b"::queuectl progress " + b"1" * 31 + b" 9\n", None),
        (b"", None),
    ],
)  # fmt: skip
def test_the_last_whole_line_counts(written, expected):
    assert latest(written) == expected


def test_when_the_job_has_ended_a_last_line_needs_no_end():
    assert latest(b"::queuectl progress 9 9", ended=True) == Progress(9, 9)


def test_a_tail_that_begins_in_the_middle_of_a_line_is_not_taken_for_one():
    tail = b"::queuectl progress 1 9\nnext\n"
    assert latest(tail, whole=False) is None
    assert latest(b"x\n" + tail, whole=False) == Progress(1, 9)


def test_text_is_cut():
    assert len(latest(b"::queuectl progress 1 9 " + "\u20ac".encode() * 9999 + b"\n").text) == TEXT_MAX


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\n::queuectl progress ", b"\r::queuectl progress 1 2 "])
)
def test_no_output_is_too_strange(noise, mark):
    found = latest(noise + mark + noise, ended=True)
    assert found is None or (found.total > 0 and 0 <= found.share <= 1 and str(found))


def test_a_share_never_passes_the_whole():
    assert str(Progress(12, 10, "late")) == "12/10 (100%) late"


# --- the store ---


def test_what_a_run_told_is_not_taken_for_what_the_next_one_tells(q):
    job = q.enqueue("true")
    line, now = q._store.line, processes.now_ms()
    c = q._store.connection
    c.rows(
        """insert into workers (id, runner, state, host, boot_id, pid, pid_start, started_at_ms, heartbeat_at_ms, beat_mono_ms)
           values ('w1', 'r1', 'idle', 'here', 'b', 1, 1, 0, 0, 0)"""
    )
    with q._store.write():
        (claimed,) = line.claim("w1", 1, queues=None, now_ms=now)
        line.tell([(Progress(1, 9, "first"), claimed.seq, 1)])
    assert q.show(job.id).job.progress == Progress(1, 9, "first")
    assert q._store.jobs.progress() == {job.id: Progress(1, 9, "first")}
    with q._store.write():
        c.rows("update jobs set state = 'pending', worker_id = null where seq = ?", (claimed.seq,))
        line.claim("w1", 1, queues=None, now_ms=now)
        line.tell([(Progress(5, 9), claimed.seq, 1)])  # of the run before: too late
    found = q.show(job.id)
    assert found.job.progress is None and found.as_dict()["progress_done"] is None
    assert q._store.jobs.progress() == {}
    check_invariants(q._store)


# --- real workers ---

TELLS = r"""printf '::queuectl progress 30 100 \033[31mepoch 3\n'
while ! test -e "$GATE/1"; do sleep 0.02; done
seq 200000; echo '::queuectl progress 60 100'
while ! test -e "$GATE/2"; do sleep 0.02; done
printf '::queuectl progress 100 100'"""


@pytest.mark.process
def test_progress_is_seen_while_the_job_runs_and_stays_in_its_log(q, start, tmp_path):
    job = q.enqueue(TELLS, env=[f"GATE={tmp_path}"])
    start("-s", "60")
    await_true(lambda: q.show(job.id).job.progress, what="the first line")
    out = io.StringIO()
    main(["status", "--db", q.path], stdout=out)
    assert f"ID: {job.id}   State: processing   Progress: 30/100 (30%) \\x1b[31mepoch 3\n" in out.getvalue()
    assert reads.row(q.show(job.id).job)["progress"] == [30.0, 100.0, "\\x1b[31mepoch 3"]
    (tmp_path / "1").touch()
    await_true(lambda: q.show(job.id).job.progress.done == 60, what="the second line")
    (tmp_path / "2").touch()
    assert q.wait(job.id, timeout=20)
    assert q.show(job.id).job.progress == Progress(100, 100)
    assert b"".join(q.logs(job.id)).count(b"::queuectl progress") == 3


@pytest.mark.process
def test_a_job_that_is_over_soon_has_told_its_last_line(q, start):
    jobs = q.enqueue_many(
        ["echo '::queuectl progress 7 7'", "echo '::queuectl progress 2 7'; exit 3", "echo none"]
    )
    assert start("-c", "2", "-l", "2").wait(20) == 0
    assert [q.show(j.id).job.progress for j in jobs] == [Progress(7, 7), Progress(2, 7), None]


@pytest.mark.process
def test_wait_shows_what_the_job_tells_on_a_terminal_and_nothing_elsewhere(q, start, tmp_path):
    job = q.enqueue(TELLS, env=[f"GATE={tmp_path}"])
    start("-s", "60")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
    words = [sys.executable, "-m", "queuectl", "wait", job.id, "--db", q.path]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    seen = subprocess.Popen(words, stderr=theirs, stdout=subprocess.PIPE, env=env)
    quiet = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    shown = b""
    while b"epoch 3" not in shown:
        assert select.select([ours], [], [], 20)[0], shown
        shown += os.read(ours, 4096)
    assert f"{job.id} 30/100 (30%) \\x1b[31mepoch 3".encode() in shown
    for gate in ("1", "2"):
        (tmp_path / gate).touch()
    assert seen.wait(20) == 0 and seen.communicate()[0] == b"1 completed\n"
    assert quiet.communicate(timeout=20) == (b"1 completed\n", b"")
    os.close(ours)
    os.close(theirs)


@pytest.mark.process
def test_a_result_is_the_json_that_the_job_left_and_nothing_else(q, start):
    jobs = q.enqueue_many(
        ["""printf '{"loss": 0.5, "ok": true}' > "$QUEUECTL_RESULT\"""", 'echo oops > "$QUEUECTL_RESULT"', "true",
         'echo 5 > "$QUEUECTL_RESULT"; exit 1']
    )  # fmt: skip
    q.config.set("backoff-base", "1")
    assert start("-c", "2", "-l", "2").wait(20) == 0
    found = [q.show(j.id).job for j in jobs]
    assert [j.as_dict()["result"] for j in found] == [{"loss": 0.5, "ok": True}, None, None, 5]
    assert [j.state for j in found[:3]] == [State.COMPLETED] * 3
