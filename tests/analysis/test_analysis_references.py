"""The figures against independent implementations: statsmodels, scipy, lifelines, numpy, plain loops."""

import lifelines
import numpy as np
import pandas as pd
import pytest
from analysis_frames import make_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats import proportion

from queuectl import analysis
from queuectl.analysis._intervals import normal_quantile, rate_ratio, wilson
from queuectl.analysis._rows import quantiles
from queuectl.analysis._survival import greenwood
from queuectl.analysis._workers import ENOUGH

RUNS = make_runs(4000, seed=11, commands=6, workers=5)
FAILURES = ("failed", "timeout", "killed", "spawn")


@given(st.integers(1, 5000), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_wilson_agrees_with_statsmodels(n, data, confidence):
    hits = data.draw(st.integers(0, n))
    lo, hi = wilson(np.array([hits]), np.array([n]), normal_quantile(confidence))
    expected = proportion.proportion_confint(hits, n, 1 - confidence, method="wilson")
    assert (lo[0], hi[0]) == pytest.approx(expected, abs=1e-12)
    assert lo[0] <= hits / n <= hi[0]


def test_nothing_observed_is_anything_possible():
    lo, hi = wilson(np.array([0]), np.array([0]), 1.96)
    assert (lo[0], hi[0]) == (0, 1)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(400, 9000), st.integers(400, 9000))
@settings(max_examples=60, deadline=None)
def test_the_rate_ratio_agrees_with_the_score_interval_of_statsmodels(later, earlier, later_n, earlier_n):
    from statsmodels.stats.rates import confint_poisson_2indep

    arrays = [np.array([value]) for value in (later, earlier)]
    ratio, lo, hi = rate_ratio(
        *arrays, later_n=np.array([later_n]), earlier_n=np.array([earlier_n]), z=normal_quantile(0.95)
    )
    if later and earlier:
        expected = confint_poisson_2indep(later, later_n, earlier, earlier_n, method="score", compare="ratio")
        # The reference searches its interval numerically and stops a few 1e-6 short of it.
        assert (lo[0], hi[0]) == pytest.approx(expected, rel=1e-4)
        assert lo[0] <= ratio[0] <= hi[0]
    elif later:
        assert np.isinf(hi[0]) and 0 < lo[0] < np.inf
    elif earlier:
        assert lo[0] == 0 and 0 < hi[0] < np.inf


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=2, max_size=60))
@settings(max_examples=40, deadline=None)
def test_the_survival_curve_and_its_interval_agree_with_lifelines(spells):
    took, event = (np.array(part) for part in zip(*spells, strict=True))
    times = np.unique(took)
    events = np.array([(event & (took == t)).sum() for t in times])
    at_risk = np.array([(took >= t).sum() for t in times])
    s, lo, hi = greenwood(events, at_risk, normal_quantile(0.95))
    fitted = lifelines.KaplanMeierFitter().fit(took, event)
    assert s == pytest.approx(fitted.survival_function_["KM_estimate"].loc[times].to_numpy(), abs=1e-9)
    bounds = fitted.confidence_interval_.loc[times].to_numpy()
    inside = (s > 1e-9) & (s < 1)
    assert lo[inside] == pytest.approx(bounds[inside, 0], abs=1e-6)
    assert hi[inside] == pytest.approx(bounds[inside, 1], abs=1e-6)


def _spells_one_by_one(runs):
    end = max(runs["finished_at"].max(), runs["started_at"].max())
    for _, rows in runs.sort_index().groupby(level="job_id"):
        known = rows["finished_at"].fillna(rows["started_at"])
        begin = None
        for outcome, at in zip(rows["outcome"], known, strict=True):
            if outcome == "ok":
                if begin is not None:
                    yield max((at - begin) / pd.Timedelta("1ms"), 0), True
                break
            if outcome in FAILURES and begin is None:
                begin = at
        else:
            if begin is not None:
                yield (end - begin) / pd.Timedelta("1ms"), False


def test_recovery_and_its_median_agree_with_lifelines_on_a_plain_loop():
    from lifelines.utils import median_survival_times

    took, event = zip(*_spells_one_by_one(RUNS), strict=True)
    fitted = lifelines.KaplanMeierFitter().fit(took, event)
    curve = analysis.recovery(RUNS)
    times = curve["time"] / pd.Timedelta("1ms")
    assert curve["waiting"].to_numpy() == pytest.approx(fitted.survival_function_at_times(times).to_numpy())
    assert (curve["recovered"].sum(), curve["censored"].sum()) == (sum(event), len(event) - sum(event))
    until = RUNS["finished_at"].max()
    summary = analysis.recovery_summary(RUNS[RUNS["outcome"] != "lost"], until=until).iloc[0]
    spells = list(_spells_one_by_one(RUNS[RUNS["outcome"] != "lost"]))
    fitted = lifelines.KaplanMeierFitter().fit(*zip(*spells, strict=True))
    bounds = median_survival_times(fitted.confidence_interval_).to_numpy()[0]
    expected = [fitted.median_survival_time_, *bounds]
    for name, value in zip(["median", "median_lo", "median_hi"], expected, strict=True):
        got = summary[name] / pd.Timedelta("1ms")
        assert (np.isinf(value) and pd.isna(got)) or got == pytest.approx(value), name


@pytest.mark.parametrize("by", ["command", ["queue", "outcome"]])
def test_quantiles_agree_with_numpy(by):
    ours = analysis.durations(RUNS, by).set_index(by)
    groups = RUNS.dropna(subset="duration").groupby(by, observed=True)["duration"]
    assert len(ours) == groups.ngroups
    for key, lasted in groups:
        values = lasted.to_numpy().astype("timedelta64[ms]").astype(int)
        key = key[0] if isinstance(key, tuple) and isinstance(by, str) else key
        for name, q in {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}.items():
            assert abs(ours.loc[key, name] / pd.Timedelta("1ms") - np.quantile(values, q)) <= 0.5
        assert ours.loc[key, "total"] == lasted.sum()
        assert ours.loc[key, "n"] == len(values)


def test_the_association_of_workers_agrees_with_statsmodels():
    from statsmodels.stats.contingency_tables import StratifiedTable

    ours = analysis.by_worker(RUNS).set_index("worker_id")
    failed = RUNS["outcome"].isin(FAILURES)
    charged = RUNS[failed | (RUNS["outcome"] == "ok")].assign(bad=failed)
    for worker in ours.index:
        tables = []
        for _, rows in charged.groupby("command", observed=True):
            mine = rows["worker_id"] == worker
            tables.append(
                [[int((mine == m).mul(rows["bad"] == b).sum()) for b in (True, False)] for m in (True, False)]
            )
        expected = StratifiedTable([np.array(t, float) for t in tables]).test_null_odds(correction=False)
        assert ours.loc[worker, "p"] == pytest.approx(expected.pvalue)


def test_with_one_command_and_two_workers_the_difference_is_newcombes():
    runs = RUNS[(RUNS["command"] == "python task_1.py") & RUNS["worker_id"].isin(["w1", "w2"])]
    ours = analysis.by_worker(runs).set_index("worker_id").loc["w1"]
    assert min(ours["comparable"], ours["rest_n"]) >= ENOUGH
    rest_failed = round(ours["rest_rate"] * ours["rest_n"])
    level = 0.95**0.5  # two workers are compared
    expected = proportion.confint_proportions_2indep(
        ours["failed"], ours["n"], rest_failed, ours["rest_n"], method="newcomb", alpha=1 - level
    )
    assert (ours["diff_lo"], ours["diff_hi"]) == pytest.approx(expected, abs=1e-9)
    wilson_rest = proportion.proportion_confint(rest_failed, ours["rest_n"], 1 - level, method="wilson")
    assert (ours["rest_lo"], ours["rest_hi"]) == pytest.approx(wilson_rest, abs=1e-9)


def test_the_cumulative_success_agrees_with_lifelines_over_attempts():
    made = analysis.retries_to_success(RUNS)
    spells = []
    for _, rows in RUNS.sort_index().groupby(level="job_id"):
        charged = [outcome for outcome in rows["outcome"] if outcome == "ok" or outcome in FAILURES]
        if charged:
            success = charged.index("ok") + 1 if "ok" in charged else None
            spells.append((success or len(charged), success is not None))
    fitted = lifelines.KaplanMeierFitter().fit(*zip(*spells, strict=True))
    expected = 1 - fitted.survival_function_at_times(made["attempt"]).to_numpy()
    assert made["cum"].to_numpy() == pytest.approx(expected)
    assert made["n"].iloc[0] == len(spells)
    assert ((made["cum_lo"] <= made["cum"]) & (made["cum"] <= made["cum_hi"])).all()


def test_workers_that_are_all_alike_are_seldom_flagged():
    rng = np.random.default_rng(2)
    flagged = 0
    for seed in range(60):
        runs = make_runs(1500, seed=seed, commands=3, workers=8)
        runs = runs.assign(
            worker_id=pd.Categorical.from_codes(rng.integers(0, 8, len(runs)), list("abcdefgh"))
        )
        flagged += (analysis.by_worker(runs)["flag"] != "").any()
    assert flagged <= 7  # 5 % of 60 is 3; more than 7 has probability 0.01


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 7, 900, 2**40, 2**61])), min_size=1))
@settings(max_examples=40, deadline=None)
def test_quantiles_do_not_depend_on_how_large_the_values_are(rows):
    codes, values = (np.array(part, np.int64) for part in zip(*rows, strict=True))
    result = quantiles(values, codes, 4, q=[0.0, 0.5, 1.0])
    for code in set(codes):
        expected = np.quantile(values[codes == code].astype(float), [0.0, 0.5, 1.0])
        assert result[:, code] == pytest.approx(expected, abs=0.5)
