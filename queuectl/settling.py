"""Settling: an ended run and what was decided of its job, as the row that the store writes."""

from __future__ import annotations

from queuectl import lifecycle
from queuectl.executors import Done
from queuectl.lifecycle import Ended, Verdict
from queuectl.model import FINAL, Outcome
from queuectl.store.line import Settled

Rules = tuple[tuple[str, str], ...]
_HAVE_A_CAUSE = (Outcome.FAILED, Outcome.TIMEOUT, Outcome.KILLED, Outcome.SPAWN)


def settled(done: Done, verdict: Verdict, *, aging_ms: int | None, cause_rules: Rules = ()) -> Settled:
    """Return what is written of a run.

    Args:
        done: how it ended.
        verdict: what becomes of its job.
        aging_ms: the waiting that a step of priority is worth, milliseconds.
        cause_rules: the user's own causes, pairs of a regular expression and a name.
    """
    job, e = done.job, done.ended
    line = sig = version = template = None
    if verdict.outcome in _HAVE_A_CAUSE:
        line, sig, version, template = _cause(e, verdict.outcome, cause_rules)
    rank = None
    if verdict.run_at_ms is not None:
        rank = lifecycle.rank(verdict.run_at_ms, job.priority, aging_ms)
    return Settled(
        job.seq, job.id, job.run, done.worker_id, verdict.state.value, verdict.outcome.value, verdict.attempts, rank, verdict.run_at_ms,
        verdict.due_mono_ms, e.started_ms, e.finished_ms, verdict.state in FINAL, e.exit_code, e.signal, verdict.reason,
        line, sig, version, template, e.cpu_user_ms, e.cpu_sys_ms, e.max_rss, e.stdout_bytes, e.stderr_bytes,
        e.stdout if not e.stdout_file else None, e.stderr if not e.stderr_file else None, e.stdout_file, e.stderr_file, e.result, e.stored_bytes,
    )  # fmt: skip


def _cause(e: Ended, outcome: Outcome, rules: Rules) -> tuple[str | None, str | None, int | None, str | None]:
    from queuectl import causes  # 30 ms of patterns, which a batch without failures need not wait for

    stderr = (e.spawn_error or "").encode() if outcome is Outcome.SPAWN else e.stderr
    cause = causes.cause_of(
        outcome=outcome.value,
        exit_code=e.exit_code,
        signal=e.signal,
        stdout=e.stdout,
        stderr=stderr,
        rules=causes.compiled(rules),
    )
    return (cause.line, cause.sig, causes.VERSION, cause.template) if cause else (None, None, None, None)
