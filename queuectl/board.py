"""The board: a page of memory that a supervisor and its runners share.

What the database learns a moment later, the supervisor can read here at once, also after its runner was killed: when the runner last gave a sign of
life, and which claimed jobs had really been started. Whole 8-byte words, each written by one process only.
"""

from __future__ import annotations

import mmap

from queuectl import processes

RING = 512  # runs remembered of each slot: more than can be on their way at once, so that none is forgotten before it is recorded
# Places of words: the header's, then of each slot a count and the (seq, run) of its runs.
_BEAT, _ASKED, _BORN, _SOLO, _PID, _TICKS, _SLOTS = 0, 1, 2, 3, 4, 5, 8
_SLOT = 1 + 2 * RING
_BYTES = 8  # of a word


class Board:
    """Shared by inheritance through fork."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._w = memoryview(mmap.mmap(-1, _BYTES * (_SLOTS + _SLOT * slots))).cast("q")

    def beat(self) -> None:
        """Say that the runner lives."""
        self._w[_BEAT] = processes.mono_ms()

    def silent_ms(self) -> int:
        """Return how long the runner has been silent, milliseconds."""
        return processes.mono_ms() - self._w[_BEAT]

    def runner_is(self, pid: int, ticks: int) -> None:
        """Say which process the runner is: its pid and when it started, in clock ticks since boot."""
        self._w[_TICKS] = ticks
        self._w[_PID] = pid

    def runner(self) -> tuple[int, int]:
        """Return the runner's pid and start; (0, …) when there is none yet."""
        return self._w[_PID], self._w[_TICKS]

    def started(self, slot: int, seq: int, run: int) -> None:
        """Say that a slot starts a run."""
        at = _SLOTS + slot * _SLOT
        n = self._w[at]
        pair = at + 1 + 2 * (n % RING)
        self._w[pair], self._w[pair + 1] = seq, run
        self._w[at] = n + 1

    def runs(self) -> frozenset[tuple[int, int]]:
        """Return the (seq, run) of every run that was started and may not be recorded yet; long recorded ones may be among them."""
        found = []
        for slot in range(self.slots):
            at = _SLOTS + slot * _SLOT
            for pair in range(at + 1, at + 1 + 2 * min(self._w[at], RING), 2):
                found.append((self._w[pair], self._w[pair + 1]))
        return frozenset(found)

    def clear(self) -> None:
        """Forget all runs, and the runner."""
        self.runner_is(0, 0)
        for slot in range(self.slots):
            self._w[_SLOTS + slot * _SLOT] = 0

    def ask_for_solo(self) -> None:
        """The runner asks for a companion that tries one suspect job alone, and lends it a slot."""
        self._w[_ASKED] = self._w[_ASKED] + 1

    def solos_wanted(self) -> int:
        """Return how many companions were asked for and not yet born."""
        return self._w[_ASKED] - self._w[_BORN]

    def solo_born(self) -> None:
        """The supervisor has started a companion."""
        self._w[_SOLO] = self._w[_SOLO] + 1
        self._w[_BORN] = self._w[_BORN] + 1

    def solo_ended(self) -> None:
        """A companion has ended."""
        self._w[_SOLO] = self._w[_SOLO] - 1

    def lent(self) -> int:
        """Return how many of the runner's slots companions hold or are about to hold."""
        return self._w[_SOLO] + self.solos_wanted()
