"""Which jobs are meant: a filter as a `where` clause with bound values, never text pasted into SQL."""

from __future__ import annotations

import json
from typing import Any

from queuectl.model import State
from queuectl.records import record


@record
class Filter:
    """Conditions that all must hold; None means any."""

    ids: tuple[str, ...] | None = None
    states: tuple[State, ...] | None = None
    queue: str | None = None
    tag: str | None = None
    sig: str | None = None
    since_ms: int | None = None  # of updated_at
    until_ms: int | None = None
    batch: str | None = None

    def is_empty(self) -> bool:
        """Whether every job is meant."""
        return self == Filter()

    def where(self) -> tuple[str, dict[str, Any]]:
        """Return the clause (always true when empty) and its named values."""
        parts, values = ["true"], dict[str, Any]()
        if self.ids is not None:
            parts.append("id in (select value from json_each(:ids))")
            values["ids"] = json.dumps(self.ids)
        if self.states is not None:
            # Literals of our own enum, so that the partial indexes apply.
            any_of = " or ".join(f"state = '{State(s).value}'" for s in self.states)
            parts.append(f"({any_of or 'false'})")
        for column, value in (("queue", self.queue), ("error_sig", self.sig), ("batch", self.batch)):
            if value is not None:
                parts.append(f"{column} = :{column}")
                values[column] = value
        if self.tag is not None:
            parts.append("instr(tags, :tag) > 0")
            values["tag"] = f" {self.tag} "
        if self.since_ms is not None:
            parts.append("updated_at_ms >= :since_ms")
            values["since_ms"] = self.since_ms
        if self.until_ms is not None:
            parts.append("updated_at_ms < :until_ms")
            values["until_ms"] = self.until_ms
        return " and ".join(parts), values
