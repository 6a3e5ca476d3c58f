"""Every decision about a job, as pure functions: facts and the time go in, the change comes out.

The table `EDGES` is the only place that knows which state follows which; `docs/states.md` is generated from it. Nothing
here reads a clock, draws a random number or touches the database.
"""

from __future__ import annotations

import json
import math
import signal
from enum import Enum

from queuectl import patterns
from queuectl.model import FINAL, WAITING, Outcome, State
from queuectl.records import NamedTuple, record

STRICT_STEP = (
    4_102_444_800_001  # ms; above the distance of any two times we accept, so that priority always wins
)
STDERR_TAIL = 4096  # bytes at the end of standard error that a rule's regular expression sees
TEMPFAIL = 75  # sysexits.h EX_TEMPFAIL
DELAY_MAX_MS = 86_400_000 * 366

S = State


class Edge(NamedTuple):
    """One transition: from where, by what, to where, and what it means to a person."""

    source: State | None
    event: str
    target: State
    cause: str


EDGES = (
    Edge(None, "enqueue", S.PENDING, "enqueued, ready at once"),
    Edge(None, "enqueue later", S.SCHEDULED, "enqueued with a delay or a time"),
    Edge(None, "enqueue after", S.BLOCKED, "enqueued to wait for other jobs"),
    Edge(S.SCHEDULED, "due", S.PENDING, "its time has come"),
    Edge(S.FAILED, "due", S.PENDING, "its back-off is over"),
    Edge(S.BLOCKED, "parents done", S.PENDING, "the jobs it waited for have ended as it asked"),
    Edge(S.BLOCKED, "parents done, later", S.SCHEDULED, "the same, but its own time is still to come"),
    Edge(S.BLOCKED, "parent lost", S.CANCELLED, "a job it waited for ended otherwise than needed, and it asked to be cancelled then"),
    Edge(S.PENDING, "parent reopened", S.BLOCKED, "a job it had waited for is tried again, and it had not started"),
    Edge(S.SCHEDULED, "parent reopened", S.BLOCKED, "the same, while it waited for its time"),
    Edge(S.PENDING, "claim", S.PROCESSING, "a worker took it"),
    Edge(S.PROCESSING, "succeed", S.COMPLETED, "exit status 0"),
    Edge(S.PROCESSING, "fail", S.FAILED, "the run failed and attempts are left"),
    Edge(S.PROCESSING, "die", S.DEAD, "the run failed for the last time, or in a way that is not retried"),
    Edge(S.PROCESSING, "snooze", S.SCHEDULED, "exit status 75: try later, uncharged"),
    Edge(S.PROCESSING, "give back", S.PENDING, "its worker stopped before it had ended, uncharged"),
    Edge(S.PROCESSING, "interrupt", S.PENDING, "its worker died, uncharged"),
    Edge(S.PROCESSING, "poison", S.DEAD, "its worker died under it too often, or it could not be stopped"),
    Edge(S.PROCESSING, "stop", S.CANCELLED, "cancelled while it ran"),
    *(Edge(s, "cancel", S.CANCELLED, "cancelled while it waited") for s in WAITING),
    Edge(S.DEAD, "requeue", S.PENDING, "retried from the DLQ with a fresh budget"),
    Edge(S.CANCELLED, "requeue", S.PENDING, "retried after a cancel"),
    Edge(S.CANCELLED, "requeue after", S.BLOCKED, "the same, but jobs it waits for have not ended as it asked"),
    Edge(S.FAILED, "requeue", S.PENDING, "retried at once, the budget kept"),
    Edge(S.SCHEDULED, "requeue", S.PENDING, "run now instead of at its time"),
    Edge(S.PENDING, "put off", S.SCHEDULED, "edited to run later"),
    Edge(S.SCHEDULED, "bring forward", S.PENDING, "edited to run now"),
    Edge(S.DEAD, "supersede", S.CANCELLED, "retried with another command, as a new job"),
)  # fmt: skip

_TARGETS = {(e.source, e.event): e.target for e in EDGES}


class ImpossibleTransition(AssertionError):
    """A bug in queuectl: an event reached a job in a state that cannot have it."""


def target(state: State | None, event: str) -> State:
    """Return the state that the event leads to."""
    try:
        return _TARGETS[state, event]
    except KeyError:
        raise ImpossibleTransition(
            f"{event!r} cannot happen to a job that is {state or 'not there yet'}"
        ) from None


def sources(event: str) -> tuple[State, ...]:
    """Return the states in which the event can happen."""
    return tuple(e.source for e in EDGES if e.event == event and e.source is not None)


class Need(Enum):
    """What has become of a job's wait for another one."""

    OPEN = "open"  # the parent has not ended
    MET = "met"
    LOST = "lost"  # the parent has ended, and not as needed


def need(needs: str, parent: State, rule: str) -> Need:
    """Return what has become of a wait.

    Args:
        needs: ok (the parent completes), fail (it dies or is cancelled) or any (it ends).
        parent: the parent's state.
        rule: the child's on-dep-fail: with run, any end will do.
    """
    if parent not in FINAL:
        return Need.OPEN
    as_needed = needs == "any" or (needs == "ok") == (parent is S.COMPLETED)
    return Need.MET if as_needed or rule == "run" else Need.LOST


def lost_reason(needs: str, parent_id: str, parent: State) -> str:
    """Return why a job that waits for a parent cannot run."""
    word = {S.DEAD: "is dead", S.CANCELLED: "is cancelled"}.get(parent, "has completed")
    return f"waits for {parent_id}{' to fail' if needs == 'fail' else ''}, which {word}"


class Claimed(NamedTuple):
    """What a runner needs to know of a job it has claimed; `run` is the fence."""

    seq: int
    id: str
    run: int
    command: str
    queue: str
    priority: int
    attempts: int
    max_retries: int
    interruptions: int
    timeout_ms: int | None
    kill_after_ms: int
    warn: str | None
    backoff: str
    backoff_base: float
    backoff_max_ms: int
    jitter: float
    retry_on: str | None
    no_retry_on: str | None
    keep_children: int
    cwd: str
    env: str | None


CLAIMED_COLUMNS = ", ".join("runs" if f == "run" else f for f in Claimed._fields)


@record(frozen=False)
class Ended:
    """What an executor says of one run: how the command ended, and what it used and wrote.

    Exactly one of exit_code, signal and spawn_error is set; `stopped` says why we ended it, if we did: "timeout", "cancel",
    "stop" or "stuck" (it could not be killed).
    """

    started_ms: int
    finished_ms: int
    exit_code: int | None = None
    signal: int | None = None
    spawn_error: str | None = None
    stopped: str | None = None
    cpu_user_ms: int | None = None
    cpu_sys_ms: int | None = None
    max_rss: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    stdout_file: str | None = None
    stderr_file: str | None = None
    stored_bytes: int = 0
    result: str | None = None


class Verdict(NamedTuple):
    """What becomes of the job after a run."""

    state: State
    outcome: Outcome
    reason: str | None
    attempts: int
    run_at_ms: int | None = None
    due_mono_ms: int | None = None


def outcome_of(ended: Ended) -> Outcome:
    """Return how the run ended, in one word."""
    if ended.stopped in _STOPPED:
        return _STOPPED[ended.stopped]
    if ended.spawn_error is not None:
        return Outcome.SPAWN
    if ended.signal is not None:
        return Outcome.KILLED
    if ended.exit_code == 0:
        return Outcome.OK
    return Outcome.SNOOZED if ended.exit_code == TEMPFAIL else Outcome.FAILED


_STOPPED = {
    "timeout": Outcome.TIMEOUT,
    "cancel": Outcome.CANCELLED,
    "stop": Outcome.LOST,
    "stuck": Outcome.LOST,
}


def settle(job: Claimed, ended: Ended, *, mono_ms: int, dice: float, snooze_ms: int) -> Verdict:
    """Decide what follows from a run's end.

    Args:
        job: the claimed job.
        ended: how its run ended; `finished_ms` is the wall clock of the decision.
        mono_ms: the monotonic clock of this boot at the decision, milliseconds.
        dice: a random number from 0 to 1, for jitter.
        snooze_ms: the delay after exit status 75.
    """
    outcome = outcome_of(ended)
    now = ended.finished_ms
    match outcome:
        case Outcome.OK:
            return Verdict(target(S.PROCESSING, "succeed"), outcome, None, job.attempts)
        case Outcome.CANCELLED:
            return Verdict(target(S.PROCESSING, "stop"), outcome, "cancelled while it ran", job.attempts)
        case Outcome.SNOOZED:
            reason = f"asked to be tried later (exit status {TEMPFAIL})"
            return Verdict(target(S.PROCESSING, "snooze"), outcome, reason, job.attempts, now + snooze_ms)
        case Outcome.LOST if ended.stopped == "stuck":
            reason = "needs operator: its processes could not be killed"
            return Verdict(target(S.PROCESSING, "poison"), outcome, reason, job.attempts)
        case Outcome.LOST:
            return Verdict(
                target(S.PROCESSING, "give back"), outcome, "given back: its worker stopped", job.attempts
            )
        case _:
            return _failed(job, ended, outcome, mono_ms=mono_ms, dice=dice)


def _failed(job: Claimed, ended: Ended, outcome: Outcome, *, mono_ms: int, dice: float) -> Verdict:
    attempts = job.attempts + 1
    reason = reason_of(outcome, ended, job, attempts)
    if (refusal := retry_refused(job, outcome, ended)) is not None:
        return Verdict(target(S.PROCESSING, "die"), outcome, f"{reason}; {refusal}", attempts)
    if attempts >= job.max_retries:
        return Verdict(target(S.PROCESSING, "die"), outcome, reason, attempts)
    wait = delay_ms(job, attempts, dice=dice)
    return Verdict(
        target(S.PROCESSING, "fail"), outcome, reason, attempts, ended.finished_ms + wait, mono_ms + wait
    )


def reason_of(outcome: Outcome, ended: Ended, job: Claimed, attempts: int) -> str:
    """Return a failure's reason as a person would say it."""
    if outcome is Outcome.TIMEOUT:
        limit = (job.timeout_ms or 0) / 1000
        return f"timed out after {limit:g} s (attempt {attempts} of {max(1, job.max_retries)})"
    if outcome is Outcome.SPAWN:
        return f"could not be started: {ended.spawn_error}"
    if outcome is Outcome.KILLED:
        return f"killed by {signal_name(ended.signal or 0)}"
    return f"exit status {ended.exit_code}"


def signal_name(number: int) -> str:
    """Return SIGKILL for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def retry_refused(job: Claimed, outcome: Outcome, ended: Ended) -> str | None:
    """Return why the job's own rules do not let this failure be retried; None when they do."""
    for name, rules, refuses in (("no-retry-on", job.no_retry_on, True), ("retry-on", job.retry_on, False)):
        if rules is None:
            continue
        listed: list[str] = json.loads(rules)
        answers = {rule: _matches(rule, outcome, ended) for rule in listed}
        hit = next((rule for rule in listed if answers[rule]), None)
        if (hit is not None) is refuses:
            slow = [rule for rule in listed if answers[rule] is None]
            note = f" ({slow[0]} took too long and counted as no match)" if slow else ""
            return f"not retried: {name} {f'has {hit}' if hit else f'is {chr(44).join(listed)}'}{note}"
    return None


def _matches(rule: str, outcome: Outcome, ended: Ended) -> bool | None:
    """Whether a rule covers a failure; None when its regular expression took too long."""
    if rule.startswith("re:"):
        return patterns.found(rule[3:], ended.stderr[-STDERR_TAIL:].decode(errors="replace"))
    if rule in ("timeout", "spawn"):
        return outcome.value == rule
    if rule == "signal":
        return outcome is Outcome.KILLED
    low, _, high = rule.partition("-")
    return outcome is Outcome.FAILED and int(low) <= (ended.exit_code or 0) <= int(high or low)


def delay_ms(job: Claimed, failures: int, *, dice: float) -> int:
    """Return how long a job waits after its n-th failure, milliseconds.

    Exponential is base ** n seconds, linear base * n, fixed base; a list gives each delay, its last one for all that follow. Jitter j
    spreads the delay evenly over ±j of itself. `backoff-max` caps the result.
    """
    base, n = job.backoff_base, failures
    match job.backoff:
        case "exponential":
            # Bounded by its logarithm, so that 400 retries of base 10 are capped and do not overflow.
            seconds = base**n if n * math.log2(base) < 64 else float(DELAY_MAX_MS)
        case "linear":
            seconds = base * n
        case "fixed":
            seconds = base
        case listed:
            delays = json.loads(listed)
            seconds = delays[min(n, len(delays)) - 1]
    spread = 1 + job.jitter * (2 * dice - 1)
    return max(0, round(min(seconds * 1000 * spread, job.backoff_max_ms)))


def rank(ready_at_ms: int, priority: int, aging_ms: int | None) -> int:
    """Return the place in the line, ascending: ready earlier or of higher priority goes first.

    Linear ageing as a constant: a step of priority is worth `aging_ms` of waiting, or everything when None.
    """
    return ready_at_ms - priority * step_ms(aging_ms)


def step_ms(aging_ms: int | None) -> int:
    """Return the head start that a step of priority is worth, milliseconds."""
    return STRICT_STEP if aging_ms is None else aging_ms


class Interruption(NamedTuple):
    """What becomes of a job whose worker died while it ran."""

    state: State
    interruptions: int
    reason: str


def interrupt(interruptions: int, *, charged: bool, limit: int) -> Interruption:
    """Decide for a job whose worker died: pending again, or dead when it happened too often.

    Args:
        interruptions: how often it had happened before.
        charged: False when the machine restarted, which is nobody's fault.
        limit: the number at which the job counts as a poison pill.
    """
    n = interruptions + charged
    if charged and n >= limit:
        return Interruption(
            target(S.PROCESSING, "poison"), n, f"poison pill: its worker died under it {n} times"
        )
    why = "its worker died" if charged else "the machine restarted"
    return Interruption(target(S.PROCESSING, "interrupt"), n, f"interrupted: {why}")
