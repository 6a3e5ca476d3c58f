"""Config, queues and control signals."""

from __future__ import annotations

import json
from typing import Any

from queuectl._sqlite import Connection
from queuectl.settings import SETTINGS


class Settings:
    """The tables `config`, `queues` and `control`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    # --- config ---

    def changed(self) -> dict[str, Any]:
        """Return the settings that were set, by name, as stored."""
        return {
            k: json.loads(v)
            for k, v in self._c.rows("select key, value from config order by key")
            if k in SETTINGS
        }

    def get(self, name: str) -> Any:
        """Return a setting: as set, else built in."""
        row = self._c.one("select value from config where key = ?", (name,))
        return json.loads(row[0]) if row else SETTINGS[name].default

    def set(self, name: str, value: Any, *, now_ms: int) -> None:
        """Store a setting; None goes back to the built-in value only where that is None."""
        self._c.rows(
            """insert into config values (:key, :value, :now)
               on conflict (key) do update set value = :value, updated_at_ms = :now""",
            {"key": name, "value": json.dumps(value), "now": now_ms},
        )
        self.signal("config", name, now_ms=now_ms)

    def rerank(self, old_step_ms: int, new_step_ms: int) -> None:
        """Give every waiting job its place in the line anew, now that a step of priority is worth something else; among equals nothing moves."""
        self._c.rows(
            """update jobs set rank = rank + priority * (:old - :new)
               where state = 'pending' or state = 'scheduled' or state = 'failed' or state = 'blocked'""",
            {"old": old_step_ms, "new": new_step_ms},
        )

    # --- queues ---

    def queue_settings(self, queue: str) -> dict[str, Any]:
        """Return a queue's own defaults, as stored."""
        row = self._c.one("select settings from queues where name = ?", (queue,))
        return json.loads(row[0]) if row and row[0] else {}

    def set_queue_settings(self, queue: str, settings: dict[str, Any], *, now_ms: int) -> None:
        """Store a queue's own defaults."""
        self._c.rows(
            """insert into queues (name, settings, updated_at_ms) values (:name, :settings, :now)
               on conflict (name) do update set settings = :settings, updated_at_ms = :now""",
            {"name": queue, "settings": json.dumps(settings), "now": now_ms},
        )
        self.signal("config", queue, now_ms=now_ms)

    def pause(self, queue: str, paused: bool, *, now_ms: int, reason: str | None = None) -> None:
        """Pause or resume a queue; '*' stands for all. Resumed by a person, a queue's breaker starts anew."""
        self._c.rows(
            """insert into queues (name, paused, reason, updated_at_ms) values (:name, :paused, :reason, :now)
               on conflict (name) do update set paused = case when :paused then paused | 1 else 0 end, reason = :reason,
                 breaker = case when :paused then breaker end, updated_at_ms = :now""",
            {"name": queue, "paused": int(paused), "reason": reason, "now": now_ms},
        )

    def paused(self) -> tuple[str, ...]:
        """Return the names of paused queues, by a person or by their breaker; '*' stands for all."""
        return tuple(r[0] for r in self._c.rows("select name from queues where paused > 0 order by name"))

    def pauses(self) -> dict[str, int]:
        """Return the paused queues and by whom, 1 a person, 2 the breaker, 3 both; '*' stands for all."""
        return dict(self._c.rows("select name, paused from queues where paused > 0 order by name"))

    # --- control ---

    def generation(self) -> int:
        """Return a number that every change of config, or of a queue's settings, raises."""
        row = self._c.one("select generation from control where name = 'config'")
        return int(row[0]) if row else 0

    def signal(self, name: str, value: str, *, now_ms: int) -> int:
        """Raise a control signal; return its new generation."""
        rows = self._c.rows(
            """insert into control values (:name, 1, :value, :now)
               on conflict (name) do update set generation = generation + 1, value = :value, updated_at_ms = :now
               returning generation""",
            {"name": name, "value": value, "now": now_ms},
        )
        return int(rows[0][0])
