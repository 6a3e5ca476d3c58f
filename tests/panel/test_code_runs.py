"""Copy as code: the line that a click leaves behind, run on a copy of the queue, leaves the same queue."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.panel.controller import Controller
from queuectl.queue import Queue

# What differs from run to run: ids that are drawn, moments, and ranks made of moments.
DRAWN = (
    "id",
    "seq",
    "rank",
    "created_at_ms",
    "updated_at_ms",
    "finished_at_ms",
    "started_at_ms",
    "run_at_ms",
    "due_mono_ms",
    "batch",
)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two databases that are the same: some jobs pending, some cancelled, some dead of one cause."""
    place = tmp_path / "one" / "queue.db"
    queue = Queue(place)
    for n in range(30):
        queue.enqueue(f"echo {n}", id=f"job{n:02d}", tag="even" if n % 2 == 0 else "odd", priority=n % 3)
    queue.cancel([f"job{n:02d}" for n in range(20, 25)])
    with queue._store.write() as sql:
        sql.execute(
            """update jobs set state = 'dead', runs = 1, attempts = 3, started_at_ms = 1, finished_at_ms = 2, outcome = 'failed', exit_code = 1,
               error_sig = '0badc0de', error = 'it failed' where seq > 25"""
        )
    queue.close()
    other = tmp_path / "two" / "queue.db"
    shutil.copytree(place.parent, other.parent)
    return place, other


def content(place: Path) -> Any:
    """What a queue holds, without what is drawn anew each time."""
    queue = Queue(place)
    c = queue._store.connection
    columns = [r[1] for r in c.rows("pragma table_info(jobs)") if r[1] not in DRAWN]
    jobs = sorted(map(repr, c.rows(f"select {', '.join(columns)} from jobs")))
    ids = sorted(r[0] for r in c.rows("select id from jobs") if r[0].startswith("job"))
    first = c.rows("select id from jobs where state = 'pending' order by rank, seq limit 3")
    rest = [
        sorted(map(repr, c.rows(sql)))
        for sql in ("select key, value from config", "select name, paused from queues")
    ]
    queue.close()
    return jobs, ids, first, rest


ACTS: dict[str, dict[str, Any]] = {
    "retry of ids": {"kind": "act", "verb": "retry", "scope": {"ids": ["job26", "job27", "job20"]}},
    "retry of a cause": {"kind": "act", "verb": "retry", "scope": {"sig": "0badc0de"}},
    "retry of all that match": {"kind": "act", "verb": "retry", "scope": {"query": "state:dead tag:even"}},
    "cancel of ids": {"kind": "act", "verb": "cancel", "scope": {"ids": ["job01", "job02", "job26"]}},
    "cancel of all that match": {"kind": "act", "verb": "cancel", "scope": {"query": "tag:odd state:pending"}},
    "delete of ids": {"kind": "act", "verb": "delete", "scope": {"ids": ["job03"]}},
    "delete of many ids": {"kind": "act", "verb": "delete", "scope": {"ids": [f"job{n:02d}" for n in range(30)]}},
    "bump": {"kind": "act", "verb": "bump", "scope": {"ids": ["job05", "job09"]}},
    "priority": {"kind": "act", "verb": "edit", "scope": {"ids": ["job05"]}, "options": {"priority": 9}},
    "enqueue": {"kind": "enqueue", "fields": {"command": "echo 'it''s \"new\"' \\ $HOME", "priority": "4", "timeout": "90s", "tag": "a b", "max_retries": "5", "delay": "1h"}},
    "pause": {"kind": "pause", "on": True},
    "pause of a queue": {"kind": "pause", "on": True, "queue": "slow"},
    "config": {"kind": "config", "key": "backoff-base", "value": "3"},
}  # fmt: skip


@pytest.mark.parametrize("name", ACTS)
def test_the_code_of_an_act_does_the_same(two: tuple[Path, Path], name: str) -> None:
    clicked, typed = two
    before = content(clicked)
    assert before == content(typed)
    control = Controller(str(clicked), lambda: Queue(clicked))
    answer = control.handle(dict(ACTS[name]))
    assert answer["ok"], answer
    code = control.notice["code"]
    q = Queue(typed)
    exec(compile(code, "<copied>", "exec"), {"q": q})
    q.panel().close()
    q.close()
    assert content(clicked) == content(typed) != before, code


def test_the_code_of_starting_and_stopping_workers_runs(
    tmp_path: Path, until_gone: Callable[[Queue], None]
) -> None:
    place = tmp_path / "data" / "queue.db"
    q = Queue(place)
    control = Controller(str(place), lambda: Queue(place))
    assert control.handle({"kind": "start", "n": 1})["ok"]
    exec(control.notice["code"], {"q": q})
    ids = [w.id for w in q.workers()]
    assert len(ids) == 2
    assert control.handle({"kind": "stop", "ids": ids[:1]})["ok"]
    exec(control.notice["code"].replace(ids[0], ids[1]), {"q": q})
    until_gone(q)
    q.close()
