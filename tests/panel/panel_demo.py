"""A queue with a past, for tests and screenshots: a day of runs, six causes of failure, workers, and hostile texts on demand."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

from queuectl.ids import new_id
from queuectl.model import State
from queuectl.store import Store

HOUR = 3_600_000
CAUSES = [
    # message, command, exit, weight, since hours, stderr
    ("curl: (7) Failed to connect to feeds.example.com port 443 after <n> ms: Connection refused", "curl -fsS https://feeds.example.com/v2/prices?day={n}", 7, 30, 20,
     "  % Total    % Received % Xferd  Average Speed\n\x1b[31mcurl: (7) Failed to connect to feeds.example.com port 443 after 12 ms: Connection refused\x1b[0m\n"),
    ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate <n> GiB", "python train.py --lr 0.0{n} --batch 64", 1, 14, 22,
     "epoch 1/10  12%\repoch 1/10  57%\repoch 2/10   3%\nTraceback (most recent call last):\n  File \"train.py\", line 88, in <module>\n    loss.backward()\n"
     "\x1b[1;31mtorch.cuda.OutOfMemoryError\x1b[0m: CUDA out of memory. Tried to allocate 2.50 GiB\n"),
    ("FileNotFoundError: [Errno 2] No such file or directory: <path>", "python -m reports.daily --date 2026-11-{n}", 1, 9, 12,
     "Traceback (most recent call last):\n  File \"reports/daily.py\", line 31, in main\n    with open(path) as f:\n"
     "\x1b[33mFileNotFoundError\x1b[0m: [Errno 2] No such file or directory: '/srv/exports/2026-11-14.csv'\n"),
    ("HTTP 503 Service Unavailable", "bin/push-metrics --shard {n}", 22, 6, 23, "POST /v1/ingest\nerror: HTTP 503 Service Unavailable\n"),
    ("timed out after 600 s", "ffmpeg -i raw/{n}.mov -c:v libx264 out/{n}.mp4", None, 4, 18, "frame= 1432 fps= 24 q=28.0 size=    8192KiB time=00:00:59.66\n"),
    ("psycopg.errors.UndefinedColumn: column <q> does not exist", "python migrate.py --tenant {n}", 1, 5, 2,
     "Traceback (most recent call last):\n  File \"migrate.py\", line 12, in <module>\npsycopg.errors.UndefinedColumn: column \"region\" does not exist\n"),
]  # fmt: skip
GOOD = [
    "python etl.py --table orders --part {n}",
    "bin/thumbnail images/{n}.png --size 400",
    "make -C docs html",
    "rsync -a --delete --exclude '.git' --exclude '*.tmp' data/{n}/ backup@vault.example.com:/srv/backup/nightly/região-{n}/",
    "python score.py --model v{n} --out scores/{n}.parquet",
]
HOSTILE = "<img src=x onerror=window.PWNED=1><script>window.PWNED=2</script> \x1b]8;;http://evil/\x07click\x1b]8;;\x07 \u202etxt.exe $x^2$ </pre>"


def sig_of(message: str) -> str:
    """A stand-in for a cause's signature."""
    return f"{zlib.crc32(message.encode()):08x}"


def insert(store: Store, rows: list[dict[str, Any]]) -> int:
    """Insert whole rows of jobs; return the first seq."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with store.write() as sql:
        first = (store.connection.one("select coalesce(max(seq), 0) from jobs") or (0,))[0] + 1
        sql.executemany(
            f"insert into jobs ({', '.join(names)}) values ({', '.join(':' + n for n in names)})",
            [dict.fromkeys(names) | row for row in rows],
        )
    return int(first)


def job(state: State, command: str, now: int, **more: Any) -> dict[str, Any]:
    """A row of jobs that keeps every constraint."""
    row = {
        "id": new_id(), "command": command, "queue": "default", "state": state.value, "priority": 0, "rank": now, "attempts": 0, "max_retries": 3,
        "runs": 0, "created_at_ms": now, "updated_at_ms": now, "run_at_ms": None, "due_mono_ms": None, "started_at_ms": None, "finished_at_ms": None,
        "worker_id": None, "outcome": None, "exit_code": None, "reason": None, "error": None, "error_sig": None, "kill_after_ms": 10_000,
        "backoff": "exponential", "backoff_base": 2.0, "backoff_max_ms": HOUR, "jitter": 0.0, "cwd": "/srv/app", "tags": "", "progress_done": None, "progress_total": None,
        "progress_text": None, "progress_run": None,
    }  # fmt: skip
    return row | more


def fill(store: Store, *, now_ms: int, seed: int = 7, scale: int = 1) -> None:
    """Write the demo's day."""
    dice = random.Random(seed)
    rows: list[dict[str, Any]] = []
    runs: list[tuple[int, list[tuple[Any, ...]], bytes, bytes]] = []

    def add(row: dict[str, Any], attempts: list[tuple[Any, ...]], out: bytes = b"", err: bytes = b"") -> None:
        rows.append(row)
        runs.append((len(rows) - 1, attempts, out, err))

    for _ in range(700 * scale):
        took = int(dice.lognormvariate(8.6, 1.1))
        end = now_ms - int(dice.random() ** 1.5 * 23 * HOUR) - 1000
        start, made = end - took, end - took - int(dice.lognormvariate(6.5, 1.5))
        command = dice.choice(GOOD).format(n=dice.randint(10, 99))
        add(job(State.COMPLETED, command, made, runs=1, started_at_ms=start, finished_at_ms=end, updated_at_ms=end, worker_id="wk3f9a2b", outcome="ok", exit_code=0),
            [(1, start, end, "ok", 0, None, None, None)], f"done in {took} ms\n".encode())  # fmt: skip
    for message, command, code, weight, since_h, err in CAUSES:
        for _ in range(weight):
            when = now_ms - int(dice.random() * since_h * 0.9 * HOUR) - 20_000
            _failed_job(add, dice, State.DEAD, command, message, code, err, when, 3)
    for message, command, code, _, _, err in CAUSES[:3]:
        _failed_job(
            add, dice, State.FAILED, command, message, code, err, now_ms - 3000, 1, due=now_ms + 40_000
        )
        _failed_job(
            add, dice, State.FAILED, command, message, code, err, now_ms - 9000, 2, due=now_ms + 90_000
        )
    for n in range(12):
        made = now_ms - (130 - n * 10) * 1000
        add(
            job(State.PENDING, GOOD[n % 5].format(n=n + 10), made, priority=5 if n == 3 else 0, rank=made), []
        )
    for n, worker in enumerate(("wk3f9a2b", "wk81c0de", "wkq7m4x9")):
        begun = now_ms - (12 + 31 * n) * 1000
        add(job(State.PROCESSING, CAUSES[1][1].format(n=n) if n == 1 else GOOD[n].format(n=n + 40), begun - 900, runs=1, started_at_ms=begun, updated_at_ms=begun, worker_id=worker,
                **({"progress_done": 37.0, "progress_total": 100.0, "progress_text": "epoch 4 of 10", "progress_run": 1} if n == 1 else {})), [])  # fmt: skip
    for n in range(4):
        add(
            job(
                State.SCHEDULED,
                "bin/nightly-report --team " + "abcd"[n],
                now_ms - 4000 - n,
                run_at_ms=now_ms + (3 + n) * HOUR,
                tags=" nightly ",
            ),
            [],
        )
    first = insert(store, rows)
    numbered = [(first + at, attempts, out, err) for at, attempts, out, err in runs]
    with store.write() as sql:
        for seq, attempts, out, err in numbered:
            for number, start, end, outcome, code, reason, error, sig in attempts:
                sql.execute(
                    """insert into runs (job, run, worker_id, started_at_ms, finished_at_ms, outcome, exit_code, reason, error, error_sig, cpu_user_ms,
                       cpu_sys_ms, max_rss, stdout_bytes, stderr_bytes) values (?, ?, 'wk3f9a2b', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                    (
                        seq,
                        number,
                        start,
                        end,
                        outcome,
                        code,
                        reason,
                        error,
                        sig,
                        (end - start) // 2,
                        30,
                        84_000_000,
                        len(out),
                        len(err),
                    ),
                )
                if out or err:
                    sql.execute(
                        "insert into outputs values (?, ?, 0, ?, ?)", (seq, number, out or None, err or None)
                    )
        for message, _, _, _, since_h, _ in CAUSES:
            sql.execute(
                "insert into causes values (?, ?, 1, ?) on conflict do nothing",
                (sig_of(message), message, now_ms - since_h * HOUR),
            )
        _workers(sql, now_ms, first)
        _events(sql, now_ms, [r["id"] for r in rows])


def _failed_job(
    add: Any,
    dice: random.Random,
    state: State,
    command: str,
    message: str,
    code: int | None,
    err: str,
    end: int,
    attempts: int,
    due: int | None = None,
) -> None:
    sig, outcome = sig_of(message), "failed" if code is not None else "timeout"
    reason = f"exit status {code}" if code is not None else "timed out after 600 s"
    line = (
        err.rstrip()
        .splitlines()[-1]
        .replace("\x1b[31m", "")
        .replace("\x1b[0m", "")
        .replace("\x1b[1;31m", "")
        .replace("\x1b[33m", "")[:300]
    )
    history, at = [], end
    for number in range(attempts, 0, -1):
        took = dice.randint(400, 9000)
        history.append((number, at - took, at, outcome, code, reason, line, sig))
        at -= took + 2**number * 1000
    history.reverse()
    final = state is State.DEAD
    add(job(state, command.format(n=dice.randint(10, 28)), at - 2000, attempts=attempts, runs=attempts, started_at_ms=history[-1][1], updated_at_ms=end,
            finished_at_ms=end if final else None, run_at_ms=due, due_mono_ms=None if final else 1, worker_id="wk3f9a2b", outcome=outcome, exit_code=code,
            reason=reason, error=line, error_sig=sig), history, b"starting\n", err.encode())  # fmt: skip


def _workers(sql: Any, now: int, first: int) -> None:
    for n, (name, state) in enumerate(
        (("wk3f9a2b", "busy"), ("wk81c0de", "busy"), ("wkq7m4x9", "busy"), ("wkzz02ab", "idle"))
    ):
        seq = sql.execute(
            "select seq from jobs where state = 'processing' and worker_id = ?", (name,)
        ).fetchone()
        sql.execute(
            "insert into workers values (?, ?, ?, null, ?, 'lab-1', 'boot', ?, 1, null, ?, ?, 1, ?, ?)",
            (
                name,
                "r1" if n < 3 else "r2",
                state,
                seq[0] if seq else None,
                4100 + n,
                now - 5 * HOUR,
                now - (900 if n < 3 else 95_000),
                240 - 31 * n,
                19 - 4 * n,
            ),
        )


def _events(sql: Any, now: int, ids: list[str]) -> None:
    for n, (actor, verb, note) in enumerate((
        ("cli", "pause", "slow"), ("panel", "retry", None), ("python", "edit", "priority = 5"), ("cli", "resume", "slow"), ("panel", "cancel", None),
        ("cli", "config", "max-retries = 3"), ("panel", "start", "2 workers"), ("worker", "recovered", "its worker was gone"),
    )):  # fmt: skip
        on_job = verb in ("retry", "edit", "cancel", "recovered")
        sql.execute(
            "insert into events (at_ms, actor, verb, job_id, detail) values (?, ?, ?, ?, ?)",
            (now - (8 - n) * 21 * 60_000, actor, verb, ids[-20 - n] if on_job else None, note),
        )


def hostile(store: Store, *, now_ms: int) -> None:
    """Add jobs whose every text attacks whoever looks."""
    rows = [
        job(State.DEAD, HOSTILE, now_ms, attempts=1, runs=1, started_at_ms=now_ms - 5, finished_at_ms=now_ms, worker_id=HOSTILE[:60], outcome="failed",
            exit_code=1, reason=HOSTILE, error=HOSTILE, error_sig="deadbeef", queue=HOSTILE[:60], tags=" <b>t</b> ", params=json.dumps({"<i>": HOSTILE}), id="<b>id</b>", cwd="/<b>x"),
        job(State.PROCESSING, HOSTILE, now_ms, id="<i>going</i>", runs=1, started_at_ms=now_ms - 5, worker_id="wk3f9a2b", progress_done=1.0, progress_total=2.0,
            progress_text=HOSTILE, progress_run=1),
    ]  # fmt: skip
    seq = insert(store, rows)
    with store.write() as sql:
        sql.execute(
            """insert into runs (job, run, worker_id, started_at_ms, finished_at_ms, outcome, exit_code, reason, error, error_sig, stdout_bytes, stderr_bytes)
               values (?, 1, ?, ?, ?, 'failed', 1, ?, ?, 'deadbeef', 3, 3)""",
            (seq, HOSTILE[:60], now_ms - 5, now_ms, HOSTILE, HOSTILE),
        )
        sql.execute("insert into outputs values (?, 1, 0, ?, ?)", (seq, HOSTILE.encode(), HOSTILE.encode()))
        sql.execute("insert into causes values ('deadbeef', ?, 1, ?)", (HOSTILE, now_ms))
        sql.execute(
            "insert into events (at_ms, actor, verb, job_id, detail) values (?, ?, ?, ?, ?)",
            (now_ms, HOSTILE, HOSTILE, HOSTILE[:60], HOSTILE),
        )
