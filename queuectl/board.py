"""The board: a page of memory that a supervisor and its runners share.

What the database learns a moment later, the supervisor can read here at once, also after its runner was killed: when the runner last gave a sign of
life, and which claimed jobs had really been started. Whole 8-byte words, each written by one process only.
"""

from __future__ import annotations

import mmap
import struct

from queuectl import processes

_HEADER = 64
_RUN = struct.Struct("<qq")
_WORD = struct.Struct("<q")
RING = 512  # runs remembered of each slot: more than can be on their way at once, so that none is forgotten before it is recorded
_SLOT_BYTES = _WORD.size + RING * _RUN.size
_BEAT, _ASKED, _BORN, _SOLO, _PID, _TICKS = 0, 8, 16, 24, 32, 40


class Board:
    """Shared by inheritance through fork."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._m = mmap.mmap(-1, _HEADER + _SLOT_BYTES * slots)

    def _get(self, at: int) -> int:
        return int(_WORD.unpack_from(self._m, at)[0])

    def beat(self) -> None:
        """Say that the runner lives."""
        _WORD.pack_into(self._m, _BEAT, processes.mono_ms())

    def silent_ms(self) -> int:
        """Return how long the runner has been silent, milliseconds."""
        return processes.mono_ms() - self._get(_BEAT)

    def runner_is(self, pid: int, ticks: int) -> None:
        """Say which process the runner is: its pid and when it started, in clock ticks since boot."""
        _WORD.pack_into(self._m, _TICKS, ticks)
        _WORD.pack_into(self._m, _PID, pid)

    def runner(self) -> tuple[int, int]:
        """Return the runner's pid and start; (0, …) when there is none yet."""
        return self._get(_PID), self._get(_TICKS)

    def started(self, slot: int, seq: int, run: int) -> None:
        """Say that a slot starts a run."""
        ring = _HEADER + slot * _SLOT_BYTES
        n = self._get(ring)
        _RUN.pack_into(self._m, ring + _WORD.size + n % RING * _RUN.size, seq, run)
        _WORD.pack_into(self._m, ring, n + 1)

    def runs(self) -> frozenset[tuple[int, int]]:
        """Return the (seq, run) of every run that was started and may not be recorded yet; long recorded ones may be among them."""
        found = []
        for slot in range(self.slots):
            ring = _HEADER + slot * _SLOT_BYTES
            for n in range(min(self._get(ring), RING)):
                found.append(_RUN.unpack_from(self._m, ring + _WORD.size + n * _RUN.size))
        return frozenset(found)

    def clear(self) -> None:
        """Forget all runs, and the runner."""
        self.runner_is(0, 0)
        for slot in range(self.slots):
            _WORD.pack_into(self._m, _HEADER + slot * _SLOT_BYTES, 0)

    def ask_for_solo(self) -> None:
        """The runner asks for a companion that tries one suspect job alone, and lends it a slot."""
        _WORD.pack_into(self._m, _ASKED, self._get(_ASKED) + 1)

    def solos_wanted(self) -> int:
        """Return how many companions were asked for and not yet born."""
        return self._get(_ASKED) - self._get(_BORN)

    def solo_born(self) -> None:
        """The supervisor has started a companion."""
        _WORD.pack_into(self._m, _SOLO, self._get(_SOLO) + 1)
        _WORD.pack_into(self._m, _BORN, self._get(_BORN) + 1)

    def solo_ended(self) -> None:
        """A companion has ended."""
        _WORD.pack_into(self._m, _SOLO, self._get(_SOLO) - 1)

    def lent(self) -> int:
        """Return how many of the runner's slots companions hold or are about to hold."""
        return self._get(_SOLO) + self.solos_wanted()
