"""Process trees: everything that a run has started, however well it hides."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from queuectl import processes
from queuectl.executors.slot import Slot
from queuectl.lifecycle import Claimed

Key = tuple[int, int]  # seq and run


class Trees:
    """Finds and signals the processes of the runs of some slots.

    Args:
        slots: the slots of this process, whose main thread is a subreaper.
        running: the runs that live now.
    """

    def __init__(self, slots: Sequence[Slot], running: Callable[[], Iterable[Key]]) -> None:
        self._slots, self._running = slots, running
        self._strays: dict[tuple[int, int], set[Key]] = {}

    def of(self, slot: Slot, job: Claimed, procs: dict[int, processes.Proc]) -> set[int]:
        """Return the living processes of a run: by session, group, ancestry, cookie, or because nobody else can own them."""
        me, key, pid = os.getpid(), (job.seq, job.run), slot.pid
        roots = {
            p.pid
            for p in procs.values()
            if pid and (p.pid == pid or p.session == pid or p.pgrp == pid) and p.pid != me
        }
        leaders = {s.pid for s in self._slots if s.pid and s is not slot}
        mine = (f"{job.id}.{job.run}", slot.worker_id)
        alive = set()
        for p in procs.values():
            if p.ppid != me or p.pid in leaders or p.pid in roots:
                continue
            stray = (p.pid, p.start)
            alive.add(stray)
            cookie = processes.cookies(p.pid)
            if cookie is None:
                # It wiped its environment: its owner is among the jobs that ran when it was first seen.
                others = set(self._running())
                suspects = self._strays.setdefault(stray, others | {key})
                suspects &= others | {key}
                if suspects == {key}:
                    roots.add(p.pid)
            elif cookie == mine:
                roots.add(p.pid)
        self._strays = {k: v for k, v in self._strays.items() if k in alive}
        return processes.descendants(roots, procs) - leaders - {me}

    def warn(self, slot: Slot, job: Claimed, number: int) -> None:
        """Send a signal to those of a run's processes that catch it: the shell above them, which does not, must not die of it."""
        procs = processes.table()
        processes.kill({p for p in self.of(slot, job, procs) if processes.catches(p, number)}, number, procs)

    def signal(self, slot: Slot, job: Claimed, number: int) -> None:
        """Send a signal to everything that a run has started."""
        procs = processes.table()
        processes.kill(self.of(slot, job, procs), number, procs)
