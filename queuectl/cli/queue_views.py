"""What queues, their settings and limits look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from queuectl.cli.cells import columns, local, safe
from queuectl.settings import shown

Lines = Iterator[str]


def _queues(queues: Any) -> Lines:
    rows = [
        (
            safe(q.name), *(f"{q.counts[s]:,}" for s in ("pending", "processing")),
            f"{sum(q.counts[s] for s in ('scheduled', 'failed', 'blocked')):,}", f"{q.counts['dead']:,}", safe(why(q)),
        )
        for q in queues
    ]  # fmt: skip
    yield from columns(("QUEUE", "PENDING", "RUNNING", "WAITING", "DEAD", "STATE"), rows, "No queues.")


def why(queue: Any) -> str:
    """Return why a queue's jobs are not claimed, or that they are."""
    if queue.why is None:
        return "open"
    return str(queue.why) + (f"; next probe {local(queue.probe_at_ms)}" if queue.breaker_open else "")


def _settings(settings: Any) -> Lines:
    rows = [(s.key, safe(shown(s.key, s.value)), s.origin) for s in settings]
    yield from columns(("SETTING", "VALUE", "FROM"), rows, "No settings.")


def _limits(limits: Any) -> Lines:
    rows = [
        (
            safe(x.key),
            "none" if x.n is None else f"{x.n:,}",
            f"{len(x.holders):,}",
            f"{x.waiting:,}",
            safe(held(x)),
        )
        for x in limits
    ]
    yield from columns(("LIMIT", "MOST", "RUNNING", "WAITING", "HELD BY"), rows, "No limits.")


def held(limit: Any) -> str:
    """Return the first jobs that hold a limit's room."""
    more = len(limit.holders) - 5
    return ", ".join(limit.holders[:5]) + (f" and {more:,} more" if more > 0 else "") or "-"


def limited(status: Any) -> Lines:
    """Yield what a status says of breakers and limits, nothing where there are none."""
    for queue in status.breakers:
        yield f"Breaker: queue {safe(queue.name)} {safe(why(queue))}"
    for limit in status.limits:
        if limit.n is not None:
            yield f"Limit: {safe(limit.key)} {len(limit.holders):,} of {limit.n:,} running ({safe(held(limit))}), {limit.waiting:,} waiting"


HUMAN: dict[str, Callable[[Any], Lines]] = {
    "QueueList": _queues,
    "QueueSettings": _settings,
    "LimitList": _limits,
}
