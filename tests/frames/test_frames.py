"""Frames show exactly what the tables hold, with one schema however many rows there are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames_data import ODD, fill

from queuectl.errors import InvalidValue
from queuectl.frames import schema
from queuectl.model import State
from queuectl.store import frames as packed

TIMES = {"created_at", "run_at", "started_at", "finished_at", "updated_at"}


def kinds(frame):
    """Dtypes as one compares them: a category by the dtype of its labels."""
    found = {}
    for name, dtype in frame.dtypes.items():
        loose = isinstance(dtype, pd.CategoricalDtype) and dtype not in (schema.STATE, schema.OUTCOME)
        found[name] = ("category", str(dtype.categories.dtype), dtype.ordered) if loose else dtype
    return found


def table(q, sql="select * from jobs order by seq"):
    """The rows as the engine gives them, by column."""
    cursor = q._store.connection.sql.execute(sql)
    names = [c[0] for c in cursor.description]
    rows = cursor.fetchall()
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def plain(column):
    """A column as a list with None for missing, times as ms."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return [None if pd.isna(x) else x.value // 1_000_000 for x in column]
    return [None if pd.isna(x) else x for x in column]


@pytest.fixture
def full(q):
    fill(q)
    return q


def test_a_frame_holds_what_the_table_holds(full) -> None:
    frame, rows = full.jobs(), table(full)
    assert list(frame.index) == rows["id"] and frame.index.name == "id"
    assert list(frame.columns) == list(schema.JOBS)
    for name in schema.JOBS:
        if name in ("wait", "duration", "total_time", "timed_out"):
            continue
        assert plain(frame[name]) == rows[name + "_ms" if name in TIMES else name], name


def test_the_lengths_are_those_of_the_moments(full) -> None:
    frame, rows = full.jobs(), table(full)
    for i, state in enumerate(rows["state"]):
        total = (
            None
            if rows["finished_at_ms"][i] is None
            else rows["finished_at_ms"][i] - rows["created_at_ms"][i]
        )
        assert plain(frame["total_time"])[i] == (None if total is None else pd.Timedelta(milliseconds=total))
        assert plain(frame["wait"])[i] == (
            pd.Timedelta(seconds=2) if rows["runs"][i] else None
        )  # of the first run
        assert plain(frame["duration"])[i] == (
            pd.Timedelta(seconds=1) if state in ("completed", "dead") else None
        )


def test_runs_hold_what_the_table_holds(full) -> None:
    frame = full.runs()
    rows = table(
        full,
        """select jobs.id, runs.*, jobs.command, jobs.queue, causes.template from runs join jobs on seq = job
           left join causes on sig = runs.error_sig order by job, run""",
    )
    assert list(frame.index) == list(zip(rows["id"], rows["run"], strict=True)) and frame.index.names == [
        "job_id",
        "run",
    ]
    assert list(frame.columns) == list(schema.RUNS)
    for name in ("command", "queue", "worker_id", "outcome", "exit_code", "signal", "error_sig", "error", "template", "max_rss",
                 "stdout_bytes", "stderr_bytes"):  # fmt: skip
        assert plain(frame[name]) == rows[name], name
    assert (
        plain(frame["started_at"]) == rows["started_at_ms"]
        and plain(frame["finished_at"]) == rows["finished_at_ms"]
    )
    assert set(frame["duration"]) == {pd.Timedelta(seconds=1)} and set(frame["cpu_user"]) == {
        pd.Timedelta(milliseconds=100)
    }
    assert frame["cpu_sys"].isna().all()


def test_an_empty_frame_has_the_dtypes_of_a_full_one(q) -> None:
    empty = [q.jobs(), q.runs(), q.dlq.frame(), q.workers_frame(), q.events_frame(), q.failures_frame()]
    fill(q)
    q.pause()
    full = [q.jobs(), q.runs(), q.dlq.frame(), q.workers_frame(), q.events_frame(), q.failures_frame()]
    for before, after in zip(empty, full, strict=True):
        assert len(before) == 0 and len(after) > 0
        assert kinds(before) == kinds(after)
        assert before.index.names == after.index.names
        levels = lambda f: f.index.levels if isinstance(f.index, pd.MultiIndex) else [f.index]  # noqa: E731
        assert [x.dtype for x in levels(before)] == [x.dtype for x in levels(after)]
    wanted = [schema.JOBS, schema.RUNS, schema.DEAD, schema.WORKERS, schema.EVENTS, schema.CAUSES]
    for frame, kind in zip(full, wanted, strict=True):
        assert {n: str(d) for n, d in frame.dtypes.items()} == {
            n: str(pd.api.types.pandas_dtype(d)) for n, d in kind.items()
        }


def test_a_filter_that_nothing_matches_gives_the_dtypes_too(full) -> None:
    for frame, whole in ((full.jobs(tag="none"), full.jobs()), (full.runs(sig="00000000"), full.runs())):
        assert len(frame) == 0 and kinds(frame) == kinds(whole)


def test_text_with_the_packers_own_signs_arrives_whole(full) -> None:
    commands = list(full.jobs()["command"])
    assert commands[:12] == ODD * 2
    assert [c for c in full.runs()["command"].cat.categories if "\x1e" in c]


@pytest.mark.parametrize(
    "which",
    [
        {"state": "dead"}, {"state": ["dead", "failed"]}, {"state": []}, {"queue": "mail"}, {"tag": "eu"}, {"sig": "a1b2c3d4"}, {"since": "1h"},
        {"until": "1h"}, {"since": "2h", "until": "30m"}, {"ids": ["job00003", "job00299", "nosuch"]}, {"limit": 7}, {"limit": 10**9},
        {"state": "dead", "limit": 3}, {"queue": "mail", "limit": 11}, {"state": "completed", "queue": "default", "tag": "nightly"},
    ],
    ids=str,
)  # fmt: skip
def test_filters_mean_what_they_mean_for_list(full, which) -> None:
    frame = full.jobs(**which)
    states = which.get("state")
    states = [states] if isinstance(states, str) else states
    others = {k: v for k, v in which.items() if k not in ("state", "ids", "limit")}
    expected = list(full.list(limit=10_000, **others))
    if states is not None:
        expected = [j for j in expected if j.state in states]
    if "ids" in which:
        expected = [j for j in expected if j.id in which["ids"]]
    expected = expected[-which.get("limit", 10**9) :]
    assert list(frame.index) == [j.id for j in expected]
    assert list(frame["command"]) == [j.command for j in expected]


def test_filters_of_runs(full) -> None:
    runs = full.runs()
    ended = runs["finished_at"]
    same = lambda a, b: pd.testing.assert_frame_equal(a, b, check_categorical=False)  # noqa: E731
    for found, expected in (
        (full.runs(outcome="failed"), runs[runs["outcome"] == "failed"]),
        (full.runs(sig="b2c3d4e5"), runs[runs["error_sig"] == "b2c3d4e5"]),
        (full.runs(queue="mail"), runs[runs["queue"] == "mail"]),
        (full.runs(ids=["job00000", "job00001"]), runs.loc[["job00000", "job00001"]]),
        (full.runs(state="dead"), runs[runs.index.get_level_values(0).isin(full.dlq.frame().index)]),
        (full.runs(limit=10), runs.loc[ended.sort_values(kind="stable").index[-10:]].sort_index()),
        (
            full.runs(queue="mail", limit=5),
            runs.loc[ended[runs["queue"] == "mail"].sort_values(kind="stable").index[-5:]].sort_index(),
        ),
    ):
        assert len(found)
        same(found, expected)
    moment = ended.sort_values().iloc[40]
    same(full.runs(since=moment.to_pydatetime()), runs[ended >= moment])
    same(full.runs(until=moment.to_pydatetime()), runs[ended < moment])


def test_columns_are_chosen_and_a_slip_is_told(full) -> None:
    frame = full.jobs(columns=["wait", "state"])
    assert list(frame.columns) == ["wait", "state"]
    pd.testing.assert_frame_equal(frame, full.jobs()[["wait", "state"]])
    with pytest.raises(InvalidValue, match="did you mean state"):
        full.jobs(columns=["stat"])
    with pytest.raises(InvalidValue, match="a list of names"):
        full.jobs(columns="state")
    with pytest.raises(InvalidValue, match="limit"):
        full.jobs(limit=0)


def test_expanded_columns_hold_parameters_and_results(full) -> None:
    frame, rows = full.jobs(expand=True), table(full)
    params = [json.loads(p) if p else {} for p in rows["params"]]
    assert plain(frame["lr"]) == [p.get("lr") for p in params] and str(frame["lr"].dtype) == "Float64"
    assert plain(frame["name"]) == [p.get("name") for p in params]
    assert plain(frame["param_state"]) == [p.get("state") for p in params]  # `state` is the job's own
    assert frame["loss"].notna().sum() == (frame["state"] == "completed").sum()


def test_a_frame_says_where_and_when_it_was_read_in_plain_values(full) -> None:
    attrs = full.jobs().head().attrs
    assert attrs["queuectl_db"] == full.path and json.loads(json.dumps(attrs)) == attrs


def test_a_frame_is_one_moment_though_others_write_meanwhile(full, monkeypatch) -> None:
    monkeypatch.setattr(packed, "SLICE", 10)
    other = type(full)(full.path)
    slices = packed.Frames(full._store.connection).jobs(packed.Filter(), ["seq", "id"], limit=None, few=False)
    first = next(slices)
    added = [other.enqueue("true").id for _ in range(5)]
    rest = [first, *slices]
    other.close()
    assert sum(s.rows for s in rest) == 300
    assert set(added) <= set(full.jobs().index)


@pytest.mark.parametrize("size", [1, 7, 299, 300, 301])
def test_slices_of_any_size_make_the_same_frame(full, monkeypatch, size) -> None:
    jobs, runs, dead, some = full.jobs(), full.runs(), full.dlq.frame(), full.runs(limit=25)
    monkeypatch.setattr(packed, "SLICE", size)
    pd.testing.assert_frame_equal(full.jobs(), jobs)
    pd.testing.assert_frame_equal(full.runs(), runs)
    pd.testing.assert_frame_equal(full.dlq.frame(), dead)
    pd.testing.assert_frame_equal(full.runs(limit=25), some)


def test_more_text_than_one_value_may_hold_is_read_in_halves(full) -> None:
    sql = full._store.connection.sql
    most = sql.setlimit(__import__("sqlite3").SQLITE_LIMIT_LENGTH, 3000)
    try:
        small = full.jobs()
        few = full.jobs(ids=list(small.index[::50]))
    finally:
        sql.setlimit(__import__("sqlite3").SQLITE_LIMIT_LENGTH, most)
    pd.testing.assert_frame_equal(small, full.jobs())
    assert len(few) == 6


def test_bytes_that_are_no_text_are_shown_and_harm_nothing(full) -> None:
    with full._store.write() as sql:
        sql.execute("update jobs set command = cast(x'6563686f20ff' as text) where id = 'job00050'")
    assert full.jobs()["command"]["job00050"] == "echo \ufffd"


def test_workers_and_events_are_frames(full) -> None:
    workers = full.workers_frame()
    assert list(workers.index) == ["w1"] and workers["heartbeat_age"].iloc[0] >= pd.Timedelta(
        milliseconds=1500
    )
    full.cancel("job00003")
    full.pause("mail")
    events = full.events_frame()
    assert {"cancel", "pause"} <= set(events["verb"])
    assert list(full.events_frame(job="job00003")["verb"]) == ["cancel"]
    assert len(full.events_frame(limit=1)) == 1


def test_states_are_always_the_same_categories(full) -> None:
    assert list(full.jobs(limit=1)["state"].cat.categories) == list(State)


PROGRAM = """
import sys
sys.modules["pyarrow"] = None
import pandas as pd
from queuectl.queue import Queue
q = Queue(sys.argv[1])
jobs, runs = q.jobs(expand=True), q.runs()
assert jobs["command"].dtype == "str" and jobs["command"].dtype.storage == "python"
jobs.reset_index().astype({c: object for c in jobs.columns}).to_pickle(sys.argv[2])
runs.reset_index().astype({c: object for c in runs.columns}).to_pickle(sys.argv[3])
"""


def test_frames_are_the_same_with_and_without_pyarrow(full, tmp_path) -> None:
    pytest.importorskip("pyarrow")
    out = [str(tmp_path / "jobs.pickle"), str(tmp_path / "runs.pickle")]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-c", PROGRAM, full.path, *out], check=True, env=env, timeout=60)
    for path, mine in zip(out, (full.jobs(expand=True), full.runs()), strict=True):
        theirs, mine = pd.read_pickle(path), mine.reset_index()
        assert list(theirs.columns) == list(mine.columns)
        for name in mine.columns:
            assert plain(theirs[name]) == plain(mine[name].astype(object)), name


def test_numbers_that_may_be_missing_stay_whole(full) -> None:
    frame = full.jobs()
    assert frame["exit_code"].isna().any() and set(frame["exit_code"].dropna()) == {0, 1}
    assert (
        frame["priority"].min() == -2
        and (frame["priority"] == -1).any()
        and not frame["priority"].isna().any()
    )
    assert np.issubdtype(frame["exit_code"].dtype.numpy_dtype, np.int16)


def test_the_analysis_takes_the_frames_as_they_are(full) -> None:
    from queuectl import analysis

    runs, jobs, found = full.runs(), full.jobs(), full.failures()
    groups = analysis.error_groups(runs)
    assert list(groups["sig"]) == [c.sig for c in found] and list(groups["count"]) == [c.count for c in found]
    assert list(groups["template"]) == [c.message for c in found] and list(groups["jobs"]) == [
        c.jobs for c in found
    ]
    assert analysis.waits(jobs)["n"].sum() == jobs["wait"].notna().sum()
    for function in (
        analysis.durations,
        analysis.retries_to_success,
        analysis.flakiness,
        analysis.recovery,
        analysis.by_worker,
    ):
        assert len(function(runs))
    assert len(analysis.failure_rate(runs, "1h", by="queue")) and len(
        analysis.compare(*analysis.split_at(runs, "2h"))
    )
    for empty in (full.runs(sig="00000000"), full.runs(ids=[])):
        assert len(analysis.error_groups(empty)) == 0
