"""What holds for every function: dtypes, empty frames, subsets, order of rows, untouched input."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from analysis_frames import make_jobs, make_runs, runs_frame, story
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl import analysis
from queuectl.errors import InvalidValue

RUNS = make_runs(3000, seed=5)
JOBS = make_jobs(1500, seed=5)

CALLS = {
    "error_groups": analysis.error_groups,
    "error_groups since": lambda runs: analysis.error_groups(runs, "24h"),
    "failure_rate": lambda runs: analysis.failure_rate(runs, "1h"),
    "failure_rate by": lambda runs: analysis.failure_rate(runs, "6h", by=["queue", "command"]),
    "durations": analysis.durations,
    "durations overall": lambda runs: analysis.durations(runs, None),
    "durations against": lambda runs: analysis.durations(runs, ["queue", "outcome"], baseline=RUNS),
    "durations against overall": lambda runs: analysis.durations(runs, None, baseline=RUNS),
    "retries_to_success": analysis.retries_to_success,
    "what_if_retries": lambda runs: analysis.what_if_retries(runs, 8),
    "flakiness": analysis.flakiness,
    "flakiness overall": lambda runs: analysis.flakiness(runs, None),
    "recovery": analysis.recovery,
    "recovery by": lambda runs: analysis.recovery(runs, "error_sig"),
    "recovery_summary": lambda runs: analysis.recovery_summary(runs, "command"),
    "compare": lambda runs: analysis.compare(*analysis.split_at(runs, "2026-03-04 12:00")),
    "by_worker": analysis.by_worker,
    "by_worker by": lambda runs: analysis.by_worker(runs, "queue", strata="worker_id"),
}

every = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@every
def test_an_empty_frame_gives_the_same_columns_and_dtypes(call):
    full, empty = call(RUNS), call(RUNS.iloc[:0])
    assert len(full) > 0
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    bare = call(runs_frame([]))
    assert bare.dtypes.to_dict() == full.dtypes.to_dict()


@every
def test_the_input_is_left_alone(call):
    before = RUNS.copy(deep=True)
    call(RUNS)
    pd.testing.assert_frame_equal(RUNS, before)


@every
def test_the_order_of_rows_does_not_matter(call):
    shuffled = RUNS.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(call(shuffled), call(RUNS), check_exact=False, rtol=1e-12)


@every
def test_job_id_and_run_may_be_columns(call):
    pd.testing.assert_frame_equal(call(RUNS.reset_index()), call(RUNS))


@every
def test_text_columns_serve_as_well_as_categories(call):
    plain = RUNS.astype(dict.fromkeys(["command", "queue", "worker_id", "outcome", "error_sig"], "str"))
    pd.testing.assert_frame_equal(call(plain), call(RUNS))


@every
def test_a_missing_outcome_is_named(call):
    with pytest.raises(InvalidValue, match=r"outcome|duration"):
        call(RUNS.drop(columns=["outcome", "duration"]))


@every
@given(picked=st.lists(st.integers(0, len(RUNS) - 1), max_size=40, unique=True))
@settings(max_examples=15, deadline=None)
def test_any_subset_of_rows_works(call, picked):
    result = call(RUNS.iloc[picked])
    for lo, hi in (("lo", "hi"), ("rest_lo", "rest_hi"), ("cum_lo", "cum_hi"), ("saved_lo", "saved_hi")):
        if lo in result and "change" not in result:
            assert (result[lo] <= result[hi]).all()
    if {"rate", "lo", "hi"} <= set(result):
        known = result.dropna(subset="rate")
        assert (known["lo"] <= known["rate"]).all() and (known["rate"] <= known["hi"]).all()


@every
def test_rows_without_any_time_or_cause_are_no_trouble(call):
    missing = ["started_at", "finished_at", "duration", "error_sig", "error", "template"]
    bare = RUNS.assign(**{name: RUNS[name].where(np.zeros(len(RUNS), bool)) for name in missing})
    assert call(bare).dtypes.to_dict() == call(RUNS).dtypes.to_dict()


def test_waits_of_an_empty_frame_have_the_same_dtypes():
    full, empty = analysis.waits(JOBS), analysis.waits(JOBS.iloc[:0])
    assert len(full) == 3 and full["n"].sum() == JOBS["wait"].notna().sum()
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    pd.testing.assert_frame_equal(analysis.waits(JOBS.sample(frac=1, random_state=1)), full)


@pytest.mark.parametrize("by", ["command", ["command", "queue"]])
def test_a_missing_key_is_a_group_of_its_own(by):
    runs = RUNS.assign(command=RUNS["command"].where(np.arange(len(RUNS)) % 2 == 0))
    groups = analysis.durations(runs, by)
    assert groups["n"].sum() == RUNS["duration"].notna().sum()
    assert groups["command"].isna().any()


@pytest.mark.parametrize("by", ["nonsense", ["command", "nonsense"]])
def test_an_unknown_column_is_named(by):
    with pytest.raises(InvalidValue, match="nonsense"):
        analysis.durations(RUNS, by)


@pytest.mark.parametrize("freq", ["ME", "0min", "-1h", "x", None, 3.5, True])
def test_a_bucket_must_have_a_fixed_length(freq):
    with pytest.raises(InvalidValue, match="freq"):
        analysis.failure_rate(RUNS, freq)


@pytest.mark.parametrize("since", ["soon", 5, 1.5, [], "NaT"])
def test_a_moment_must_be_one(since):
    with pytest.raises(InvalidValue, match="since"):
        analysis.error_groups(RUNS, since)


@pytest.mark.parametrize("confidence", [0, 1, 95, -1, float("nan")])
def test_confidence_is_between_0_and_1(confidence):
    with pytest.raises(InvalidValue, match="confidence"):
        analysis.retries_to_success(RUNS, confidence=confidence)


@pytest.mark.parametrize("n", [0, -1, 10_001, 2.5, "3", True])
def test_a_limit_is_a_whole_number(n):
    with pytest.raises(InvalidValue, match="whole number"):
        analysis.what_if_retries(RUNS, n)


def test_importing_the_package_imports_neither_pandas_nor_matplotlib():
    code = (
        "import sys, queuectl.analysis as a; assert 'pandas' not in sys.modules; a.error_groups;"
        "assert 'pandas' in sys.modules and 'matplotlib' not in sys.modules; a.plot_durations;"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists_and_an_unknown_one_does_not():
    assert all(callable(getattr(analysis, name)) for name in analysis.__all__)
    assert set(analysis.__all__) <= set(dir(analysis))
    with pytest.raises(AttributeError, match="nonsense"):
        analysis.nonsense  # noqa: B018


def test_the_story_factory_makes_the_documented_dtypes():
    assert runs_frame(list(story("a", "fo"))).dtypes.to_dict().keys() == RUNS.dtypes.to_dict().keys()
    for column in set(RUNS) - {"command", "queue", "worker_id", "error_sig"}:
        assert runs_frame([])[column].dtype == RUNS[column].dtype
