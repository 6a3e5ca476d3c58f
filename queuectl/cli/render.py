"""What a result looks like: one renderer for each type of record; JSON Lines and CSV of the same are in `records`.

A renderer is found by the name of the result's class, so that printing one kind of record imports nothing of
the others. Everything in a record is untrusted: secrets are masked, control characters are spelt out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from queuectl.cli import control_views, doctor_view, planned, queue_views
from queuectl.cli.cells import columns, local, safe, size, span
from queuectl.cli.planned import added
from queuectl.cli.records import pass_on, plain, write_csv, write_json
from queuectl.display import escape_terminal, mask_secrets

Lines = Iterator[str]


def render(result: Any, form: str, out: TextIO, err: TextIO, *, declared: str = "") -> None:
    """Print a verb's result as `human`, `json` or `csv`; what was left out is said on `err`.

    Args:
        result: What the verb returned.
        form: How to print it.
        out: Where to.
        err: Where remarks go.
        declared: The type in the verb's signature, which tells an empty list of workers from one of causes.
    """
    if result is None:
        return
    if isinstance(result, Iterator):
        pass_on(result, form, out)
    elif form == "json":
        write_json(result, out)
    elif form == "csv":
        write_csv(result, out)
    else:
        for line in _human(result, declared)(result):
            out.write(line + "\n")
    out.flush()
    left_out = getattr(result, "left_out", 0)
    if left_out and isinstance(result, list):
        err.write(f"{left_out:,} more not shown; raise --limit or narrow the filter\n")


def exit_code(result: Any) -> int:
    """Return 0, or what a result says that is no error: 1 some jobs failed or something is wrong, 5 everything was refused."""
    match type(result).__name__:
        case "WaitResult":
            return 0 if result else 1
        case "ActionResult":
            return 5 if result.skipped and not result.done else 0
        case "Diagnosis":
            return 1 if result.is_ill else 0
    return 0


# -- for people ----------------------------------------------------------------------------------


def _human(result: Any, declared: str = "") -> Callable[[Any], Lines]:
    if type(result) is list and declared in HUMAN:
        return HUMAN[declared]
    for kind in type(result).__mro__:
        if kind.__name__ in HUMAN:
            return HUMAN[kind.__name__]
    return _many if isinstance(result, (list, tuple)) else _fields


def _job(job: Any) -> Lines:
    yield f"Job added successfully with ID: {escape_terminal(job.id)}"


def _held_job(job: Any) -> Lines:
    yield f"Nothing added: job {safe(job.id)} ({safe(job.state)}) holds the unique key {safe(job.unique_key)}"


def _added_jobs(jobs: Any) -> Lines:
    new = [job for job in jobs if type(job).__name__ != "HeldJob"]
    if len(jobs) > 1:
        if new:
            yield added([job.id for job in new])
        if len(new) < len(jobs):
            left = len(jobs) - len(new)
            yield f"{left:,} not added: {'its unique key is' if left == 1 else 'their unique keys are'} held by jobs in the queue"
        return
    for job in jobs:
        yield from _human(job)(job)
    if not jobs:
        yield "No jobs added: there was no command."


def _job_list(jobs: Any) -> Lines:
    for job in jobs:
        yield ""
        yield f"ID: {safe(job.id)}"
        yield f"Command: {safe(job.command)}"
        yield f"State: {safe(job.state)}"
        yield f"Attempts: {job.attempts}"
        yield f"Max Retries: {job.max_retries}"
        yield f"Created At: {local(job.created_at_ms)}"
        yield f"Updated At: {local(job.updated_at_ms)}"
    if not jobs:
        yield "No jobs found."


def _dead_list(jobs: Any) -> Lines:
    yield from ("", "===== DEAD LETTER QUEUE =====", "")
    for job in jobs:
        yield f"ID: {safe(job.id)}"
        yield f"Command: {safe(job.command)}"
        yield f"Attempts: {job.attempts}"
        yield f"Max_retries: {job.max_retries}"
        yield f"Updated: {local(job.updated_at_ms)}"
        yield ""
    if not jobs:
        yield from ("No jobs in the DLQ.", "")
    yield "=============================="


def _status(status: Any) -> Lines:
    yield from ("", "===== JOB STATES =====")
    if status.left_out:
        yield "   ".join(f"{state}: {count:,}" for state, count in status.counts.items() if count)
    for job in status.jobs:
        told = job.progress if str(job.state) == "processing" else None
        yield f"ID: {safe(job.id)}   State: {safe(job.state)}" + (
            f"   Progress: {safe(told)}" if told else ""
        )
    if status.left_out:
        yield f"({status.left_out:,} older jobs not shown)"
    if not status.jobs:
        yield "No jobs."
    if status.paused:
        yield f"Paused: {', '.join('all queues' if q == '*' else safe(q) for q in status.paused)}"
    yield from queue_views.limited(status)
    yield from ("", "===== ACTIVE WORKERS =====")
    for worker in status.workers:
        yield f"Worker: {safe(worker.id)}   Heartbeat: {local(worker.heartbeat_at_ms)}"
    if not status.workers:
        yield "No active workers."
    yield "==========================="


def _details(details: Any) -> Lines:
    job = details.job
    yield from _job_list([job])
    yield f"Queue: {safe(job.queue)}"
    for title, value in (
        ("Progress", job.progress and str(job.progress)),
        ("Reason", job.reason),
        ("Error", job.error),
        ("Cause", job.error_sig),
        ("Tags", job.tags),
        ("Parameters", job.params),
        ("Result", job.result),
        ("Schedule", job.schedule and f"{job.schedule}, for {local(job.slot_ms)}"),
    ):
        if value:
            yield f"{title}: {safe(value if isinstance(value, str) else ' '.join(value)).strip()}"
    if job.run_at_ms and str(job.state) in ("scheduled", "failed"):
        yield f"Due At: {local(job.run_at_ms)}"
    if details.runs:
        yield from ("", "Runs:")
        for run in details.runs:
            yield "  " + _run_line(run)


def _run_line(run: Any) -> str:
    lasted = None if run.started_at_ms is None else max(0, run.finished_at_ms - run.started_at_ms)
    used = None if run.cpu_user_ms is None else run.cpu_user_ms + (run.cpu_sys_ms or 0)
    parts = [
        f"{run.run}  {local(run.started_at_ms)}  {safe(run.outcome):<9}  {span(lasted):>6}",
        f"CPU {span(used)}  memory {size(run.max_rss)}  output {size(run.stdout_bytes + run.stderr_bytes)}",
    ]
    if run.reason:
        parts.append(safe(run.reason))
    return "  ".join(parts)


def _workers(workers: Any) -> Lines:
    rows = [
        (
            safe(w.id),
            safe(w.state),
            str(w.pid),
            safe(w.job_id or "-"),
            str(w.done),
            str(w.failed),
            local(w.heartbeat_at_ms),
        )
        for w in workers
    ]
    yield from columns(
        ("WORKER", "STATE", "PID", "JOB", "DONE", "FAILED", "HEARTBEAT"), rows, "No active workers."
    )


def _causes(causes: Any) -> Lines:
    rows = [
        (
            safe(c.sig),
            f"{c.count:,}",
            f"{c.jobs:,}",
            f"{c.share:.0%}",
            local(c.last_seen_ms),
            safe(c.example_job or "-"),
            safe(c.message)[:200],
        )
        for c in causes
    ]
    yield from columns(
        ("CAUSE", "RUNS", "JOBS", "SHARE", "LAST SEEN", "EXAMPLE", "MESSAGE"), rows, "No failures."
    )


def _action(result: Any) -> Lines:
    """Report id by id: the notes, or what was or would be done, and why others were skipped."""
    would = "would be " if result.dry_run else ""
    notes = tuple(getattr(result, "notes", ()))
    if notes and not result.dry_run:
        yield from (safe(note) for note in notes)
    else:
        for job_id in result.done:
            if result.verb == "worker":
                yield f"Worker started: {safe(job_id)}"
            else:
                yield f"{safe(job_id)}: {would}{PAST.get(result.verb, result.verb + ' done')}"
            if result.changes:
                yield from control_views.changes(result, job_id)
        yield from (safe(note) for note in notes)
    for job_id, why in result.skipped:
        yield f"{safe(job_id)}: skipped, {safe(why)}"
    if not result.done and not result.skipped and not notes:
        yield f"Nothing to {result.verb}."


PAST = {
    "limit": "changed",
    "retry": "requeued",
    "dlq retry": "requeued",
    "cancel": "cancelled",
    "delete": "deleted",
    "purge": "deleted",
    "dlq purge": "deleted",
    "prune": "deleted",
    "bump": "moved to the front",
    "edit": "changed",
    "refingerprint": "filed under another cause",
    "pause": "paused",
    "resume": "resumed",
    "schedule pause": "paused",
    "schedule resume": "resumed",
    "schedule remove": "removed",
}


def _wait(result: Any) -> Lines:
    counts: dict[str, int] = {}
    for state in result.states.values():
        counts[str(state)] = counts.get(str(state), 0) + 1
    yield ", ".join(f"{count:,} {state}" for state, count in counts.items()) or "Nothing to wait for."
    for job_id in result.failed[:20]:
        yield f"{safe(job_id)}: {safe(result.states[job_id])}"
    if len(result.failed) > 20:
        yield f"({len(result.failed) - 20:,} more)"


def _text(text: Any) -> Lines:
    yield escape_terminal(mask_secrets(str(text)), multiline=True).removesuffix("\n")


def _many(results: Any) -> Lines:
    for result in results:
        yield from _human(result)(result)


def _fields(result: Any) -> Lines:
    found = plain(result)
    if not isinstance(found, Mapping):
        yield safe(found)
        return
    longest = max((len(str(key)) for key in found), default=0)
    for key, value in found.items():
        yield f"{safe(key):<{longest}}  {safe(value)}"


HUMAN: dict[str, Callable[[Any], Lines]] = {
    "Job": _job,
    "HeldJob": _held_job,
    "JobList": _job_list,
    "AddedJobs": _added_jobs,
    "DeadList": _dead_list,
    "Status": _status,
    "JobDetails": _details,
    "Workers": _workers,
    "list[Worker]": _workers,
    "CauseList": _causes,
    "ActionResult": _action,
    "WaitResult": _wait,
    "ConfigTable": _text,
    "str": _text,
    **control_views.HUMAN,
    **planned.HUMAN,
    **queue_views.HUMAN,
    **doctor_view.HUMAN,
}
