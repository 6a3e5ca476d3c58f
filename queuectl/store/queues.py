"""Queues as a whole: what each holds, which are paused and why, and who holds the room of a limit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from queuectl import breaker
from queuectl._sqlite import Connection
from queuectl.answers import LimitState, QueueState
from queuectl.breaker import Breaker, End, Recorded, Rule
from queuectl.model import State, state_of
from queuectl.settings import QUEUE_SETTINGS, SETTINGS

BY_PERSON, BY_BREAKER = 1, 2  # bits of queues.paused


class Rules:
    """The settings of queues that workers obey, read once and kept until somebody writes."""

    def __init__(self, config: dict[str, Any], own: dict[str, dict[str, Any]]) -> None:
        names = [s.name for s in QUEUE_SETTINGS]
        self._base = {n: config.get(n, SETTINGS[n].default) for n in names}
        self._own = {q: self._base | {n: v for n, v in s.items() if n in names} for q, s in own.items()}

    def of(self, queue: str) -> dict[str, Any]:
        """Return a queue's settings by name."""
        return self._own.get(queue, self._base)

    def any(self, *names: str) -> bool:
        """Whether one of these is set for any queue."""
        return any(s[n] is not None for s in (self._base, *self._own.values()) for n in names)

    def breaker(self, queue: str) -> Rule | None:
        """Return a queue's breaker, None when it has none."""
        found = self.of(queue)
        return breaker.parse(found["breaker"], found["breaker-probe"]) if found["breaker"] else None


class Queues:
    """The tables `queues` and `limits`, with the counts that belong to them."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    # --- looking ---

    def all(self) -> list[QueueState]:
        """Return every queue that has jobs or settings, by name."""
        counts: dict[str, dict[State, int]] = {}
        for name, state, n in self._c.rows(
            "select queue, state, sum(n) from counters group by queue, state having sum(n) > 0 order by queue"
        ):
            counts.setdefault(name, {})[state_of(state)] = int(n)
        rows = {
            r[0]: r[1:]
            for r in self._c.rows("select name, paused, reason, breaker, settings from queues order by name")
        }
        stopped = bool(rows.get("*", (0,))[0])
        found = []
        for name in sorted({*counts, *rows} - {"*"}):
            paused, reason, text, settings = rows.get(name, (0, None, None, None))
            if name not in counts and not paused and not settings:
                continue
            b = Breaker.load(text)
            found.append(
                QueueState(
                    name, {s: counts.get(name, {}).get(s, 0) for s in State}, stopped or bool(paused & BY_PERSON), reason,
                    b.is_open, b.why, b.opened_at_ms, b.probe_at_ms,
                )
            )  # fmt: skip
        return found

    def limits(self) -> list[LimitState]:
        """Return every limit key that has a limit, or jobs that run or wait, by key: who holds its room, and how many wait for it."""
        limits = dict(self._c.rows("select key, n from limits order by key"))
        waiting = dict(
            self._c.rows(
                "select limit_key, sum(n) from counters where state = 'pending' and limit_key <> '' group by limit_key"
            )
        )
        holders: dict[str, list[str]] = {}
        for key, job_id in self._c.rows(
            "select limit_key, id from jobs where state = 'processing' and limit_key <> '' order by +seq"
        ):
            holders.setdefault(key, []).append(job_id)
        keys = {*limits, *holders, *(k for k, n in waiting.items() if n)}
        return [
            LimitState(k, limits.get(k), tuple(holders.get(k, ())), int(waiting.get(k, 0)))
            for k in sorted(keys)
        ]

    def rules(self) -> Rules:
        """Return the settings of queues that workers obey."""
        config = {k: json.loads(v) for k, v in self._c.rows("select key, value from config order by key")}
        own = {
            q: json.loads(s)
            for q, s in self._c.rows(
                "select name, settings from queues where settings is not null order by name"
            )
        }
        return Rules(config, own)

    # --- limits ---

    def set_limit(self, key: str, n: int | None) -> bool:
        """Set how many jobs of a key may run at once, None for as many as there are workers; return whether there was a limit before."""
        had = self._c.one("select n from limits where key = ?", (key,)) is not None
        if n is None:
            self._c.rows("delete from limits where key = ?", (key,))
        else:
            self._c.rows(
                "insert into limits values (:key, :n) on conflict (key) do update set n = :n",
                {"key": key, "n": n},
            )
        return had

    # --- breakers ---

    def breaker(self, queue: str) -> Breaker:
        """Return what the breaker of a queue remembers."""
        row = self._c.one("select breaker from queues where name = ?", (queue,))
        return Breaker.load(row[0] if row else None)

    def open_breakers(self) -> dict[str, Breaker]:
        """Return the breakers that have paused their queues."""
        rows = self._c.rows(
            f"select name, breaker from queues where paused & {BY_BREAKER} and breaker is not null order by name"
        )
        return {name: Breaker.load(text) for name, text in rows}

    def record(self, queue: str, ends: Sequence[End], rule: Rule, *, now_ms: int) -> Recorded:
        """Count ended runs of a queue, in the transaction that settles them; pause or resume it when the rule says so."""
        found = breaker.record(self.breaker(queue), ends, rule, now_ms=now_ms)
        self._keep(queue, found.breaker, now_ms)
        return found

    def _keep(self, queue: str, b: Breaker, now_ms: int) -> None:
        self._c.rows(
            f"""insert into queues (name, paused, breaker, updated_at_ms) values (:name, :open * {BY_BREAKER}, :breaker, :now)
                on conflict (name) do update set paused = (paused & {BY_PERSON}) | (:open * {BY_BREAKER}), breaker = :breaker""",
            {"name": queue, "open": int(b.is_open), "breaker": b.dump(), "now": now_ms},
        )

    def probe_runs(self, b: Breaker) -> bool:
        """Whether the probe of a breaker still runs."""
        row = self._c.one(
            "select 1 from jobs where seq = ? and state = 'processing' and runs = ?",
            (b.probe_seq, b.probe_run),
        )
        return row is not None

    def unlock(self, queue: str) -> None:
        """Lift a breaker's pause within a transaction that puts it back with `let_through` or `lock`."""
        self._c.rows(f"update queues set paused = paused & ~{BY_BREAKER} where name = ?", (queue,))

    def lock(self, queue: str) -> None:
        """Put a breaker's pause back."""
        self._c.rows(f"update queues set paused = paused | {BY_BREAKER} where name = ?", (queue,))

    def let_through(self, queue: str, rule: Rule, *, seq: int, run: int, now_ms: int) -> None:
        """Note which run is the probe of an open breaker."""
        b = breaker.let_through(self.breaker(queue), rule, seq=seq, run=run, now_ms=now_ms)
        self._keep(queue, b, now_ms)

    def close_without_rule(self, *, now_ms: int) -> list[str]:
        """Resume the queues whose breaker was open when it was taken away; return their names."""
        rules = self.rules()
        gone = [q for q in self.open_breakers() if rules.breaker(q) is None]
        for queue in gone:
            self._keep(queue, Breaker(), now_ms)
        return gone
