"""The circuit breaker, as a pure function: so many failures among the last so many runs pause a queue, and a probe's success resumes it.

Runs that end while the queue is paused were started before; only the probe's end counts then. A run that was cancelled, given back, lost or
snoozed says nothing about the queue's jobs and does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from queuectl import records
from queuectl.model import Outcome
from queuectl.records import NamedTuple, as_dict, replace

FAILURES = (Outcome.FAILED, Outcome.TIMEOUT, Outcome.KILLED, Outcome.SPAWN)
OK, BAD = "o", "x"


class Rule(NamedTuple):
    """When a queue is paused, and how often one job is let through then."""

    failures: int
    runs: int
    probe_ms: int


class End(NamedTuple):
    """The end of one run of a queue's job."""

    seq: int
    run: int
    outcome: Outcome


@records.record
class Breaker:
    """What is remembered of a queue; `recent` is the last runs, newest last, `o` for one that went well and `x` for a failure."""

    recent: str = ""
    opened_at_ms: int | None = None
    why: str | None = None
    probe_at_ms: int | None = None  # before it, no further job is let through
    probe_seq: int | None = None
    probe_run: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the queue is paused by it."""
        return self.opened_at_ms is not None

    @classmethod
    def load(cls, text: str | None) -> Breaker:
        """Return what was remembered."""
        return cls(**json.loads(text)) if text else cls()

    def dump(self) -> str:
        """Return it as text to remember."""
        return json.dumps({k: v for k, v in as_dict(self).items() if v is not None})


class Recorded(NamedTuple):
    """A breaker after some runs have ended, and what happened to it: opened, closed, probe failed, or nothing."""

    breaker: Breaker
    event: str | None


def parse(rule: str, probe_ms: int) -> Rule:
    """Return the rule of a setting such as `5/10`."""
    failures, _, runs = rule.partition("/")
    return Rule(int(failures), int(runs), probe_ms)


def record(breaker: Breaker, ends: Iterable[End], rule: Rule, *, now_ms: int) -> Recorded:
    """Return the breaker after these runs have ended, in their order."""
    event = None
    for end in ends:
        breaker, what = _one(breaker, end, rule, now_ms)
        event = what or event
    return Recorded(breaker, event)


def _one(b: Breaker, end: End, rule: Rule, now_ms: int) -> Recorded:
    failed, counts = end.outcome in FAILURES, end.outcome in (*FAILURES, Outcome.OK)
    if b.is_open:
        if (end.seq, end.run) != (b.probe_seq, b.probe_run):
            return Recorded(b, None)
        if end.outcome is Outcome.OK:
            return Recorded(Breaker(), "closed")
        b = replace(b, probe_seq=None, probe_run=None)
        return (
            Recorded(replace(b, probe_at_ms=now_ms + rule.probe_ms), "probe failed")
            if failed
            else Recorded(b, None)
        )
    if not counts:
        return Recorded(b, None)
    recent = (b.recent + (BAD if failed else OK))[-rule.runs :]
    bad = recent.count(BAD)
    if not failed or bad < rule.failures:
        return Recorded(Breaker(recent), None)
    why = f"{bad} of the last {len(recent)} runs failed"
    return Recorded(Breaker(recent, now_ms, why, now_ms + rule.probe_ms), "opened")


def probe_due_ms(breaker: Breaker, rule: Rule, *, now_ms: int) -> int:
    """Return when the next job may be let through: now, if that is further off than it can be since the clock was set back."""
    due = breaker.probe_at_ms or 0
    return due if due <= now_ms + rule.probe_ms else now_ms


def may_probe(breaker: Breaker, rule: Rule, *, now_ms: int, probe_runs: bool) -> bool:
    """Whether a job may be let through now; `probe_runs` says whether the last one still runs."""
    return breaker.is_open and not probe_runs and now_ms >= probe_due_ms(breaker, rule, now_ms=now_ms)


def let_through(breaker: Breaker, rule: Rule, *, seq: int, run: int, now_ms: int) -> Breaker:
    """Return the breaker with this run as its probe."""
    return replace(breaker, probe_seq=seq, probe_run=run, probe_at_ms=now_ms + rule.probe_ms)
