"""How long until a failed job succeeds: Kaplan–Meier, with jobs that have not yet succeeded censored."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from queuectl.analysis._intervals import normal_quantile
from queuectl.analysis._rows import (
    NAT,
    Bools,
    Floats,
    Ints,
    column,
    count,
    group,
    history,
    known_at,
    lengths,
    moment,
    moments,
    newest,
)
from queuectl.analysis._tables import LENGTH, ranked, table

# A product that is one half on paper may come out an ulp above it.
HALF = 0.5 + 1e-9

_CURVE = {
    "time": LENGTH,
    "at_risk": "int64",
    "recovered": "int64",
    "censored": "int64",
    "waiting": "float64",
    "lo": "float64",
    "hi": "float64",
}

_SUMMARY = {
    "jobs": "int64",
    "recovered": "int64",
    "censored": "int64",
    "median": LENGTH,
    "median_lo": LENGTH,
    "median_hi": LENGTH,
}


def recovery(
    runs: pd.DataFrame,
    by: str | Iterable[str] | None = None,
    *,
    until: object = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Share of failed jobs that have not yet succeeded, by the time since their first failure.

    The clock of a job starts when its first failing run ends and stops when a run of it succeeds. Jobs that
    have not succeeded, dead ones too, are censored at `until`: up to then it is known that they had not.

    Args:
        runs: DataFrame, one row per run, any subset.
        by: columns, taken from the first failing run, that make curves of their own.
        until: end of observation, as `since` of `error_groups`; None for the newest moment in the frame.
        confidence: of the interval lo to hi.

    Returns:
        The columns of `by`, time, at_risk (jobs watched until then), recovered, censored, waiting (share not
        yet recovered just after `time`), lo and hi (Greenwood's variance on the log-log scale); one row per
        time at which something happened.

    Raises:
        InvalidValue: a column is missing or `until` is not understood.
    """
    z, names = normal_quantile(confidence), [by] if isinstance(by, str) else list(by or ())
    row, took, event = _spells(runs, until)
    groups = group(runs.iloc[row], names)
    order = np.lexsort((took, groups.codes))
    code, took, event = groups.codes[order], took[order], event[order]
    step = (
        np.append(True, (code[1:] != code[:-1]) | (took[1:] != took[:-1])) if len(code) else np.zeros(0, bool)
    )
    at = np.cumsum(step) - 1
    curve, size = code[step], int(step.sum())
    recovered, here = count(at[event], size), count(at, size)
    at_risk = count(groups.codes, groups.count)[curve] - _before(here, curve)
    waiting, lo, hi = greenwood(recovered, at_risk, z, curve)
    keys = {name: key.iloc[curve].reset_index(drop=True) for name, key in groups.keys.items()}
    values = {"time": took[step], "at_risk": at_risk, "recovered": recovered, "censored": here - recovered}
    frame = table(keys, _CURVE, {**values, "waiting": waiting, "lo": lo, "hi": hi})
    return ranked(frame, down=[], then=[*names, "time"])


def recovery_summary(
    runs: pd.DataFrame,
    by: str | Iterable[str] | None = None,
    *,
    until: object = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Median time from first failure to success, per group.

    Args:
        runs, by, until, confidence: as `recovery`.

    Returns:
        The columns of `by`, jobs (that failed), recovered, censored, median, median_lo, median_hi: the first
        times at which the curve, its lower and its upper bound are at or below one half; NaT where they never
        are.

    Raises:
        InvalidValue: a column is missing or `until` is not understood.
    """
    names = [by] if isinstance(by, str) else list(by or ())
    curve = recovery(runs, names, until=until, confidence=confidence)
    groups, time = group(curve, names), lengths(curve["time"])
    sums = {
        name: np.bincount(groups.codes, weights=curve[name], minlength=groups.count).astype(np.int64)
        for name in ("recovered", "censored")
    }
    halves = {"median": "waiting", "median_lo": "lo", "median_hi": "hi"}
    values: dict[str, Any] = {
        name: _first(time, curve[bound].to_numpy() <= HALF, groups.codes, groups.count)
        for name, bound in halves.items()
    }
    frame = table(groups.keys, _SUMMARY, {**values, **sums, "jobs": sums["recovered"] + sums["censored"]})
    return ranked(frame, down=["jobs"], then=names)


def greenwood(
    events: Ints, at_risk: Ints, z: float, curve: Ints | None = None
) -> tuple[Floats, Floats, Floats]:
    """Kaplan–Meier estimate at each step and its interval; `curve` numbers the curves, which lie one after
    another.

    S = ∏(1 − d/n), σ² = Σ d/(n(n − d)) / (log S)², interval S^exp(±zσ). Before the first event it is 1 to 1;
    from the moment when S is 0 the variance is not defined and the bounds are 0 and the last upper bound.

    Source: Kaplan & Meier, JASA 53, 1958; Greenwood 1926 (variance); Kalbfleisch & Prentice, The Statistical
    Analysis of Failure Time Data, 1980 (log-log scale).
    """
    curve = np.zeros(len(events), np.int64) if curve is None else curve
    n, d = np.asarray(at_risk, float), np.asarray(events, float)
    s = np.asarray(pd.Series(1 - d / n).groupby(curve).cumprod(), float)
    alive = n > d
    term = np.divide(d, n * (n - d), out=np.zeros(len(n)), where=alive)
    variance = pd.Series(term).groupby(curve).cumsum().to_numpy()
    inside = (s > 0) & (s < 1)
    log_s = np.log(s, out=np.full(len(s), -1.0), where=inside)
    spread = np.exp(z * np.sqrt(variance) / -log_s)
    lo = np.where(inside, s**spread, s)
    hi = np.where(inside, s ** (1 / spread), s)
    ended = s <= 0
    last_known = pd.Series(np.where(ended, np.nan, hi)).groupby(curve).ffill().fillna(1.0)
    return s, lo, np.asarray(last_known, float)


def _spells(runs: pd.DataFrame, until: object) -> tuple[Ints, Ints, Bools]:
    """Per failed job: row of its first failure, milliseconds to success or end of observation, success."""
    at, seen = known_at(runs), history(runs)
    end = newest(at, moments(column(runs, "started_at")))
    end = end if until is None else moment(until, "until", newest=end)
    first = np.append(True, seen.last[:-1]) if len(seen.row) else np.zeros(0, bool)
    begin, final = seen.row[first], seen.row[seen.last]
    failed_first = ~seen.ok[first]
    begin, final, success = begin[failed_first], final[failed_first], seen.ok[seen.last][failed_first]
    success = success & (at[final] <= end) & (at[final] != NAT)
    stop = np.where(success, at[final], end)
    watched = (at[begin] != NAT) & (at[begin] <= end)
    return begin[watched], np.maximum(stop - at[begin], 0)[watched], success[watched]


def _before(here: Ints, curve: Ints) -> Ints:
    """How many left the same curve at earlier steps."""
    return pd.Series(here).groupby(curve).cumsum().to_numpy() - here


def _first(time: Ints, reached: Bools, codes: Ints, groups: int) -> Ints:
    """Earliest time per group at which something is reached; NAT where it is not."""
    earliest = np.full(groups, np.iinfo(np.int64).max)
    np.minimum.at(earliest, codes[reached], time[reached])
    return np.where(earliest == np.iinfo(np.int64).max, NAT, earliest)
