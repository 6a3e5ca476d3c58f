"""Frames of runs and jobs as the queue hands them out, made up from a seed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

OUTCOMES = ["ok", "failed", "timeout", "killed", "lost", "cancelled", "snoozed", "spawn"]
CAUSES = [
    (
        "a1b2c3d4",
        "ConnectionError: <ip>: connection refused",
        "ConnectionError: 10.0.0.7: connection refused",
    ),
    ("b2c3d4e5", "curl: (7) Failed to connect to <url>", "curl: (7) Failed to connect to example.org"),
    ("c3d4e5f6", "OSError: [Errno 28] No space left on device: <path>", "OSError: [Errno 28] No space left"),
    ("d4e5f6a7", "timed out after <n> s", "timed out after 600 s"),
    ("e5f6a7b8", "signal SIGKILL", "signal SIGKILL"),
]

RUNS = {
    "command": "category",
    "queue": "category",
    "worker_id": "category",
    "started_at": "datetime64[ms, UTC]",
    "finished_at": "datetime64[ms, UTC]",
    "duration": "timedelta64[ms]",
    "outcome": pd.CategoricalDtype(OUTCOMES),
    "exit_code": "Int16",
    "signal": "Int8",
    "error_sig": "category",
    "error": "str",
    "template": "str",
    "cpu_user": "timedelta64[ms]",
    "cpu_sys": "timedelta64[ms]",
    "max_rss": "Int64",
    "stdout_bytes": "Int64",
    "stderr_bytes": "Int64",
}

STATES = ["scheduled", "blocked", "pending", "processing", "failed", "completed", "dead", "cancelled"]
JOBS = {
    "queue": "category",
    "command": "str",
    "state": pd.CategoricalDtype(STATES),
    "priority": "Int32",
    "attempts": "Int16",
    "max_retries": "Int16",
    "runs": "Int32",
    "exit_code": "Int16",
    "signal": "Int8",
    "timed_out": "boolean",
    "created_at": "datetime64[ms, UTC]",
    "run_at": "datetime64[ms, UTC]",
    "started_at": "datetime64[ms, UTC]",
    "finished_at": "datetime64[ms, UTC]",
    "updated_at": "datetime64[ms, UTC]",
    "wait": "timedelta64[ms]",
    "duration": "timedelta64[ms]",
    "total_time": "timedelta64[ms]",
    "worker_id": "category",
    "error_sig": "category",
    "error": "str",
    "tags": "str",
}

BEGIN = pd.Timestamp("2026-03-01 08:00", tz="UTC")


def runs_frame(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """A frame of runs from records with at least job_id and run; what is not said is missing."""
    columns = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in RUNS}
    for name in ("started_at", "finished_at"):
        columns[name] = pd.to_datetime(columns[name], utc=True)
    for name in ("duration", "cpu_user", "cpu_sys"):
        columns[name] = pd.to_timedelta(columns[name])
    frame = pd.DataFrame(columns).astype(RUNS)
    frame.index = pd.MultiIndex.from_arrays(
        [
            pd.Series([str(row["job_id"]) for row in rows], dtype="str"),
            pd.Series([row["run"] for row in rows], dtype="int64"),
        ],
        names=["job_id", "run"],
    )
    return frame


def story(job: str, outcomes: str, *, command: str = "true", sig: str | None = "a1b2c3d4", **more: object):
    """Records of a job from the first letters of outcomes, one minute each."""
    names = dict(
        zip("oftklcs", ["ok", "failed", "timeout", "killed", "lost", "cancelled", "spawn"], strict=True)
    )
    for index, letter in enumerate(outcomes):
        begin = BEGIN + pd.Timedelta(minutes=10 * index)
        bad = letter in "ftks"
        yield {
            "job_id": job,
            "run": index + 1,
            "command": command,
            "queue": "default",
            "worker_id": "w1",
            "started_at": begin,
            "finished_at": begin + pd.Timedelta(minutes=1),
            "duration": pd.Timedelta(minutes=1),
            "outcome": names[letter],
            "error_sig": sig if bad else None,
            "error": f"error of {sig}" if bad and sig else None,
            "template": f"template of {sig}" if bad and sig else None,
            **more,
        }


def make_runs(rows: int, seed: int = 0, *, commands: int = 40, workers: int = 12) -> pd.DataFrame:
    """A frame of that many runs: jobs of up to five attempts, missing values where the queue has them too."""
    rng = np.random.default_rng(seed)
    job = np.sort(rng.integers(0, max(rows // 2, 1), rows))
    start = np.append(True, job[1:] != job[:-1]) if rows else np.zeros(0, bool)
    run = np.arange(rows) - np.maximum.accumulate(np.where(start, np.arange(rows), 0)) + 1
    command = rng.integers(0, commands, max(rows // 2, 1))[job] if rows else job
    outcome = rng.choice(8, rows, p=[0.62, 0.22, 0.05, 0.03, 0.03, 0.02, 0.02, 0.01])
    bad = np.isin(outcome, [1, 2, 3, 7])
    cause = rng.choice(len(CAUSES), rows, p=[0.5, 0.25, 0.15, 0.07, 0.03])
    began = rng.integers(0, 7 * 86_400_000, max(rows // 2, 1))[job] + run * 60_000 if rows else job
    took = rng.lognormal(8, 1.2, rows).astype(np.int64)
    ended = (outcome != 4) | (rng.random(rows) < 0.5)
    text = pd.DataFrame(CAUSES, columns=["error_sig", "template", "error"])
    told = bad & (rng.random(rows) < 0.99)
    base = int(BEGIN.as_unit("ms").asm8.view(np.int64))
    moment = lambda ms: pd.Series(ms.astype("datetime64[ms]")).dt.tz_localize("UTC")  # noqa: E731
    labels = text.iloc[cause].reset_index(drop=True)
    frame = pd.DataFrame(
        {
            "command": pd.Categorical.from_codes(command, [f"python task_{i}.py" for i in range(commands)]),
            "queue": pd.Categorical.from_codes(command % 3, ["default", "mail", "nightly"]),
            "worker_id": pd.Categorical.from_codes(
                rng.integers(0, workers, rows), [f"w{i}" for i in range(workers)]
            ),
            "started_at": moment(base + began),
            "finished_at": moment(base + began + took).where(ended),
            "duration": pd.Series(took.astype("timedelta64[ms]")).where(ended),
            "outcome": pd.Categorical.from_codes(outcome, OUTCOMES),
            "exit_code": pd.Series(np.where(outcome == 1, 1, 0)).where(outcome <= 1),
            "signal": pd.Series(np.full(rows, 9)).where(outcome == 3),
            "error_sig": labels["error_sig"].where(told),
            "error": labels["error"].where(told),
            "template": labels["template"].where(told),
            "cpu_user": pd.Series((took // 2).astype("timedelta64[ms]")).where(ended),
            "cpu_sys": pd.Series((took // 9).astype("timedelta64[ms]")).where(ended),
            "max_rss": pd.Series(rng.integers(2**20, 2**30, rows)).where(ended),
            "stdout_bytes": rng.integers(0, 10_000, rows),
            "stderr_bytes": rng.integers(0, 10_000, rows),
        }
    ).astype(RUNS)
    ids = pd.Index([f"j{i:07d}" for i in range(max(rows // 2, 1))], dtype="str")
    frame.index = pd.MultiIndex.from_arrays([ids.take(job), run], names=["job_id", "run"])
    return frame


def make_jobs(rows: int, seed: int = 0) -> pd.DataFrame:
    """A frame of that many jobs, of which one in ten has not started."""
    rng = np.random.default_rng(seed)
    base = int(BEGIN.as_unit("ms").asm8.view(np.int64)) + rng.integers(0, 86_400_000, rows)
    wait, took = rng.lognormal(7, 1, rows).astype(np.int64), rng.lognormal(8, 1, rows).astype(np.int64)
    begun = rng.random(rows) < 0.9
    moment = lambda ms: pd.Series(ms.astype("datetime64[ms]")).dt.tz_localize("UTC")  # noqa: E731
    length = lambda ms: pd.Series(ms.astype("timedelta64[ms]")).where(begun)  # noqa: E731
    columns: dict[str, object] = {name: pd.Series([None] * rows, dtype=object) for name in JOBS}
    columns |= {
        "queue": rng.choice(["default", "mail", "nightly"], rows),
        "command": pd.Series(rng.integers(0, 40, rows)).map("python task_{}.py".format),
        "state": np.where(begun, "completed", "pending"),
        "created_at": moment(base),
        "run_at": moment(base),
        "started_at": moment(base + wait).where(begun),
        "finished_at": moment(base + wait + took).where(begun),
        "updated_at": moment(base + wait + took),
        "wait": length(wait),
        "duration": length(took),
        "total_time": length(wait + took),
    }
    frame = pd.DataFrame(columns).astype(JOBS)
    frame.index = pd.Index([f"j{i:07d}" for i in range(rows)], name="id", dtype="str")
    return frame
