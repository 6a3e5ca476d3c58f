"""Causes of failure: how many runs each one cost, and how they changed around a moment."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from queuectl.analysis._intervals import normal_quantile, rate_ratio, share
from queuectl.analysis._rows import (
    NAT,
    Bools,
    Floats,
    Groups,
    Ints,
    bucket_length,
    column,
    count,
    distinct,
    ends,
    group,
    jobs,
    known_at,
    lengths,
    moment,
    newest,
    total,
)
from queuectl.analysis._tables import LENGTH, MOMENT, ranked, table

TRENDS = ["new", "rising", "steady", "falling", "gone"]
CHANGES = ["new", "worse", "same", "better", "gone"]
UNKNOWN = "no cause recorded"

_GROUPS = {
    "template": "str",
    "count": "int64",
    "jobs": "int64",
    "commands": "int64",
    "share": "float64",
    "cum_share": "float64",
    "first_seen": MOMENT,
    "last_seen": MOMENT,
    "trend": pd.CategoricalDtype(TRENDS),
    "trend_ratio": "float64",
    "example_job": "str",
    "example_error": "str",
    "wasted": LENGTH,
}

_CHANGES = {
    "template": "str",
    "change": pd.CategoricalDtype(CHANGES),
    "sure": "bool",
    "before": "int64",
    "after": "int64",
    "before_rate": "float64",
    "after_rate": "float64",
    "ratio": "float64",
    "lo": "float64",
    "hi": "float64",
    "first_seen": MOMENT,
    "last_seen": MOMENT,
    "example_job": "str",
}


def error_groups(runs: pd.DataFrame, since: object = None, *, confidence: float = 0.95) -> pd.DataFrame:
    """The causes of failure, the most frequent first: the table behind a Pareto chart.

    A failing run is one with outcome failed, timeout, killed or spawn. Failing runs without a recorded cause
    form one row whose sig is missing. The trend compares the later with the earlier half of the window: the
    cause's runs per charged run, as a ratio, called anything but steady only where the ratio's score interval
    leaves 1 out.

    Args:
        runs: DataFrame, one row per run, any subset.
        since: leave out what ended before this moment: a Timestamp, datetime or text (UTC unless it names a
            zone), or a length of time such as "24h", counted back from the newest run of the frame.
        confidence: of the interval behind `trend`.

    Returns:
        One row per cause: sig, template (the masked message), count (runs), jobs, commands, share and
        cum_share of all failing runs (0 to 1), first_seen, last_seen, trend (new, rising, steady, falling,
        gone), trend_ratio, example_job and example_error (of the newest run), wasted (sum of the runs'
        durations).

    Raises:
        InvalidValue: a column is missing or `since` is not understood.
    """
    z = normal_quantile(confidence)
    at, succeeded, failed = known_at(runs), *ends(runs)
    window = _window(at, since)
    rows, failing_at = runs[failed & window], at[failed & window]
    causes = group(rows, "error_sig")
    n = count(causes.codes, causes.count)
    example = _examples(rows, failing_at, causes)
    first, last = _extent(failing_at, causes)
    trend, ratio = _trends(causes, failing_at, at[(succeeded | failed) & window], z)
    values = {
        "template": _templates(example),
        "count": n,
        "jobs": distinct(causes.codes, causes.count, jobs(rows)),
        "commands": distinct(causes.codes, causes.count, group(rows, "command").codes),
        "share": share(n, np.full(causes.count, len(rows))),
        "cum_share": np.zeros(causes.count),
        "first_seen": first,
        "last_seen": last,
        "trend": trend,
        "trend_ratio": ratio,
        "example_job": example["job_id"],
        "example_error": example["error"],
        "wasted": total(lengths(column(rows, "duration")), causes.codes, causes.count),
    }
    frame = ranked(table(_sig(causes), _GROUPS, values), down=["count", "wasted"], then=["sig"])
    frame["cum_share"] = frame["count"].cumsum() / max(
        len(rows), 1
    )  # whole numbers: the last one is exactly 1
    return frame


def compare(before: pd.DataFrame, after: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Causes that are new, gone, worse or better after a moment (see `split_at`).

    Compared are rates, failing runs of the cause per charged run, so the two frames may be of different
    length. new and gone say that the cause was not seen before or after, worse and better that the interval
    of the ratio leaves 1 out; `sure` is that last fact for all of them: a cause seen once is new and not
    sure.

    Args:
        before: DataFrame, one row per run.
        after: DataFrame, one row per run.
        confidence: of the interval lo to hi.

    Returns:
        One row per cause: sig, template, change (new, worse, same, better, gone), sure, before and after
        (runs), before_rate and after_rate, ratio with lo and hi (∞ where before is 0), first_seen, last_seen
        and example_job over both frames; new ones first, then worse, same, better, gone, each by the runs it
        has.

    Raises:
        InvalidValue: a column is missing.
    """
    z = normal_quantile(confidence)
    charged = [int(np.logical_or(*ends(side)).sum()) for side in (before, after)]
    sides = [_failing(side) for side in (before, after)]
    rows = pd.concat(sides)
    is_after = np.repeat([False, True], [len(side) for side in sides])
    causes, at = group(rows, "error_sig"), known_at(rows)
    earlier, later = (count(causes.codes[is_after == side], causes.count) for side in (False, True))
    before_n, after_n = (np.full(causes.count, n) for n in charged)
    ratio, lo, hi = rate_ratio(later, earlier, later_n=after_n, earlier_n=before_n, z=z)
    first, last = _extent(at, causes)
    example = _examples(rows, at, causes)
    sure = (lo > 1) | (hi < 1)
    values = {
        "template": _templates(example),
        "change": _words(CHANGES, earlier, later, lo, hi),
        "sure": sure,
        "before": earlier,
        "after": later,
        "before_rate": share(earlier, before_n),
        "after_rate": share(later, after_n),
        "ratio": ratio,
        "lo": lo,
        "hi": hi,
        "first_seen": first,
        "last_seen": last,
        "example_job": example["job_id"],
    }
    frame = table(_sig(causes), _CHANGES, values)
    rank = frame.assign(_kind=-frame["change"].cat.codes, _size=frame["before"] + frame["after"])
    return ranked(rank, down=["_kind", "_size"], then=["sig"]).drop(columns=["_kind", "_size"])


def split_at(
    runs: pd.DataFrame, moment_: object, *, window: object = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs that ended before a moment and those that ended at or after it, for `compare`.

    Args:
        runs: DataFrame, one row per run.
        moment_: as `since` of `error_groups`: a deploy at "2026-03-01 12:00", or "2h" before the newest run.
        window: keep only so long on each side, such as "6h"; None keeps all.

    Raises:
        InvalidValue: the moment or the window is not understood.
    """
    at = known_at(runs)
    middle = moment(moment_, "moment", newest=newest(at))
    reach = bucket_length(window, "window") if window is not None else None
    known = at != NAT
    early, late = known & (at < middle), known & (at >= middle)
    if reach is not None:
        early, late = early & (at >= middle - reach), late & (at < middle + reach)
    return runs[early], runs[late]


def _window(at: Ints, since: object) -> Bools:
    if since is None:
        return np.ones(len(at), bool)
    begin = moment(since, "since", newest=newest(at))
    return np.asarray((at != NAT) & (at >= begin), bool)


def _failing(runs: pd.DataFrame) -> pd.DataFrame:
    """Failing runs, with only the columns that a cause is told from."""
    rows = runs[ends(runs)[1]]
    wanted = ["job_id", "run", "error_sig", "error", "template", "started_at", "finished_at"]
    return pd.DataFrame({name: column(rows, name).reset_index(drop=True) for name in wanted})


def _sig(causes: Groups) -> dict[str, "pd.Series[Any]"]:
    return {"sig": causes.keys["error_sig"]}


def _extent(at: Ints, causes: Groups) -> tuple[Ints, Ints]:
    """First and last moment of each cause; NAT where none is known."""
    known = at != NAT
    first, last = np.full(causes.count, np.iinfo(np.int64).max), np.full(causes.count, NAT)
    np.minimum.at(first, causes.codes[known], at[known])
    np.maximum.at(last, causes.codes[known], at[known])
    return np.where(last == NAT, NAT, first), last


def _examples(rows: pd.DataFrame, at: Ints, causes: Groups) -> pd.DataFrame:
    """job_id, error and template of each cause's newest run; among equals the smallest job id, then run."""
    latest = np.full(causes.count, NAT)
    np.maximum.at(latest, causes.codes, at)
    newest_rows = np.flatnonzero(at == latest[causes.codes])
    wanted = {name: column(rows, name).iloc[newest_rows] for name in ("job_id", "run", "error", "template")}
    candidates = pd.DataFrame({name: part.to_numpy() for name, part in wanted.items()})
    candidates["cause"] = causes.codes[newest_rows]
    return candidates.sort_values(["cause", "job_id", "run"]).drop_duplicates("cause").reset_index(drop=True)


def _templates(example: pd.DataFrame) -> "pd.Series[Any]":
    """The masked message; the line itself where none was recorded."""
    return example["template"].astype("str").fillna(example["error"].astype("str")).fillna(UNKNOWN)


def _trends(causes: Groups, at: Ints, charged_at: Ints, z: float) -> tuple[list[str], Floats]:
    """Word and rate ratio of the later against the earlier half of the window, halved by time."""
    known = charged_at[charged_at != NAT]
    middle = (int(known.min()) + int(known.max())) // 2 if len(known) else 0
    late = at > middle
    dated = at != NAT
    later, earlier = (count(causes.codes[dated & side], causes.count) for side in (late, ~late))
    n_late = int((known > middle).sum())
    later_n, earlier_n = np.full(causes.count, n_late), np.full(causes.count, len(known) - n_late)
    ratio, lo, hi = rate_ratio(later, earlier, later_n=later_n, earlier_n=earlier_n, z=z)
    sure = (lo > 1) | (hi < 1)
    words = _words(TRENDS, earlier, later, lo, hi)
    return [word if certain else "steady" for word, certain in zip(words, sure, strict=True)], ratio


def _words(words: Sequence[str], earlier: Ints, later: Ints, lo: Floats, hi: Floats) -> list[str]:
    """One of five words per row: none before, more, the same, fewer, none after."""
    new, more, same, fewer, gone = words
    chosen = np.select([earlier == 0, later == 0, lo > 1, hi < 1], [new, gone, more, fewer], same)
    return [str(word) for word in chosen]
