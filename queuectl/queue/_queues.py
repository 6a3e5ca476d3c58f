"""Groups of verbs: `queue`, what holds for all jobs of a queue, and `limit`, how many jobs of a key may run at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from queuectl import processes
from queuectl import validate as v
from queuectl.answers import ActionResult, LimitState, QueueState
from queuectl.errors import NothingMatched
from queuectl.queue._base import Group
from queuectl.settings import QueueChange, QueueSettings, in_force, queue_setting, shown


class QueueList(list[QueueState]):
    """Queues, by name."""


class LimitList(list[LimitState]):
    """Limits, by key."""


class Queues(Group):
    """Queues by name: their jobs, their settings, and whether they are paused."""

    def list(self) -> QueueList:
        """List the queues: how many jobs each holds, and whether it is paused, by whom and why."""
        return QueueList(self._queue._store.queues.all())

    def get(self, name: str, key: str | None = None) -> QueueSettings:
        """Show what holds for the jobs of a queue, and whether the queue, `config` or nobody said so.

        Args:
            name: the queue's name.
            key: one setting's name.

        Raises:
            InvalidValue: no such setting.
        """
        store = self._queue._store
        wanted = None if key is None else queue_setting(key).name
        found = in_force(store.settings.queue_settings(v.ident("queue", name)), store.settings.changed())
        return QueueSettings(s for s in found if wanted is None or s.key == wanted)

    def set(self, name: str, key: str, value: str) -> QueueChange:
        """Change a setting for the jobs of one queue; those of jobs hold for jobs enqueued from now on, hooks and the breaker at once.

        Args:
            name: the queue's name.
            key: the setting's name, such as timeout or breaker.
            value: its new value; times are seconds or 90s, 10m, 2h.

        Raises:
            InvalidValue: no such setting, or not a value for it.
        """
        s, queue = queue_setting(key), v.ident("queue", name)
        stored = s.read(value)
        return self._change(queue, s.name, lambda own: own | {s.name: stored})

    def unset(self, name: str, key: str) -> QueueChange:
        """Let a setting of a queue be what `config` says again, or the built-in value.

        Args:
            name: the queue's name.
            key: the setting's name.

        Raises:
            InvalidValue: no such setting.
        """
        s, queue = queue_setting(key), v.ident("queue", name)
        return self._change(queue, s.name, lambda own: {k: x for k, x in own.items() if k != s.name})

    def _change(
        self, queue: str, key: str, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> QueueChange:
        store, now = self._queue._store, processes.now_ms()
        with store.write():
            own = change(store.settings.queue_settings(queue))
            store.settings.set_queue_settings(queue, own, now_ms=now)
            (found,) = (s for s in in_force(own, store.settings.changed()) if s.key == key)
            what = f"{queue}: {key} = {shown(key, found.value)}" + (
                "" if key in own else f" ({found.origin})"
            )
            store.history.note("queue", None, what, actor=self._queue._actor, now_ms=now)
            self._queue._resume_without_breaker(now)
        self._queue._enqueuer.forget()
        return QueueChange(queue, key, found.value, origin=found.origin)


class Limits(Group):
    """Limits on how many jobs of a key run at once, over all queues and workers of this database."""

    def list(self) -> LimitList:
        """List the limits: how many may run, which jobs run, and how many wait."""
        return LimitList(self._queue._store.queues.limits())

    def set(self, key: str, n: int) -> ActionResult:
        """Let at most n jobs of a key run at once, from now on; running ones are left alone.

        Args:
            key: the key, as given to enqueue's --limit-key.
            n: how many.
        """
        return self._change(v.ident("limit-key", key), v.whole("limit", n, low=1, high=100_000))

    def unset(self, key: str) -> ActionResult:
        """Let any number of jobs of a key run at once.

        Args:
            key: the key.

        Raises:
            NothingMatched: it has no limit.
        """
        return self._change(v.ident("limit-key", key), None)

    def _change(self, key: str, n: int | None) -> ActionResult:
        store, now = self._queue._store, processes.now_ms()
        with store.write():
            if not store.queues.set_limit(key, n) and n is None:
                raise NothingMatched(f"limit: {key} has no limit (see `queuectl limit list`)")
            what = f"{key} = {'none' if n is None else n}"
            store.history.note("limit", None, what, actor=self._queue._actor, now_ms=now)
        note = f"Limit updated: {key} = {'none' if n is None else n}"
        return ActionResult("limit", (key,), notes=(note,))
