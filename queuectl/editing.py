"""Edits of jobs that wait: what a person asked for, checked; and what it makes of one job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from queuectl import lifecycle
from queuectl import validate as v
from queuectl.answers import Change
from queuectl.errors import InvalidValue
from queuectl.model import Job, State
from queuectl.records import record
from queuectl.settings import JOB_SETTINGS, shown

_SETTINGS = {s.name.replace("-", "_"): s for s in JOB_SETTINGS}
_NAMES = {s.column: s.name for s in JOB_SETTINGS}
UNCHANGED = "is so already"


@record
class Edit:
    """New values of columns, the settings among them, and when the job is to be ready, if that is to change."""

    columns: Mapping[str, Any]
    ready_ms: int | None = None


def read(given: Mapping[str, Any], *, now_ms: int) -> Edit:
    """Return an edit from the flags that were given; None is not given.

    Raises:
        InvalidValue: a value is not what was expected, or there is none.
    """
    given = {k: x for k, x in given.items() if x is not None}
    if not given:
        raise InvalidValue("edit: expected a new value such as --priority 5, got none; nothing was done")
    columns: dict[str, Any] = {}
    if "delay" in given and "run_at" in given:
        raise InvalidValue("delay and run-at: expected one of them, got both")
    ready = now_ms + v.duration_ms("delay", given["delay"]) if "delay" in given else None
    if "run_at" in given:
        ready = max(now_ms, v.when_ms("run-at", given["run_at"]))
    for name, value in given.items():
        if name in _SETTINGS:
            columns[_SETTINGS[name].column or name] = _SETTINGS[name].read(value)
        elif name == "command":
            columns[name] = v.command(value)
        elif name == "queue":
            columns[name] = v.ident("queue", value)
        elif name == "tag":
            columns["tags"] = v.tags(value)
        elif name == "cwd":
            columns[name] = v.folder(value)
    return Edit(columns, ready)


def apply(edit: Edit, job: Job, *, now_ms: int, mono_ms: int, aging_ms: int | None) -> dict[str, Any] | str:
    """Return the columns of a waiting job that change, or why it cannot be edited so.

    Args:
        edit: what is asked.
        job: the job, scheduled, blocked, pending or failed.
        now_ms: the wall clock.
        mono_ms: the monotonic clock of this boot.
        aging_ms: what a step of priority is worth; None for everything.
    """
    new = {c: value for c, value in edit.columns.items() if getattr(job, c) != value}
    if job.state is State.FAILED and new.get("max_retries", job.max_retries) <= job.attempts:
        return f"has failed {job.attempts} times; max-retries must be more than that while it waits for its next attempt"
    ready = job.rank + job.priority * lifecycle.step_ms(aging_ms)
    if edit.ready_ms is not None:
        new |= _ready(job, max(now_ms, edit.ready_ms), now_ms=now_ms, mono_ms=mono_ms)
        ready = max(now_ms, edit.ready_ms)
    rank = lifecycle.rank(ready, new.get("priority", job.priority), aging_ms)
    if edit.ready_ms is not None or "priority" in new:
        new["rank"] = rank
    if not new:
        return UNCHANGED
    settings = [_NAMES[c] for c in new if c in _NAMES]
    if settings:
        new["origins"] = json.dumps(json.loads(job.origins or "{}") | dict.fromkeys(settings, "edit"))
    return new


def _ready(job: Job, when_ms: int, *, now_ms: int, mono_ms: int) -> dict[str, Any]:
    later = when_ms > now_ms
    match job.state:
        case State.FAILED:
            return {"run_at_ms": when_ms, "due_mono_ms": mono_ms + when_ms - now_ms}
        case State.PENDING if later:
            return {"run_at_ms": when_ms, "state": lifecycle.target(State.PENDING, "put off").value}
        case State.SCHEDULED if not later:
            return {"run_at_ms": None, "state": lifecycle.target(State.SCHEDULED, "bring forward").value}
    return {"run_at_ms": when_ms if later else None}


def changes(job: Job, new: Mapping[str, Any]) -> list[Change]:
    """Return what an edit changes, as people say it."""
    return [
        Change(job.id, _NAMES.get(column) or _OTHERS[column], _said(column, getattr(job, column)), _said(column, value))
        for column, value in new.items()
        if column in _NAMES or column in _OTHERS
    ]  # fmt: skip


_OTHERS = {"command": "command", "queue": "queue", "tags": "tag", "cwd": "cwd", "run_at_ms": "run-at"}


def _said(column: str, value: Any) -> str:
    if column in _NAMES:
        return shown(_NAMES[column], value)
    if column == "run_at_ms":
        from queuectl.model import local_time

        moment = local_time(value)
        return "now" if moment is None else moment.isoformat(" ", "seconds")
    return str(value).strip() or "none"
