"""What every part of `Queue` stands on: the database, the enqueuer, filters and bulk verbs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from queuectl import bulk, place, processes, selection
from queuectl import validate as v
from queuectl.answers import ActionResult
from queuectl.enqueue import Enqueuer
from queuectl.errors import InvalidValue
from queuectl.model import State
from queuectl.store import Store
from queuectl.store.filters import Filter

if TYPE_CHECKING:
    from queuectl.queue import Queue

DEFAULT_PATH = os.path.join("data", "queue.db")
LIMIT_MAX = 100_000


class Group:
    """Verbs that share a first word, such as `dlq retry`."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue


def rows_limit(value: object) -> int:
    return min(v.whole("limit", value, low=1, high=10**12), LIMIT_MAX)


def ask(question: str) -> bool:
    """Ask a person; where nobody sits at both ends, the answer is yes."""
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return True
    except (AttributeError, ValueError):  # closed
        return True
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class Base:
    """The database of a queue."""

    _actor = "python"

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        if path is None:
            path = os.environ.get("QUEUECTL_DB", DEFAULT_PATH)
        self.path = place.absolute(path)
        place.remember(self.path)
        self._pid = 0
        self._opened: Store | None = None
        self._adder: Enqueuer | None = None

    @property
    def _store(self) -> Store:
        # A forked child opens its own; the parent's connection is left alone there, not closed.
        if self._opened is None or self._pid != os.getpid():
            if self._opened is not None:
                self._opened.close()
            self._opened, self._pid = Store(self.path), os.getpid()
            self._adder = Enqueuer(self._opened)
        return self._opened

    @property
    def _enqueuer(self) -> Enqueuer:
        _ = self._store
        assert self._adder is not None
        return self._adder

    def close(self) -> None:
        """Close the database; the next call opens it again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __repr__(self) -> str:
        return f"Queue({self.path!r})"

    # --- helpers ---

    def _resume_without_breaker(self, now: int) -> None:
        """Within a change of settings: resume the queues whose breaker is gone."""
        for queue in self._store.queues.close_without_rule(now_ms=now):
            self._store.history.note(
                "resume", None, f"{queue}: it has no breaker any more", actor=self._actor, now_ms=now
            )

    def _since(self, since: str | None) -> int | None:
        return None if since is None else v.since_ms("since", since, now_ms=processes.now_ms())

    def _filter(
        self,
        *,
        state: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        sig: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Filter:
        now = processes.now_ms()
        after, before = self._since(since), None if until is None else v.since_ms("until", until, now_ms=now)
        if after is not None and before is not None and after > before:
            raise InvalidValue(f"since: expected a time before until, got {since!r} and {until!r}")
        return Filter(
            states=None if state is None else (State(v.choice("state", state, tuple(State))),),
            queue=None if queue is None else v.ident("queue", queue), tag=None if tag is None else v.ident("tag", tag),
            sig=None if sig is None else v.ident("sig", sig), since_ms=after, until_ms=before,
        )  # fmt: skip

    def _confirm(self, _verb: str, _jobs: int) -> bool:
        """Whether to go on; the command line asks on a terminal."""
        return True

    def _act(
        self,
        verb: bulk.Verb,
        ids: Sequence[Any] | selection.Chosen,
        wanted: Filter,
        *,
        yes: bool = False,
        named: bool | None = None,
        **how: Any,
    ) -> ActionResult:
        return bulk.act(
            self._store,
            verb,
            ids if isinstance(ids, selection.Chosen) else selection.chosen(ids, path=self.path),
            wanted,
            named=bool(ids) if named is None else named,
            actor=self._actor,
            confirm=(lambda *_: True) if yes else self._confirm,
            **how,
        )
