"""What a report tells, gathered from the store."""

from __future__ import annotations

import os
from collections.abc import Sequence

from queuectl import __version__
from queuectl.answers import Cause
from queuectl.display import escape_terminal, mask_secrets
from queuectl.model import State
from queuectl.output import stored
from queuectl.records import record
from queuectl.store import Store
from queuectl.store.trends import Trends

BUCKETS = 48
SAMPLE_LINES = 12
SAMPLE_BYTES = 16_384
LINE_CHARS = 400


@record
class Group:
    """A cause, and what of it is in the queue now.

    Attributes:
        cause: the failed runs.
        dead: jobs in the dead letter queue because of it.
        waiting: jobs that will be tried again after it.
        timeline: failed runs in each bucket, oldest first.
        sample: the last lines of the latest example's error output (or output), masked, one a line.
        sample_job: the example's id, whole.
    """

    cause: Cause
    dead: int
    waiting: int
    timeline: tuple[int, ...]
    sample: tuple[str, ...]


@record
class Facts:
    """An incident: the failed runs of a window, by cause.

    Attributes:
        db: absolute path of the database.
        made_ms: when the report was made.
        start_ms: begin of the window; the first failure where none was asked for.
        end_ms: its end.
        groups: the most frequent causes.
        left_out: how many causes more.
        runs: failed runs in all.
        wasted_ms: how long these took in all.
        counts: jobs by state now.
        others: failed runs of the causes left out, by bucket.
        version: of queuectl.
        since: the window as it was asked for, for the calls that repeat it.
    """

    db: str
    made_ms: int
    start_ms: int
    end_ms: int
    groups: tuple[Group, ...]
    left_out: int
    runs: int
    wasted_ms: int
    counts: dict[State, int]
    others: tuple[int, ...]
    version: str = __version__
    since: str | None = None

    @property
    def bucket_ms(self) -> int:
        """How long a bucket of the timelines is."""
        return max(1, (self.end_ms - self.start_ms) // BUCKETS)


def gather(
    store: Store, causes: Sequence[Cause], *, left_out: int, runs: int, wasted_ms: int, since_ms: int | None, since: str | None, now_ms: int
) -> Facts:  # fmt: skip
    """Return what a report of these causes tells.

    Args:
        store: the queue's database.
        causes: the most frequent causes of the window.
        left_out: how many more there are.
        runs: failed runs of the window in all.
        wasted_ms: how long these took in all.
        since_ms: begin of the window, None for the first failure.
        since: as it was asked for.
        now_ms: the time.
    """
    trends = Trends(store.connection)
    start = since_ms if since_ms is not None else min((c.first_seen_ms for c in causes), default=now_ms)
    end = max(
        now_ms if since_ms is not None else max((c.last_seen_ms for c in causes), default=now_ms) + 1,
        start + 1,
    )
    sigs = [c.sig for c in causes]
    held = trends.jobs_by_sig(sigs)
    lines: dict[str, list[int]] = {s: [0] * BUCKETS for s in sigs}
    others = [0] * BUCKETS
    for sig, bucket, n in trends.failures_over_time(start, end, buckets=BUCKETS):
        lines.get(sig, others)[bucket] += n
    groups = tuple(
        Group(c, held[c.sig].get(State.DEAD, 0), held[c.sig].get(State.FAILED, 0), tuple(lines[c.sig]), _sample(store, trends, c.sig))
        for c in causes
    )  # fmt: skip
    return Facts(
        store.path,
        now_ms,
        start,
        end,
        groups,
        left_out,
        runs,
        wasted_ms,
        store.jobs.counts(),
        tuple(others),
        since=since,
    )


def _sample(store: Store, trends: Trends, sig: str) -> tuple[str, ...]:
    place = trends.example_run(sig)
    if place is None:
        return ()
    for stderr in (True, False):
        data = b"".join(stored(store, *place, stderr=stderr, tail=SAMPLE_BYTES))
        text = data.decode(errors="backslashreplace").replace("\r\n", "\n")
        lines = [_line(x) for x in text.split("\n") if x.strip()]
        if lines:
            return tuple(lines[-SAMPLE_LINES:])
    return ()


def _line(text: str) -> str:
    shown = escape_terminal(mask_secrets(text.rpartition("\r")[2] or text).rstrip())
    return shown if len(shown) <= LINE_CHARS else shown[:LINE_CHARS] + "…"


def name_of(facts: Facts) -> str:
    """Return what the report calls its queue."""
    folder, name = os.path.split(facts.db)
    return os.path.join(os.path.basename(folder), name)
