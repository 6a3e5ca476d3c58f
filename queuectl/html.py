"""Records as static, escaped HTML: what a notebook shows of a job, a list, a status or a result. No script, no raw text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from queuectl.display import escape_html, preview

FEW = 10  # rows shown of what may be thousands

if TYPE_CHECKING:
    from datetime import datetime

    from queuectl.answers import ActionResult, Cause, Explanation, JobDetails, Status, WaitResult
    from queuectl.model import Event, Job, Run


def clock(moment: datetime | None) -> str:
    """Return a local time as people read it, or a dash."""
    return "–" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table; every cell is escaped."""
    top = "".join(f"<th style='text-align:left'>{escape_html(h)}</th>" for h in head)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape_html(str(c))}</td>" for c in r) + "</tr>"
        for r in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _row(job: Job) -> tuple[object, ...]:
    return (
        job.id,
        preview(job.command, 80),
        job.state,
        f"{job.attempts}/{job.max_retries}",
        job.queue,
        clock(job.updated_at),
        job.reason or "",
    )


_HEAD = ("id", "command", "state", "attempts", "queue", "updated", "reason")


def job_html(job: Job) -> str:
    """Return one job."""
    return table(_HEAD, [_row(job)])


def jobs_html(jobs: Sequence[Job], left_out: int) -> str:
    """Return a list of jobs and how many were left out."""
    note = f"<p>{left_out:,} more not shown</p>" if left_out else ""
    return table(_HEAD, map(_row, jobs)) + note if jobs else "<p>no jobs</p>"


def run_rows(runs: Iterable[Run]) -> list[tuple[object, ...]]:
    """Return the cells of runs."""
    return [
        (
            r.run,
            r.outcome,
            r.reason or "",
            clock(r.started_at),
            f"{(r.duration_ms or 0) / 1000:.3f} s",
            r.worker_id or "",
        )
        for r in runs
    ]


def details_html(details: JobDetails) -> str:
    """Return a job and its runs."""
    return job_html(details.job) + table(
        ("run", "outcome", "reason", "started", "took", "worker"), run_rows(details.runs)
    )


def status_html(status: Status) -> str:
    """Return counts and workers."""
    counts = table(("state", "jobs"), [(s, f"{n:,}") for s, n in status.counts.items() if n])
    workers = table(
        ("worker", "state", "job", "heartbeat"),
        [(w.id, w.state, w.job_id or "", clock(w.heartbeat_at)) for w in status.workers],
    )
    return counts + (workers if status.workers else "<p>no workers</p>")


def causes_html(causes: Sequence[Cause], left_out: int) -> str:
    """Return causes of failure."""
    head = ("cause", "runs", "jobs", "share", "last seen", "example", "message")
    rows = [
        (c.sig, f"{c.count:,}", f"{c.jobs:,}", f"{c.share:.0%}", clock(c.last_seen), c.example_job or "", preview(c.message, 200))
        for c in causes
    ]  # fmt: skip
    note = f"<p>{left_out:,} more not shown</p>" if left_out else ""
    return table(head, rows) + note if causes else "<p>no failures</p>"


def result_html(result: ActionResult) -> str:
    """Return what a verb did, id by id."""
    word = "would be done" if result.dry_run else "done"
    rows = [*result.skipped, *((i, word) for i in result.done)]
    return (
        f"<p>{escape_html(result.verb)}: {len(result.done):,} {word}, {len(result.skipped):,} skipped</p>"
        + _first(("id", "what"), rows)
        + _changes_html(result)
    )


def _changes_html(result: ActionResult) -> str:
    """What was or would be changed, what goes and what comes marked by sign and colour."""
    shown = [c for c in result.changes if c.field != "job"][:100]
    if not shown:
        return ""
    mark = "<span style='background:rgba(%s,.25)'>%s</span>"
    rows = []
    for change in shown:
        head, before, after, tail = _apart(preview(change.before, 400), preview(change.after, 400))
        for sign, colour, middle in (("−", "220,60,60", before), ("+", "40,160,80", after)):
            line = f"{escape_html(head)}{mark % (colour, escape_html(middle))}{escape_html(tail)}"
            rows.append(f"<tr><td>{escape_html(change.id)}</td><td>{escape_html(change.field)}</td>"
                        f"<td style='text-align:left'>{sign} <code>{line}</code></td></tr>")  # fmt: skip
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _apart(before: str, after: str) -> tuple[str, str, str, str]:
    """Return what two texts begin with in common, what differs in each, and what they end with in common."""
    least = min(len(before), len(after))
    head = next((i for i in range(least) if before[i] != after[i]), least)
    tail = next((i for i in range(least - head) if before[-1 - i] != after[-1 - i]), least - head)
    return (
        before[:head],
        before[head : len(before) - tail],
        after[head : len(after) - tail],
        before[len(before) - tail :],
    )


def _first(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    more = f"<p>and {len(rows) - FEW:,} more</p>" if len(rows) > FEW else ""
    return table(head, rows[:FEW]) + more


def wait_html(result: WaitResult) -> str:
    """Return how many jobs ended in which state, and those that did not complete."""
    counts: dict[str, int] = {}
    for state in result.states.values():
        counts[str(state)] = counts.get(str(state), 0) + 1
    total = ", ".join(f"{n:,} {escape_html(s)}" for s, n in counts.items()) or "nothing to wait for"
    rows = [(i, result.states[i]) for i in result.failed]
    return f"<p>{total}</p>" + (_first(("id", "state"), rows) if rows else "")


def explanation_html(found: Explanation) -> str:
    """Return why a job is where it is, what would help, and where its settings came from."""
    reasons = "".join(f"<li>{escape_html(preview(r.text, 1000))}</li>" for r in found.reasons)
    advice = "".join(f"<li><code>{escape_html(a)}</code></li>" for a in found.advice)
    return (
        f"<p><b>{escape_html(found.id)}</b> is {escape_html(str(found.state))}:</p><ul>{reasons}</ul>"
        + (f"<p>What helps:</p><ul>{advice}</ul>" if advice else "")
        + table(
            ("setting", "value", "from"), [(s.name, preview(s.value, 200), s.origin) for s in found.settings]
        )
        + (events_html(found.events) if found.events else "")
    )


def events_html(events: Sequence[Event]) -> str:
    """Return what happened, oldest first."""
    rows = [(clock(e.at), e.actor, e.verb, e.job_id or "", preview(e.detail or "", 200)) for e in events]
    return table(("time", "by", "what", "job", "detail"), rows) if rows else "<p>no events</p>"
