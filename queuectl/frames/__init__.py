"""The queue as pandas frames: `q.jobs()`, `q.runs()`, `q.dlq.frame()` and the smaller ones.

Each frame has a fixed schema (`schema`): an empty one has the dtypes of a full one, times are aware datetimes, whole numbers that
may be missing are pandas' nullable integers. `attrs` name the database and the moment of reading, so that a verb that is given a
frame can refuse another database's and skip what has changed since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from queuectl import processes
from queuectl import validate as v
from queuectl.answers import Cause
from queuectl.errors import expected
from queuectl.frames import schema
from queuectl.frames.unpack import Columns, Ints
from queuectl.model import Outcome, State, Worker
from queuectl.records import NamedTuple, replace
from queuectl.store import Store
from queuectl.store.filters import Filter
from queuectl.store.frames import NONE, PART, Frames, RunFilter

__all__ = ["causes", "dead", "events", "jobs", "runs", "workers"]


def jobs(
    store: Store,
    wanted: Filter,
    *,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
    expand: bool = False,
) -> pd.DataFrame:
    """Return one row per job, oldest first.

    Args:
        store: the queue's database.
        wanted: which jobs.
        columns: only these of `schema.JOBS`, in this order.
        limit: at most so many, the newest; all when None.
        expand: add a column for each parameter and for each key of the results.
    """
    return _of_jobs(store, wanted, schema.JOBS, columns, limit=limit, expand=expand, kind="jobs")


def dead(
    store: Store, wanted: Filter, *, columns: Sequence[str] | None = None, limit: int | None = None
) -> pd.DataFrame:
    """Return the dead jobs, as `jobs` does, with when they died and the last error of each."""
    wanted = replace(wanted, states=(State.DEAD,))
    return _of_jobs(store, wanted, schema.DEAD, columns, limit=limit, expand=False, kind="dlq")


def _of_jobs(
    store: Store, wanted: Filter, kinds: Mapping[str, Any], columns: Sequence[str] | None, *, limit: int | None,
    expand: bool, kind: str,
) -> pd.DataFrame:  # fmt: skip
    names = _chosen(columns, kinds)
    needed = _needed(names, _JOB_NEEDS)
    read = Columns(["seq", "id", *needed, *(["params", "result"] if expand else ())])
    now = processes.now_ms()
    for part in Frames(store.connection).jobs(wanted, read.names, limit=limit, few=_is_few(store, wanted)):
        read.add(part)
    index = pd.Index(read.text("id"), name="id", dtype=schema.TEXT)
    frame = pd.DataFrame({n: _job_column(read, n, kinds[n]) for n in names}, index=index, copy=False)
    if expand:
        frame = _expanded(frame, read, taken=schema.DEAD)
    return _marked(frame, store, kind, now)


def runs(
    store: Store,
    wanted: Filter,
    of_run: RunFilter,
    *,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """Return one row per ended run, by job (oldest first) and number.

    Args:
        store: the queue's database.
        wanted: runs of which jobs.
        of_run: which of their runs.
        columns: only these of `schema.RUNS`, in this order.
        limit: at most so many, those that ended last; all when None.
    """
    names = _chosen(columns, schema.RUNS)
    read = Columns(["seq", "run", "id", *_needed(names, _RUN_NEEDS)], of_runs=True)
    now = processes.now_ms()
    source = Frames(store.connection)
    for part in source.runs(wanted, of_run, read.names, limit=limit, few=_is_few(store, wanted)):
        read.add(part)
    templates = source.templates() if "template" in names else {}
    values = {n: _run_column(read, n, schema.RUNS[n], templates) for n in names}
    frame = pd.DataFrame(values, index=_run_index(read), copy=False)
    return _marked(frame, store, "runs", now)


def _run_index(read: Columns) -> pd.MultiIndex:
    seq = read.ints("seq")
    first = np.append(True, seq[1:] != seq[:-1]) if len(seq) else np.zeros(0, bool)
    ids: Any = pd.Index(read.text("id")[first], dtype=schema.TEXT)
    number = read.ints("run")
    levels: list[Any] = [ids, np.arange(1, int(number.max(initial=0)) + 1, dtype=np.int64)]
    codes: list[Any] = [np.cumsum(first) - 1, number - 1]
    return pd.MultiIndex(levels=levels, codes=codes, names=["job_id", "run"], verify_integrity=False)


def workers(store: Store, found: Iterable[Worker]) -> pd.DataFrame:
    """Return one row per worker; `heartbeat_age` is how long ago it last gave a sign of life."""
    now, rows = processes.now_ms(), list(found)
    values: dict[str, Iterable[Any]] = {
        "host": [w.host for w in rows], "pid": [w.pid for w in rows], "state": [w.state for w in rows],
        "job_id": [w.job_id for w in rows], "started_at": [w.started_at_ms for w in rows],
        "heartbeat_at": [w.heartbeat_at_ms for w in rows], "heartbeat_age": [max(0, now - w.heartbeat_at_ms) for w in rows],
        "done": [w.done for w in rows], "failed": [w.failed for w in rows],
    }  # fmt: skip
    return _marked(
        _small(values, schema.WORKERS, pd.Index([w.id for w in rows], name="id", dtype=schema.TEXT)),
        store,
        "workers",
        now,
    )


def events(store: Store, **which: Any) -> pd.DataFrame:
    """Return one row per event, oldest first; `which` as `Frames.events` takes it."""
    now = processes.now_ms()
    rows = Frames(store.connection).events(**which)
    seqs, *columns = zip(*rows, strict=True) if rows else [()] * 6
    values = dict(zip(("at", "actor", "verb", "job_id", "detail"), columns, strict=True))
    return _marked(
        _small(values, schema.EVENTS, pd.Index(seqs, name="seq", dtype="int64")), store, "events", now
    )


def causes(store: Store, found: Iterable[Cause]) -> pd.DataFrame:
    """Return one row per cause of failure, the most frequent first."""
    rows = list(found)
    names = {"first_seen": "first_seen_ms", "last_seen": "last_seen_ms", "wasted": "wasted_ms"}
    values = {n: [getattr(c, names.get(n, n)) for c in rows] for n in schema.CAUSES}
    values["commands"] = [" · ".join(c.commands) for c in rows]
    index = pd.Index([c.sig for c in rows], name="sig", dtype=schema.TEXT)
    return _marked(_small(values, schema.CAUSES, index), store, "causes", processes.now_ms())


# --- columns ---

_JOB_NEEDS = {
    "created_at": ("created_at_ms",), "run_at": ("run_at_ms",), "started_at": ("started_at_ms",), "finished_at": ("finished_at_ms",),
    "updated_at": ("updated_at_ms",), "timed_out": ("outcome",), "died_at": ("finished_at_ms",), "last_error": ("error", "reason"),
    "wait": ("first_start_ms", "created_at_ms", "run_at_ms"), "duration": ("started_at_ms", "finished_at_ms", "state", "outcome"),
    "total_time": ("created_at_ms", "finished_at_ms"),
}  # fmt: skip
_RUN_NEEDS = {
    "started_at": ("started_at_ms",), "finished_at": ("finished_at_ms",), "duration": ("started_at_ms", "finished_at_ms"),
    "cpu_user": ("cpu_user_ms",), "cpu_sys": ("cpu_sys_ms",), "template": ("error_sig",),
}  # fmt: skip


def _needed(names: Iterable[str], needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    found = dict.fromkeys(raw for n in names for raw in needs.get(n, (n,)))
    return [raw for raw in found if raw not in ("seq", "id", "run")]


def _job_column(read: Columns, name: str, kind: Any) -> Any:
    match name:
        case "timed_out":
            codes = read.codes("outcome")
            return pd.arrays.BooleanArray(codes == list(Outcome).index(Outcome.TIMEOUT), codes < 0)
        case "wait":
            start, created, due = (read.ints(n) for n in _JOB_NEEDS["wait"])
            # A time that lies after the start is that of the next run.
            ready = np.where((due != NONE) & (due <= start), np.maximum(due, created), created)
            return _span(ready, start)
        case "duration":
            start, end = read.ints("started_at_ms"), read.ints("finished_at_ms")
            # A job that was cancelled while it waited ended then, but its last run had ended before.
            waited = read.codes("state") == list(State).index(State.CANCELLED)
            waited &= read.codes("outcome") != list(Outcome).index(Outcome.CANCELLED)
            return _span(start, np.where(waited, NONE, end))
        case "total_time":
            return _span(read.ints("created_at_ms"), read.ints("finished_at_ms"))
        case "last_error":
            return read.text("error", otherwise="reason")
        case _:
            return _typed(read, _JOB_NEEDS.get(name, (name,))[0], kind)


def _run_column(read: Columns, name: str, kind: Any, templates: Mapping[str, str]) -> Any:
    match name:
        case "duration":
            return _span(read.ints("started_at_ms"), read.ints("finished_at_ms"))
        case "cpu_user" | "cpu_sys":
            return schema.lengths(read.ints(f"{name}_ms"))
        case "template":
            return read.category("error_sig", renamed=templates)
        case _:
            return _typed(read, _RUN_NEEDS.get(name, (name,))[0], kind)


def _typed(read: Columns, raw: str, kind: Any) -> Any:
    if isinstance(kind, pd.CategoricalDtype):
        return pd.Categorical.from_codes(read.codes(raw), dtype=kind)
    match kind:
        case schema.CATEGORY:
            return read.category(raw)
        case schema.MOMENT:
            return schema.moments(read.ints(raw))
        case schema.TEXT:
            return read.text(raw)
        case _:
            return schema.whole(read.ints(raw), kind)


def _span(start: Ints, end: Ints) -> Any:
    known = (start != NONE) & (end != NONE)
    return schema.lengths(np.where(known, np.maximum(end - start, 0), NONE))


def _small(
    values: Mapping[str, Iterable[Any]], kinds: Mapping[str, Any], index: pd.Index[Any]
) -> pd.DataFrame:
    return pd.DataFrame({n: schema.from_objects(values[n], kind) for n, kind in kinds.items()}, index=index)


# --- what was asked, and what is said of it ---


def _chosen(columns: Sequence[str] | None, kinds: Mapping[str, Any]) -> list[str]:
    if columns is None:
        return list(kinds)
    if isinstance(columns, str):
        raise expected("columns", "a list of names", columns)
    return list(dict.fromkeys(v.choice("columns", name, tuple(kinds)) for name in columns))


def _is_few(store: Store, wanted: Filter) -> bool:
    """Whether an index leads to the jobs of a filter, and they are few."""
    if wanted.ids is not None or wanted.batch is not None:
        return True
    if wanted.states is None:
        return False
    counts = store.jobs.counts()
    return sum(counts[s] for s in wanted.states) * PART < sum(counts.values())


def _marked(frame: pd.DataFrame, store: Store, kind: str, now_ms: int) -> pd.DataFrame:
    # Plain values only: attrs are copied with every slice of a frame, and written as JSON into Parquet files.
    frame.attrs = {"queuectl_db": store.path, "queuectl_frame": kind, "queuectl_read_ms": now_ms}
    return frame


class _Found(NamedTuple):
    params: list[dict[str, Any]]
    result: list[dict[str, Any]]


def _expanded(frame: pd.DataFrame, read: Columns, *, taken: Mapping[str, Any]) -> pd.DataFrame:
    """A frame with a column per parameter and per key of the results; names that are taken are prefixed."""
    found = _Found(*([_object(t) for t in read.strings(n)] for n in ("params", "result")))
    more: dict[str, pd.Series[Any]] = {}
    for prefix, rows in zip(("param", "result"), found, strict=True):
        for key in dict.fromkeys(k for row in rows for k in row):
            name = f"{prefix}_{key}" if key in taken or key in more or key == "id" else key
            values = pd.Series([row.get(key) for row in rows], index=frame.index, dtype=object)
            more[name] = values.convert_dtypes()
    return frame.join(pd.DataFrame(more, index=frame.index)) if more else frame


def _object(text: str | None) -> dict[str, Any]:
    """What a JSON object holds; another value stands under the name `value`."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"value": text}
    return value if isinstance(value, dict) else {"value": value}
