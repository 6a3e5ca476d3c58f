"""What the plots share: axes that suit light and dark styles, labels that are only ever text, units."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAD, GOOD, MAIN, MUTED = "#d4495c", "#2b9a7e", "#3f82c4", "#8a8a8a"
"""Each has a contrast of at least 3:1 on white and on black."""

SERIES = (MAIN, "#d9822b", GOOD, BAD, "#9467c9", "#a08320")

_UNITS = (("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000))


_ANSI = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")


def canvas(ax: "Axes | None", title: str, *, rows: int | None = None) -> "Axes":
    """The given axes, or new ones as high as that many rows need, with our frame and title.

    Raises:
        ImportError: matplotlib is not installed; it comes with the extra `[plot]`.
    """
    if ax is None:
        ax = _new(3.8 if rows is None else 1.3 + 0.32 * max(rows, 2))
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    ax.grid(axis="both" if rows is None else "x", color=MUTED, alpha=0.25, linewidth=0.7)
    ax.set_axisbelow(True)
    return ax


def _new(height: float) -> "Axes":
    try:
        from matplotlib import pyplot
    except ImportError as missing:
        raise ImportError("plots need matplotlib: pip install 'queuectl-jupyter[plot]'") from missing
    ax: Axes = pyplot.subplots(figsize=(8.5, height), layout="constrained")[1]
    return ax


def nothing(ax: "Axes", words: str) -> "Axes":
    """Say in the middle of the axes that there is nothing to draw."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, color=MUTED, fontsize="large")
    return ax


def label(value: object, width: int = 46) -> str:
    """A value as one short line: control characters gone, the middle left out where it is too long."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return "(none)"
    bare = _ANSI.sub("", str(value))
    kept = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in bare)
    text = " ".join(kept.split())
    if len(text) <= width:
        return text or "(empty)"
    head = (width - 1) * 2 // 3
    return f"{text[:head].rstrip()}…{text[head + 1 - width :].lstrip()}"


def labels(frame: pd.DataFrame, names: Sequence[str], width: int = 46) -> list[str]:
    """One label per row from its key columns; "all" without any."""
    if not names:
        return ["all"] * len(frame)
    rows = frame[list(names)].itertuples(index=False)
    return [label(" · ".join(label(part) for part in row), width) for row in rows]


def rows_down(ax: "Axes", names: Iterable[str]) -> None:
    """Name the rows of a horizontal chart, the first one on top. Text stays text: `$` starts no formula."""
    listed = list(names)
    ax.set_yticks(range(len(listed)), listed)
    ax.set_ylim(max(len(listed), 1) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    plain(ax.get_yticklabels())


def plain(texts: Iterable[Any]) -> None:
    """Never read `$…$` in these texts as a formula."""
    for text in texts:
        text.set_parse_math(False)


def legend(ax: "Axes", **place: Any) -> None:
    """A quiet legend whose texts are plain."""
    plain(ax.legend(frameon=False, fontsize="small", **place).get_texts())


def percent(axis: Any, *, most: float = 1.0) -> None:
    """Write 0 to 1 as percent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=None if most > 0.05 else 1))


def runs_of(n: int) -> str:
    """A number of runs in words."""
    return f"{n:,} run" if n == 1 else f"{n:,} runs"


def whole(axis: Any) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(6, integer=True))


def length(milliseconds: float) -> str:
    """Milliseconds in words: 250 ms, 1.5 s, 3 min, 2 h, 4 d; a minus in front if negative."""
    size = abs(milliseconds)
    unit, scale = next(((u, s) for u, s in reversed(_UNITS) if size >= s), _UNITS[0])
    return f"{'−' if milliseconds < 0 else ''}{size / scale:.3g} {unit}"


def lengths_along(axis: Any, low: float, high: float, *, log: bool) -> None:
    """Ticks at round lengths of time between low and high, in milliseconds."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: length(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_locator(FixedLocator(_round_lengths(low, high)) if log else MaxNLocator(6))


def _round_lengths(low: float, high: float) -> list[float]:
    steps = [1, 10, 100, 1e3, 1e4, 6e4, 6e5, 3.6e6, 3.6e7, 8.64e7, 8.64e8, 8.64e9]
    inside = [step for step in steps if low <= step <= high]
    if len(inside) >= 2:
        return inside
    return [float(f"{value:.2g}") for value in np.geomspace(max(low, 1), max(high, 2), 4)]


def times_along(ax: "Axes") -> None:
    """Short dates along the bottom, in UTC as everything in the tables."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    ax.set_xlabel("UTC", color=MUTED, fontsize="small", loc="left")


def note(ax: "Axes", text: str, at: tuple[float, float], **style: Any) -> None:
    """A few small words just right of a point."""
    ax.annotate(text, at, (6, 0), textcoords="offset points", va="center", fontsize="small", **style)


def foreground() -> Any:
    """The style's text colour."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def ground() -> Any:
    """The style's colour behind the data."""
    from matplotlib import rcParams

    return rcParams["axes.facecolor"]


def heat() -> Any:
    """Colours from a tint of the ground (nothing failed) to the far end (all failed), even in lightness."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    below, text = np.array(to_rgb(ground())), np.array(to_rgb(foreground()))
    faint = tuple(below * 0.88 + text * 0.12)
    rest = ["#e39aa3", BAD, "#94102a"] if below.mean() > text.mean() else ["#7d2633", BAD, "#ffb3bd"]
    return LinearSegmentedColormap.from_list("failures", [faint, *rest])


def left_out(groups: int, shown: int) -> str | None:
    """A legend's title where not all groups are shown."""
    return f"the largest {shown} of {groups}" if groups > shown else None


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dict per row."""
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False)]
