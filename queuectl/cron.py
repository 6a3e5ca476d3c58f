"""Cron entries: when their slots are, and which of those that are due get a job. Pure: the time is an argument.

The calendar is cronsim's, asked in local time without a zone; what a change of the clock does to a slot is decided here, as Debian's cron
does it. A time that names its hour and minute runs once a day whatever the clock does: in a skipped hour at the end of the gap, in a
repeated one the first time. One with `*` in its hour or minute follows real time: not in the gap, twice in the repeated hour.

Source: cron(8) of Debian, on daylight saving.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from queuectl import validate as v
from queuectl.errors import InvalidValue, expected
from queuectl.model import local_time
from queuectl.records import NamedTuple, as_dict, record

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MISFIRE, OVERLAP = ("one", "skip", "all"), ("skip", "allow")
LATE_MS = 60_000  # a slot that is taken later than this was missed
ALL_AT_ONCE = 100  # missed slots that get their jobs in one transaction
SET_BACK_MS = (
    86_400_000  # a clock that stands this far before the last slot was set, and the entry begins anew
)
DAY_S = 86_400

_NICKNAMES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_RULE = "minute hour day month weekday, or 6 fields with the second first, like */5 * * * *"
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+)*")
_EPOCH = datetime(1970, 1, 1)


class _Never(Exception):
    """No date matches in the next 50 years."""


@record
class Schedule:
    """A cron entry: its slots each get a job. Times are integer milliseconds UTC.

    Attributes:
        skipped: slots without a job because one of before was unfinished.
        error: why the latest slot got no job, when it could not be enqueued.
        next_runs_ms: the next slots, when asked for.
    """

    id: str
    cron: str
    zone: str
    command: str
    fields: dict[str, Any]
    misfire: str
    overlap: str
    paused: bool
    next_ms: int | None
    last_ms: int | None
    skipped: int
    error: str | None
    created_at_ms: int
    next_runs_ms: tuple[int, ...] = ()

    @property
    def next_at(self) -> datetime | None:
        """The next slot, local time; None while paused."""
        return None if self.paused else local_time(self.next_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry's columns by name, secrets of the environment left out."""
        row = as_dict(self)
        shown = {k: x for k, x in self.fields.items() if k != "env"}
        return row | {"fields": shown, "next_runs_ms": list(self.next_runs_ms)}


class Entries(list[Schedule]):
    """Schedules, by name."""


class Cron:
    """The slots of one entry.

    Args:
        text: five fields, or six with the second first, or a nickname such as @daily.
        zone: name of the time zone, such as Europe/Berlin.

    Raises:
        InvalidValue: not an entry, not a zone, or an entry that has no slot in the next 50 years.
    """

    def __init__(self, text: str, zone: str) -> None:
        self.text, self.zone = _NICKNAMES.get(text.strip().lower(), text), zone_of(zone)
        parts = self.text.split()
        second, minutes = (parts[0], parts[1:]) if len(parts) == 6 else ("0", parts)
        self._sim = _simulator(text, minutes)
        self._seconds: list[int] = sorted(_simulator(text, [second, *["*"] * 5]).seconds)
        self._is_fixed = not (minutes[0].startswith("*") or minutes[1].startswith("*"))
        self._has_calendar(text)

    def _has_calendar(self, text: str) -> None:
        try:
            self._local_from(datetime(2000, 1, 1))
        except _Never:
            raise InvalidValue(
                f"cron: expected a date that exists, got {text!r}, which never comes"
            ) from None

    def after(self, ms: int) -> int | None:
        """Return the first slot later than a moment, ms, or None when there is none for decades."""
        second = ms // 1000
        for minute in self._minutes(second // 60 * 60):
            for s in self._seconds:
                if minute + s > second:
                    return (minute + s) * 1000
        return None

    def between(self, first_ms: int, last_ms: int, *, limit: int) -> list[int]:
        """Return the slots of a span, both ends included, at most `limit`."""
        found: list[int] = []
        slot = self.after(first_ms - 1)
        while slot is not None and slot <= last_ms and len(found) < limit:
            found.append(slot)
            slot = self.after(slot)
        return found

    def latest(self, first_ms: int, last_ms: int) -> int | None:
        """Return the last slot of a span, both ends included; the time it takes does not grow with the span's slots."""
        span = 60_000
        while True:
            start = max(first_ms, last_ms - span)
            found, slot = None, self.after(start - 1)
            while slot is not None and slot <= last_ms:
                found, slot = slot, self.after(slot)
            if found is not None or start == first_ms:
                return found
            span *= 4

    # --- local time and real time, seconds since the epoch ---

    def _minutes(self, start: int) -> Iterator[int]:
        """Yield the starts of matching minutes from a moment on, in order; a minute may come twice, and some from before the moment."""
        try:
            yield from self._once_a_day(start) if self._is_fixed else self._in_real_time(start)
        except (_Never, OverflowError):
            return

    def _once_a_day(self, start: int) -> Iterator[int]:
        # At the end of a gap the minutes that it swallowed count, so begin where the clock stood before it.
        local = min(self._local(start), self._local(start - 60) + timedelta(minutes=1))
        while True:
            local = self._local_from(local)
            yield self._first(local)
            local += timedelta(minutes=1)

    def _first(self, local: datetime) -> int:
        """Return when a local time is met first; for one that is skipped, when the gap ends."""
        naive = _seconds(local)
        then, later = (
            naive - _offset(local.replace(tzinfo=self.zone, fold=fold)) for fold in (0, 1)
        )  # offsets before and after a change, if it is near
        if then > later:
            return self._change(later, then)
        return then

    def _in_real_time(self, start: int) -> Iterator[int]:
        while True:
            offset = self._offset_at(start)
            found = _seconds(self._local_from(self._local(start))) - offset
            near = min(found, start + DAY_S)
            if self._offset_at(near) != offset:
                start = self._change(start, near)
            elif found > near:
                start = found - DAY_S  # nothing in between, whatever the clock does there
            else:
                yield found
                start = found + 60

    def _change(self, low: int, high: int) -> int:
        """Return the second at which the offset of `low` has ended; that of `high` is another."""
        offset = self._offset_at(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset_at(middle) == offset:
                low = middle
            else:
                high = middle
        return high

    def _local_from(self, local: datetime) -> datetime:
        """Return the first matching local minute at or after one."""
        self._sim.dt = local - timedelta(seconds=1)
        try:
            found: datetime = next(self._sim)
        except StopIteration:
            raise _Never from None
        return found

    def _local(self, moment: int) -> datetime:
        return _EPOCH + timedelta(seconds=moment + self._offset_at(moment))

    def _offset_at(self, moment: int) -> int:
        return _offset(datetime.fromtimestamp(moment, self.zone))


def _offset(moment: datetime) -> int:
    offset = moment.utcoffset()
    assert offset is not None
    return round(offset.total_seconds() / 60) * 60


def _seconds(local: datetime) -> int:
    return round((local - _EPOCH).total_seconds())


def _simulator(text: str, parts: list[str]) -> Any:
    from cronsim import CronSim, CronSimError  # only where an entry is read

    try:
        if len(parts) not in (5, 6):
            raise CronSimError(f"{len(parts)} fields")
        return CronSim(" ".join(parts), datetime(2000, 1, 1))
    except (CronSimError, AssertionError, ValueError, TypeError) as e:
        why = f" ({str(e).lower()})" if str(e) else ""
        raise InvalidValue(f"{expected('cron', _RULE, text)}{why}") from None


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of a name.

    Raises:
        InvalidValue: there is none.
    """
    from zoneinfo import ZoneInfo

    try:
        if not _ZONE.fullmatch(name):
            raise ValueError
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise expected("timezone", "the name of a time zone like Europe/Berlin or UTC", name) from None


def local_zone() -> str:
    """Return the name of this machine's time zone: from $TZ, else from /etc/localtime, else /etc/timezone.

    Raises:
        InvalidValue: it has no name that is known.
    """
    names = [os.environ.get("TZ", "").removeprefix(":")]
    if not names[0]:
        names.append(os.path.realpath("/etc/localtime").partition("zoneinfo/")[2])
        try:
            with open("/etc/timezone", encoding="ascii") as f:
                names.append(f.read().strip())
        except (OSError, ValueError):
            pass
        if not os.path.exists("/etc/localtime"):
            names.append("UTC")  # what the C library takes then
    for name in names:
        try:
            return zone_of(name).key
        except InvalidValue:
            continue
    raise InvalidValue("timezone: this machine's time zone has no name; say which with --timezone")


class Due(NamedTuple):
    """What a moment makes of an entry: the slots that get jobs, the last one dealt with, and the next."""

    slots: tuple[int, ...]
    last_ms: int
    next_ms: int | None


def due(cron: Cron, *, misfire: str, next_ms: int, now_ms: int) -> Due:
    """Decide for an entry whose next slot has come.

    When several have come (nobody worked, or the clock was set) `one` runs the latest of them, `skip` the latest if it was not missed by
    more than a minute, and `all` each, a hundred at a time.

    Args:
        cron: the entry.
        misfire: one, skip or all.
        next_ms: the first slot that has not been dealt with; at most now.
        now_ms: the wall clock.
    """
    if misfire == "all":
        slots = tuple(cron.between(next_ms, now_ms, limit=ALL_AT_ONCE))
        last = slots[-1] if slots else now_ms
        return Due(slots, last, cron.after(last))
    latest = cron.latest(next_ms, now_ms)
    if latest is None:
        return Due((), now_ms, cron.after(now_ms))
    missed = misfire == "skip" and now_ms - latest > LATE_MS
    return Due(() if missed else (latest,), latest, cron.after(max(latest, now_ms)))


def read_cron(value: object) -> str:
    """Return the text of an entry as it is kept."""
    return " ".join(v.text("cron", value, longest=256).split())
