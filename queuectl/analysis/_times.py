"""How long runs take and how long jobs wait, as quantiles per group."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from queuectl.analysis._intervals import share
from queuectl.analysis._rows import NAT, Floats, Groups, Ints, column, count, group, lengths, quantiles, total
from queuectl.analysis._tables import LENGTH, ranked, table

_LEVELS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
_SCHEMA = {"n": "int64", **dict.fromkeys(_LEVELS, LENGTH), "total": LENGTH, "ratio": "float64"}


def durations(
    runs: pd.DataFrame, by: str | Iterable[str] | None = "command", *, baseline: pd.DataFrame | None = None
) -> pd.DataFrame:
    """How long runs held their worker, per group: where the time goes first.

    Every run with a duration counts, whatever came of it; a timeout says only where the limit was, so take
    `runs[runs["outcome"] == "ok"]`, or `by=["command", "outcome"]`, to see the work alone.

    Args:
        runs: DataFrame, one row per run, any subset.
        by: columns that make the groups; None for one row.
        baseline: runs to compare with, such as last week's; None compares each group with all runs of this
            frame.

    Returns:
        The columns of `by`, n, p50, p90, p95, p99, max, total (sum), ratio (p50 over the p50 of the same
        group in `baseline`, or of all runs; NaN where there is none); the largest total first.

    Raises:
        InvalidValue: a column is missing.
    """
    return _spread(runs, by, "duration", baseline)


def waits(
    jobs: pd.DataFrame, by: str | Iterable[str] | None = "queue", *, baseline: pd.DataFrame | None = None
) -> pd.DataFrame:
    """How long jobs waited for a worker, per group, from being ready to their first start.

    Args:
        jobs: DataFrame, one row per job; those that never started count nothing.
        by: columns that make the groups; None for one row.
        baseline: jobs to compare with; None compares each group with all jobs of this frame.

    Returns:
        As `durations`, of the column `wait`.

    Raises:
        InvalidValue: a column is missing.
    """
    return _spread(jobs, by, "wait", baseline)


def _spread(
    frame: pd.DataFrame, by: str | Iterable[str] | None, name: str, baseline: pd.DataFrame | None
) -> pd.DataFrame:
    names = [by] if isinstance(by, str) else list(by or ())
    spread = _quantiles(frame, names, name)
    usual = _all(frame, name, len(spread)) if baseline is None else _usual(spread, baseline, names, name)
    spread["ratio"] = share(spread["p50"].dt.total_seconds().to_numpy(), usual)
    return ranked(spread, down=["total"], then=names)


def _quantiles(frame: pd.DataFrame, names: list[str], name: str) -> pd.DataFrame:
    lasted = lengths(column(frame, name))
    rows, lasted = frame[lasted != NAT], lasted[lasted != NAT]
    groups: Groups = group(rows, names)
    levels = quantiles(lasted, groups.codes, groups.count, q=list(_LEVELS.values()))
    values: dict[str, Ints | Floats] = {
        "n": count(groups.codes, groups.count),
        **dict(zip(_LEVELS, levels, strict=True)),
        "total": total(lasted, groups.codes, groups.count),
        "ratio": np.full(groups.count, np.nan),
    }
    return table(groups.keys, _SCHEMA, values)


def _all(frame: pd.DataFrame, name: str, size: int) -> Floats:
    """Median of all rows in seconds, once per group."""
    overall = _quantiles(frame, [], name)["p50"].dt.total_seconds().to_numpy()
    return np.full(size, overall[0] if len(overall) else np.nan)


def _usual(spread: pd.DataFrame, baseline: pd.DataFrame, names: list[str], name: str) -> Floats:
    """Median in seconds of the same group in the baseline; NaN where it has none."""
    before = _quantiles(baseline, names, name)
    if not names:
        return _all(baseline, name, len(spread))
    matched = spread[names].merge(before[[*names, "p50"]], on=names, how="left")
    return np.asarray(matched["p50"].dt.total_seconds(), float)
