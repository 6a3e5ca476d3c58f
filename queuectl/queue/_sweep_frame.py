"""A sweep as a DataFrame; the only part of it that needs pandas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from queuectl.model import Job


def frame(jobs: Sequence[Job], *, path: str) -> Any:
    """Return one row per job: its parameters, how it ended, and its result.

    Args:
        jobs: the jobs, in the order of the rows.
        path: their database, kept in `attrs` so that a frame of another one is refused by the verbs.
    """
    import pandas as pd

    params = [json.loads(j.params) if j.params else {} for j in jobs]
    results = [_fields(j.result) for j in jobs]
    names = list(dict.fromkeys(name for row in params for name in row))
    columns: dict[str, Any] = {name: [row.get(name) for row in params] for name in names}
    own = {
        "state": [str(j.state) for j in jobs],
        "exit_code": pd.array([j.exit_code for j in jobs], dtype="Int64"),
        "duration": pd.array([_seconds(j) for j in jobs], dtype="float64"),
        "error": [j.error for j in jobs],
    }
    for name, values in own.items():
        columns[f"job.{name}" if name in columns else name] = values
    for name in dict.fromkeys(name for row in results for name in row):
        columns[f"result.{name}" if name in columns else name] = [row.get(name) for row in results]
    found = pd.DataFrame(columns, index=pd.Index([j.id for j in jobs], name="id"))
    found.attrs["queuectl_db"] = path
    return found


def _fields(result: str | None) -> dict[str, Any]:
    value = json.loads(result) if result is not None else {}
    return value if isinstance(value, dict) else {"result": value}


def _seconds(job: Job) -> float:
    if job.started_at_ms is None or job.finished_at_ms is None:
        return float("nan")
    return max(0, job.finished_at_ms - job.started_at_ms) / 1000
