"""What a run wrote: from the database, from a file of the logs folder, or while it still runs from its worker's spool."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from queuectl.errors import NothingMatched
from queuectl.model import Job, State, local_time
from queuectl.store import Store


def stream(store: Store, job: Job, *, run: int | None, stderr: bool, follow: bool) -> Iterator[bytes]:
    """Yield the output of a run in pieces.

    Args:
        store: the queue's database.
        job: the job.
        run: which run; the latest when None.
        stderr: standard error instead of standard output.
        follow: go on while the job runs.

    Raises:
        NothingMatched: the run does not exist.
    """
    number = job.runs if run is None else run
    if number < 1 or number > job.runs:
        raise NothingMatched(f"job {job.id}: has {job.runs} runs, no run {number}")
    sent = 0
    while job.state is State.PROCESSING and job.runs == number:
        for piece in _spool(store, job, stderr, sent):
            sent += len(piece)
            yield piece
        if not follow:
            return
        time.sleep(0.1)
        job = store.jobs.get(job.id)
    yield from stored(store, job.seq, number, stderr=stderr, offset=sent)
    dropped = store.retention.dropped_ms(job.seq, number)
    if dropped is not None:
        raise NothingMatched(
            f"job {job.id}, run {number}: its output was dropped on {local_time(dropped):%Y-%m-%d %H:%M}, being the oldest of more than output-total"
        )


def _spool(store: Store, job: Job, stderr: bool, offset: int) -> Iterator[bytes]:
    path = os.path.join(
        os.path.dirname(store.path), "logs", "live", f"{job.worker_id}.{'err' if stderr else 'out'}"
    )
    yield from _file(path, offset)


def stored(
    store: Store, seq: int, run: int, *, stderr: bool, offset: int = 0, tail: int | None = None
) -> Iterator[bytes]:
    """Yield the kept output of a run that has ended, from an offset on or only its last `tail` bytes."""
    row = store.jobs.output(seq, run)
    if row is None:
        return
    name, inline = (row[3], row[1]) if stderr else (row[2], row[0])
    if name is not None:
        path = os.path.join(os.path.dirname(store.path), "logs", os.path.basename(name))
        yield from _file(path, offset, tail)
    elif inline:
        yield inline[offset:] if tail is None else inline[-tail:]


def _file(path: str, offset: int, tail: int | None = None) -> Iterator[bytes]:
    try:
        with open(path, "rb") as f:
            f.seek(offset if tail is None else max(0, os.fstat(f.fileno()).st_size - tail))
            while piece := f.read(1 << 16):
                yield piece
    except FileNotFoundError:
        return
