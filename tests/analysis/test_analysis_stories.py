"""Small stories told run by run, with figures one can check by hand."""

import numpy as np
import pandas as pd
import pytest
from analysis_frames import BEGIN, make_runs, runs_frame, story
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl import analysis

MINUTE = pd.Timedelta(minutes=1)


def told(*stories):
    return runs_frame([record for one in stories for record in one])


def test_causes_are_ranked_and_their_shares_add_up():
    runs = told(
        story("a", "ffo"),
        story("b", "fff", sig="bb"),
        story("c", "f", sig="bb", command="false"),
        story("d", "o"),
    )
    groups = analysis.error_groups(runs)
    assert groups["sig"].tolist() == ["bb", "a1b2c3d4"]
    assert groups["count"].tolist() == [4, 2]
    assert groups["jobs"].tolist() == [2, 1]
    assert groups["commands"].tolist() == [2, 1]
    assert groups["share"].tolist() == pytest.approx([4 / 6, 2 / 6])
    assert groups["cum_share"].tolist() == pytest.approx([4 / 6, 1])
    assert groups["wasted"].tolist() == [4 * MINUTE, 2 * MINUTE]
    assert groups["template"].tolist() == ["template of bb", "template of a1b2c3d4"]
    first = groups.iloc[0]
    assert (first["example_job"], first["example_error"]) == ("b", "error of bb")
    assert (first["first_seen"], first["last_seen"]) == (BEGIN + MINUTE, BEGIN + 21 * MINUTE)


def test_lost_cancelled_and_snoozed_runs_are_no_failures():
    runs = told(story("a", "lco"))
    assert len(analysis.error_groups(runs)) == 0
    assert analysis.failure_rate(runs, "1h")[["n", "failed"]].to_numpy().tolist() == [[1, 0]]


@pytest.mark.parametrize("letter", "ftks")
def test_four_outcomes_are_failures(letter):
    runs = told(story("a", letter))
    assert analysis.error_groups(runs)["count"].tolist() == [1]
    assert analysis.failure_rate(runs, "1h")["failed"].tolist() == [1]


def test_failures_without_a_cause_are_one_row():
    groups = analysis.error_groups(told(story("a", "ff", sig=None), story("b", "f")))
    assert groups["count"].tolist() == [2, 1]
    assert groups["sig"].isna().tolist() == [True, False]
    assert groups["template"].tolist() == ["no cause recorded", "template of a1b2c3d4"]
    assert groups["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "since",
    ["2026-03-01 08:10", BEGIN + 10 * MINUTE, "11min", pd.Timedelta("11min"), "2026-03-01T09:10+01:00"],
)
def test_since_takes_a_moment_or_a_length_of_time(since):
    assert analysis.error_groups(told(story("a", "fff")), since)["count"].tolist() == [2]


@given(st.integers(0, 400), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_shares_sum_to_one_and_the_cumulative_share_never_falls(rows, seed):
    groups = analysis.error_groups(make_runs(rows, seed=seed))
    if len(groups):
        assert groups["share"].sum() == pytest.approx(1)
        assert groups["cum_share"].is_monotonic_increasing
        assert groups["cum_share"].iloc[-1] == 1
        assert groups["count"].is_monotonic_decreasing


def spread(job, sig, minutes, *, bad=True):
    for index, minute in enumerate(minutes):
        end = BEGIN + pd.Timedelta(minutes=minute)
        outcome = "failed" if bad else "ok"
        yield {
            "job_id": f"{job}{index}",
            "run": 1,
            "command": "x",
            "outcome": outcome,
            "finished_at": end,
            "error_sig": sig,
        }


def test_a_trend_is_named_only_where_the_interval_says_so():
    calm = list(spread("o", None, range(0, 1000, 2), bad=False))
    cases = {
        "new": range(600, 640),
        "gone": range(40),
        "rising": [*range(10), *range(600, 640)],
        "falling": [*range(40), *range(600, 610)],
        "steady": [*range(40), *range(600, 640)],
    }
    rows = [row for word, minutes in cases.items() for row in spread(word, word, minutes)]
    groups = analysis.error_groups(runs_frame(calm + rows)).set_index("sig")
    assert groups["trend"].astype(str).to_dict() == {word: word for word in cases}
    lone = runs_frame(calm + list(spread("lone", "lone", [900])))
    assert analysis.error_groups(lone)["trend"].tolist() == ["steady"]


def test_a_busier_half_is_not_a_rising_cause():
    calm = list(spread("o", None, [*range(0, 500, 10), *range(500, 1000)], bad=False))
    cause = list(spread("x", "x", [*range(0, 500, 50), *range(500, 1000, 5)]))
    assert analysis.error_groups(runs_frame(calm + cause))["trend"].tolist() == ["steady"]


def test_compare_names_what_changed_around_a_moment():
    calm = list(spread("o", None, range(0, 1000, 2), bad=False))
    cases = {"new": [700], "worse": [*range(5), *range(600, 640)], "same": [1, 2, 3, 601, 602],
             "better": [*range(40), *range(600, 605)], "gone": [5]}  # fmt: skip
    rows = [row for word, minutes in cases.items() for row in spread(word, word, minutes)]
    runs = runs_frame(calm + rows)
    changed = analysis.compare(*analysis.split_at(runs, BEGIN + pd.Timedelta(minutes=500)))
    assert changed["sig"].tolist() == list(cases)
    assert changed["change"].tolist() == list(cases)
    assert changed["sure"].tolist() == [False, True, False, True, False]
    assert changed["before"].tolist() == [0, 5, 3, 40, 1]
    assert changed["after"].tolist() == [1, 40, 2, 5, 0]
    assert np.isinf(changed["ratio"].iloc[0]) and changed["ratio"].iloc[-1] == 0


def test_a_split_takes_every_dated_run_once_and_keeps_to_its_window():
    runs = make_runs(500, seed=1)
    before, after = analysis.split_at(runs, "72h")
    assert len(before) + len(after) == len(runs)
    near_before, near_after = analysis.split_at(runs, "72h", window="6h")
    assert 0 < len(near_before) < len(before) and 0 < len(near_after) < len(after)
    middle = runs["finished_at"].fillna(runs["started_at"]).max() - pd.Timedelta("72h")
    assert (near_before["finished_at"].dropna() >= middle - pd.Timedelta("6h")).all()


def test_buckets_begin_at_multiples_and_hold_all_charged_runs():
    runs = make_runs(2000, seed=4)
    rate = analysis.failure_rate(runs, "6h", by="queue")
    charged = ~runs["outcome"].isin(["lost", "cancelled", "snoozed"])
    assert rate["n"].sum() == charged.sum()
    assert (rate["ts"].dt.hour % 6 == 0).all()
    assert rate["ts"].is_monotonic_increasing
    expected = runs[charged].assign(ts=runs["finished_at"].fillna(runs["started_at"]).dt.floor("6h"))
    counts = expected.groupby(["ts", "queue"], observed=True).size()
    assert rate.set_index(["ts", "queue"])["n"].to_dict() == counts.to_dict()


def test_a_baseline_is_matched_group_by_group():
    before = told(story("a", "o", command="x"), story("b", "o", command="y", duration=4 * MINUTE))
    after = told(
        story("a", "o", command="x", duration=3 * MINUTE), story("b", "o", command="y", duration=4 * MINUTE),
        story("c", "o", command="z"),
    )  # fmt: skip
    ratio = analysis.durations(after, baseline=before).set_index("command")["ratio"]
    assert ratio[["x", "y"]].tolist() == [3, 1] and np.isnan(ratio["z"])
    assert analysis.durations(after).set_index("command")["ratio"].tolist() == pytest.approx(
        [4 / 3, 1, 1 / 3]
    )


def test_attempts_do_not_count_lost_runs():
    made = analysis.retries_to_success(told(story("a", "flo"), story("b", "fff"), story("c", "o")))
    assert made["attempt"].tolist() == [1, 2, 3]
    assert made["n"].tolist() == [3, 2, 1]
    assert made["ok"].tolist() == [1, 1, 0]
    assert made["cum"].tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_an_attempt_keeps_its_number_when_earlier_ones_are_cut_off():
    runs = told(story("a", "ffo"), story("b", "ffo"))
    assert analysis.retries_to_success(runs[runs.index.get_level_values("run") > 2])["attempt"].tolist() == [
        3
    ]


def test_runs_after_the_first_success_are_left_out():
    assert analysis.retries_to_success(told(story("a", "off")))["n"].tolist() == [1]


def test_a_lower_limit_is_replayed_exactly():
    runs = told(story("a", "ffo"), story("b", "fo"), story("c", "o"), story("d", "fff"))
    limits = analysis.what_if_retries(runs, 3)
    assert limits["completed"].tolist() == [1, 2, 3]
    assert limits["saved"].tolist() == [-2, -1, 0]
    assert limits["extra_runs"].tolist() == [-5, -2, 0]
    assert limits["extra_time"].tolist() == [-5 * MINUTE, -2 * MINUTE, 0 * MINUTE]
    assert (limits["saved_lo"] == limits["saved"]).all() and not limits["extrapolated"].any()


def test_a_higher_limit_uses_the_success_of_that_attempt():
    # attempt 3: 1 of 2 succeeded; the two given up after attempt 2 would have succeeded at that rate
    runs = told(story("a", "ffo"), story("b", "fff"), story("c", "ff"), story("d", "ff"))
    limits = analysis.what_if_retries(runs, 4).set_index("max_retries")
    assert limits.loc[2, "completed"] == 0
    assert limits.loc[3, "completed"] == pytest.approx(2)
    assert limits.loc[3, "runs"] == pytest.approx(12)
    assert limits.loc[3, "extra_runs"] == pytest.approx(2)
    assert limits.loc[3, "saved_lo"] < 1 < limits.loc[3, "saved_hi"]
    # attempt 4 was never made: one real and one expected job go on at attempt 3's rate
    assert limits.loc[4, "completed"] == pytest.approx(3)
    assert limits["extrapolated"].tolist() == [False, False, False, True]


@given(st.integers(1, 500), st.integers(0, 30), st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_a_higher_limit_never_loses_jobs_or_saves_runs(rows, seed, n):
    limits = analysis.what_if_retries(make_runs(rows, seed=seed), n)
    for column in ("completed", "runs", "saved_lo", "saved_hi"):
        assert (limits[column].diff().dropna() >= -1e-9).all(), column
    assert (limits["completed"] <= limits["jobs"] + 1e-9).all()


def test_flaky_is_told_from_broken():
    runs = told(
        story("a", "fo"), story("b", "ffo"), story("c", "o"), story("d", "fff"), story("e", "f"),
        story("x", "ff", command="broken"), story("y", "lo", command="fine"),
    )  # fmt: skip
    groups = analysis.flakiness(runs).set_index("command")
    assert groups.loc["true", ["jobs", "clean", "flaky", "broken", "untried"]].tolist() == [5, 1, 2, 1, 1]
    assert groups.loc["true", "rate"] == pytest.approx(2 / 3)
    assert groups.loc["true", "share"] == pytest.approx(2 / 5)
    assert groups["verdict"].to_dict() == {"true": "unclear", "broken": "unclear", "fine": "clean"}
    many = told(
        *(story(f"f{i}", "fo") for i in range(20)), *(story(f"b{i}", "ff", command="b") for i in range(20))
    )
    assert analysis.flakiness(many)["verdict"].tolist() == ["flaky", "broken"]


def test_a_success_after_an_edit_is_not_flaky():
    rows = [*story("a", "fo")]
    rows[1]["command"] = "fixed"
    groups = analysis.flakiness(runs_frame(rows)).set_index("command")
    assert groups.loc["fixed", ["jobs", "clean"]].tolist() == [1, 1]
    assert groups.loc["true", ["jobs", "untried"]].tolist() == [1, 1]
    assert groups["flaky"].sum() == 0


def test_recovery_runs_from_the_first_failure_to_the_success():
    runs = told(story("a", "ffo"), story("b", "fo"), story("c", "fff"), story("d", "o"))
    curve = analysis.recovery(runs)
    assert curve["time"].tolist() == [10 * MINUTE, 20 * MINUTE]
    assert curve["at_risk"].tolist() == [3, 2]
    assert curve["recovered"].tolist() == [1, 1]
    assert curve["censored"].tolist() == [0, 1]
    assert curve["waiting"].tolist() == pytest.approx([2 / 3, 1 / 3])
    summary = analysis.recovery_summary(runs).iloc[0]
    assert (summary["jobs"], summary["recovered"], summary["censored"]) == (3, 2, 1)
    assert summary["median"] == 20 * MINUTE


def test_recovery_is_censored_where_observation_ends():
    runs = told(story("a", "ffo"), story("b", "fff"))
    early = analysis.recovery(runs, until=BEGIN + 15 * MINUTE)
    assert early[["recovered", "censored"]].to_numpy().tolist() == [[0, 2]]
    assert early["waiting"].tolist() == [1.0]
    late = analysis.recovery(runs, until=BEGIN + pd.Timedelta(days=1))
    assert late["recovered"].sum() == 1 and late["time"].iloc[-1] == pd.Timedelta(days=1) - MINUTE


def test_the_cause_that_recovery_is_split_by_is_the_first_one():
    rows = [*story("a", "ffo")]
    rows[1]["error_sig"] = "other"
    assert analysis.recovery(runs_frame(rows), "error_sig")["error_sig"].tolist() == ["a1b2c3d4"]


def workers_frame(*shares):
    """Rows (worker, command, n, failed)."""
    rows = []
    for worker, command, n, failed in shares:
        for i in range(n):
            rows += story(
                f"{worker}{command}{i}", "f" if i < failed else "o", command=command, worker_id=worker
            )
    return runs_frame(rows)


def test_a_worker_with_hard_commands_is_not_blamed():
    mixed = workers_frame(
        ("a", "hard", 200, 100), ("a", "easy", 20, 1), ("b", "hard", 20, 10), ("b", "easy", 200, 10)
    )
    assert analysis.by_worker(mixed)["flag"].tolist() == ["", ""]
    crude = mixed.assign(command="all")
    assert analysis.by_worker(crude)["flag"].tolist() == ["worse", "better"]


def test_a_worker_that_fails_more_on_the_same_commands_is_flagged():
    runs = workers_frame(("a", "x", 100, 50), ("b", "x", 100, 5), ("c", "x", 100, 5))
    result = analysis.by_worker(runs).set_index("worker_id")
    assert result.index[0] == "a" and result.loc["a", "flag"] == "worse"
    assert result.loc["a", "rate"] == 0.5 and result.loc["a", "rest_rate"] == pytest.approx(0.05)
    assert result.loc["a", "lo"] > result.loc["a", "rest_hi"]
    assert result.loc["a", "p"] < 1e-6


def test_few_runs_are_never_flagged():
    result = analysis.by_worker(workers_frame(("a", "x", 29, 29), ("b", "x", 100, 0)))
    assert set(result["flag"]) == {""}
    enough = analysis.by_worker(workers_frame(("a", "x", 30, 30), ("b", "x", 100, 0)))
    assert enough["flag"].tolist() == ["worse", "better"]


def test_commands_that_only_one_worker_ran_are_not_compared():
    result = analysis.by_worker(workers_frame(("a", "x", 40, 40), ("b", "y", 40, 0)))
    assert result["n"].tolist() == [40, 40] and result["comparable"].tolist() == [0, 0]
    assert result[["rate", "rest_rate", "p"]].isna().all(axis=None)
    assert set(result["flag"]) == {""}
