"""What a chore is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from queuectl.records import NamedTuple
from queuectl.store import Store


class Moment(NamedTuple):
    """When a chore is asked, and whether the runner has nothing else to do."""

    wall_ms: int
    mono_ms: int
    idle: bool = False


class Chore(ABC):
    """One kind of chore.

    Args:
        store: the queue's database.
        tell: called with a line for whoever watches the worker.
    """

    def __init__(self, store: Store, tell: Callable[[str], None] = lambda _: None) -> None:
        self.store, self.tell = store, tell

    @abstractmethod
    def look(self, now: Moment) -> None:
        """Learn from the database what there is to do, and when. Reads only."""

    @abstractmethod
    def due_in_ms(self, now: Moment) -> int | None:
        """Return how long until there is something to do (0 or less: now), or None; no reads."""

    @abstractmethod
    def tend(self, now: Moment) -> bool:
        """Do a small piece, in short write transactions of its own; return whether jobs may have become pending."""
