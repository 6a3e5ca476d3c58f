"""A picture for each table: same arguments as the function, plus `ax`; returns the matplotlib Axes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from queuectl.analysis import _canvas as draw
from queuectl.analysis._canvas import BAD, GOOD, MAIN, MUTED, SERIES
from queuectl.analysis._causes import compare, error_groups
from queuectl.analysis._rates import failure_rate
from queuectl.analysis._rows import NAT, bucket_length, column, count, group, lengths, quantiles
from queuectl.analysis._workers import by_worker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BOX = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def plot_error_groups(
    runs: pd.DataFrame, since: object = None, *, top: int = 12, ax: "Axes | None" = None
) -> "Axes":
    """Pareto of causes: a bar per cause, the share of all failures up to it as a line.

    Args:
        runs, since: as `error_groups`.
        top: causes to show; the rest is one bar.
        ax: where to draw; None makes a figure.
    """
    groups = error_groups(runs, since)
    ax = draw.canvas(ax, "Failing runs by cause", rows=min(len(groups), top + 1))
    if not len(groups):
        return draw.nothing(ax, "No failing run")
    shown, rest = groups.iloc[:top], groups.iloc[top:]
    names = [draw.label(template) for template in shown["template"]]
    counts = shown["count"].tolist()
    if len(rest):
        names.append(f"{len(rest)} other cause{'s' if len(rest) > 1 else ''}")
        counts.append(int(rest["count"].sum()))
    total = int(groups["count"].sum())
    ax.barh(range(len(shown)), counts[: len(shown)], color=BAD, height=0.62)
    ax.barh(range(len(shown), len(counts)), counts[len(shown) :], color=MUTED, height=0.62)
    draw.rows_down(ax, names)
    words = [f" · {word}" if word != "steady" else "" for word in shown["trend"].astype("str")] + [""] * len(
        rest
    )
    for row, n in enumerate(counts):
        draw.note(ax, f"{n:,} · {n / total:.0%}{words[row]}", (n, row))
    ax.set_xlim(0, max(counts) * 1.28)
    draw.whole(ax.xaxis)
    ax.set_xlabel("runs")
    _cumulative(ax, np.cumsum(counts) / total)
    return ax


def _cumulative(ax: "Axes", cum: Any) -> None:
    top = ax.twiny()
    top.plot(cum, range(len(cum)), color=MUTED, marker="o", markersize=3.5, linewidth=1, alpha=0.9)
    top.set_xlim(0, 1.28)
    top.set_xticks([0, 0.5, 0.8, 1.0])
    draw.percent(top.xaxis)
    top.tick_params(axis="x", colors=MUTED, labelsize="small")
    top.spines[["right", "bottom", "top"]].set_visible(False)
    top.set_xlabel("share of all failures so far", color=MUTED, fontsize="small", loc="left")


def plot_failure_rate(
    runs: pd.DataFrame,
    freq: object,
    by: str | Iterable[str] | None = None,
    *,
    top: int = 5,
    ax: "Axes | None" = None,
) -> "Axes":
    """Failure rate over time with its Wilson band; the line breaks where nothing ran.

    Args:
        runs, freq, by: as `failure_rate`.
        top: groups to show, those with the most runs.
        ax: where to draw; None makes a figure.
    """
    names = [by] if isinstance(by, str) else list(by or ())
    rate, step = failure_rate(runs, freq, names), bucket_length(freq)
    ax = draw.canvas(ax, "Share of runs that failed")
    if not len(rate):
        return draw.nothing(ax, "No run has ended")
    groups = group(rate, names)
    sizes = np.bincount(groups.codes, weights=rate["n"])
    largest = np.argsort(-sizes, kind="stable")[: min(top, len(SERIES))]
    key_labels = draw.labels(pd.DataFrame(groups.keys), names, 40) if names else ["all runs"]
    shade = 0.18 if len(largest) == 1 else 0.09
    for color, code in zip(SERIES, largest, strict=False):
        _band(
            ax,
            rate[groups.codes == code],
            step,
            color=color if names else BAD,
            name=key_labels[code],
            shade=shade,
        )
    ax.set_ylim(0, min(max(float(rate["rate"].max()) * 1.6, 0.1), 1.02))
    margin = pd.Timedelta(milliseconds=step) / 2
    first, last = (end.tz_convert(None) for end in (rate["ts"].iloc[0], rate["ts"].iloc[-1]))
    ax.set_xlim(first - margin, last + margin)
    draw.percent(ax.yaxis)
    draw.times_along(ax)
    if names:
        draw.legend(ax, loc="upper left", ncols=2, title=draw.left_out(groups.count, len(largest)))
    return ax


def _band(ax: "Axes", rate: pd.DataFrame, step: int, *, color: str, name: str, shade: float) -> None:
    """Line and band of one group, apart where a bucket is missing; a lone bucket gets a bar."""
    at = rate["ts"].dt.tz_convert(None).to_numpy()
    block = np.cumsum(np.diff(at.astype("datetime64[ms]").astype(np.int64), prepend=0) > step)
    for number, (_, part) in enumerate(rate.groupby(block)):
        ts = part["ts"].dt.tz_convert(None)
        ax.plot(
            ts,
            part["rate"],
            color=color,
            marker="o",
            markersize=3,
            linewidth=1.6,
            label="_" if number else name,
        )
        if len(part) > 1:
            ax.fill_between(ts, part["lo"], part["hi"], color=color, alpha=shade, linewidth=0)
        else:
            ax.vlines(ts, part["lo"], part["hi"], color=color, alpha=0.5, linewidth=2)


def plot_failure_heat(
    runs: pd.DataFrame, freq: object, by: str = "command", *, top: int = 20, ax: "Axes | None" = None
) -> "Axes":
    """Heat map of failure rates: a row per command, a column per bucket of time; bare where nothing ran.

    Args:
        runs, freq: as `failure_rate`.
        by: the column whose values are the rows.
        top: rows to show, those with the most failures.
        ax: where to draw; None makes a figure.
    """
    rate, step = failure_rate(runs, freq, by), bucket_length(freq)
    failing = rate.groupby(by, dropna=False)["failed"].sum().sort_values(ascending=False, kind="stable")
    rows = failing.index[:top]
    ax = draw.canvas(ax, f"Share of runs that failed, by {by}", rows=len(rows))
    if not len(rate):
        return draw.nothing(ax, "No run has ended")
    at = rate["ts"].dt.tz_convert(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    place = (at - at.min()) // step
    cells = np.full((len(rows), int(place.max()) + 1), np.nan)
    row = rows.get_indexer(pd.Index(rate[by]))
    cells[row[row >= 0], place[row >= 0]] = rate["rate"].to_numpy()[row >= 0]
    edges = (at.min() + step * np.arange(cells.shape[1] + 1)).astype("datetime64[ms]")
    mesh = ax.pcolormesh(
        edges, np.arange(len(rows) + 1) - 0.5, cells, cmap=draw.heat(), vmin=0, vmax=1, linewidth=0
    )
    draw.rows_down(ax, [draw.label(name) for name in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(False)
    draw.times_along(ax)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.01, fraction=0.03, aspect=12)
    draw.percent(bar.ax.yaxis)
    bar.outline.set_visible(False)
    return ax


def plot_durations(
    runs: pd.DataFrame, by: str | Iterable[str] | None = "command", *, top: int = 15, ax: "Axes | None" = None
) -> "Axes":
    """How long runs take: a box from p25 to p75, a line from p5 to p95, the median and the longest run.

    Args:
        runs, by: as `durations`.
        top: groups to show, those with the largest total time.
        ax: where to draw; None makes a figure.
    """
    return _boxes(runs, by, "duration", title="Time a run takes", empty="No run has ended", top=top, ax=ax)


def plot_waits(
    jobs: pd.DataFrame, by: str | Iterable[str] | None = "queue", *, top: int = 15, ax: "Axes | None" = None
) -> "Axes":
    """How long jobs wait, drawn as `plot_durations`.

    Args:
        jobs, by: as `waits`.
        top: groups to show, those with the largest total time.
        ax: where to draw; None makes a figure.
    """
    return _boxes(jobs, by, "wait", title="Time a job waits", empty="No job has started", top=top, ax=ax)


def _boxes(
    frame: pd.DataFrame,
    by: str | Iterable[str] | None,
    name: str,
    *,
    title: str,
    empty: str,
    top: int,
    ax: "Axes | None",
) -> "Axes":
    names = [by] if isinstance(by, str) else list(by or ())
    lasted = lengths(column(frame, name))
    known, lasted = frame[lasted != NAT], lasted[lasted != NAT]
    groups = group(known, names)
    totals = np.bincount(groups.codes, weights=lasted, minlength=groups.count)
    largest = np.argsort(-totals, kind="stable")[:top]
    ax = draw.canvas(ax, title, rows=len(largest))
    if not len(largest):
        return draw.nothing(ax, empty)
    p5, p25, p50, p75, p95, most = np.maximum(quantiles(lasted, groups.codes, groups.count, q=_BOX), 1)[
        :, largest
    ]
    y = np.arange(len(largest))
    ax.hlines(y, p5, p95, color=MAIN, linewidth=1.4)
    ax.barh(y, p75 - p25, left=p25, height=0.5, color=MAIN, alpha=0.45)
    ax.plot(p50, y, linestyle="", marker="|", markersize=13, markeredgewidth=2.4, color=draw.foreground())
    ax.plot(most, y, linestyle="", marker="o", markersize=4, color=MUTED)
    n = count(groups.codes, groups.count)[largest]
    keys = draw.labels(pd.DataFrame(groups.keys).iloc[largest], names) if names else ["all"]
    draw.rows_down(ax, [f"{key}  ({size:,})" for key, size in zip(keys, n, strict=True)])
    low, high = p5.min() / 1.3, most.max() * 1.3
    if high < 20 * low:  # room for two round lengths at least
        low, high = low / 5, high * 5
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    draw.lengths_along(ax.xaxis, low, high, log=True)
    ax.set_xlabel("median, p25–p75, p5–p95, ● longest", color=MUTED, fontsize="small", loc="right")
    return ax


def plot_compare(
    before: pd.DataFrame, after: pd.DataFrame, *, top: int = 15, ax: "Axes | None" = None
) -> "Axes":
    """Each cause's rate before (hollow) and after (full): red for new and worse, green for better and gone.

    Args:
        before, after: as `compare`.
        top: causes to show, in the table's order.
        ax: where to draw; None makes a figure.
    """
    changes = compare(before, after).iloc[:top]
    ax = draw.canvas(ax, "Failing runs per run, before (○) and after (●)", rows=len(changes))
    if not len(changes):
        return draw.nothing(ax, "No failing run before or after")
    colors = {"new": BAD, "worse": BAD, "same": MUTED, "better": GOOD, "gone": GOOD}
    top_rate = float(np.nanmax(changes[["before_rate", "after_rate"]].fillna(0).to_numpy()))
    for row, change in enumerate(draw.records(changes)):
        color, alpha = colors[change["change"]], 1.0 if change["sure"] or change["change"] == "same" else 0.55
        rates = [change["before_rate"], change["after_rate"]]
        ax.plot(rates, [row, row], color=color, linewidth=2, alpha=alpha * 0.6)
        ax.plot(rates[0], row, "o", color=color, alpha=alpha, markerfacecolor=draw.ground(), markersize=7)
        ax.plot(rates[1], row, "o", color=color, alpha=alpha, markersize=7)
        draw.note(ax, f"  {_change(change)}", (np.nanmax(rates), row))
    draw.rows_down(ax, [draw.label(template) for template in changes["template"]])
    ax.set_xlim(-0.02 * top_rate, top_rate * 1.6)
    ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= min(1.001, top_rate * 1.25)])
    draw.percent(ax.xaxis, most=top_rate)
    return ax


def _change(row: dict[str, Any]) -> str:
    certain = row["sure"] or row["change"] == "same"
    times = f" ×{row['ratio']:.2g}" if 0 < row["ratio"] < np.inf else ""
    return f"{row['change']}{'' if certain else '?'}{times} · {row['before']:,} → {row['after']:,}"


def plot_by_worker(
    runs: pd.DataFrame,
    by: str = "worker_id",
    *,
    strata: str = "command",
    top: int = 20,
    ax: "Axes | None" = None,
) -> "Axes":
    """Each worker's failure rate with its interval beside that of the others on the same commands.

    Args:
        runs, by, strata: as `by_worker`.
        top: workers to show, in the table's order.
        ax: where to draw; None makes a figure.
    """
    workers = by_worker(runs, by, strata=strata)
    workers = workers[workers["comparable"] > 0].iloc[:top]
    ax = draw.canvas(ax, "Failure rate, against the others", rows=len(workers))
    if not len(workers):
        return draw.nothing(ax, "No command was run by two of them")
    y = np.arange(len(workers))
    color = workers["flag"].astype("str").map({"worse": BAD, "better": GOOD, "": MAIN}).tolist()
    ax.hlines(y + 0.14, workers["rest_lo"], workers["rest_hi"], color=MUTED, linewidth=5, alpha=0.5)
    ax.plot(workers["rest_rate"], y + 0.14, "|", color=MUTED, markersize=9, label="the others, same commands")
    ax.hlines(y - 0.14, workers["lo"], workers["hi"], color=color, linewidth=2)
    ax.scatter(workers["rate"], y - 0.14, color=color, s=34, zorder=3)
    names = zip(workers[by], workers["comparable"], strict=True)
    draw.rows_down(ax, [f"{draw.label(name)}  ({n:,})" for name, n in names])
    for row, flag in enumerate(workers["flag"].astype("str")):
        draw.note(ax, flag, (workers["hi"].iloc[row], row - 0.14), color=color[row])
    ax.set_xlim(0, min(float(np.nanmax(workers[["hi", "rest_hi"]].to_numpy())) * 1.15, 1.12))
    draw.percent(ax.xaxis)
    ax.set_xlabel(
        "● worker, ▬ the others; intervals hold together", color=MUTED, fontsize="small", loc="right"
    )
    return ax
