"""Verbs take frames: what was selected is acted on, what has changed since is left alone and told."""

import numpy as np
import pandas as pd
import pytest

from queuectl.errors import InvalidValue, StateConflict
from queuectl.queue import Queue


def kill(q, job_id, *, sig="a1b2c3d4", now=None):
    """Make a job dead, as a worker does that gives up."""
    with q._store.write() as sql:
        sql.execute(
            """update jobs set state = 'dead', attempts = 3, runs = 3, finished_at_ms = updated_at_ms, updated_at_ms = coalesce(?, updated_at_ms),
                 exit_code = 7, outcome = 'failed', reason = 'exit status 7', error_sig = ? where id = ?""",
            (now, sig, job_id),
        )


@pytest.fixture
def dead(q):
    """Six dead jobs, d0 to d5."""
    for i in range(6):
        q.enqueue(f"python task.py --n {i}", id=f"d{i}", tag="odd" if i % 2 else "even")
        kill(q, f"d{i}", sig="a1b2c3d4" if i < 4 else "b2c3d4e5")
    return q


def states(q):
    return {j.id: str(j.state) for j in q.list()}


SELECTIONS = {
    "a frame": lambda df: df[df["error_sig"] == "a1b2c3d4"],
    "a query": lambda df: df.query("error_sig == 'a1b2c3d4'"),
    "an index": lambda df: df.index[:4],
    "a column": lambda df: df["command"].head(4),
    "ids in a series": lambda df: df.index.to_series().reset_index(drop=True).head(4),
    "a mask": lambda df: df["error_sig"] == "a1b2c3d4",
    "a mask with gaps": lambda df: (
        (df["exit_code"] == 7).astype("boolean").mask(df["error_sig"] != "a1b2c3d4")
    ),
    "a list": lambda df: list(df.index[:4]),
    "a reset index": lambda df: df.head(4).reset_index(),
    "a frame of ids": lambda df: pd.DataFrame({"job_id": df.index[:4]}),
    "a sorted frame": lambda df: df.head(4).sort_values("command", ascending=False),
    "some columns": lambda df: df[["command"]].head(4),
    "a numpy array": lambda df: df.index[:4].to_numpy(),
    "counts by id": lambda df: df.head(4).groupby(level="id").size(),
}


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_what_was_selected_is_acted_on(dead, select) -> None:
    result = dead.dlq.retry(select(dead.dlq.frame()))
    assert sorted(result.done) == ["d0", "d1", "d2", "d3"] and not result.skipped
    assert [j for j, s in states(dead).items() if s == "dead"] == ["d4", "d5"]


@pytest.mark.parametrize("verb", ["retry", "delete", "dlq.retry", "dlq.purge"])
def test_every_bulk_verb_takes_a_frame(dead, verb) -> None:
    frame = dead.dlq.frame(sig="b2c3d4e5")
    owner = dead.dlq if verb.startswith("dlq") else dead
    act = getattr(owner, verb.rpartition(".")[2])
    before = states(dead)
    preview = act(frame, dry_run=True)
    assert preview.dry_run and set(preview.done) == {"d4", "d5"} and states(dead) == before
    assert set(act(frame).done) == {"d4", "d5"}
    assert states(dead) != before


def test_cancel_takes_a_frame(q) -> None:
    jobs = [q.enqueue("true", queue="slow").id for _ in range(3)]
    assert set(q.cancel(q.jobs(state="pending")).done) == set(jobs)


def test_a_frame_of_runs_means_its_jobs(dead) -> None:
    with dead._store.write() as sql:
        sql.execute(
            """insert into runs (job, run, started_at_ms, finished_at_ms, outcome)
               select seq, n, updated_at_ms - 10, updated_at_ms, 'failed' from jobs, (select 1 as n union select 2) where id in ('d1', 'd2')"""
        )
    result = dead.dlq.retry(dead.runs(outcome="failed"))
    assert sorted(result.done) == ["d1", "d2"]


def test_a_row_that_changed_since_it_was_read_is_left_alone_and_told(dead) -> None:
    frame = dead.dlq.frame()
    dead.dlq.retry("d1")  # somebody else was faster
    kill(dead, "d2", now=dead.show("d2").job.updated_at_ms + 1000)  # failed, retried and dead again
    dead.delete("d3")
    result = dead.dlq.retry(frame)
    assert sorted(result.done) == ["d0", "d4", "d5"]
    assert dict(result.skipped) == {
        "d1": "dead when read, pending now",
        "d2": "changed since it was read (dead now)",
        "d3": "no job has this id",
    }


def test_one_stale_row_alone_is_an_error_as_for_one_id(dead) -> None:
    frame = dead.dlq.frame(ids="d1")
    dead.dlq.retry("d1")
    with pytest.raises(StateConflict, match="dead when read, pending now"):
        dead.dlq.retry(frame)


def test_without_its_column_the_moment_of_reading_tells_what_is_stale(dead) -> None:
    frame = dead.dlq.frame(columns=["command"])
    assert "updated_at" not in frame
    frame.attrs["queuectl_read_ms"] = max(j.updated_at_ms for j in dead.list())
    kill(dead, "d2", now=frame.attrs["queuectl_read_ms"] + 1000)
    result = dead.dlq.retry(frame)
    assert dict(result.skipped) == {"d2": "changed since it was read (dead now)"} and len(result.done) == 5


def test_a_frame_of_another_database_is_refused(dead, tmp_path) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    other = Queue(tmp_path / "other" / "queue.db")
    for i in range(6):
        other.enqueue("true", id=f"d{i}")
        kill(other, f"d{i}")
    before = states(dead)
    for frame in (
        other.dlq.frame(),
        other.dlq.frame()["command"],
        other.dlq.frame()["exit_code"] == 7,
        other.dlq.frame().head(2),
    ):
        with pytest.raises(InvalidValue, match=r"expected one of .*other"):
            dead.dlq.retry(frame)
        with pytest.raises(InvalidValue, match=r"expected one of .*other"):
            dead.jobs(ids=frame)
    other.close()
    assert states(dead) == before


@pytest.mark.parametrize(
    "wrong",
    [
        pd.DataFrame({"command": ["true"]}), pd.Series(["d0"], name="command"), np.array([True, False]), pd.Series([True, False]),
        pd.DataFrame({"id": ["../../etc/passwd"]}), pd.Series([1, 2]), pd.DataFrame({"id": [1.0, None]}), 3, {"id": "d0"}, b"d0",
    ],
    ids=str,
)  # fmt: skip
def test_what_names_no_jobs_is_refused_and_nothing_is_done(dead, wrong) -> None:
    before = states(dead)
    with pytest.raises(InvalidValue):
        dead.delete(wrong)
    assert states(dead) == before


def test_an_empty_selection_does_nothing_and_says_so(dead) -> None:
    frame = dead.dlq.frame()
    for nothing in (frame[frame["exit_code"] == 1], frame["exit_code"] == 1, frame.index[:0], []):
        result = dead.dlq.retry(nothing)
        assert not result and result.notes == ("the selection is empty: nothing was done",)
    assert set(states(dead).values()) == {"dead"}


def test_a_filter_beside_a_frame_narrows_it(dead) -> None:
    result = dead.dlq.retry(dead.dlq.frame(), tag="odd")
    assert sorted(result.done) == ["d1", "d3", "d5"]
    assert {why for _, why in result.skipped} == {"does not match the filter"}


def test_a_frame_through_parquet_still_knows_where_it_is_from(dead, tmp_path) -> None:
    pytest.importorskip("pyarrow")
    dead.dlq.frame().to_parquet(tmp_path / "dead.parquet")
    frame = pd.read_parquet(tmp_path / "dead.parquet")
    dead.dlq.retry("d1")
    result = dead.dlq.retry(frame)
    assert dict(result.skipped) == {"d1": "dead when read, pending now"} and len(result.done) == 5


def test_the_result_shows_itself(dead) -> None:
    frame = dead.dlq.frame()
    dead.dlq.retry("d1")
    result = dead.dlq.retry(frame, dry_run=True)
    assert "5 would be done, 1 skipped" in repr(result)
    assert "dead when read, pending now" in result._repr_html_() and "<script" not in result._repr_html_()


def test_an_edited_command_is_shown_first_and_then_run_as_a_new_job(dead) -> None:
    frame = dead.dlq.frame(ids=["d0", "d1", "d2"])
    frame.loc[["d0", "d1"], "command"] = frame["command"].str.replace("--n", "--number")
    preview = dead.dlq.retry(frame, dry_run=True)
    assert [(c.id, c.before, c.after) for c in preview.changes if c.field == "command"] == [
        ("d0", "python task.py --n 0", "python task.py --number 0"),
        ("d1", "python task.py --n 1", "python task.py --number 1"),
    ]
    assert "<span style='background:rgba(40,160,80,.25)'>umber</span>" in preview._repr_html_()
    assert set(states(dead).values()) == {"dead"} and len(states(dead)) == 6
    result = dead.dlq.retry(frame)
    assert sorted(result.done) == ["d0", "d1", "d2"]
    waiting = {j.retry_of or j.id: j.command for j in dead.list(state="pending")}
    assert waiting == {
        "d0": "python task.py --number 0",
        "d1": "python task.py --number 1",
        "d2": "python task.py --n 2",
    }
    assert [str(dead.show(i).job.state) for i in ("d0", "d1", "d2")] == ["cancelled", "cancelled", "pending"]
    again = dead.dlq.retry(frame)
    assert not again and len(again.skipped) == 3  # stale, so nothing runs twice


def test_an_edited_column_alone_will_do_and_a_wrong_one_does_nothing(dead) -> None:
    commands = dead.dlq.frame(ids="d0")["command"]
    assert dead.retry(commands.str.upper(), dry_run=True).changes[0].after == "PYTHON TASK.PY --N 0"
    for wrong in ("", "a\0b"):
        frame = dead.dlq.frame().assign(command=wrong)
        with pytest.raises(InvalidValue, match="command"):
            dead.dlq.retry(frame)
    assert set(states(dead).values()) == {"dead"}


def test_an_edit_matters_only_where_jobs_run_again(dead) -> None:
    frame = dead.dlq.frame(ids="d0").assign(command="rm -rf /")
    assert dead.delete(frame, dry_run=True).changes == ()
