"""What explanations, events and changes of jobs look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from queuectl.cli.cells import columns, local, safe

Lines = Iterator[str]


def _explanation(found: Any) -> Lines:
    first, *others = found.reasons
    yield f"{safe(found.id)} is {found.state}: {safe(first.text)}"
    yield from (f"  also: {safe(r.text)}" for r in others)
    yield from (f"  try:  {safe(command)}" for command in found.advice)
    yield ""
    rows = [(s.name, safe(s.value), s.origin) for s in found.settings]
    yield from columns(("SETTING", "VALUE", "FROM"), rows, "")
    if found.events:
        yield ""
        yield from _events(found.events)


def _events(events: Any) -> Lines:
    rows = [
        (local(e.at_ms), safe(e.actor), safe(e.verb), safe(e.job_id or "-"), safe(e.detail or "")[:200])
        for e in events
    ]
    yield from columns(("TIME", "BY", "WHAT", "JOB", "DETAIL"), rows, "No events.")


def changes(result: Any, job_id: str) -> Lines:
    """Yield what a verb changes of one job: the old command above the new one, and other values side by side."""
    for c in result.changes:
        if c.id != job_id:
            continue
        if c.field == "command":
            yield f"  - {safe(c.before)}"
            yield f"  + {safe(c.after)}"
        elif c.field != "job":
            yield f"  {c.field}: {safe(c.before)} → {safe(c.after)}"


HUMAN: dict[str, Callable[[Any], Lines]] = {
    "Explanation": _explanation,
    "EventList": _events,
}
