"""The group `schedule`: commands that come again and again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from queuectl import processes
from queuectl import validate as v
from queuectl.answers import ActionResult
from queuectl.errors import StateConflict
from queuectl.ids import new_id
from queuectl.queue._base import Group
from queuectl.records import replace as changed

if TYPE_CHECKING:
    from queuectl.cron import Entries
    from queuectl.cron import Schedule as Entry
    from queuectl.store import Store

SHOWN_RUNS = 3


class Schedule(Group):
    """Cron entries: each of their slots gets a job."""

    def add(
        self, name: str, cron: str | None = None, *, command: str, queue: str | None = None, timezone: str | None = None, misfire: str = "one",
        overlap: str = "skip", replace: bool = False, priority: int | None = None, timeout: str | float | None = None,
        kill_after: str | float | None = None, max_retries: int | None = None, backoff: str | None = None, backoff_base: float | None = None,
        backoff_max: str | float | None = None, jitter: float | None = None, retry_on: str | None = None, no_retry_on: str | None = None,
        limit_key: str | None = None, limit: int | None = None, tag: str | None = None, cwd: str | None = None, env: str | Iterable[str] | None = None,
        warn: str | None = None, keep_children: bool | None = None,
    ) -> Entry:  # fmt: skip
        """Enqueue a command at every time that a cron entry names, as long as any worker runs; each time once.

        Args:
            name: what it is called; left out, it gets an id of its own.
            cron: minute hour day month weekday, or six fields with the second first, or @hourly, @daily, @weekly, @monthly, @yearly.
            command: what `sh -c` runs, stored byte for byte.
            queue: the queue's name; default by default.
            timezone: the zone of the times, such as Europe/Berlin; this machine's by default.
            misfire: when times were missed: one (run the latest), skip (run none) or all (run each).
            overlap: while a job of before is unfinished: skip (no new one) or allow.
            replace: put it in the place of the one of this name.
            priority: higher runs first; 0 by default.
            timeout: time limit of one run, seconds or 90s, 10m, 2h.
            kill_after: time between TERM and KILL at the limit.
            max_retries: failed attempts after which the job is dead; 0 and 1 both mean no retry.
            backoff: exponential, linear, fixed or a list of seconds.
            backoff_base: seconds; the n-th delay is base ** n, base * n or base.
            backoff_max: longest delay.
            jitter: random share of a delay, 0 to 1.
            retry_on: only these failures are retried: exit codes, 64-78, timeout, signal, spawn, re:REGEX.
            no_retry_on: these failures are not retried.
            limit_key: jobs with this key share a limit.
            limit: how many of them may run at once.
            tag: one or more names, separated by commas.
            cwd: the folder to run in; the current one by default.
            env: NAME=VALUE, or NAME to copy it from here and now.
            warn: signal before the time limit, like USR1,30.
            keep_children: leave what the finished command left running.

        Raises:
            InvalidValue: a value is not what was expected; nothing was added.
            StateConflict: there is one of this name already.
        """
        if cron is None:
            name, cron = new_id(), name
        given = {k: x for k, x in locals().items() if k != "self" and x is not None}
        entry = self._entry(given, now_ms=processes.now_ms())
        store = self._store
        with store.write():
            found = store.schedules.find(entry.id)
            if found is not None and not replace:
                raise StateConflict(
                    f"schedule {entry.id}: there is one of this name; remove it first, or give --replace"
                )
            store.schedules.put(entry)
            self._note("add", entry.id, f"{entry.cron} {entry.zone}")
        return _with_runs(entry)

    def list(self) -> Entries:
        """List the schedules by name, with their next times."""
        from queuectl.cron import Entries

        return Entries(_with_runs(e) for e in self._store.schedules.all())

    def remove(self, name: str) -> ActionResult:
        """Remove a schedule; the jobs it has enqueued stay.

        Args:
            name: what it is called.

        Raises:
            NothingMatched: there is none of this name.
        """
        with self._store.write():
            entry = self._store.schedules.get(v.ident("name", name))
            self._store.schedules.remove(entry.id)
            self._note("remove", entry.id)
        return ActionResult("schedule remove", (entry.id,))

    def pause(self, name: str) -> ActionResult:
        """Let a schedule enqueue nothing until it is resumed.

        Args:
            name: what it is called.

        Raises:
            NothingMatched: there is none of this name.
        """
        return self._pause(name, paused=True)

    def resume(self, name: str) -> ActionResult:
        """Let a paused schedule go on from its next time; those in between are not made up for.

        Args:
            name: what it is called.

        Raises:
            NothingMatched: there is none of this name.
        """
        return self._pause(name, paused=False)

    # --- helpers ---

    @property
    def _store(self) -> Store:
        return self._queue._store

    def _note(self, verb: str, name: str, detail: str = "") -> None:
        text = f"{verb} {name} {detail}".strip()
        self._store.history.note("schedule", None, text, actor=self._queue._actor, now_ms=processes.now_ms())

    def _pause(self, name: str, *, paused: bool) -> ActionResult:
        from queuectl.cron import Cron

        verb = "pause" if paused else "resume"
        with self._store.write():
            entry = self._store.schedules.get(v.ident("name", name))
            if entry.paused == paused:
                return ActionResult(
                    f"schedule {verb}", (), ((entry.id, f"is {'paused' if paused else 'not paused'}"),)
                )
            next_ms = entry.next_ms if paused else Cron(entry.cron, entry.zone).after(processes.now_ms())
            self._store.schedules.pause(entry.id, paused=paused, next_ms=next_ms)
            self._note(verb, entry.id)
        return ActionResult(f"schedule {verb}", (entry.id,))

    def _entry(self, given: dict[str, Any], *, now_ms: int) -> Entry:
        """Return the entry of what a person gave, every value checked as if its first job were enqueued now."""
        from queuectl.cron import MISFIRE, OVERLAP, Cron, local_zone, read_cron
        from queuectl.cron import Schedule as Entry

        fields = {
            k: x
            for k, x in given.items()
            if k not in ("name", "cron", "command", "timezone", "misfire", "overlap", "replace")
        }
        text = read_cron(given["cron"])
        zone = given.get("timezone") or local_zone()
        row = self._queue._enqueuer.row({"command": given["command"], **fields}, now_ms=now_ms)
        fields |= {"cwd": row["cwd"], "env": json.loads(row["env"]) if row["env"] else None}
        return Entry(
            v.ident("name", given["name"]), text, zone, row["command"],
            json.loads(v.json_text("schedule", {k: x for k, x in fields.items() if x is not None})),
            v.choice("misfire", given["misfire"], MISFIRE), v.choice("overlap", given["overlap"], OVERLAP),
            paused=False, next_ms=Cron(text, zone).after(now_ms), last_ms=None, skipped=0, error=None, created_at_ms=now_ms,
        )  # fmt: skip


def _with_runs(entry: Entry) -> Entry:
    """Return the entry with its next times."""
    from queuectl.cron import Cron
    from queuectl.errors import InvalidValue

    runs: list[int] = []
    try:
        cron, slot = Cron(entry.cron, entry.zone), entry.next_ms
        while slot is not None and not entry.paused and len(runs) < SHOWN_RUNS:
            runs.append(slot)
            slot = cron.after(slot)
    except InvalidValue:  # a zone that this machine does not know
        pass
    return changed(entry, next_runs_ms=tuple(runs))
