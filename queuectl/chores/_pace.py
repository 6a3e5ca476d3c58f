"""Small pieces: how much to do at a time, and how long to leave the database to others after it."""

from __future__ import annotations

STEP_MS = 10.0  # what a piece should take
REST = 4  # times as long as a piece took, while there is other work
LEAST, MOST = 5, 1000


class Pace:
    """The size of the next piece, learned from what the last ones took.

    Attributes:
        n: how many rows to take next.
    """

    def __init__(self, n: int = 50) -> None:
        self.n = n

    def rest_ms(self, took_ms: float, *, idle: bool) -> int:
        """Learn from a piece of `n` rows; return how long to rest now."""
        factor = min(2.0, max(0.25, STEP_MS / max(took_ms, 0.1)))
        self.n = round(min(MOST, max(LEAST, self.n * factor)))
        return max(2, round(took_ms * (1 if idle else REST)))
