"""A queue with jobs in every state, filled through the store, for tests of frames."""

import json
import random

from queuectl import processes

STATES = ["completed", "dead", "failed", "pending", "scheduled", "blocked", "processing", "cancelled"]
SIGS = {
    "a1b2c3d4": "ConnectionError: <ip>: refused",
    "b2c3d4e5": "KeyError: 'price'",
    "c3d4e5f6": "timed out",
}
ODD = [
    "echo \x1e",
    "echo a\x1fb",
    "printf 'grüße 你好 🎉'",
    "=cmd|'/c calc'!A0",
    "<script>alert(1)</script>",
    "echo \x1e\x1f\x1e",
]


def fill(q, n=300, *, seed=0, odd=True):
    """Put n jobs in every state, and their runs, into a queue; returns the moment of the oldest, ms."""
    dice, now = random.Random(seed), processes.now_ms()
    base = now - n * 60_000
    with q._store.write() as sql:
        sql.execute(
            """insert or ignore into workers (id, runner, state, host, boot_id, pid, pid_start, started_at_ms, heartbeat_at_ms, beat_mono_ms)
               values ('w1', 'r1', 'busy', 'here', 'boot', 1, 1, ?, ?, 1)""",
            (base, now - 1500),
        )
        for sig, template in SIGS.items():
            sql.execute("insert or ignore into causes values (?, ?, 3, ?)", (sig, template, base))
        for i in range(n):
            _job(
                sql,
                dice,
                i,
                base + i * 60_000,
                ODD[i % len(ODD)] if odd and i < 12 else f"python task_{i % 7}.py --n {i}",
            )
    return base


def _job(sql, dice, i, created, command):
    state = STATES[i % len(STATES)] if i < 40 else dice.choice(STATES[:4])
    ran = state in ("completed", "dead", "failed", "processing")
    runs = {"completed": 1 + i % 3, "dead": 3, "failed": 1, "processing": 1}.get(state, 0)
    final = state in ("completed", "dead", "cancelled")
    bad = state in ("dead", "failed")
    sig = dice.choice(list(SIGS)) if bad else None
    started = created + 2000 + (runs - 1) * 5000 if ran else None
    ended = (started or created) + 1000
    sql.execute(
        """insert into jobs (id, command, queue, state, priority, rank, attempts, max_retries, runs, created_at_ms, updated_at_ms, run_at_ms,
             due_mono_ms, started_at_ms, finished_at_ms, worker_id, outcome, exit_code, signal, reason, error, error_sig, kill_after_ms,
             backoff, backoff_base, backoff_max_ms, jitter, cwd, tags, params, result)
           values (?, ?, ?, ?, ?, 0, ?, 3, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 10000, 'exponential', 2, 3600000, 0, '/', ?, ?, ?)""",
        (
            f"job{i:05d}", command, ["default", "mail"][i % 2], state, i % 5 - 2, runs if bad else 0, runs, created, ended,
            ended + 60_000 if state in ("failed", "scheduled") else None, 5 if state == "failed" else None, started,
            ended if final else None, "w1" if ran else None, ("failed" if bad else "ok") if ran and state != "processing" else None,
            (1 if bad else 0) if ran and state != "processing" else None, 9 if bad and i % 3 == 0 else None,
            "exit status 1" if bad else None, f"KeyError: 'p{i}'" if bad and i % 4 else None, sig, " nightly eu " if i % 3 == 0 else "",
            json.dumps({"lr": i / 10, "name": f"x{i}", "state": "mine"}) if i % 2 else None,
            json.dumps({"loss": 1.5}) if state == "completed" else None,
        ),
    )  # fmt: skip
    seq = sql.execute("select max(seq) from jobs").fetchone()[0]
    if state == "blocked":  # on the one before, which is scheduled
        sql.execute("update jobs set waits_for = 1 where seq = ?", (seq,))
        sql.execute("insert into dependencies (parent, child, needs) values (?, ?, 'ok')", (seq - 1, seq))
    for run in range(1, runs + (state != "processing")):
        good = state == "completed" and run == runs
        begin = created + 2000 + (run - 1) * 5000
        sql.execute(
            """insert into runs (job, run, worker_id, started_at_ms, finished_at_ms, outcome, exit_code, reason, error, error_sig, sig_version,
                 cpu_user_ms, cpu_sys_ms, max_rss, stdout_bytes, stderr_bytes)
               values (?, ?, 'w1', ?, ?, ?, ?, ?, ?, ?, 3, 100, null, 4096, ?, 0)""",
            (
                seq, run, begin, begin + 1000, "ok" if good else "failed", 0 if good else 1, None if good else "exit status 1",
                None if good else f"KeyError: 'p{i}'", None if good else sig or "a1b2c3d4", i,
            ),
        )  # fmt: skip
