"""Why a job does not run, or ended as it did: one answer from all that is known, the reason that decides first.

Every reason for which the line passes a job over has its sentence here; `tests/control/test_explain.py` makes each of them true in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from queuectl import processes, reserve
from queuectl.answers import Because, Explanation, SettingFrom
from queuectl.model import FINAL, Event, Job, State, Worker, local_time
from queuectl.settings import JOB_SETTINGS, shown
from queuectl.store import Store
from queuectl.store.standing import Standing

EVENTS = 10
NAMED = 5


def explain(store: Store, job: Job, *, workers: Sequence[Worker], now_ms: int, mono_ms: int) -> Explanation:
    """Return the explanation of a job.

    Args:
        store: the queue's database; only read.
        job: the job.
        workers: all that have a row; those whose process is gone have the state stale.
        now_ms: the wall clock.
        mono_ms: the monotonic clock of this boot, by which back-offs end.
    """
    events = tuple(store.history.events(job_id=job.id, limit=EVENTS))
    live = [w for w in workers if w.state != "stale"]
    if job.state in FINAL:
        reasons = list(_ended(store, job, events))
    elif job.state is State.PROCESSING:
        reasons = list(_running(job, workers, now_ms))
    else:
        reasons = [
            *_waits(store, job, now_ms, mono_ms),
            *_held(store, job),
            *_unmanned(store, job, live, now_ms),
        ]
        if job.state is State.PENDING:
            # What is next is not taken while something else keeps it.
            reasons += [r for r in _in_line(store, job, live) if r.code != "next" or not reasons]
    return Explanation(
        job.id, job.state, tuple(reasons), tuple(_advice(job, reasons)), settings_of(job), events
    )


def settings_of(job: Job) -> tuple[SettingFrom, ...]:
    """Return every setting of a job, and where it came from."""
    origins = job.settings_from
    return tuple(
        SettingFrom(s.name, shown(s.name, getattr(job, s.column or s.name)), origins.get(s.name, "built-in"))
        for s in JOB_SETTINGS
    )


# -- why it waits --------------------------------------------------------------------------------


def _waits(store: Store, job: Job, now_ms: int, mono_ms: int) -> Iterator[Because]:
    """Yield why a job is not pending."""
    match job.state:
        case State.SCHEDULED:
            said = "asked to be tried later (exit status 75) and is" if job.outcome == "snoozed" else "is"
            yield Because("scheduled", f"{said} scheduled for {_until(job.run_at_ms, now_ms)}")
        case State.FAILED:
            left = max(0, (job.due_mono_ms or mono_ms) - mono_ms)
            yield Because(
                "back-off",
                f"attempt {job.attempts} of {job.max_retries} failed ({_why(job)}); it is tried again in {span(left)}, "
                f"at {_clock(now_ms + left)}",
            )
        case State.BLOCKED:
            yield from _blocked(store, job)


def _blocked(store: Store, job: Job) -> Iterator[Because]:
    blockers = store.family.blockers(job.seq)
    lost = [b for b in blockers if b.is_lost]
    if lost:
        names = tuple(b.id for b in lost)
        b = lost[0]
        need = " to fail" if b.needs == "fail" else ""
        what = f"waits for {b.id}{need}, which {'has completed' if b.state is State.COMPLETED else f'is {b.state}'}"
        more = f", and for {len(lost) - 1} more that ended so" if len(lost) > 1 else ""
        yield Because(
            "hopeless", f"{what}{more}; it cannot run by itself (on-dep-fail is {job.on_dep_fail})", names
        )
    open_ = [b for b in blockers if not b.is_lost]
    if open_:
        named = ", ".join(f"{b.id} ({b.state})" for b in open_[:NAMED])
        more = f" and {len(open_) - NAMED:,} more" if len(open_) > NAMED else ""
        yield Because("blocked", f"waits for {named}{more}", tuple(b.id for b in open_))
        stuck = store.family.hopeless(b.id for b in open_)
        if stuck:
            roots = tuple(dict.fromkeys(stuck.values()))
            verb = (
                "it cannot run by itself any more"
                if len(stuck) == len(open_)
                else f"{_listed([*stuck])} cannot run any more"
            )
            yield Because("hopeless", f"{verb}, because {_listed(roots)} ended otherwise than needed", roots)


def _held(store: Store, job: Job) -> Iterator[Because]:
    """Yield what keeps a whole queue from being claimed."""
    reason, every, own = Standing(store.connection).pauses(job.queue)
    note = f" ({reason})" if reason else ""
    if every:
        yield Because("all-paused", f"all queues are paused{note if not own else ''}")
    if own:
        yield Because("paused", f"queue {job.queue} is paused{note}")
    breaker = store.queues.breaker(job.queue)
    if breaker.is_open:
        yield Because(
            "breaker", f"the breaker of queue {job.queue} is open since {_clock(breaker.opened_at_ms)}: {breaker.why}; "
            f"it lets one job through at {_clock(breaker.probe_at_ms)}",
        )  # fmt: skip


def _unmanned(store: Store, job: Job, live: Sequence[Worker], now_ms: int) -> Iterator[Because]:
    """Yield that nobody is there who could run it."""
    if (free := reserve.free_bytes(store.path)) < reserve.FREE_BYTES:
        yield Because(
            "disk-full",
            f"the database's disk is full ({free >> 10:,} KiB are free): workers start nothing below {reserve.FREE_BYTES >> 10:,} KiB",
        )
    if not live:
        yield Because("no-worker", "no worker is alive")
    elif not _serving(job, live):
        named = sorted({w.queues or "" for w in live})
        yield Because(
            "no-worker-for-queue",
            f"no worker takes jobs of queue {job.queue}; those alive take {_listed(named)}",
        )
    elif all(w.state == "stopping" for w in _serving(job, live)):
        yield Because("stopping", "every worker of its queue is stopping")
    elif (silent := _silence_ms(_serving(job, live), now_ms)) > store.settings.get("lease"):
        yield Because(
            "silent",
            f"no worker of its queue has given a sign of life for {span(silent)}: frozen, or ended elsewhere",
        )


def _silence_ms(workers: Sequence[Worker], now_ms: int) -> int:
    return now_ms - max(w.heartbeat_at_ms for w in workers if w.state != "stopping")


def _in_line(store: Store, job: Job, live: Sequence[Worker]) -> list[Because]:
    """Return what else keeps a pending job waiting, or that nothing does."""
    found: list[Because] = []
    standing = Standing(store.connection)
    if job.interruptions:
        found.append(
            Because("suspect", f"its worker died under it {_times(job.interruptions)}, so it is tried alone, by a worker that has a slot free")
        )  # fmt: skip
    if job.limit_key:
        limit, holders = standing.holders(job.limit_key)
        if limit is not None and len(holders) >= limit:
            found.append(
                Because("limit", f"limit {job.limit_key} lets {limit:,} run at once, held by {_listed(holders)}", tuple(holders))
            )  # fmt: skip
    serving = [w for w in _serving(job, live) if w.state != "stopping"]
    if serving and not found:
        front = standing.in_front(job, queues=_taken(serving))
        place = (
            f"{front:,} {'job is' if front == 1 else 'jobs are'} in front of it" if front else "it is next"
        )
        if all(w.state == "busy" for w in serving):
            names = tuple(w.job_id for w in serving if w.job_id)
            found.append(
                Because("busy", f"all {len(serving):,} workers of its queue are busy; {place}", names)
            )
        elif front:
            found.append(Because("in-line", place))
        else:
            found.append(Because("next", "it is next: a free worker takes it"))
    return found


def _taken(workers: Sequence[Worker]) -> set[str] | None:
    """Return the queues that any of these workers takes, None for all."""
    if any(w.queues is None for w in workers):
        return None
    return {q for w in workers for q in (w.queues or "").split(",")}


def _serving(job: Job, workers: Sequence[Worker]) -> list[Worker]:
    return [w for w in workers if w.queues is None or job.queue in w.queues.split(",")]


# -- running, and ended --------------------------------------------------------------------------


def _running(job: Job, workers: Sequence[Worker], now_ms: int) -> Iterator[Because]:
    worker = next((w for w in workers if w.id == job.worker_id), None)
    where = f"worker {job.worker_id}" + (f" (pid {worker.pid} on {worker.host})" if worker else "")
    since = job.started_at_ms or now_ms
    took = now_ms - since
    if worker is not None and worker.state != "stale" and not _has_begun(job, worker, workers):
        if job.cancel:
            yield Because("cancelling", "was cancelled and will not start")
        yield Because(
            "claimed", f"was claimed by {where} at {_clock(since)} and has not started: it waits for a slot"
        )
        return
    text = f"runs on {where} since {_clock(since)}, for {span(took)}"
    if job.timeout_ms is not None:
        left = job.timeout_ms - took
        text += f"; {f'{span(left)} of its {span(job.timeout_ms)} are left' if left > 0 else 'its time is up and it is being ended'}"
    if job.cancel:
        yield Because(
            "cancelling",
            f"was cancelled and is being ended: KILL follows TERM after {span(job.kill_after_ms)}",
        )
    if worker is None or worker.state == "stale":
        yield Because("lost", f"its {where} is gone; the next worker puts the job back in line")
    yield Because("running", text)


def _has_begun(job: Job, worker: Worker, workers: Sequence[Worker]) -> bool:
    """Whether a claimed job runs: its runner has said so, or a process of it lives; of another host only the former could be seen, and it comes late."""
    if worker.host != processes.host() or job.id in {w.job_id for w in workers}:
        return True
    slots = {w.id for w in workers if w.runner == worker.runner}
    return processes.has_process(f"{job.id}.{job.runs}", slots)


def _ended(store: Store, job: Job, events: Sequence[Event]) -> Iterator[Because]:
    took = "" if job.started_at_ms is None or job.finished_at_ms is None else f", after {span(job.finished_at_ms - job.started_at_ms)}"  # fmt: skip
    when = _clock(job.finished_at_ms)
    match job.state:
        case State.COMPLETED:
            yield Because("completed", f"completed at {when}{took}")
        case State.DEAD:
            yield Because("dead", f"died at {when}: {_why(job)}{_spent(job)}")
            if job.error:
                cause = f" (cause {job.error_sig})" if job.error_sig else ""
                yield Because("error", f"its last error{cause}: {job.error}")
        case _:
            who = next((f", by {e.actor}" for e in reversed(events) if e.verb in ("cancel", "retry", "dlq retry", "replace")), "")  # fmt: skip
            yield Because("cancelled", f"cancelled at {when}{who}: {_why(job)}")
    waiting = store.family.waiting_for(job.seq)
    if waiting:
        yield Because("keeps", f"{_listed([i for _, i in waiting])} cannot run because of it", tuple(i for _, i in waiting))  # fmt: skip


def _spent(job: Job) -> str:
    if job.attempts and job.attempts >= job.max_retries:
        return f", the last of {max(1, job.max_retries)} attempts"
    return f", after {job.attempts} of {job.max_retries} attempts" if job.attempts else ""


def _why(job: Job) -> str:
    return job.reason or "no reason was recorded"


# -- what helps ----------------------------------------------------------------------------------


def _advice(job: Job, reasons: Sequence[Because]) -> Iterator[str]:
    for because in reasons:
        match because.code:
            case "all-paused":
                yield "queuectl resume"
            case "paused":
                yield f"queuectl resume {job.queue}"
            case "disk-full":
                yield "queuectl prune --older-than 7d"
            case "no-worker" | "silent":
                yield "queuectl worker"
            case "no-worker-for-queue":
                yield f"queuectl worker --queues {job.queue}"
            case "hopeless":
                yield f"queuectl retry {because.jobs[0]}"
                yield f"queuectl edit {job.id} --on-dep-fail run"
            case "scheduled":
                yield f"queuectl edit {job.id} --delay 0"
            case "back-off":
                yield f"queuectl retry {job.id}"
            case "limit":
                yield f"queuectl limit set {job.limit_key} N"
            case "in-line" | "busy":
                yield f"queuectl bump {job.id}"
            case "dead":
                yield f"queuectl dlq retry {job.id}"
            case "cancelled" if (new := _successor(job)) is not None:
                yield f"queuectl explain {new}"
            case "cancelled":
                yield f"queuectl retry {job.id}"


def _successor(job: Job) -> str | None:
    """Return the job in the place of this one, if there is one."""
    for mark in ("retried as ", "replaced by "):
        if job.reason is not None and job.reason.startswith(mark):
            return job.reason.removeprefix(mark).split(";")[0]
    return None


# -- words ---------------------------------------------------------------------------------------


def _clock(ms: int | None) -> str:
    moment = local_time(ms)
    return "an unknown time" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def _until(ms: int | None, now_ms: int) -> str:
    left = (ms or now_ms) - now_ms
    return f"{_clock(ms)}, {f'in {span(left)}' if left > 0 else 'which is now'}"


def span(ms: int) -> str:
    """Return a duration as people say it: 850 ms, 12 s, 35 min, 5 h 20 min, 3 d 4 h."""
    if ms < 1000:
        return f"{max(0, ms)} ms"
    seconds = ms // 1000
    if seconds < 120:
        return f"{ms / 1000:.1f} s".replace(".0 s", " s")
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 120:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{days} d {hours % 24} h"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")
