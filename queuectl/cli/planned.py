"""What schedules, sweeps and removals look like to people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from queuectl.cli.cells import local, safe

Lines = Iterator[str]


def _schedule(entry: Any) -> Lines:
    """Say that an entry was added, and when its jobs come."""
    yield f"Schedule added: {safe(entry.id)}"
    for ms in entry.next_runs_ms:
        yield f"  next: {local(ms)}"


def _schedules(entries: Sequence[Any]) -> Lines:
    """List entries with their next times, local time."""
    if not entries:
        yield "No schedules."
    for n, entry in enumerate(entries):
        if n:
            yield ""
        yield f"{safe(entry.id)}   {safe(entry.cron)}   {safe(entry.zone)}{'   PAUSED' if entry.paused else ''}"
        yield f"  Command: {safe(entry.command)}"
        yield f"  Queue: {safe(entry.fields.get('queue') or 'default')}   Misfire: {entry.misfire}   Overlap: {entry.overlap}"
        if entry.next_runs_ms:
            yield f"  Next: {', '.join(map(local, entry.next_runs_ms))}"
        if entry.last_ms is not None:
            yield f"  Last: {local(entry.last_ms)}   Skipped: {entry.skipped:,}"
        if entry.error:
            yield f"  Error: {safe(entry.error)}"


def added(ids: Sequence[str]) -> str:
    """Return how many jobs were added, and which."""
    if len(ids) == 1:
        return f"Job added successfully with ID: {safe(ids[0])}"
    return f"{len(ids):,} jobs added successfully, with IDs from {safe(ids[0])} to {safe(ids[-1])}"


def _group(group: Any) -> Lines:
    """Say what a sweep has added, or what it would."""
    if not group.dry_run:
        yield added(group.ids)
        return
    for command in group.commands:
        yield safe(command)
    more = group.rows - len(group.commands)
    yield f"({f'{more:,} more; ' if more else ''}nothing was enqueued)"


def _pruned(pruned: Any) -> Lines:
    """Say how many jobs were removed."""
    counts = " and ".join(f"{n:,} {s}" for s, n in pruned.jobs.items() if n) or "no"
    what = f"{counts} {'job' if pruned.total == 1 else 'jobs'}"
    if pruned.dry_run:
        yield f"Would remove {what}."
        return
    files = (
        f", and {pruned.files:,} output {'file' if pruned.files == 1 else 'files'}" if pruned.files else ""
    )
    yield f"Removed {what}{files}."


HUMAN: dict[str, Callable[[Any], Lines]] = {
    "Group": _group,
    "Pruned": _pruned,
    "Schedule": _schedule,
    "Entries": _schedules,
}
