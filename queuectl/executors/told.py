"""What running jobs tell of their progress: the ends of their spools, read now and then.

Without a pipe, so that a job neither waits for a reader nor outlives one: a look reads at most 64 KiB of a run that is at least a second old,
at most once a second, and only when its output has grown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from queuectl.executors.slot import Slot
from queuectl.model import Progress
from queuectl.progress_lines import TAIL, latest
from queuectl.records import NamedTuple

LOOK_S = 1.0


class Told(NamedTuple):
    """The progress of one run."""

    progress: Progress
    seq: int
    run: int


class _Look(NamedTuple):
    key: tuple[int, int]
    at: float  # monotonic seconds
    size: int
    found: Progress | None


class Listener:
    """Listens to the jobs of some slots.

    Args:
        slots: them.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._looks: dict[int, _Look] = {}

    def news(self) -> list[Told]:
        """Return the progress of the runs that have told a new one since they were last looked at."""
        now = time.monotonic()
        return [told for slot in self._slots if (told := self._look(slot, now))]

    def _look(self, slot: Slot, now: float) -> Told | None:
        job = slot.job
        if job is None or now - slot.started_mono < LOOK_S:
            return None
        key = (job.seq, job.run)
        last = self._looks.get(slot.index)
        if last is None or last.key != key:
            last = _Look(key, 0.0, 0, None)
        elif now - last.at < LOOK_S:
            return None
        size = slot.stdout.size()
        if size == last.size:
            return None
        tail = os.pread(slot.stdout.handle, TAIL, max(0, size - TAIL))
        if slot.job is not job:
            return None  # it has ended meanwhile, and this may be the next one's output
        found = latest(tail, whole=size <= TAIL) or last.found
        self._looks[slot.index] = _Look(key, now, size, found)
        return Told(found, *key) if found and found != last.found else None
