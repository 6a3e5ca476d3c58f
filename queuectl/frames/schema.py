"""What each frame's columns are: a dtype for every column, however many rows there are, and how plain values become it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from queuectl.model import Outcome, State
from queuectl.store.frames import NONE

TEXT = "str" if int(pd.__version__.split(".")[0]) >= 3 else "string"
CATEGORY = "category"
MOMENT = "datetime64[ms, UTC]"
LENGTH = "timedelta64[ms]"
STATE = pd.CategoricalDtype([s.value for s in State])
OUTCOME = pd.CategoricalDtype([o.value for o in Outcome])
NAT = np.iinfo(np.int64).min

JOBS: dict[str, Any] = {
    "queue": CATEGORY,
    "command": TEXT,
    "state": STATE,
    "priority": "Int32",
    "attempts": "Int16",
    "max_retries": "Int16",
    "runs": "Int32",
    "exit_code": "Int16",
    "signal": "Int8",
    "timed_out": "boolean",
    "created_at": MOMENT,
    "run_at": MOMENT,
    "started_at": MOMENT,
    "finished_at": MOMENT,
    "updated_at": MOMENT,
    "wait": LENGTH,
    "duration": LENGTH,
    "total_time": LENGTH,
    "worker_id": CATEGORY,
    "error_sig": CATEGORY,
    "error": TEXT,
    "tags": TEXT,
}

DEAD: dict[str, Any] = {**JOBS, "died_at": MOMENT, "last_error": TEXT}

RUNS: dict[str, Any] = {
    "command": CATEGORY,
    "queue": CATEGORY,
    "worker_id": CATEGORY,
    "started_at": MOMENT,
    "finished_at": MOMENT,
    "duration": LENGTH,
    "outcome": OUTCOME,
    "exit_code": "Int16",
    "signal": "Int8",
    "error_sig": CATEGORY,
    "error": TEXT,
    "template": CATEGORY,
    "cpu_user": LENGTH,
    "cpu_sys": LENGTH,
    "max_rss": "Int64",
    "stdout_bytes": "Int64",
    "stderr_bytes": "Int64",
}

WORKERS: dict[str, Any] = {
    "host": CATEGORY,
    "pid": "Int32",
    "state": CATEGORY,
    "job_id": TEXT,
    "started_at": MOMENT,
    "heartbeat_at": MOMENT,
    "heartbeat_age": LENGTH,
    "done": "Int64",
    "failed": "Int64",
}

EVENTS: dict[str, Any] = {"at": MOMENT, "actor": CATEGORY, "verb": CATEGORY, "job_id": TEXT, "detail": TEXT}

CAUSES: dict[str, Any] = {
    "message": TEXT,
    "count": "Int64",
    "jobs": "Int64",
    "share": "Float64",
    "first_seen": MOMENT,
    "last_seen": MOMENT,
    "wasted": LENGTH,
    "example_job": TEXT,
    "example_line": TEXT,
    "commands": TEXT,
}

Ints = npt.NDArray[np.int64]


def moments(ms: Ints) -> Any:
    """Return milliseconds since 1970 UTC as aware datetimes; `NONE` is missing."""
    return pd.DatetimeIndex(_missing(ms).view("datetime64[ms]")).tz_localize("UTC")


def lengths(ms: Ints) -> Any:
    """Return milliseconds as lengths of time; `NONE` is missing."""
    return _missing(ms).view("timedelta64[ms]")


def _missing(ms: Ints) -> Ints:
    return np.where(ms == NONE, NAT, ms)


def whole(values: Ints, dtype: str) -> Any:
    """Return whole numbers as a nullable array; `NONE` is missing, but for a priority, which may be negative."""
    missing = values == NONE if dtype != JOBS["priority"] else np.zeros(len(values), bool)
    return pd.arrays.IntegerArray(values.astype(dtype.lower()), missing)


def from_objects(values: Iterable[Any], dtype: Any) -> Any:
    """Return a few plain values, None where missing, as a column of this dtype."""
    rows = list(values)
    if dtype in (MOMENT, LENGTH):
        ms = np.array([NONE if x is None else x for x in rows], np.int64)
        return moments(ms) if dtype == MOMENT else lengths(ms)
    if dtype == CATEGORY:
        return pd.Categorical(pd.Index(rows, dtype=TEXT)) if rows else empty_category()
    array: Any = pd.array
    return array(rows, dtype=dtype)


def empty_category() -> pd.Categorical:
    """Return a category without rows, whose labels are text all the same."""
    return pd.Categorical.from_codes(np.zeros(0, np.int8), pd.Index([], dtype=TEXT))


def category(codes: npt.NDArray[Any], labels: list[str]) -> pd.Categorical:
    """Return a category of codes (−1 missing) and labels, its labels in alphabetical order."""
    names = pd.Index(labels, dtype=TEXT)
    order = np.argsort(np.array(labels, dtype=object), kind="stable")
    place = np.empty(len(order) + 1, np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    place[-1] = -1
    return pd.Categorical.from_codes(place[codes], names.take(order))
