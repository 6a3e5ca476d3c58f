"""The queue as one would explain it to a person: plain Python, no database, and nothing taken from the code it is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

WAITING = ("scheduled", "blocked", "pending", "failed")
FINAL = ("completed", "dead", "cancelled")
STRICT = 4_102_444_800_001  # ms that a step of priority is worth when priority is strict
SNOOZE_MS = 60_000
PILL = 3  # interruptions


@dataclass(slots=True)
class Expected:
    """A job as it ought to be."""

    id: str
    seq: int
    queue: str
    priority: int
    max_retries: int
    backoff: str
    created: int
    state: str
    rank: int
    run_at: int | None = None
    due: int | None = None  # monotonic
    unique: tuple[str, str] | None = None  # key, and how long it is held
    limit_key: str = ""
    attempts: int = 0
    runs: int = 0
    interruptions: int = 0
    snoozes: int = 0
    worker: str | None = None
    cancel: bool = False
    needs: dict[str, str] = field(default_factory=dict)  # parent -> ok, any or fail
    met: set[str] = field(default_factory=set)
    recorded: list[tuple[int, str]] = field(default_factory=list)  # run, outcome

    def holds_its_key(self) -> bool:
        """Whether no other job may have this one's unique key now."""
        match self.unique:
            case None:
                return False
            case (_, "forever"):
                return True
            case (_, "success"):
                return self.state not in ("dead", "cancelled")
            case (_, "active"):
                return self.state in (*WAITING, "processing")
            case _:
                return self.runs == 0 and self.state in ("scheduled", "blocked", "pending")

    def delay_ms(self) -> int:
        """How long it waits after its latest failure: base 2."""
        n = self.attempts
        seconds = {"exponential": 2**n, "linear": 2 * n, "fixed": 2}.get(self.backoff)
        listed = (2, 7)
        return 1000 * (listed[min(n, len(listed)) - 1] if seconds is None else seconds)


class Model:
    """All jobs, what is paused and limited, and two clocks."""

    def __init__(self, *, now: int, mono: int) -> None:
        self.now, self.mono = now, mono
        self.jobs: dict[str, Expected] = {}
        self.paused: set[str] = set()
        self.limits: dict[str, int] = {}
        self.max_retries = 3
        self.step = STRICT
        self.latest_seq = 0

    # --- in ---

    def holder(self, key: str) -> str | None:
        return next(
            (j.id for j in self.jobs.values() if j.unique and j.unique[0] == key and j.holds_its_key()), None
        )

    def add(self, job: Expected, *, delay_ms: int | None) -> None:
        self.latest_seq += 1
        job.seq = self.latest_seq
        ready = self.now + (delay_ms or 0)
        if delay_ms:
            job.run_at = ready
        job.rank = ready - job.priority * self.step
        for parent, needs in job.needs.items():
            if _is_met(needs, self.jobs[parent].state):
                job.met.add(parent)
        job.state = "blocked" if len(job.met) < len(job.needs) else self._ready(job)
        self.jobs[job.id] = job

    def _ready(self, job: Expected) -> str:
        return "scheduled" if job.run_at is not None and job.run_at > self.now else "pending"

    # --- the line ---

    def claimable(self, queues: Collection[str] | None, *, suspects: bool = False) -> list[Expected]:
        """Pending jobs that may start now, in their order, each limit key's room respected."""
        found = sorted((j for j in self.jobs.values() if j.state == "pending"), key=lambda j: (j.rank, j.seq))
        room = {k: n - self.running(k) for k, n in self.limits.items()}
        out = []
        for job in found:
            if (
                "*" in self.paused
                or job.queue in self.paused
                or (queues is not None and job.queue not in queues)
            ):
                continue
            if (job.interruptions > 0) is not suspects:
                continue
            if job.limit_key in room:
                if room[job.limit_key] < 1:
                    continue
                room[job.limit_key] -= 1
            out.append(job)
        return out

    def running(self, limit_key: str) -> int:
        return sum(j.state == "processing" and j.limit_key == limit_key for j in self.jobs.values())

    def start(self, job: Expected, worker: str) -> None:
        job.state, job.worker = "processing", worker
        job.runs += 1

    def is_current(self, job_id: str, seq: int, run: int) -> bool:
        """Whether this run still has its job: what the fence must say."""
        job = self.jobs.get(job_id)
        return job is not None and job.seq == seq and job.state == "processing" and job.runs == run

    def finish(self, job_id: str, how: str, *, worker: str) -> None:
        """A run's end: ok, failed, killed, timeout, snoozed, cancelled, lost (given back) or stuck."""
        job = self.jobs[job_id]
        job.recorded.append((job.runs, "lost" if how == "stuck" else how))
        job.worker, job.run_at, job.due = worker, None, None
        if how in ("failed", "killed", "timeout"):
            job.attempts += 1
            if job.attempts >= job.max_retries:
                job.state = "dead"
            else:
                job.state = "failed"
                job.run_at, job.due = self.now + job.delay_ms(), self.mono + job.delay_ms()
                job.rank = job.run_at - job.priority * self.step
        elif how == "snoozed":
            job.state, job.run_at = "scheduled", self.now + SNOOZE_MS
            job.rank = job.run_at - job.priority * self.step
            job.snoozes += 1
        else:
            job.state = {"ok": "completed", "cancelled": "cancelled", "lost": "pending", "stuck": "dead"}[how]
        self.ended(job)

    def ended(self, job: Expected) -> None:
        """Whatever took it from its worker: a cancel that was asked for meanwhile holds, and its children hear of its end."""
        if job.cancel and job.state not in FINAL:
            job.state, job.due = "cancelled", None
        job.cancel = False
        if job.state in FINAL:
            self.release([job])

    def release(self, parents: Iterable[Expected]) -> None:
        """Tell the children of jobs that have ended."""
        for parent in parents:
            for child in self.jobs.values():
                if parent.id in child.needs and _is_met(child.needs[parent.id], parent.state):
                    child.met.add(parent.id)
                if parent.id in child.needs and child.state == "blocked" and child.met >= set(child.needs):
                    child.state = self._ready(child)

    def give_back(self, job_id: str) -> None:
        """A claim that never started leaves no mark."""
        job = self.jobs[job_id]
        if job.unique and (other := self.holder(job.unique[0])) and other != job.id:
            job.unique = None
        job.state, job.worker = "pending", None
        job.runs -= 1
        self.ended(job)

    def interrupt(self, job_id: str, *, charged: bool) -> None:
        """Its worker died."""
        job = self.jobs[job_id]
        job.recorded.append((job.runs, "lost"))
        job.interruptions += charged
        if charged and job.interruptions >= PILL:
            job.state = "dead"
        else:
            job.state, job.worker = "pending", None
        self.ended(job)

    def promote(self) -> set[str]:
        """Make due jobs pending; return those that had failed."""
        retried = set()
        for job in self.jobs.values():
            if job.state == "scheduled" and job.run_at <= self.now:
                job.state = "pending"
            elif job.state == "failed" and job.due <= self.mono:
                job.state, job.due = "pending", None
                retried.add(job.id)
        return retried

    def reboot(self) -> None:
        """The monotonic clock starts anew; what is left of each back-off is kept by the wall clock."""
        self.mono = 5_000
        for job in self.jobs.values():
            if job.state == "failed":
                job.due = self.mono + max(0, job.run_at - self.now)

    # --- what people do ---

    def can_requeue(self, job: Expected) -> bool:
        """Whether a retry would not take a unique key from another job."""
        if job.unique is None or job.holds_its_key():
            return True
        key, how_long = job.unique
        would_hold = how_long != "queued" or job.runs == 0
        return not would_hold or self.holder(key) is None

    def requeue(self, job: Expected, max_retries: int | None) -> None:
        if job.state in ("dead", "cancelled"):
            job.attempts = job.interruptions = 0
        job.state, job.run_at, job.due, job.cancel = "pending", None, None, False
        job.rank = self.now - job.priority * self.step
        job.max_retries = job.max_retries if max_retries is None else max_retries

    def cancel(self, job: Expected) -> None:
        if job.state == "processing":
            job.cancel = True
        else:
            job.state, job.due = "cancelled", None

    def delete(self, job: Expected) -> None:
        del self.jobs[job.id]
        for child in self.jobs.values():
            child.needs.pop(job.id, None)
            child.met.discard(job.id)

    def set_aging(self, step: int | None) -> None:
        before, self.step = self.step, STRICT if step is None else step
        for job in self.jobs.values():
            if job.state in WAITING:
                job.rank += job.priority * (before - self.step)


def _is_met(needs: str, state: str) -> bool:
    return (needs != "fail" and state == "completed") or (needs != "ok" and state in ("dead", "cancelled"))
