"""The chore of cron entries: when a slot has come it gets its job, exactly one, whoever of the runners is first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from queuectl import cron, lifecycle
from queuectl.chores._chore import Chore, Moment
from queuectl.cron import Cron, Due, Schedule
from queuectl.errors import QueuectlError
from queuectl.store import Store


class Schedules(Chore):
    """Enqueues the jobs of slots."""

    def __init__(self, store: Store, tell: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(store, tell)
        self._next_ms: int | None = None
        self._enqueuer: Any = None

    def look(self, now: Moment) -> None:
        """Learn when the next slot comes; at once when an entry is far ahead of a clock that was set back."""
        self._next_ms = self.store.schedules.next_ms()
        if self._next_ms is not None and self.store.schedules.ahead(now.wall_ms + cron.SET_BACK_MS):
            self._next_ms = now.wall_ms

    def due_in_ms(self, now: Moment) -> int | None:
        """Return how long until the next slot."""
        return None if self._next_ms is None else self._next_ms - now.wall_ms

    def tend(self, now: Moment) -> bool:
        """Give the slots that have come their jobs."""
        made = tick(self.store, now_ms=now.wall_ms, enqueuer=self._rows(), tell=self.tell)
        self._next_ms = self.store.schedules.next_ms()
        return made > 0

    def _rows(self) -> Any:
        if self._enqueuer is None:
            from queuectl.enqueue import Enqueuer  # not needed by runners without schedules

            self._enqueuer = Enqueuer(self.store)
        return self._enqueuer


def tick(store: Store, *, now_ms: int, enqueuer: Any, tell: Callable[[str], None] = lambda _: None) -> int:
    """Deal with every entry whose slot has come; return how many jobs that made. One write transaction, if anything is due.

    Args:
        store: the queue's database.
        now_ms: the wall clock.
        enqueuer: makes rows of specs.
        tell: called with a line for each job, and for each slot that could have none.
    """
    _begin_anew(store, now_ms)
    plans = [_plan(e, now_ms, enqueuer) for e in store.schedules.due(now_ms)]
    if not plans:
        return 0
    lines: list[str] = []
    made = 0
    with store.write():
        for entry, decided, rows, error in plans:
            if not store.schedules.advance(
                entry, next_ms=decided.next_ms, last_ms=decided.last_ms, error=error
            ):
                continue  # another runner was faster, or somebody has changed the entry
            if error:
                text = f"{entry.id}: no job for its slot: {error}"
                store.history.note("schedule", None, text, actor="worker", now_ms=now_ms)
                lines.append(f"Schedule {text}")
            for row in rows:
                if store.schedules.enqueue(entry, row):
                    made += 1
                    lines.append(f"Schedule {entry.id}: job {row['id']} enqueued")
                    if row["limit"] is not None:
                        store.queues.set_limit(row["limit_key"], row["limit"])
    for line in lines:
        tell(line)
    return made


def _plan(
    entry: Schedule, now_ms: int, enqueuer: Any
) -> tuple[Schedule, Due, list[dict[str, Any]], str | None]:
    """Decide which slots get a job and make their rows, before any lock is taken."""
    assert entry.next_ms is not None
    try:
        decided = cron.due(
            Cron(entry.cron, entry.zone), misfire=entry.misfire, next_ms=entry.next_ms, now_ms=now_ms
        )
        rows = [row_of(entry, slot, now_ms=now_ms, enqueuer=enqueuer) for slot in decided.slots]
    except (
        QueuectlError
    ) as e:  # its folder is gone, or its zone is no longer known: said, and not in the way of others
        return entry, _skipped(entry, now_ms), [], str(e)
    return entry, decided, rows, None


def _skipped(entry: Schedule, now_ms: int) -> Due:
    try:
        return Due((), now_ms, Cron(entry.cron, entry.zone).after(now_ms))
    except QueuectlError:
        return Due((), now_ms, None)


def row_of(entry: Schedule, slot_ms: int, *, now_ms: int, enqueuer: Any) -> dict[str, Any]:
    """Return the row of a slot's job: in line since its slot, with the settings in force now where the entry names none."""
    row: dict[str, Any] = enqueuer.row(
        {"command": entry.command, **entry.fields}, now_ms=now_ms, actor="worker"
    )
    aging = enqueuer.store.settings.get("priority-aging")
    row |= {"schedule": entry.id, "slot_ms": slot_ms, "rank": lifecycle.rank(slot_ms, row["priority"], aging)}
    return row


def _begin_anew(store: Store, now_ms: int) -> None:
    """Let entries that a wrong clock had carried into the future go on from now."""
    ahead = store.schedules.ahead(now_ms + cron.SET_BACK_MS)
    if not ahead:
        return
    with store.write():
        for entry in ahead:
            next_ms = Cron(entry.cron, entry.zone).after(now_ms)
            if store.schedules.advance(entry, next_ms=next_ms, last_ms=now_ms, error=entry.error):
                store.history.note(
                    "schedule",
                    None,
                    f"{entry.id}: the clock was set back, goes on from now",
                    actor="worker",
                    now_ms=now_ms,
                )
