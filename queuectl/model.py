"""The words: states, outcomes and the small frozen records that everything else passes around."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from queuectl.records import NamedTuple, as_dict, names, record


class State(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"  # waits for its time
    BLOCKED = "blocked"  # waits for other jobs
    PENDING = "pending"  # ready now
    PROCESSING = "processing"  # claimed by a worker
    FAILED = "failed"  # waits out its back-off
    COMPLETED = "completed"
    DEAD = "dead"  # in the dead letter queue
    CANCELLED = "cancelled"


_STATES = {str(s): s for s in State}


def state_of(text: str) -> State:
    """Return a stored state; a word that queuectl did not write stays as it is, so that the row can be shown (no query finds it to run it)."""
    return _STATES.get(text, text)  # type: ignore[arg-type]


WAITING = (State.SCHEDULED, State.BLOCKED, State.PENDING, State.FAILED)
FINAL = (State.COMPLETED, State.DEAD, State.CANCELLED)


class Outcome(StrEnum):
    """How one execution ended."""

    OK = "ok"
    FAILED = "failed"  # exit status other than 0
    TIMEOUT = "timeout"  # stopped at its time limit
    KILLED = "killed"  # died of a signal
    SPAWN = "spawn"  # could not be started
    LOST = "lost"  # its worker died or gave it back
    CANCELLED = "cancelled"
    SNOOZED = "snoozed"  # asked to be tried later (exit 75)


class Progress(NamedTuple):
    """How far a run says it is."""

    done: float
    total: float
    text: str | None = None

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return min(1.0, self.done / self.total)

    def __str__(self) -> str:
        return f"{self.done:g}/{self.total:g} ({self.share:.0%})" + (f" {self.text}" if self.text else "")


def local_time(ms: int | None) -> datetime | None:
    """Return milliseconds since the epoch as an aware datetime in the local zone."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000).astimezone()


@record
class Job:
    """One command in the queue. Times are integer milliseconds UTC; `created_at` and its like are datetimes."""

    seq: int
    id: str
    command: str
    queue: str
    state: State
    priority: int
    rank: int
    attempts: int
    max_retries: int
    runs: int
    interruptions: int
    snoozes: int
    created_at_ms: int
    updated_at_ms: int
    run_at_ms: int | None
    due_mono_ms: int | None
    started_at_ms: int | None
    finished_at_ms: int | None
    worker_id: str | None
    outcome: Outcome | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    error: str | None
    error_sig: str | None
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
    tags: str
    params: str | None
    result: str | None
    progress_done: float | None
    progress_total: float | None
    progress_text: str | None
    progress_run: int | None  # the run that told it
    unique_key: str | None
    unique_for: str | None
    limit_key: str
    waits_for: int
    on_dep_fail: str | None
    retry_of: str | None
    batch: str | None
    schedule: str | None
    slot_ms: int | None
    origins: str | None
    cancel: int

    ROW: ClassVar[str]
    COLUMNS: ClassVar[tuple[str, ...]]  # of `as_dict`

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Job:
        """Build a job from a row of `Job.ROW`'s columns."""
        values = list(row)
        values[4] = state_of(values[4])
        if values[19] is not None:
            values[19] = Outcome(values[19])
        return cls(*values)

    @property
    def created_at(self) -> datetime | None:
        """When the job was enqueued, local time."""
        return local_time(self.created_at_ms)

    @property
    def updated_at(self) -> datetime | None:
        """When the row last changed, local time."""
        return local_time(self.updated_at_ms)

    @property
    def started_at(self) -> datetime | None:
        """When the latest run started, local time."""
        return local_time(self.started_at_ms)

    @property
    def finished_at(self) -> datetime | None:
        """When the job reached a final state, local time."""
        return local_time(self.finished_at_ms)

    @property
    def run_at(self) -> datetime | None:
        """When the job is due: its schedule, or the end of its back-off, local time."""
        return local_time(self.run_at_ms)

    @property
    def tag_list(self) -> tuple[str, ...]:
        """The job's tags."""
        return tuple(t for t in self.tags.split(" ") if t)

    @property
    def timed_out(self) -> bool | None:
        """Whether the latest run was stopped at its time limit; None before the first run."""
        return None if self.outcome is None else self.outcome is Outcome.TIMEOUT

    @property
    def progress(self) -> Progress | None:
        """What the latest run told of its progress; None when it told nothing."""
        if self.progress_run != self.runs or self.progress_done is None or self.progress_total is None:
            return None
        return Progress(self.progress_done, self.progress_total, self.progress_text)

    @property
    def settings_from(self) -> dict[str, str]:
        """Which of job, queue or config each setting came from; those not named are built in."""
        found = dict(json.loads(self.origins)) if self.origins else {}
        found.pop(ADDED_BY, None)
        return found

    @property
    def added_by(self) -> str:
        """Who enqueued the job: cli, panel, python, or worker for a schedule."""
        return str(json.loads(self.origins or "{}").get(ADDED_BY, "python"))

    def as_dict(self) -> dict[str, Any]:
        """Return the job's columns by name, JSON columns decoded and secrets of the environment left out."""
        row = {name: getattr(self, name) for name in self.COLUMNS}
        for name in ("params", "result"):
            row[name] = json.loads(row[name]) if row[name] is not None else None
        row["tags"] = list(self.tag_list)
        return row | dict(zip(_PROGRESS, self.progress or (None,) * 3, strict=True))

    def __repr__(self) -> str:
        from queuectl import display

        return f"<Job {self.id} {self.state} {display.preview(self.command)!r}>"

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.job_html(self)


ADDED_BY = "by"  # the key of `origins` that says who enqueued the job, where that was not a program
_PROGRESS = ("progress_done", "progress_total", "progress_text")
_HIDDEN = {"env", "origins", "due_mono_ms", "cancel", "rank", "waits_for", "progress_run"}
Job.COLUMNS = (*(n for n in names(Job) if n not in _HIDDEN), "timed_out", "settings_from")
Job.ROW = ", ".join(names(Job))


class HeldJob(Job):
    """A job that was in the queue already: it holds the unique key of one that was to be added."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the job's columns by name, and that it was not added now."""
        return Job.as_dict(self) | {"added": False}


def held(job: Job) -> HeldJob:
    """Return a job as one that was there already."""
    return HeldJob(*(getattr(job, n) for n in names(Job)))


@record
class Run:
    """One execution of a job."""

    job_id: str
    run: int
    worker_id: str | None
    started_at_ms: int | None
    finished_at_ms: int
    outcome: Outcome
    exit_code: int | None
    signal: int | None
    reason: str | None
    error: str | None
    error_sig: str | None
    cpu_user_ms: int | None
    cpu_sys_ms: int | None
    max_rss: int | None  # bytes
    stdout_bytes: int
    stderr_bytes: int
    output_dropped_ms: int | None = None  # because of output-total

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Run:
        """Build a run from its columns in the order of the fields."""
        values = list(row)
        values[5] = Outcome(values[5])
        return cls(*values)

    @property
    def started_at(self) -> datetime | None:
        """When the command was started, local time."""
        return local_time(self.started_at_ms)

    @property
    def finished_at(self) -> datetime | None:
        """When it had ended, local time."""
        return local_time(self.finished_at_ms)

    @property
    def duration_ms(self) -> int | None:
        """How long it ran, milliseconds."""
        return None if self.started_at_ms is None else max(0, self.finished_at_ms - self.started_at_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return the run's columns by name."""
        return as_dict(self) | {"duration_ms": self.duration_ms}


@record
class Worker:
    """One slot of a runner: what the command line calls a worker."""

    id: str
    runner: str
    state: str  # idle, busy, stopping, stale
    job_id: str | None
    pid: int
    host: str
    queues: str | None
    started_at_ms: int
    heartbeat_at_ms: int
    done: int
    failed: int

    @property
    def heartbeat_at(self) -> datetime | None:
        """The last sign of life, local time."""
        return local_time(self.heartbeat_at_ms)

    @property
    def started_at(self) -> datetime | None:
        """When the worker started, local time."""
        return local_time(self.started_at_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return the worker's columns by name."""
        return as_dict(self)


class JobList(list[Job]):
    """Jobs of one answer; `left_out` says how many more the filter matches."""

    def __init__(self, jobs: Iterator[Job] | list[Job] = (), *, left_out: int = 0) -> None:  # type: ignore[assignment]
        super().__init__(jobs)
        self.left_out = left_out

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.jobs_html(self, self.left_out)


@record
class Event:
    """One thing that happened: when, by whom, what, and to which job."""

    seq: int
    at_ms: int
    actor: str  # cli, panel, python or worker
    verb: str
    job_id: str | None
    detail: str | None

    @property
    def at(self) -> datetime | None:
        """When it happened, local time."""
        return local_time(self.at_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return the event's columns by name."""
        return as_dict(self)
