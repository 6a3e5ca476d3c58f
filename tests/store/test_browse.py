"""Looking through a large queue: by key, bounded, and the same rows whichever way the store goes about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "panel"))

from panel_demo import insert, job

from queuectl.model import State
from queuectl.store import Store, browse
from queuectl.store.browse import Browse, Key, Match, Wanted

NOW = 1_800_000_000_000


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "data" / "queue.db"))
    ended = {"finished_at_ms": NOW, "runs": 1}
    rows = []
    for n in range(300):
        state = (State.COMPLETED, State.COMPLETED, State.DEAD, State.PENDING, State.CANCELLED)[n % 5]
        more = ended | {"finished_at_ms": NOW + n * 7 % 100} if state not in (State.PENDING,) else {}
        rows.append(
            job(
                state,
                f"run {n} {'curl' if n % 3 == 0 else 'make'}",
                NOW + n,
                error_sig="0badc0de" if state is State.DEAD else None,
                rank=NOW - n,
                **more,
            )
        )
    insert(store, rows)
    with store.write() as sql:
        sql.execute("delete from jobs where seq % 11 = 0")  # keys with gaps
    yield store
    store.close()


def walk(
    store: Store, wanted: Wanted, order: str, *, limit: int = 7, back: bool = False, clock: object = None
) -> list[str]:
    looking = Browse(store.connection, **({"clock": clock, "budget_s": 0} if clock else {}))  # type: ignore[arg-type]
    ids: list[str] = []
    key: Key | None = None
    for _ in range(2000):
        page = looking.page(wanted, order=order, key=key, back=back, limit=limit)
        ids = [j.id for j in page.jobs] + ids if back else ids + [j.id for j in page.jobs]
        key = page.before if back else page.after
        if key is None:
            return ids
    raise AssertionError("the pages have no end")


WANTED = [
    Wanted(), Wanted((State.DEAD,)), Wanted((State.COMPLETED, State.DEAD)), Wanted((State.DEAD,), (Match("sig", "=", ("0badc0de",)),)),
    Wanted(None, (Match("cmd", "has", ("curl",)),)), Wanted((State.PENDING,), (Match("cmd", "has", ("curl",), True),)), Wanted((), ()),
]  # fmt: skip


@pytest.mark.parametrize("few", [0, 20_000])
@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("order", list(browse.ORDERS))
def test_pages_forward_and_back_hold_every_job_once_in_order(
    opened: Store, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, order: str, few: int
) -> None:
    monkeypatch.setattr(browse, "FEW", few)
    sort = browse.ORDERS[order]
    everything = list(Browse(opened.connection).page(Wanted(wanted.states, wanted.matches), limit=1000).jobs)
    if sort.groups:
        everything = [j for j in everything if any(j.state in g for g in sort.groups)]
    everything.sort(key=lambda j: (getattr(j, sort.column), j.seq), reverse=sort.descending)
    expected = [j.id for j in everything]
    assert walk(opened, wanted, order) == expected
    assert walk(opened, wanted, order, back=True) == expected


def test_a_search_stops_when_its_time_is_up_and_goes_on_from_there(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "SLICE", 20)
    ticks = iter(range(10**6))
    wanted = Wanted(None, (Match("cmd", "has", ("run 3 ",)),))
    looking = Browse(opened.connection, clock=lambda: next(ticks), budget_s=0)
    first = looking.page(wanted)
    assert first.jobs == () and first.searched == 20 and first.after is not None
    assert walk(opened, wanted, "newest", clock=lambda: next(ticks)) == [
        j.id for j in Browse(opened.connection).page(wanted).jobs
    ]
    assert not looking.count(wanted).exact


def test_a_count_by_state_comes_from_the_counters(opened: Store) -> None:
    looking = Browse(opened.connection)
    asked: list[str] = []
    opened.connection.sql.set_trace_callback(asked.append)
    assert looking.count(Wanted((State.DEAD,))) == (looking.counts()[State.DEAD], True)
    opened.connection.sql.set_trace_callback(None)
    assert not any(" jobs" in q for q in asked)


def test_no_page_uses_an_offset_or_sorts_the_table(opened: Store) -> None:
    asked: list[str] = []
    opened.connection.sql.set_trace_callback(asked.append)
    Browse(opened.connection).page(Wanted(), key=Key(200, 200))
    opened.connection.sql.set_trace_callback(None)
    assert asked and not any("offset" in q.lower() for q in asked)
    for query in asked:
        plan = (
            " ".join(str(r) for r in opened.connection.rows("explain query plan " + query))
            if query.startswith("select")
            else ""
        )
        assert "TEMP B-TREE" not in plan or "counters" in query


def test_an_order_that_is_not_ours_reaches_no_sql(opened: Store) -> None:
    asked: list[str] = []
    opened.connection.sql.set_trace_callback(asked.append)
    with pytest.raises(KeyError):
        Browse(opened.connection).page(Wanted(), order="seq; drop table jobs")
    opened.connection.sql.set_trace_callback(None)
    assert not any("drop" in q for q in asked)


def test_the_partial_indexes_are_used_for_ended_and_next(opened: Store) -> None:
    for order, index in (("next", "jobs_pending"), ("ended", "jobs_dead")):
        asked: list[str] = []
        opened.connection.sql.set_trace_callback(asked.append)
        Browse(opened.connection).page(Wanted(), order=order)
        opened.connection.sql.set_trace_callback(None)
        plans = [
            str(opened.connection.rows("explain query plan " + q))
            for q in asked
            if q.startswith("select seq") and "limit" in q
        ]
        assert any(index in p for p in plans), (order, plans)


def test_the_oldest_pending_is_found_among_few_and_many(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = Browse(opened.connection).oldest_pending_ms()
    monkeypatch.setattr(browse, "FEW", 0)
    assert exact == Browse(opened.connection).oldest_pending_ms() == NOW + 3
