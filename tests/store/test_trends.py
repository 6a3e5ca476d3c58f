"""What charts are drawn from: the same figures as counting by hand gives, and read from the index of failed runs alone."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "panel"))

import panel_demo

from queuectl.store import Store
from queuectl.store.trends import Trends

HOUR = 3_600_000


@pytest.fixture
def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def opened(tmp_path: Path, now: int) -> Iterator[Store]:
    store = Store(str(tmp_path / "data" / "queue.db"))
    panel_demo.fill(store, now_ms=now)
    yield store
    store.close()


def by_hand(store: Store, since: int) -> list[tuple[str, int, int]]:
    """(sig, job, ended) of every failed run since a moment."""
    return [
        (r[0], r[1], r[2])
        for r in store.connection.rows(
            "select error_sig, job, finished_at_ms from runs where outcome <> 'ok'"
        )
        if r[2] >= since
    ]


@pytest.mark.parametrize("hours", [1, 6, 24, None])
def test_causes_are_those_counted_by_hand(opened: Store, now: int, hours: int | None) -> None:
    since = now - hours * HOUR if hours else 0
    runs = by_hand(opened, since)
    found = Trends(opened.connection).failures(since)
    assert {(sig, n) for sig, _, n, *_ in found} == set(Counter(sig for sig, _, _ in runs).items())
    assert {(sig, jobs) for sig, _, _, jobs, *_ in found} == set(
        Counter(sig for sig, _ in {(s, j) for s, j, _ in runs}).items()
    )
    assert [n for _, _, n, *_ in found] == sorted((n for _, _, n, *_ in found), reverse=True)
    for sig, _, _, _, first, last, wasted in found:
        ends = [end for s, _, end in runs if s == sig]
        assert (first, last) == (min(ends), max(ends)) and wasted > 0


def test_failures_over_time_add_up(opened: Store, now: int) -> None:
    since = now - 24 * HOUR
    counted = Trends(opened.connection).failures_over_time(since, now, buckets=24)
    expected = Counter(
        (sig, min(23, (end - since) * 24 // (now - since))) for sig, _, end in by_hand(opened, since)
    )
    assert {(sig, bucket): n for sig, bucket, n in counted} == expected


def test_commands_of_failed_runs_are_all_or_an_even_sample(opened: Store, now: int) -> None:
    trends, runs = Trends(opened.connection), by_hand(opened, 0)
    every = trends.failed_commands(0)
    assert sorted(end for end, _ in every) == sorted(end for _, _, end in runs)
    parts = [len(trends.failed_commands(0, every=3)), len(every)]
    assert parts[1] // 6 < parts[0] < parts[1] * 2 // 3
    assert len(trends.failed_commands(now - HOUR)) == len(by_hand(opened, now - HOUR)) < len(every)


def test_a_queue_without_failures_has_no_causes(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "data" / "queue.db"))
    trends = Trends(store.connection)
    assert trends.failures(0) == [] and trends.failures_over_time(0, 1, buckets=3) == []
    assert trends.failed_commands(0) == [] and trends.first_end_ms() is None
    store.close()


def test_good_runs_are_not_read_to_find_the_failed_ones(opened: Store, now: int) -> None:
    """By their statements' plans: each goes into the index of failed runs, and none walks runs by their end."""
    plans: list[str] = []
    connection = opened.connection
    rows = connection.rows

    def explained(sql: str, args: object = ()) -> object:
        plans.extend(str(r[3]) for r in rows("explain query plan " + sql, args))  # type: ignore[arg-type]
        return rows(sql, args)  # type: ignore[arg-type]

    connection.rows = explained  # type: ignore[method-assign, assignment]
    trends = Trends(connection)
    trends.failures(now - HOUR)
    trends.failures_over_time(now - HOUR, now, buckets=24)
    trends.failed_commands(now - HOUR)
    reads = [p for p in plans if " runs" in p or p.startswith("SEARCH runs")]
    assert len(reads) >= 9 and all("runs_failures" in p and p.startswith("SEARCH") for p in reads), reads
