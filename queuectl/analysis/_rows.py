"""What the rows of a runs or jobs frame mean: outcomes, moments, groups, attempts.

Everything below works on plain arrays in the frame's row order and never writes to the frame.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from queuectl.errors import InvalidValue

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SUCCESS = ("ok",)
FAILURES = ("failed", "timeout", "killed", "spawn")
"""Outcomes charged to the command; lost, cancelled and snoozed say nothing about it."""

NAT = np.iinfo(np.int64).min
"""NaT as the integer behind datetime64 and timedelta64."""


def ends(runs: pd.DataFrame) -> tuple[Bools, Bools]:
    """Two masks over the rows: the command succeeded; the command failed."""
    outcome = column(runs, "outcome").astype("category")
    codes, names = outcome.cat.codes.to_numpy(), outcome.cat.categories
    succeeded = np.append(names.isin(SUCCESS), False)
    failed = np.append(names.isin(FAILURES), False)
    return succeeded[codes], failed[codes]


def column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
    """A column or index level by name.

    Raises:
        InvalidValue: the frame has neither.
    """
    if name in frame.columns:
        return frame[name]
    if name in frame.index.names:
        return pd.Series(frame.index.get_level_values(name), index=frame.index)
    known = ", ".join(map(str, [*frame.index.names, *frame.columns]))
    raise InvalidValue(f"frame: expected a column {name!r}, got {known}")


def moments(series: "pd.Series[Any]") -> Ints:
    """Milliseconds since 1970 UTC of a datetime column; NAT where missing."""
    naive = series.dt.tz_convert(None) if getattr(series.dtype, "tz", None) is not None else series
    return naive.to_numpy(dtype="datetime64[ms]").view(np.int64)


def lengths(series: "pd.Series[Any]") -> Ints:
    """Milliseconds of a timedelta column; NAT where missing."""
    return series.to_numpy(dtype="timedelta64[ms]").view(np.int64)


def known_at(runs: pd.DataFrame) -> Ints:
    """When each run's outcome was known: its end, or its start where no end was recorded."""
    finished = moments(column(runs, "finished_at"))
    return np.where(finished == NAT, moments(column(runs, "started_at")), finished)


def moment(value: object, name: str, *, newest: int) -> int:
    """Milliseconds UTC of a moment, or of so long before the newest row.

    Args:
        value: a Timestamp, datetime or text ("2026-03-01 12:00"; UTC where it names no zone), or a Timedelta
            or text like "24h", counted back from `newest`.
        name: the parameter's name, for the error.
        newest: milliseconds UTC.

    Raises:
        InvalidValue: it is neither.
    """
    candidates: tuple[Callable[[Any, int], int], ...]
    match value:
        case str() if value.strip().isdigit():  # a year; as a length of time it would be nanoseconds
            candidates = (_stamp,)
        case str():
            candidates = (_before, _stamp)
        case timedelta() | np.timedelta64():
            candidates = (_before,)
        case datetime() | date() | np.datetime64():
            candidates = (_stamp,)
        case _:
            candidates = ()
    for read in candidates:
        try:
            return read(value, newest)
        except ValueError:
            continue
    raise InvalidValue(f"{name}: expected a moment or a length of time such as '24h', got {value!r}")


def _before(length: Any, newest: int) -> int:
    delta = pd.Timedelta(length)
    if pd.isna(delta):
        raise ValueError("not a length")
    return newest - _milliseconds(delta)


def _stamp(value: Any, _newest: int) -> int:
    stamp = pd.Timestamp(value)
    if pd.isna(stamp):
        raise ValueError("not a time")
    utc = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp
    return int(utc.as_unit("ms").asm8.view(np.int64))


def _milliseconds(length: pd.Timedelta) -> int:
    return int(length.as_unit("ms").asm8.view(np.int64))


def bucket_length(freq: object, name: str = "freq") -> int:
    """Milliseconds in a fixed length of time: "15min", "h", "1D", "1W" or a Timedelta.

    Raises:
        InvalidValue: not a fixed length (a month is not), or not ≥ 1 ms.
    """
    text = f"1{freq}" if isinstance(freq, str) and freq[:1].isalpha() else freq
    try:
        length = _milliseconds(pd.Timedelta(text))  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError):
        length = 0
    if length < 1:
        raise InvalidValue(f"{name}: expected a fixed length such as '15min', '1h' or '1D', got {freq!r}")
    return length


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows put into groups: `codes` has one group number per row, `keys` one value per group and column."""

    codes: Ints
    count: int
    keys: dict[str, "pd.Series[Any]"]


def group(frame: pd.DataFrame, by: str | Iterable[str] | None) -> Groups:
    """Group rows by columns or index levels; a missing value is a group of its own. None is one group."""
    names = [by] if isinstance(by, str) else list(by or ())
    codes, size = np.zeros(len(frame), np.int64), 1
    parts: list[tuple[str, pd.Index[Any]]] = []
    for name in names:
        part, labels = _codes(column(frame, name))
        parts.append((name, labels))
        codes, size = codes * (len(labels) + 1) + part, size * (len(labels) + 1)
        if size > 2**40:
            raise InvalidValue(f"by: {', '.join(names)} make more than 2**40 groups; use fewer columns")
    dense, found = pd.factorize(codes)
    return Groups(dense.astype(np.int64, copy=False), len(found), _keys(found, parts))


def _codes(series: "pd.Series[Any]") -> tuple[Ints, "pd.Index[Any]"]:
    """A number per row and the labels they stand for; missing is the number after the last."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        codes, labels = series.cat.codes.to_numpy().astype(np.int64), series.cat.categories
    else:
        found, uniques = pd.factorize(series)
        codes, labels = found.astype(np.int64, copy=False), pd.Index(uniques)
    return np.where(codes < 0, len(labels), codes), labels


def _keys(found: Ints, parts: Sequence[tuple[str, "pd.Index[Any]"]]) -> dict[str, "pd.Series[Any]"]:
    keys: dict[str, pd.Series[Any]] = {}
    rest = np.asarray(found, np.int64)
    for name, labels in reversed(parts):
        rest, code = np.divmod(rest, len(labels) + 1)
        keys[name] = _labels(labels, code)
    return dict(reversed(keys.items()))


def _labels(labels: "pd.Index[Any]", codes: Ints) -> "pd.Series[Any]":
    # An empty category's labels are of dtype object: text is text, however many rows there were.
    textual = labels.dtype == object or pd.api.types.is_string_dtype(labels.dtype)
    typed = labels.astype("str") if textual else labels
    return pd.Series(typed).reindex(np.where(codes < len(labels), codes, -1)).reset_index(drop=True)


def count(codes: Ints, groups: int) -> Ints:
    """How many rows each group has."""
    return np.bincount(codes, minlength=groups).astype(np.int64, copy=False)


def total(values: Ints, codes: Ints, groups: int) -> Ints:
    """Sum of milliseconds per group; missing ones count nothing."""
    known = values != NAT
    sums = np.bincount(codes[known], weights=values[known].astype(float), minlength=groups)
    return np.rint(sums).astype(np.int64)


def distinct(codes: Ints, groups: int, items: Ints) -> Ints:
    """How many different items each group has."""
    size = int(items.max(initial=0)) + 1
    return count(pd.unique(codes * size + items) // size, groups)


def quantiles(values: Ints, codes: Ints, groups: int, *, q: Sequence[float]) -> Ints:
    """Quantiles per group, shape (len(q), groups), rounded to whole milliseconds; NAT for an empty group.

    Source: Hyndman & Fan 1996, definition 7 (linear between order statistics), numpy's default.
    """
    in_order = _in_groups(values, codes, groups)
    n = count(codes, groups)
    start = np.cumsum(n) - n
    result = np.full((len(q), groups), NAT, np.int64)
    some = n > 0
    for row, level in enumerate(q):
        place = level * (n[some] - 1)
        below = np.floor(place).astype(np.int64)
        low, high = in_order[start[some] + below], in_order[start[some] + np.minimum(below + 1, n[some] - 1)]
        result[row, some] = np.rint(low + (high - low) * (place - below)).astype(np.int64)
    return result


def _in_groups(values: Ints, codes: Ints, groups: int) -> Floats:
    """Values ordered within their groups, groups one after another."""
    low, span = int(values.min(initial=0)), int(values.max(initial=0)) - int(values.min(initial=0)) + 1
    if span * max(groups, 1) < 2**62:  # one sort of plain integers takes a fifth of two indirect ones
        key = np.sort(codes * span + (values - low))
        return (key % span + low).astype(float)
    return values[np.lexsort((values, codes))].astype(float)


def jobs(runs: pd.DataFrame) -> Ints:
    """A number per row that stands for its job."""
    if isinstance(runs.index, pd.MultiIndex) and "job_id" in runs.index.names:
        return np.asarray(runs.index.codes[runs.index.names.index("job_id")], np.int64)
    return _codes(column(runs, "job_id"))[0]


@dataclass(frozen=True, slots=True)
class History:
    """Charged runs in the order of job and attempt, each job up to its first success.

    Attributes:
        row: position in the frame.
        job: number of the job, ascending.
        attempt: 1 for the first run, uncharged runs (lost, cancelled, snoozed) not counted.
        ok: the run succeeded; the others failed.
        last: it is the job's last row here.
    """

    row: Ints
    job: Ints
    attempt: Ints
    ok: Bools
    last: Bools


def history(runs: pd.DataFrame, unit: Ints | None = None) -> History:
    """What happened to each job, attempt by attempt.

    Args:
        runs: DataFrame, one row per run, any subset of a queue's runs.
        unit: a number per row; rows that share it make one history. The job, if None.
    """
    succeeded, failed = ends(runs)
    job = jobs(runs) if unit is None else unit
    number = column(runs, "run").to_numpy(dtype=np.int64)
    order = _by_job(job, number)
    job, number, ok, charged = job[order], number[order], succeeded[order], (succeeded | failed)[order]
    first = _starts(job)
    # Not a plain count of rows: a frame cut by time may hold a job's third run only, and that is attempt 3.
    attempt = number - (_running(~charged, first) - ~charged)
    kept = charged & ((_running(ok, first) - ok) == 0)
    job = job[kept]
    last = np.append(_starts(job)[1:], True) if len(job) else np.zeros(0, bool)
    return History(order[kept], job, attempt[kept], ok[kept], last)


def _by_job(job: Ints, number: Ints) -> Ints:
    """The order of rows by job and number; cheap where they lie in it, as `q.runs()` has them."""
    ordered = (job[1:] > job[:-1]) | ((job[1:] == job[:-1]) & (number[1:] >= number[:-1]))
    return np.arange(len(job)) if bool(ordered.all()) else np.lexsort((number, job))


def _starts(job: Ints) -> Bools:
    """Where a new job begins in an ordered array."""
    return np.append(True, job[1:] != job[:-1]) if len(job) else np.zeros(0, bool)


def _running(flags: Bools, first: Bools) -> Ints:
    """Running count of flags, begun anew at each first row."""
    counts = np.cumsum(flags)
    if not len(counts):
        return counts.astype(np.int64)
    before: Ints = (counts - flags)[first]
    return np.asarray(counts - before[np.cumsum(first) - 1], np.int64)


def newest(*columns: Ints) -> int:
    """The latest moment in columns of milliseconds; 0 when they hold none."""
    latest = max((int(part.max(initial=NAT)) for part in columns), default=NAT)
    return 0 if latest == NAT else latest
