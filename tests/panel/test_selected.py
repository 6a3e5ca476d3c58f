"""`panel.selected` on a real queue: a frame of jobs that every verb takes, tied to its database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from queuectl.panel.widget import Panel
from queuectl.queue import Queue


@pytest.fixture
def real(path: str) -> Iterator[tuple[Queue, Panel]]:
    q = Queue(path)
    for n in range(5):
        q.enqueue(f"echo {n}", tag="even" if n % 2 == 0 else "odd")
    shown = q.panel()
    yield q, shown
    shown.close()
    q.close()


def test_selected_rows_are_a_frame_of_jobs(real: tuple[Queue, Any]) -> None:
    q, panel = real
    ids = [row["id"] for row in panel.body["rows"][1:3]]
    panel.picked = ids
    frame = panel.selected
    assert sorted(frame.index) == sorted(ids) and frame.index.name == "id"
    assert list(frame.columns) == list(q.jobs().columns) and frame.dtypes.map(str).equals(
        q.jobs().dtypes.map(str)
    )
    assert frame.attrs["queuectl_db"] == q.path
    assert set(q.cancel(frame).done) == set(ids)


def test_nothing_selected_is_an_empty_frame_and_nothing_is_done(real: tuple[Queue, Any]) -> None:
    q, panel = real
    assert len(panel.selected) == 0 and panel.selected.dtypes.map(str).equals(q.jobs().dtypes.map(str))
    assert q.cancel(panel.selected).done == () and len(q.jobs(state="pending")) == 5


def test_all_that_match_are_selected_on_the_server(real: tuple[Queue, Any]) -> None:
    _, panel = real
    panel.look(query="tag:even")
    panel.picked_all = True
    assert set(panel.selected["command"]) == {"echo 0", "echo 2", "echo 4"}
