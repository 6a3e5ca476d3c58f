"""How soon the jobs of killed workers are back in line, and whether anything of them was left then.

python scripts/bench_recovery.py [rounds]

In each round a job that has left children of every kind (its own session, nohup, an orphan) runs, and then `kill -9` hits the runner, the
supervisor, or both. The requeue's own time stamp against the moment of the kill (of the next start, when no supervisor was left) is the
figure; a lock that the whole old tree holds tells whether the second run started while anything of the first lived. Fails above LIMIT_S.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import figures

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # run from the sources, with the tests' own tools

from harness import await_true, check_invariants, job_processes, runner_pid  # noqa: E402

from queuectl.model import State  # noqa: E402
from queuectl.queue import Queue  # noqa: E402

LIMIT_S = 2.0
JOB = """exec 9>>"$LOCK"; flock -n 9 || { echo overlap >> "$MARKS"; exit 0; }
echo start >> "$MARKS"
setsid sleep 1000 & nohup sleep 1000 >/dev/null 2>&1 & (setsid sleep 1000 &) &
test "$(grep -c start "$MARKS")" -gt 1 || sleep 1000
"""


def worker(place: str) -> subprocess.Popen[bytes]:
    """Start a worker in the foreground of a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "queuectl", "worker", "--db", place], stdout=sys.stderr, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def round_of(who: str) -> tuple[float, float]:
    """Kill once; return seconds until the job was back in line, and until nothing of its old tree lived."""
    folder = Path(tempfile.mkdtemp(prefix="queuectl-recovery-"))
    marks = folder / "marks"
    q = Queue(folder / "data" / "queue.db")
    job = q.enqueue(JOB, env=[f"LOCK={folder}/lock", f"MARKS={marks}"], max_retries=1)
    workers = [worker(q.path)]
    await_true(lambda: len(job_processes(q.path)) >= 4, what="the job's tree")
    old, runner = set(job_processes(q.path)), runner_pid(q)
    killed = time.time()
    if who != "runner":
        os.kill(workers[0].pid, signal.SIGKILL)
    if who != "supervisor":
        os.kill(runner, signal.SIGKILL)
    if who == "both":
        workers[0].wait()
        killed = time.time()
    if who != "runner":
        workers.append(worker(q.path))
    gone = await_true(
        lambda: not old & set(job_processes(q.path)) and time.time(), what="the end of the old tree"
    )
    await_true(lambda: q.show(job.id).job.state is State.COMPLETED, what="the second run")
    first, second = q.show(job.id).runs
    assert marks.read_text().split() == ["start", "start"], "the second run started beside the first"
    assert (first.outcome, second.outcome, q.show(job.id).job.attempts) == ("lost", "ok", 0)
    for process in workers:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert not job_processes(q.path), "something was left"
    check_invariants(q._store)
    q.close()
    shutil.rmtree(folder)
    return first.finished_at_ms / 1000 - killed, gone - killed


def main() -> int:
    """Measure, print a table, keep the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    found = {}
    print(
        "| killed | rounds | back in line: median | longest | old tree gone: median | longest |\n|---|---|---|---|---|---|"
    )
    for who in ("runner", "supervisor", "both"):
        took = [round_of(who) for _ in range(rounds)]
        back, gone = (figures.spread(column, digits=2) for column in zip(*took, strict=True))
        found[who] = {"requeued_s": back, "old_tree_gone_s": gone}
        print(
            f"| {who} | {rounds} | {back['median']} s | {back['max']} s | {gone['median']} s | {gone['max']} s |",
            flush=True,
        )
    figures.record("recovery", {"rounds": rounds, "limit_s": LIMIT_S} | found)
    return int(any(f["requeued_s"]["max"] > LIMIT_S for f in found.values()))


if __name__ == "__main__":
    sys.exit(main())
