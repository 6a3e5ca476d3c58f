"""What the panel shows, as plain data: read from the store, ready for JSON, secrets masked, nothing decided here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

from queuectl import display, fleet, settings
from queuectl.lifecycle import delay_ms, sources
from queuectl.model import Job, Run, State, Worker
from queuectl.panel import filters
from queuectl.panel.view import WINDOWS_MS, View
from queuectl.store import Store
from queuectl.store.browse import Browse, Key
from queuectl.store.trends import Trends

Data = dict[str, Any]
# seq of the oldest, at ms of the newest, by whom, what, the newest's job, note, how many
Told = tuple[int, int, str, str, str | None, str | None, int]
STALE_MS = 15_000  # silence after which a worker's row is shown as stale; it beats every 2 s
COMMAND = 400
OUTPUT_CHARS = 100_000
BUCKETS = 24
SPARK = 30  # minutes
CAUSES = 20
LINES = 50  # of what happened, on a page
EVENTS = 5000  # looked at to fill it
AT_ONCE_MS = 10_000
SAMPLE = 4000  # failed runs whose commands are read for the map of commands over time

# Which buttons apply to a job, by its state: the table of transitions has the last word.
CAN: dict[str, tuple[str, ...]] = {
    "retry": tuple(s.value for s in sources("requeue")),
    "cancel": (*(s.value for s in sources("cancel")), "processing"),
    "bump": ("pending", "scheduled", "failed", "blocked"),
    "edit": ("pending", "scheduled", "failed", "blocked"),
    "delete": tuple(s.value for s in State if s is not State.PROCESSING),
}


def head(store: Store, crew: Sequence[Worker], throughput: Throughput, *, now_ms: int) -> Data:
    """Return what stands above every tab."""
    browse = Browse(store.connection)
    counts = browse.counts()
    return {
        "db": store.path,
        "name": os.path.basename(store.path),
        "at": now_ms,
        "counts": {s.value: n for s, n in counts.items()},
        "total": sum(counts.values()),
        "oldest_pending": browse.oldest_pending_ms() if counts[State.PENDING] else None,
        "spark": throughput.minutes(Trends(store.connection), now_ms=now_ms),
        "workers": [[w.heartbeat_at_ms, w.state] for w in crew[:256]],
        "stale_ms": STALE_MS,
        "paused": _shown(list(store.settings.paused())),
        "can": {verb: list(states) for verb, states in CAN.items()},
    }


class Throughput:
    """Runs that ended in each of the last 30 minutes; minutes that are over are counted once."""

    def __init__(self) -> None:
        self._counted: dict[int, int] = {}

    def minutes(self, trends: Trends, *, now_ms: int) -> list[int]:
        """Return the counts, oldest minute first; the last is the current one."""
        current = now_ms // 60_000
        wanted = range(current - SPARK + 1, current + 1)
        self._counted = {m: n for m, n in self._counted.items() if m in wanted and m < current - 1}
        out = []
        for minute in wanted:
            n = self._counted.get(minute)
            if n is None:
                n = trends.finished_between(minute * 60_000, (minute + 1) * 60_000)
                self._counted[minute] = n
            out.append(n)
        return out


def _row(found: Data) -> Data:
    return dict(zip(found, _shown(list(found.values())), strict=True))


def _shown(found: list[Any]) -> list[Any]:
    """Spell out control and direction characters in the texts of a row; an id that has any was not made by us."""
    return [display.escape_terminal(v)[:2000] if isinstance(v, str) else v for v in found]


# --- jobs ---


def row(job: Job) -> Data:
    """Return a job as one line of the table."""
    return _row({
        "seq": job.seq, "id": job.id, "cmd": display.preview(job.command, COMMAND), "state": job.state.value, "queue": job.queue,
        "prio": job.priority, "attempts": job.attempts, "max": job.max_retries, "runs": job.runs, "exit": job.exit_code,
        "signal": job.signal, "reason": job.reason, "error": display.preview(job.error, 300) if job.error else None,
        "sig": job.error_sig, "worker": job.worker_id, "created": job.created_at_ms, "updated": job.updated_at_ms,
        "started": job.started_at_ms, "finished": job.finished_at_ms, "due": job.run_at_ms,
        "progress": _progress(job),
    })  # fmt: skip


def _progress(job: Job) -> list[Any] | None:
    told = job.progress
    return (
        None
        if told is None
        else [told.done, told.total, display.preview(told.text, 120) if told.text else None]
    )


def jobs(store: Store, view: View, *, now_ms: int) -> Data:
    """Return one page of jobs and how many there are. A filter that is not understood gives its complaint as `error`."""
    browse = Browse(store.connection)
    wanted = filters.parse(view.query, now_ms=now_ms)
    key = Key(*view.key) if view.key else None
    page = browse.page(wanted, order=view.order, key=key, back=view.back, limit=view.size)
    if view.back and not page.before and len(page.jobs) < view.size:  # a short first page: fill it up
        page = browse.page(wanted, order=view.order, limit=view.size)
    count = browse.count(wanted)
    return {
        "rows": [row(j) for j in page.jobs],
        "before": list(page.before) if page.before else None,
        "after": list(page.after) if page.after else None,
        "searched": page.searched,
        "total": count.n,
        "exact": count.exact,
        "query": view.query,
        "everything": wanted.is_everything(),
    }


def run(item: Run) -> Data:
    """Return one execution."""
    return _row({
        "run": item.run, "worker": item.worker_id, "started": item.started_at_ms, "finished": item.finished_at_ms,
        "outcome": item.outcome.value, "exit": item.exit_code, "signal": item.signal, "reason": item.reason,
        "error": display.preview(item.error, 300) if item.error else None, "sig": item.error_sig,
        "cpu": (item.cpu_user_ms or 0) + (item.cpu_sys_ms or 0) if item.cpu_user_ms is not None else None,
        "rss": item.max_rss, "stdout": item.stdout_bytes, "stderr": item.stderr_bytes,
    })  # fmt: skip


def detail(store: Store, job_id: str) -> Data:
    """Return everything about one job but its output."""
    job = store.jobs.get(job_id)
    origins = job.settings_from
    runs = [run(r) for r in store.jobs.runs(job.seq)]
    if job.state is State.PROCESSING:
        runs.append(_running(job))
    return row(job) | {
        "cmd": display.escape_terminal(display.mask_secrets(job.command), multiline=True)[:20_000],
        "cwd": display.escape_terminal(job.cwd),
        "tags": _shown(list(job.tag_list)),
        "retry_of": job.retry_of,
        "interruptions": job.interruptions,
        "params": display.preview(job.params, 2000) if job.params else None,
        "result": display.preview(job.result, 2000) if job.result else None,
        "settings": [
            [
                s.name,
                settings.shown(s.name, getattr(job, s.column)),
                origins.get(s.name) or origins.get(s.column) or "built in",
            ]
            for s in settings.JOB_SETTINGS
            if s.column
            and getattr(job, s.column, None) is not None
            and s.name not in ("priority", "keep-children", "on-dep-fail")
        ],
        "run_list": runs,
        "events": [_shown(list(e)) for e in Trends(store.connection).job_events(job_id, limit=30)],
    }


def _running(job: Job) -> Data:
    empty = dict.fromkeys(("finished", "exit", "signal", "reason", "error", "sig", "cpu", "rss"))
    return empty | {
        "run": job.runs, "worker": job.worker_id, "started": job.started_at_ms, "outcome": "running", "stdout": 0, "stderr": 0,
    }  # fmt: skip


# --- failures ---


def failures(store: Store, view: View, *, now_ms: int) -> Data:
    """Return the causes of failures in the window, most frequent first, with their trend, and commands over time."""
    trends = Trends(store.connection)
    since = now_ms - WINDOWS_MS[view.window] if WINDOWS_MS[view.window] else 0
    causes = trends.failures(since)
    start = since or min((first for *_, first, _, _ in causes), default=now_ms - 3_600_000)
    total, shown = sum(n for _, _, n, *_ in causes), causes[:CAUSES]
    sigs = [sig for sig, *_ in shown]
    now_held, first_seen = trends.jobs_by_sig(sigs), trends.first_seen(sigs)
    trend = _trend(trends.failures_over_time(start, now_ms, buckets=BUCKETS))
    out, cumulated = [], 0
    for sig, template, n, jobs, first, last, wasted in shown:
        cumulated += n
        held, seen = now_held.get(sig, {}), first_seen.get(sig, first)
        example, line, commands = trends.example(sig)
        out.append({
            "sig": sig, "message": display.preview(template or line or sig, 300), "count": n, "jobs": jobs,
            "share": n / total, "cum": cumulated / total, "first": first, "last": last,
            "new": bool(seen and since and seen >= start + (now_ms - start) // 2), "trend": trend.get(sig, [0] * BUCKETS),
            "dead": held.get(State.DEAD, 0), "failed": held.get(State.FAILED, 0), "example": example,
            "line": display.preview(line or "", 400), "wasted": wasted, "commands": [display.preview(c, 120) for c in commands],
        })  # fmt: skip
    every = max(1, -(-total // SAMPLE))
    return {
        "window": view.window, "start": start, "end": now_ms, "causes": out, "runs": total, "left_out": len(causes) - len(shown),
        "heat": _heat(trends.failed_commands(since, every=every), start, now_ms) | {"every": every}, "opened": view.cause,
    }  # fmt: skip


def _trend(counted: Sequence[tuple[str, int, int]]) -> dict[str, list[int]]:
    out: dict[str, list[int]] = {}
    for sig, bucket, n in counted:
        out.setdefault(sig, [0] * BUCKETS)[bucket] = n
    return out


def _bucket(at: int, start: int, end: int) -> int:
    return max(0, min(BUCKETS - 1, (at - start) * BUCKETS // max(1, end - start)))


def _heat(failed: Sequence[tuple[int, str]], start: int, end: int, *, rows: int = 8) -> Data:
    cells: dict[str, list[int]] = {}
    for at, command in failed:
        cells.setdefault(program(command), [0] * BUCKETS)[_bucket(at, start, end)] += 1
    names = sorted(cells, key=lambda n: (-sum(cells[n]), n))[:rows]
    return {"names": names, "cells": [cells[n] for n in names], "left_out": max(0, len(cells) - rows)}


def program(command: str) -> str:
    """Return what a command is called in a list of commands: its program, and the script or sub-command after it."""
    words = [w for w in command.split()[:8] if "=" not in w.split("/")[0] or w.startswith("-")]
    name = os.path.basename(words[0]) if words else command[:20]
    if len(words) > 1 and name in (
        "python",
        "python3",
        "bash",
        "sh",
        "node",
        "make",
        "git",
        "docker",
        "npm",
        "cargo",
        "go",
    ):
        following = next((w for w in words[1:] if not w.startswith("-")), "")
        name = f"{name} {os.path.basename(following)}".strip()
    return display.preview(name, 32)


# --- workers, activity, config ---


def workers(store: Store, crew: Sequence[Worker], view: View, *, now_ms: int) -> Data:
    """Return the workers' rows, what each is doing, and the end of the log that is open."""
    rows = [
        _row({
            "id": w.id, "state": w.state, "job": w.job_id, "pid": w.pid, "host": w.host, "queues": w.queues,
            "started": w.started_at_ms, "beat": w.heartbeat_at_ms, "done": w.done, "failed": w.failed,
        })
        for w in crew
    ]  # fmt: skip
    opened = next((w for w in crew if w.id == view.worker), None)
    text = None if opened is None else fleet.log_tail(opened, database=store.path)
    log = {"id": opened.id, "text": text} if opened else None
    return {
        "workers": rows[:500],
        "left_out": max(0, len(rows) - 500),
        "stale_ms": STALE_MS,
        "at": now_ms,
        "log": log,
    }


def activity(store: Store, view: View, *, now_ms: int) -> Data:
    """Return what happened, newest first, how many runs ended, and how long the newest of them waited and ran."""
    trends = Trends(store.connection)
    since = now_ms - WINDOWS_MS[view.window] if WINDOWS_MS[view.window] else 0
    recent = trends.recent_runs(since)
    told = _told(trends.events(before=view.before, limit=EVENTS))
    start = since or trends.first_end_ms() or now_ms - 3_600_000
    edges = [start + (now_ms - start) * i // BUCKETS for i in range(BUCKETS)] + [now_ms + 1]
    ended = [trends.finished_between(low, high) for low, high in pairwise(edges)]
    bad = [0] * BUCKETS
    for _, bucket, n in trends.failures_over_time(start, now_ms, buckets=BUCKETS):
        bad[bucket] += n
    return {
        "events": [_shown([at, who, verb, job, display.preview(note, 200) if note else None, n]) for _, at, who, verb, job, note, n in told[:LINES]],
        "before": view.before, "next": told[LINES - 1][0] if len(told) > LINES else None,
        "start": start, "end": now_ms, "window": view.window, "runs": sum(ended), "sample": len(recent),
        "ended": {"ok": [max(0, n - b) for n, b in zip(ended, bad, strict=True)], "bad": bad},
        "waits": spread([r[3] for r in recent if r[3] is not None]),
        "durations": spread([r[1] for r in recent if r[1] is not None]),
    }  # fmt: skip


def _told(events: Sequence[tuple[int, int, str, str, str | None, str | None]]) -> list[Told]:
    """Return events as lines, newest first: what was done to many jobs at once is one line, with how many."""
    lines: list[Told] = []
    for seq, at, who, verb, job, note in events:
        if lines:
            _, since, *same, n = lines[-1]
            if (
                job
                and same[2]
                and [who, verb, note] == [same[0], same[1], same[3]]
                and since - at <= AT_ONCE_MS
            ):
                lines[-1] = (seq, since, who, verb, same[2], note, n + 1)
                continue
        lines.append((seq, at, who, verb, job, note, 1))
    return lines


def spread(values: list[int]) -> Data | None:
    """Return how times in ms are spread: counts by powers of about three from 10 ms, and the usual percentiles."""
    if not values:
        return None
    values = sorted(values)
    edges = [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_600_000]
    counts = [0] * (len(edges) + 1)
    at = 0
    for value in values:
        while at < len(edges) and value >= edges[at]:
            at += 1
        counts[at] += 1
    return {"edges": edges, "counts": counts} | {
        f"p{p}": values[min(len(values) - 1, len(values) * p // 100)] for p in (50, 90, 99)
    }  # fmt: skip


def config(store: Store) -> Data:
    """Return every setting: its value as one would type it, whether it was changed, and what it is for."""
    changed = store.settings.changed()
    rows = []
    for item in settings.SETTINGS.values():
        value = changed.get(item.name, item.default)
        rows.append({
            "key": item.name, "value": settings.shown(item.name, value), "default": settings.shown(item.name, item.default),
            "changed": item.name in changed, "help": item.help, "kind": _kind(item), "of": "jobs" if item.column else "workers",
        })  # fmt: skip
    return {"settings": rows, "backoff": backoff(changed), "paused": list(store.settings.paused())}


def _kind(item: settings.Setting) -> str:
    if item.name == "keep-children":
        return "no|yes"
    if item.name == "on-dep-fail":
        return "block|cancel|run"
    if isinstance(item.default, int) and item.name in ("max-retries", "priority", "max-interruptions"):
        return "whole"
    if item.name.startswith("on-") or item.name in ("retry-on", "no-retry-on", "cause-rules"):
        return "line"  # commands and lists want room
    return "text"


def backoff(changed: Data) -> Data:
    """Return the delays before each retry as the settings have them now, ms, and how long a job may take to die."""
    values = {
        name: changed.get(name, settings.SETTINGS[name].default)
        for name in ("backoff", "backoff-base", "backoff-max", "max-retries")
    }
    rule = SimpleNamespace(
        backoff=values["backoff"],
        backoff_base=float(values["backoff-base"]),
        backoff_max_ms=values["backoff-max"],
        jitter=0.0,
    )
    retries = int(values["max-retries"])
    delays = [delay_ms(cast(Any, rule), n, dice=0.5) for n in range(1, min(retries, 1000))]
    return {"delays": delays[:12], "retries": retries, "total": sum(delays)}
