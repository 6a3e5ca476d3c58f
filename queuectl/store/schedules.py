"""Cron entries, and the jobs of their slots: one job per slot, by a unique index on (schedule, slot)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from queuectl._sqlite import Connection
from queuectl.cron import Schedule
from queuectl.errors import NothingMatched
from queuectl.store.jobs import INSERTED, Jobs

_COLUMNS = "id, cron, zone, command, fields, misfire, overlap, paused, next_ms, last_ms, skipped, error, created_at_ms"


def _schedule(row: tuple[Any, ...]) -> Schedule:
    values = list(row)
    values[4], values[7] = json.loads(values[4]), bool(values[7])
    return Schedule(*values)


class Schedules:
    """The table `schedules`. Methods that write expect to be inside one `store.write()`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection
        self._jobs = Jobs(connection)

    # --- by people ---

    def put(self, entry: Schedule) -> None:
        """Add an entry, or put it in the place of the one of its name."""
        self._c.rows(
            f"insert or replace into schedules ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.id, entry.cron, entry.zone, entry.command, json.dumps(entry.fields, ensure_ascii=False), entry.misfire, entry.overlap,
                int(entry.paused), entry.next_ms, entry.last_ms, entry.skipped, entry.error, entry.created_at_ms,
            ),
        )  # fmt: skip

    def all(self) -> list[Schedule]:
        """Return every entry, by name."""
        return [_schedule(r) for r in self._c.rows(f"select {_COLUMNS} from schedules order by id")]

    def find(self, name: str) -> Schedule | None:
        """Return the entry of a name, or None."""
        row = self._c.one(f"select {_COLUMNS} from schedules where id = ?", (name,))
        return _schedule(row) if row else None

    def get(self, name: str) -> Schedule:
        """Return the entry of a name.

        Raises:
            NothingMatched: there is none.
        """
        found = self.find(name)
        if found is None:
            raise NothingMatched(
                f"schedule {name}: there is none of this name (see `queuectl schedule list`)"
            )
        return found

    def remove(self, name: str) -> None:
        """Remove an entry; its jobs stay."""
        self._c.rows("delete from schedules where id = ?", (name,))

    def pause(self, name: str, *, paused: bool, next_ms: int | None) -> None:
        """Pause an entry, or let it go on with a slot."""
        self._c.rows(
            "update schedules set paused = ?, next_ms = ? where id = ?", (int(paused), next_ms, name)
        )

    # --- by runners ---

    def next_ms(self) -> int | None:
        """Return when the next slot comes."""
        row = self._c.one(
            "select next_ms from schedules where paused = 0 and next_ms is not null order by next_ms limit 1"
        )
        return int(row[0]) if row else None

    def due(self, now_ms: int) -> list[Schedule]:
        """Return the entries whose next slot has come, the earliest first."""
        rows = self._c.rows(
            f"select {_COLUMNS} from schedules where paused = 0 and next_ms <= ? order by next_ms, id",
            (now_ms,),
        )
        return [_schedule(r) for r in rows]

    def ahead(self, of_ms: int) -> list[Schedule]:
        """Return the entries that have dealt with a slot (or were made) after a moment in the future."""
        rows = self._c.rows(
            f"select {_COLUMNS} from schedules where paused = 0 and coalesce(last_ms, created_at_ms) > ? order by id",
            (of_ms,),
        )
        return [_schedule(r) for r in rows]

    def advance(
        self, entry: Schedule, *, next_ms: int | None, last_ms: int | None, error: str | None
    ) -> bool:
        """Note that the slots up to `last_ms` are dealt with; False when somebody else has done so, or has changed the entry."""
        return (
            self._c.sql.execute(
                """update schedules set next_ms = :next, last_ms = :last, error = :error
                   where id = :id and paused = 0 and next_ms = :known and cron = :cron and zone = :zone and created_at_ms = :made""",
                {
                    "next": next_ms, "last": last_ms, "error": error, "id": entry.id, "known": entry.next_ms,
                    "cron": entry.cron, "zone": entry.zone, "made": entry.created_at_ms,
                },
            ).rowcount
            == 1
        )  # fmt: skip

    def enqueue(self, entry: Schedule, row: dict[str, Any]) -> bool:
        """Insert the job of one slot, unless the slot has one or the entry forbids a second unfinished job."""
        if entry.overlap == "skip" and self._is_unfinished(entry.id):
            self._c.rows("update schedules set skipped = skipped + 1 where id = ?", (entry.id,))
            return False
        taken = self._c.one(
            "select 1 from jobs where schedule = ? and slot_ms = ? and schedule is not null",
            (entry.id, row["slot_ms"]),
        )
        if taken:
            return False
        self._jobs.insert([_inserted(row)])
        return True

    def _is_unfinished(self, name: str) -> bool:
        row = self._c.one(
            """select 1 from jobs where schedule = ? and schedule is not null
                 and state in ('scheduled', 'blocked', 'pending', 'processing', 'failed') limit 1""",
            (name,),
        )
        return row is not None


def _inserted(row: dict[str, Any]) -> Sequence[Any]:
    return [row[c] for c in INSERTED]
