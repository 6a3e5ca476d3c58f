"""Who names an empty selection names nothing: no verb then takes all jobs, or all workers, or all that a filter matches."""

import pandas as pd
import pytest
from bench_line import register

from queuectl.answers import ActionResult
from queuectl.model import State

EMPTY = {
    "list": lambda _: [],
    "generator": lambda _: (i for i in ()),
    "series": lambda _: pd.Series([], dtype=str),
    "frame": lambda q: q.jobs()[:0],
    "mask": lambda q: q.jobs()["state"] == "dead",
    "index": lambda q: q.jobs()[:0].index,
}
VERBS = {
    "cancel": {}, "retry": {}, "delete": {}, "bump": {}, "edit": {"priority": 2}, "stop_workers": {}, "dlq.retry": {}, "dlq.purge": {},
    "cancel of a queue": {"queue": "default"}, "delete of a state": {"state": "pending"}, "dlq.retry of all": {"all": True},
}  # fmt: skip


@pytest.mark.parametrize("what", EMPTY)
@pytest.mark.parametrize("verb", VERBS)
def test_an_empty_selection_does_nothing(q, verb, what):
    q.enqueue("true")
    register(q._store, "w1")
    before = q._store.connection.rows("select * from jobs"), q._store.connection.rows("select * from control")
    act = q
    for word in verb.split()[0].split("."):
        act = getattr(act, word)
    result = act(EMPTY[what](q), **VERBS[verb])
    assert isinstance(result, ActionResult) and not result
    assert result.notes == ("the selection is empty: nothing was done",)
    after = q._store.connection.rows("select * from jobs"), q._store.connection.rows("select * from control")
    assert (before, [w.state for w in q.workers()]) == (after, ["idle"])


def test_to_wait_for_nobody_ends_at_once(q):
    q.enqueue("true")
    assert q.wait([], timeout=5).states == {}


def test_without_a_selection_all_workers_are_meant(q):
    register(q._store, "w1", "w2")
    assert q.stop_workers().done == ("w1", "w2")
    assert q.status().counts[State.PENDING] == 0
