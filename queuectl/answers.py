"""Answers: what the verbs of `Queue` return, beside the jobs, runs and workers themselves. Frozen records that print themselves."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from queuectl.model import Event, Job, Run, State, Worker, local_time
from queuectl.records import NamedTuple, as_dict, names, record


@record
class QueueState:
    """A queue: its jobs by state, and whether it is paused, by a person or by its breaker."""

    name: str
    counts: dict[State, int]
    paused: bool
    reason: str | None
    breaker_open: bool
    breaker_why: str | None
    opened_at_ms: int | None
    probe_at_ms: int | None  # when the breaker lets the next job through, at the earliest

    COLUMNS: ClassVar[tuple[str, ...]]  # of `as_dict`

    @property
    def is_open(self) -> bool:
        """Whether its jobs are claimed."""
        return not self.paused and not self.breaker_open

    @property
    def why(self) -> str | None:
        """Why its jobs are not claimed; None when they are."""
        said = [f"paused{': ' + self.reason if self.reason else ''}"] if self.paused else []
        said += [f"paused by its breaker: {self.breaker_why}"] if self.breaker_open else []
        return ", and ".join(said) or None

    def as_dict(self) -> dict[str, Any]:
        """Return the queue's columns by name."""
        return as_dict(self) | {
            "counts": {str(k): n for k, n in self.counts.items()},
            "why": self.why,
        }


QueueState.COLUMNS = (*names(QueueState), "why")


@record
class LimitState:
    """A limit key: how many of its jobs may run at once (None: any number), which do, and how many are ready to."""

    key: str
    n: int | None
    holders: tuple[str, ...]
    waiting: int

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "key",
        "limit",
        "running",
        "room",
        "waiting",
        "holders",
    )  # of `as_dict`

    @property
    def room(self) -> int | None:
        """How many more may start now; None for any number."""
        return None if self.n is None else max(0, self.n - len(self.holders))

    def as_dict(self) -> dict[str, Any]:
        """Return the limit's columns by name, and its room."""
        return {"key": self.key, "limit": self.n, "running": len(self.holders), "room": self.room,
                "waiting": self.waiting, "holders": list(self.holders)}  # fmt: skip


@record
class Status:
    """The queue at a glance: counts of all jobs, the newest of them, the live workers, what is paused or limited."""

    counts: dict[State, int]
    jobs: tuple[Job, ...]
    left_out: int
    workers: tuple[Worker, ...]
    paused: tuple[str, ...]
    breakers: tuple[QueueState, ...] = ()  # queues that their breaker has paused
    limits: tuple[LimitState, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return counts, jobs and workers as plain data."""
        return {
            "counts": {str(k): v for k, v in self.counts.items()},
            "jobs": [j.as_dict() for j in self.jobs],
            "left_out": self.left_out,
            "workers": [w.as_dict() for w in self.workers],
            "paused": list(self.paused),
            "breakers": [b.as_dict() for b in self.breakers],
            "limits": [n.as_dict() for n in self.limits],
        }

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.status_html(self)


@record
class JobDetails:
    """A job and its runs, oldest first."""

    job: Job
    runs: tuple[Run, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the job's columns plus `runs`; the number of runs started moves to `runs_started`."""
        row = self.job.as_dict()
        row["runs_started"] = row["runs"]
        row["runs"] = [r.as_dict() for r in self.runs]
        return row

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.details_html(self)


class Because(NamedTuple):
    """One reason: a word for programs, a sentence for people, and the jobs it speaks of."""

    code: str
    text: str
    jobs: tuple[str, ...] = ()


class SettingFrom(NamedTuple):
    """One setting of a job: its value as a person would type it, and where it came from: job, queue, config, edit or built-in."""

    name: str
    value: str
    origin: str


@record
class Explanation:
    """Why a job does not run, or why it ended as it did, and where each of its settings came from.

    Attributes:
        id: the job.
        state: its state.
        reasons: the first is the answer; the others hold as well.
        advice: commands that would help.
        settings: all settings of the job.
        events: the latest of what was done to it, oldest first.
    """

    id: str
    state: State
    reasons: tuple[Because, ...]
    advice: tuple[str, ...]
    settings: tuple[SettingFrom, ...]
    events: tuple[Event, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """The reasons as words for programs."""
        return tuple(r.code for r in self.reasons)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "id": self.id,
            "state": str(self.state),
            "reasons": [r._asdict() | {"jobs": list(r.jobs)} for r in self.reasons],
            "advice": list(self.advice),
            "settings": {s.name: {"value": s.value, "from": s.origin} for s in self.settings},
            "events": [e.as_dict() for e in self.events],
        }

    def __repr__(self) -> str:
        from queuectl import display

        return f"<{self.id} {self.state}: {display.preview(self.reasons[0].text, 200)}>"

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.explanation_html(self)


class Change(NamedTuple):
    """One value of a job that was, or would be, changed."""

    id: str
    field: str
    before: str
    after: str


@record
class ActionResult:
    """What a verb did, id by id: true when it did anything."""

    verb: str
    done: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.done)

    def as_dict(self) -> dict[str, Any]:
        """Return verb, done, skipped and dry_run as plain data."""
        return {
            "verb": self.verb,
            "done": list(self.done),
            "skipped": [{"id": i, "reason": why} for i, why in self.skipped],
            "dry_run": self.dry_run,
            "notes": list(self.notes),
            "changes": [c._asdict() for c in self.changes],
        }

    def __repr__(self) -> str:
        word = "would be" if self.dry_run else "were"
        return f"<{self.verb}: {len(self.done)} {word} done, {len(self.skipped)} skipped>"

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.result_html(self)


@record
class Cause:
    """The failed runs that share a cause. Times are integer milliseconds UTC; `first_seen` and `last_seen` are datetimes.

    Attributes:
        sig: 8 hexadecimal digits; what `--sig` takes.
        message: the error with its variable parts masked.
        count: failed runs.
        jobs: jobs that they are runs of.
        share: part of all failed runs of the same window, 0 to 1.
        wasted_ms: how long these runs took in all.
        example_job: the job whose run failed of it last.
        example_line: that run's error as it was printed.
        commands: a few of the commands, the latest first.
    """

    sig: str
    message: str
    count: int
    jobs: int
    share: float
    first_seen_ms: int
    last_seen_ms: int
    wasted_ms: int
    example_job: str | None
    example_line: str | None
    commands: tuple[str, ...]

    @property
    def first_seen(self) -> datetime | None:
        """When a run of the window first failed of it, local time."""
        return local_time(self.first_seen_ms)

    @property
    def last_seen(self) -> datetime | None:
        """When a run last failed of it, local time."""
        return local_time(self.last_seen_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return the cause's columns by name."""
        return as_dict(self) | {"commands": list(self.commands)}

    def __repr__(self) -> str:
        from queuectl import display

        return f"<Cause {self.sig} {self.count:,} runs {display.preview(self.message)!r}>"

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.causes_html([self], 0)


class CauseList(list[Cause]):
    """Causes of failure, the most frequent first; `left_out` says how many more there are."""

    def __init__(self, causes: Iterable[Cause] = (), *, left_out: int = 0) -> None:
        super().__init__(causes)
        self.left_out = left_out

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.causes_html(self, self.left_out)


class EventList(list[Event]):
    """Events, oldest first."""

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.events_html(self)


@record
class WaitResult:
    """How the jobs that were waited for ended; true when all completed."""

    states: dict[str, State]

    @property
    def failed(self) -> tuple[str, ...]:
        """Ids of the jobs that did not complete."""
        return tuple(i for i, s in self.states.items() if s is not State.COMPLETED)

    def __bool__(self) -> bool:
        return not self.failed

    def as_dict(self) -> dict[str, Any]:
        """Return id and state pairs, and the ids that failed."""
        return {"states": {i: str(s) for i, s in self.states.items()}, "failed": list(self.failed)}

    def _repr_html_(self) -> str:
        from queuectl import html

        return html.wait_html(self)
