"""The plots: every one draws a full, a one-row, an empty and a hostile frame, light and dark, and says so."""

import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from analysis_frames import make_jobs, make_runs, runs_frame, story

from queuectl import analysis
from queuectl.analysis import _canvas

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

RUNS, JOBS = make_runs(1500, seed=9, commands=8), make_jobs(400, seed=9)
HOSTILE = "$\\frac{1}{$ <b>&amp; \x1b[31mred\x1b[0m\n\t" + "x" * 300


def hostile(runs):
    texts = {
        name: runs[name].map(lambda text: text if pd.isna(text) else HOSTILE + text)
        for name in ("template", "error")
    }
    groups = {
        name: runs[name].cat.rename_categories(lambda text: HOSTILE + text)
        for name in ("command", "worker_id")
    }
    return runs.assign(**texts, **groups)


FRAMES = {
    "full": (RUNS, JOBS),
    "one row": (runs_frame(list(story("a", "f"))), JOBS.iloc[:1]),
    "one job": (runs_frame(list(story("a", "ffo"))), JOBS.iloc[:2]),
    "empty": (RUNS.iloc[:0], JOBS.iloc[:0]),
    "hostile": (hostile(RUNS), JOBS.assign(queue=HOSTILE)),
}

PLOTS = {
    "error_groups": lambda runs, ax: analysis.plot_error_groups(runs, top=3, ax=ax),
    "failure_rate": lambda runs, ax: analysis.plot_failure_rate(runs, "6h", ax=ax),
    "failure_rate by": lambda runs, ax: analysis.plot_failure_rate(runs, "12h", "command", ax=ax),
    "failure_heat": lambda runs, ax: analysis.plot_failure_heat(runs, "12h", ax=ax),
    "durations": lambda runs, ax: analysis.plot_durations(runs, ax=ax),
    "durations overall": lambda runs, ax: analysis.plot_durations(runs, None, ax=ax),
    "waits": lambda jobs, ax: analysis.plot_waits(jobs, ax=ax),
    "retries": lambda runs, ax: analysis.plot_retries_to_success(runs, ax=ax),
    "what_if": lambda runs, ax: analysis.plot_what_if_retries(runs, 12, ax=ax),
    "flakiness": lambda runs, ax: analysis.plot_flakiness(runs, ax=ax),
    "recovery": lambda runs, ax: analysis.plot_recovery(runs, ax=ax),
    "recovery by": lambda runs, ax: analysis.plot_recovery(runs, "command", ax=ax),
    "compare": lambda runs, ax: analysis.plot_compare(*analysis.split_at(runs, "84h"), ax=ax),
    "by_worker": lambda runs, ax: analysis.plot_by_worker(runs, ax=ax),
}


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("runs, jobs", FRAMES.values(), ids=FRAMES.keys())
def test_every_plot_draws_every_kind_of_frame_without_a_warning(name, runs, jobs):
    with pyplot.style.context("dark_background"), warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = PLOTS[name](jobs if name == "waits" else runs, None)
        ax.figure.draw_without_rendering()
    assert isinstance(ax, Axes) and ax.get_title(loc="left")
    drawn = [text.get_text() for text in ax.figure.findobj(matplotlib.text.Text)]
    assert not any("\x1b" in text or len(text) > 120 for text in drawn)
    pyplot.close(ax.figure)


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_goes_into_the_axes_it_is_given_and_leaves_the_frame_alone(name):
    frame, (figure, ax) = JOBS if name == "waits" else RUNS, pyplot.subplots()
    before = frame.copy(deep=True)
    assert PLOTS[name](frame, ax) is ax
    pd.testing.assert_frame_equal(frame, before)
    pyplot.close(figure)


def test_an_empty_plot_says_that_there_is_nothing():
    ax = analysis.plot_error_groups(RUNS.iloc[:0])
    assert [text.get_text() for text in ax.texts] == ["No failing run"]
    pyplot.close(ax.figure)


def test_a_pareto_has_a_bar_per_cause_and_one_for_the_rest():
    groups = analysis.error_groups(RUNS)
    ax = analysis.plot_error_groups(RUNS, top=2)
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == [*groups["count"][:2], groups["count"][2:].sum()]
    assert ax.get_yticklabels()[2].get_text() == f"{len(groups) - 2} other causes"
    pyplot.close(ax.figure)


def test_the_rate_line_breaks_where_nothing_ran():
    rows = [*story("a", "fof"), *story("b", "oo")]
    for row in rows[:2]:
        row["finished_at"] -= pd.Timedelta(days=1)
    ax = analysis.plot_failure_rate(runs_frame(rows), "10min")
    assert len(ax.lines) == 2
    pyplot.close(ax.figure)


def test_a_heat_map_leaves_cells_bare_where_nothing_ran():
    rows = [*story("a", "f"), *story("b", "of", command="false")]
    rows[2]["finished_at"] += pd.Timedelta(hours=3)
    ax = analysis.plot_failure_heat(runs_frame(rows), "1h")
    cells = ax.collections[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(cells)).sum() == 8 - 3
    pyplot.close(ax.figure)


def test_curves_whose_labels_look_alike_stay_apart():
    long = "x" * 200
    runs = runs_frame(
        [*story("a", "fo", command=long + "a" + long), *story("b", "ff", command=long + "b" + long)]
    )
    ax = analysis.plot_recovery(runs, "command")
    ends = sorted(line.get_ydata()[-1] for line in ax.lines if line.get_drawstyle() == "steps-post")
    assert ends == [0, 1]
    pyplot.close(ax.figure)


@pytest.mark.parametrize(
    "value, text",
    [
        ("a\x1b[31mb\n c\u202e", "ab c"),
        (None, "(none)"),
        (float("nan"), "(none)"),
        ("\n", "(empty)"),
        ("abcdefghij" * 2, "abcdef…hij"),
    ],
)
def test_a_label_is_one_short_line(value, text):
    assert _canvas.label(value, 10) == text


@pytest.mark.parametrize(
    "milliseconds, text",
    [(0, "0 ms"), (250, "250 ms"), (1500, "1.5 s"), (-180_000, "−3 min"), (2 * 86_400_000, "2 d")],
)
def test_a_length_is_said_in_the_largest_unit_that_fits(milliseconds, text):
    assert _canvas.length(milliseconds) == text
