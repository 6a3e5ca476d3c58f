"""What retries achieve: success by attempt, another limit, flaky against broken."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from queuectl.analysis._intervals import normal_quantile, share, wilson
from queuectl.analysis._rows import (
    Floats,
    History,
    Ints,
    column,
    count,
    group,
    history,
    jobs,
    lengths,
    total,
)
from queuectl.analysis._survival import greenwood
from queuectl.analysis._tables import LENGTH, ranked, table
from queuectl.errors import InvalidValue

_ATTEMPTS = {
    "attempt": "int64",
    "n": "int64",
    "ok": "int64",
    "failed": "int64",
    "rate": "float64",
    "lo": "float64",
    "hi": "float64",
    "cum": "float64",
    "cum_lo": "float64",
    "cum_hi": "float64",
}

_LIMITS = {
    "max_retries": "int64",
    "jobs": "int64",
    "completed": "float64",
    "saved": "float64",
    "saved_lo": "float64",
    "saved_hi": "float64",
    "runs": "float64",
    "extra_runs": "float64",
    "extra_time": LENGTH,
    "extrapolated": "bool",
}

_FLAKY = {
    "jobs": "int64",
    "clean": "int64",
    "flaky": "int64",
    "broken": "int64",
    "untried": "int64",
    "rate": "float64",
    "lo": "float64",
    "hi": "float64",
    "share": "float64",
    "verdict": pd.CategoricalDtype(["clean", "flaky", "unclear", "broken"]),
}

MOST_LIMITS = 10_000


def retries_to_success(runs: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """How often attempt 1, 2, 3 … succeeds, and how many jobs have succeeded by then.

    lost, cancelled and snoozed runs are no attempts. Attempts count over a job's whole life, beyond a return
    from the DLQ; what a job ran after its first success is left out.

    Args:
        runs: DataFrame, one row per run, any subset.
        confidence: of both intervals.

    Returns:
        One row per attempt that was made: attempt, n (runs), ok, failed, rate = ok/n with lo and hi (Wilson),
        cum (share of jobs that succeed within so many attempts: 1 − ∏(1 − rate), Kaplan–Meier, so that jobs
        still waiting and jobs given up early count as far as they were seen) with cum_lo and cum_hi
        (log-log).

    Raises:
        InvalidValue: a column is missing.
    """
    z, seen = normal_quantile(confidence), history(runs)
    made, code = np.unique(seen.attempt, return_inverse=True)
    n = count(code, len(made))
    ok = count(code[seen.ok], len(made))
    lo, hi = wilson(ok, n, z)
    still, still_lo, still_hi = greenwood(ok, n, z)
    values = {"attempt": made, "n": n, "ok": ok, "failed": n - ok, "rate": share(ok, n), "lo": lo, "hi": hi}
    return table({}, _ATTEMPTS, {**values, "cum": 1 - still, "cum_lo": 1 - still_hi, "cum_hi": 1 - still_lo})


def what_if_retries(runs: pd.DataFrame, n: int, *, confidence: float = 0.95) -> pd.DataFrame:
    """What each max-retries from 1 to n would have saved or cost on these runs.

    A lower limit is replayed: runs beyond it did not happen. A higher one is estimated: a job whose last
    attempt failed goes on, and attempt k succeeds as often as attempt k did among the jobs that made it.

    Assumptions: jobs that were given up would have fared as those that went on; causes that need a fix look
    like any other; attempts that nobody made succeed as often as the last one that somebody made
    (`extrapolated`).

    Args:
        runs: DataFrame, one row per run, any subset.
        n: the highest limit to look at, 1 to 10,000. max-retries = m means m failed attempts, then dead.
        confidence: of each attempt's success (Wilson) that makes saved_lo and saved_hi.

    Returns:
        One row per limit: max_retries, jobs, completed (expected number), saved = completed − those observed
        (negative: lost), saved_lo, saved_hi (all attempts at the low or the high end of their intervals),
        runs, extra_runs and extra_time against those observed (time as the mean run of that attempt),
        extrapolated.

    Raises:
        InvalidValue: n is out of range, or a column is missing.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MOST_LIMITS:
        raise InvalidValue(f"n: expected a whole number from 1 to {MOST_LIMITS}, got {n!r}")
    z, seen = normal_quantile(confidence), history(runs)
    if not len(seen.row):
        return table({}, _LIMITS, {name: [] for name in _LIMITS})
    made = _Attempts.of(runs, seen, int(n))
    rate, lo, hi = made.success(z)
    replayed = made.ok[: n + 1].cumsum()
    added, added_lo, added_hi = (_added(made.given_up, p) for p in (rate, lo, hi))
    entered = _entering(made.given_up, rate)
    runs_at = made.n[: n + 1] + entered
    time_at = made.time[: n + 1] + entered * made.mean_time()
    observed = made.ok.sum()
    values = {
        "max_retries": np.arange(1, n + 1),
        "jobs": np.full(n, int(seen.last.sum())),
        "completed": (replayed + added)[1:],
        "saved": (replayed + added - observed)[1:],
        "saved_lo": (replayed + added_lo - observed)[1:],
        "saved_hi": (replayed + added_hi - observed)[1:],
        "runs": runs_at.cumsum()[1:],
        "extra_runs": (runs_at.cumsum() - made.n.sum())[1:],
        "extra_time": np.rint(time_at.cumsum() - made.time.sum())[1:].astype(np.int64),
        "extrapolated": (np.arange(1, n + 1) > made.last_made) & (entered.cumsum()[1:] > 0),
    }
    return table({}, _LIMITS, values)


class _Attempts:
    """Counts by attempt number, index 0 unused, long enough for the highest limit asked for."""

    def __init__(self, *, n: Ints, ok: Ints, time: Ints, given_up: Ints, limit: int) -> None:
        self.n, self.ok, self.time, self.given_up = n, ok, time, given_up[: limit + 1]
        self.limit = limit
        self.last_made = int(np.flatnonzero(n)[-1])

    @classmethod
    def of(cls, runs: pd.DataFrame, seen: History, limit: int) -> "_Attempts":
        size = max(limit, int(seen.attempt.max())) + 1
        stopped = seen.last & ~seen.ok
        return cls(
            n=count(seen.attempt, size),
            ok=count(seen.attempt[seen.ok], size),
            time=total(lengths(column(runs, "duration"))[seen.row], seen.attempt, size),
            given_up=count(seen.attempt[stopped], size),
            limit=limit,
        )

    def success(self, z: float) -> tuple[Floats, Floats, Floats]:
        """Share of runs that succeed by attempt and its interval; of the last attempt made where none was."""
        known = self._known()
        rate = share(self.ok, self.n)[known]
        lo, hi = (bound[known] for bound in wilson(self.ok, self.n, z))
        return rate, lo, hi

    def mean_time(self) -> Floats:
        """Mean duration by attempt in milliseconds."""
        return share(self.time, self.n)[self._known()]

    def _known(self) -> Ints:
        """For each attempt up to the limit, the latest at or before it that was made, else the first."""
        made = np.flatnonzero(self.n)
        place = np.searchsorted(made, np.arange(self.limit + 1), side="right") - 1
        return made[np.maximum(place, 0)]


def _entering(given_up: Ints, rate: Floats) -> Floats:
    """Expected jobs that enter an attempt they did not make: given up earlier and not yet through."""
    entering = np.zeros(len(given_up))
    for k in range(2, len(given_up)):
        entering[k] = entering[k - 1] * (1 - rate[k - 1]) + given_up[k - 1]
    return entering


def _added(given_up: Ints, rate: Floats) -> Floats:
    """Expected successes among attempts not made, summed up to each limit."""
    return np.cumsum(_entering(given_up, rate) * rate)


def flakiness(
    runs: pd.DataFrame, by: str | Iterable[str] | None = "command", *, confidence: float = 0.95
) -> pd.DataFrame:
    """Failures that went away by themselves against failures that stayed.

    A job that failed and then succeeded with the same command is flaky; one that failed at least twice and
    never succeeded is broken; one that failed once and was not tried again is untried and counts as neither;
    a job whose command was edited counts once for each command.

    Args:
        runs: DataFrame, one row per run, any subset.
        by: columns that make the groups; None for one row.
        confidence: of the interval lo to hi.

    Returns:
        The columns of `by`, jobs, clean (succeeded at once), flaky, broken, untried, rate = flaky/(flaky +
        broken) with lo and hi (Wilson), share = flaky/jobs, verdict (flaky where lo > 0.5, broken where hi <
        0.5, clean without any failure, else unclear); the highest lo first among groups that have a rate.

    Raises:
        InvalidValue: a column is missing.
    """
    z, names = normal_quantile(confidence), [by] if isinstance(by, str) else list(by or ())
    commands = group(runs, "command")
    seen = history(runs, jobs(runs) * max(commands.count, 1) + commands.codes)
    unit = np.cumsum(np.append(False, seen.last[:-1])) if len(seen.row) else np.zeros(0, np.int64)
    attempts = np.bincount(unit)
    failures = np.bincount(unit, weights=~seen.ok).astype(np.int64)
    success = failures < attempts
    groups = group(runs.iloc[seen.row[seen.last]], names)
    kinds = {
        "clean": success & (failures == 0),
        "flaky": success & (failures > 0),
        "broken": ~success & (failures > 1),
        "untried": ~success & (failures == 1),
    }
    tally = {name: count(groups.codes[kind], groups.count) for name, kind in kinds.items()}
    all_jobs = count(groups.codes, groups.count)
    decided = tally["flaky"] + tally["broken"]
    lo, hi = wilson(tally["flaky"], decided, z)
    verdict = np.select(
        [tally["clean"] == all_jobs, lo > 0.5, hi < 0.5], ["clean", "flaky", "broken"], "unclear"
    )
    values = {**tally, "jobs": all_jobs, "rate": share(tally["flaky"], decided), "lo": lo, "hi": hi}
    values |= {"share": share(tally["flaky"], all_jobs), "verdict": verdict.astype(object)}
    frame = table(groups.keys, _FLAKY, values)
    rank = frame.assign(_has=decided > 0)
    return ranked(rank, down=["_has", "lo", "flaky", "jobs"], then=names).drop(columns="_has")
