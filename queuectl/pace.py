"""Pace: how many jobs a runner claims at a time.

Short jobs are claimed some tens of milliseconds ahead, so that slots never wait for a transaction and one commit serves dozens of runs; long ones are
claimed one for each free slot, so that nobody else's slot stands idle beside them.
"""

from __future__ import annotations

AHEAD_S = 0.05  # of work claimed ahead
SHORT_S = 0.1  # a job shorter than this is claimed while the one before it runs
AHEAD_MAX = 256
STRANDED_S = 0.25  # without an end, after which jobs claimed ahead are given back
_SHORTEST_S = 0.0002  # what a run is taken for at least


class Pace:
    """Learns how long runs take, and says how many jobs to claim."""

    def __init__(self) -> None:
        self.typical_s = 1.0  # moving average of a run's length

    def observe(self, took_s: float) -> None:
        """Learn from a run's length, seconds."""
        # From long to short in one step: the first short runs of a batch should not be claimed one by one.
        self.typical_s = 0.9 * self.typical_s + 0.1 * took_s if self.typical_s < 1 else took_s

    def slow_down(self) -> None:
        """Jobs turned out to be longer than was believed: claim nothing ahead until they are seen to be short again."""
        self.typical_s = max(self.typical_s, 2 * SHORT_S)

    def wanted(self, *, slots: int, in_flight: int, queued: int, room: int | None) -> int:
        """Return how many jobs to claim.

        Args:
            slots: how many may run at once.
            in_flight: how many are claimed and have not ended.
            queued: how many of those no slot has taken yet.
            room: how many may ever be claimed, None for no limit.
        """
        ahead = 0
        if self.typical_s < SHORT_S:
            ahead = min(AHEAD_MAX, max(1, int(AHEAD_S / max(self.typical_s, _SHORTEST_S))) * slots)
        want = max(0, slots + ahead - in_flight)
        # Few at a time are not worth a transaction while slots have something to take.
        if ahead and queued > slots and want < ahead // 2:
            want = 0
        return want if room is None else min(want, max(0, room))

    def low_water(self, slots: int) -> int:
        """Return how few claimed jobs may be left before more must be claimed; above it the ends of runs are recorded together."""
        return slots // 2 if self.typical_s >= AHEAD_S / 2 else slots
