"""Pictures of what retries achieve: by attempt, by limit, flaky or broken, time to recovery."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from queuectl.analysis import _canvas as draw
from queuectl.analysis._canvas import BAD, GOOD, MAIN, MUTED, SERIES
from queuectl.analysis._retries import flakiness, retries_to_success, what_if_retries
from queuectl.analysis._rows import lengths
from queuectl.analysis._survival import recovery, recovery_summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_retries_to_success(runs: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """The retry curve: success of each attempt with its interval, and the share of jobs through by then.

    Args:
        runs: as `retries_to_success`.
        ax: where to draw; None makes a figure.
    """
    made = retries_to_success(runs)
    ax = draw.canvas(ax, "Success by attempt")
    if not len(made):
        return draw.nothing(ax, "No run has ended")
    x = np.arange(len(made))
    ax.bar(x, made["rate"], width=0.5, color=MAIN, alpha=0.55, label="of the runs at this attempt")
    ax.vlines(x, made["lo"], made["hi"], color=MAIN, linewidth=2)
    ax.plot(x, made["cum"], color=GOOD, marker="o", linewidth=1.8, label="of the jobs, by this attempt")
    ax.fill_between(x, made["cum_lo"], made["cum_hi"], color=GOOD, alpha=0.18, linewidth=0)
    ax.set_ylim(0, 1.18)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    draw.percent(ax.yaxis)
    _attempts(ax, [f"{k}\n{draw.runs_of(n)}" for k, n in zip(made["attempt"], made["n"], strict=True)])
    ax.set_xlabel("attempt")
    draw.legend(ax, loc="upper right", ncols=2)
    return ax


def _attempts(ax: "Axes", names: list[str]) -> None:
    """Tick labels under the attempts, at most ten of them."""
    every = -(-len(names) // 10)
    ax.set_xticks(range(0, len(names), every), names[::every], fontsize="small")
    ax.set_xlim(-0.6, max(len(names) - 0.4, 1))
    ax.grid(axis="x", visible=False)


def plot_what_if_retries(runs: pd.DataFrame, n: int, *, ax: "Axes | None" = None) -> "Axes":
    """Jobs that another limit would have saved or lost, with what it costs below.

    Args:
        runs, n: as `what_if_retries`.
        ax: where to draw; None makes a figure.
    """
    limits = what_if_retries(runs, n)
    ax = draw.canvas(ax, "Jobs completed with another max-retries, against those observed")
    if not len(limits):
        return draw.nothing(ax, "No run has ended")
    x = np.arange(len(limits))
    guess = limits["extrapolated"].to_numpy()
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.fill_between(x, limits["saved_lo"], limits["saved_hi"], color=MAIN, alpha=0.18, linewidth=0)
    ax.plot(x, limits["saved"], color=MAIN, linewidth=1.8, linestyle=":" if guess.all() else "-", alpha=0.8)
    ax.plot(
        x[~guess], limits["saved"][~guess], linestyle="", marker="o", color=MAIN, label="from attempts made"
    )
    ax.plot(
        x[guess],
        limits["saved"][guess],
        linestyle="",
        marker="o",
        color=MAIN,
        markerfacecolor="none",
        label="beyond any attempt made",
    )
    cost = zip(limits["max_retries"], limits["extra_runs"], lengths(limits["extra_time"]), strict=True)
    _attempts(ax, [f"{limit}\n{round(extra):+,} runs\n{draw.length(time)}" for limit, extra, time in cost])
    ax.set_xlabel("max-retries, runs and time more (or less)")
    ax.set_ylabel("jobs")
    if guess.any():
        draw.legend(ax, loc="best")
    return ax


def plot_flakiness(
    runs: pd.DataFrame, by: str | Iterable[str] | None = "command", *, top: int = 15, ax: "Axes | None" = None
) -> "Axes":
    """Per command, jobs that succeeded at once, that failed and then succeeded, and that stayed broken.

    Args:
        runs, by: as `flakiness`.
        top: groups to show, in the table's order.
        ax: where to draw; None makes a figure.
    """
    names = [by] if isinstance(by, str) else list(by or ())
    groups = flakiness(runs, names).iloc[:top]
    ax = draw.canvas(ax, "Flaky or broken", rows=len(groups))
    if not len(groups):
        return draw.nothing(ax, "No run has ended")
    begin = np.zeros(len(groups))
    kinds = {
        "clean": (MUTED, "succeeded at once", 0.35),
        "flaky": ("#d9822b", "failed, then succeeded", 0.9),
        "untried": (BAD, "failed once, not retried", 0.4),
        "broken": (BAD, "failed each time", 1.0),
    }
    for kind, (color, words, alpha) in kinds.items():
        width = (groups[kind] / groups["jobs"]).to_numpy()
        ax.barh(range(len(groups)), width, left=begin, color=color, alpha=alpha, height=0.62, label=words)
        begin = begin + width
    keys = zip(draw.labels(groups, names), groups["jobs"], strict=True)
    draw.rows_down(ax, [f"{key}  ({jobs:,})" for key, jobs in keys])
    for row, verdict in enumerate(groups["verdict"].astype("str")):
        draw.note(ax, verdict, (1, row))
    ax.set_xlim(0, 1.13)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    draw.percent(ax.xaxis)
    ax.set_xlabel("share of jobs")
    draw.legend(ax, loc="upper right", bbox_to_anchor=(1, 0), borderaxespad=5, ncols=4)
    return ax


def plot_recovery(
    runs: pd.DataFrame,
    by: str | Iterable[str] | None = None,
    *,
    until: object = None,
    top: int = 5,
    ax: "Axes | None" = None,
) -> "Axes":
    """Kaplan–Meier curve of failed jobs not yet recovered, with interval and median; ticks are censored jobs.

    Args:
        runs, by, until: as `recovery`.
        top: curves to show, those with the most jobs.
        ax: where to draw; None makes a figure.
    """
    names = [by] if isinstance(by, str) else list(by or ())
    curve, summary = recovery(runs, names, until=until), recovery_summary(runs, names, until=until)
    ax = draw.canvas(ax, "Failed jobs that have not yet succeeded")
    if not len(curve):
        return draw.nothing(ax, "No job has failed")
    shown = summary.iloc[: min(top, len(SERIES))]
    time = lengths(curve["time"]).astype(float)
    if not time.max():
        return draw.nothing(ax, "Nothing has happened since the first failure")
    low, high = max(time[time > 0].min(initial=1e12), 1), max(time.max(), 1)
    low = min(low, high)
    log = high / low > 100
    for color, head, row in zip(SERIES, draw.labels(shown, names, 24), draw.records(shown), strict=False):
        part = curve[_same(curve, row, names)]
        _steps(ax, part, color=color, name=f"{head}: {_median(row)}", floor=low / 1.5 if log else 0.0)
    if log:
        ax.set_xscale("log")
    ax.set_xlim(low / 1.5 if log else 0, high * (1.2 if log else 1.03))
    draw.lengths_along(ax.xaxis, low / 1.5, high * 1.2, log=log)
    ax.axhline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
    ax.set_ylim(0, 1.03)
    draw.percent(ax.yaxis)
    ax.set_xlabel("time since the first failure")
    draw.legend(ax, loc="best", title=draw.left_out(len(summary), len(shown)))
    return ax


def _same(curve: pd.DataFrame, row: dict[str, Any], names: list[str]) -> Any:
    """Mask of the rows that have this row's keys, missing ones too."""
    same = np.ones(len(curve), bool)
    for name in names:
        same &= (curve[name].isna() if pd.isna(row[name]) else curve[name] == row[name]).to_numpy()
    return same


def _median(row: dict[str, Any]) -> str:
    """Jobs and median of one curve in words."""
    jobs = f"{row['jobs']:,} job{'s' if row['jobs'] != 1 else ''}"
    if pd.isna(row["median"]):
        return f"{jobs}, fewer than half recovered"
    low, mid, high = (
        "?" if pd.isna(value) else draw.length(value / pd.Timedelta(milliseconds=1))
        for value in (row["median_lo"], row["median"], row["median_hi"])
    )
    return f"{jobs}, half after {mid} ({low} to {high})"


def _steps(ax: "Axes", part: pd.DataFrame, *, color: str, name: str, floor: float) -> None:
    x = np.append(floor, np.maximum(lengths(part["time"]), floor))
    y, lo, hi = (np.append(1.0, part[bound]) for bound in ("waiting", "lo", "hi"))
    ax.step(x, y, where="post", color=color, linewidth=1.8, label=name)
    ax.fill_between(x, lo, hi, step="post", color=color, alpha=0.16, linewidth=0)
    lost = np.append(False, part["censored"] > 0)
    ax.plot(x[lost], y[lost], linestyle="", marker="|", markersize=7, color=color)
