"""What people do to jobs, many at once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from queuectl._sqlite import Connection
from queuectl.lifecycle import sources
from queuectl.model import ADDED_BY, WAITING, State
from queuectl.settings import JOB_SETTINGS
from queuectl.store.family import Family
from queuectl.store.foresight import Place
from queuectl.store.history import History
from queuectl.store.jobs import INSERTED
from queuectl.store.settings import Settings

EDITABLE = frozenset((
    "command", "queue", "tags", "cwd", "run_at_ms", "due_mono_ms", "state", "rank", "origins", *(s.column for s in JOB_SETTINGS),
))  # fmt: skip
ENDED = (State.DEAD, State.CANCELLED)  # who is retried from there begins anew


def _in(states: Iterable[State]) -> str:
    return "(" + ", ".join(f"'{s.value}'" for s in states) + ")"


class Changes:
    """Guarded changes, inside one `store.write()`. Every one that ends jobs tells those that wait for them.

    What is left alone, and why, was found by `Foresight` in the same transaction; these methods do what it said.
    """

    def __init__(self, connection: Connection, family: Family, history: History) -> None:
        self._c = connection
        self._family, self._history = family, history

    def cancel(
        self, jobs: Sequence[Place], *, now_ms: int, actor: str, reason: str = "cancelled while it waited"
    ) -> None:
        """Cancel waiting jobs, and ask the workers of running ones to stop them."""
        waiting = [seq for seq, state in jobs if state is not State.PROCESSING]
        running = [seq for seq, state in jobs if state is State.PROCESSING]
        self._c.rows(
            f"""update jobs set state = 'cancelled', finished_at_ms = :now, updated_at_ms = :now, reason = :reason, due_mono_ms = null,
                  waits_for = 0
                where seq in (select value from json_each(:jobs)) and state in {_in(sources("cancel"))}""",
            {"now": now_ms, "reason": reason, "jobs": json.dumps(waiting)},
        )
        self._c.rows(
            "update jobs set cancel = 1, updated_at_ms = ? where seq in (select value from json_each(?)) and state = 'processing'",
            (now_ms, json.dumps(running)),
        )
        self._family.ended(waiting, now_ms=now_ms, actor=actor)

    def replaced(self, seq: int, *, by: str, now_ms: int, actor: str) -> None:
        """Cancel a waiting job whose unique key a new one takes; one that held it for ever gives it away."""
        state = State(self._c.rows("select state from jobs where seq = ?", (seq,))[0][0])
        self.cancel([(seq, state)], now_ms=now_ms, actor=actor, reason=f"replaced by {by}")
        self._c.rows(
            "update jobs set unique_key = null, unique_for = null where seq = ? and unique_for = 'forever'",
            (seq,),
        )

    def requeue(
        self,
        jobs: Sequence[Place],
        *,
        waits: Collection[int] = (),
        step_ms: int,
        max_retries: int | None,
        now_ms: int,
        actor: str,
    ) -> None:
        """Put dead, cancelled, failed or scheduled jobs back in line; dead and cancelled ones with a fresh budget.

        Args:
            jobs: the jobs.
            waits: those of them that wait again for jobs that have not ended as they need.
            step_ms: the head start that a step of priority is worth.
            max_retries: a new budget of attempts.
            now_ms: the time.
            actor: who asks.
        """
        self._c.rows(
            f"""update jobs set state = case when seq in (select value from json_each(:waits)) then 'blocked' else 'pending' end,
                  rank = :now - priority * :step, updated_at_ms = :now, run_at_ms = null, due_mono_ms = null, finished_at_ms = null,
                  cancel = 0, attempts = case when state in {_in(ENDED)} then 0 else attempts end,
                  interruptions = case when state in {_in(ENDED)} then 0 else interruptions end,
                  max_retries = coalesce(:max_retries, max_retries)
                where seq in (select value from json_each(:jobs)) and state in {_in(sources("requeue"))}""",
            {
                "waits": json.dumps(sorted(waits)), "now": now_ms, "step": step_ms, "max_retries": max_retries,
                "jobs": json.dumps([seq for seq, _ in jobs]),
            },
        )  # fmt: skip
        self._family.returned(
            [seq for seq, source in jobs if source is State.CANCELLED], waits, now_ms=now_ms
        )
        reopened = [seq for seq, source in jobs if source in ENDED]
        self._family.reopened(reopened, now_ms=now_ms)
        self._family.renewed(reopened, now_ms=now_ms, actor=actor)

    def put(self, rows: Iterable[tuple[int, Mapping[str, Any]]], *, now_ms: int) -> None:
        """Give waiting jobs, by seq, new values of some columns."""
        alike = defaultdict[tuple[str, ...], list[tuple[Any, ...]]](list)
        for seq, columns in rows:
            names = tuple(c for c in columns if c in EDITABLE)
            alike[names].append((*(columns[c] for c in names), now_ms, seq))
        for names, values in alike.items():
            listed = "".join(f"{c} = ?, " for c in names)
            self._c.sql.executemany(
                f"update jobs set {listed}updated_at_ms = ? where seq = ? and state in {_in(WAITING)}", values
            )

    def bump(self, jobs: Sequence[Place], *, now_ms: int) -> None:
        """Move waiting jobs, in this order, before all pending ones of their priority."""
        priorities = dict(
            self._c.rows(
                "select seq, priority from jobs where seq in (select value from json_each(?))",
                (json.dumps([s for s, _ in jobs]),),
            )
        )
        for priority in sorted(set(priorities.values())):
            mine = [s for s, _ in jobs if priorities[s] == priority]
            row = self._c.one(
                "select min(rank) from jobs where state = 'pending' and priority = ?", (priority,)
            )
            first = row[0] if row and row[0] is not None else self._c.rows("select rank from jobs where seq = ?", (mine[0],))[0][0]  # fmt: skip
            self._c.rows(
                """update jobs set rank = :first + place.key, updated_at_ms = :now
                     from json_each(:jobs) as place where seq = place.value""",
                {"first": first - len(mine), "now": now_ms, "jobs": json.dumps(mine)},
            )

    def supersede(
        self,
        seq: int,
        *,
        by: str,
        command: str,
        step_ms: int,
        max_retries: int | None,
        now_ms: int,
        actor: str,
    ) -> None:
        """Put a new job with another command in the place of one that ended or waits.

        The new one has the old one's settings, a fresh budget and its id in `retry_of`; what still waits for the old one waits for it,
        and so does it for what the old one waits for. The old one is cancelled, unless it is so already.
        """
        sql = self._c.sql
        key, held_for = self._c.rows("select unique_key, unique_for from jobs where seq = ?", (seq,))[0]
        sql.execute(
            f"""update jobs set state = 'cancelled', finished_at_ms = :now, updated_at_ms = :now, due_mono_ms = null, waits_for = 0,
                  reason = 'retried as ' || :by || coalesce('; before: ' || reason, ''),
                  unique_key = case when unique_for = 'forever' then null else unique_key end,
                  unique_for = nullif(unique_for, 'forever')
                where seq = :seq and state in {_in((*sources("requeue"), State.BLOCKED))}""",
            {"now": now_ms, "by": by, "seq": seq},
        )
        own = {
            "id": ":by", "command": ":command", "state": "'blocked'", "rank": ":now - priority * :step", "created_at_ms": ":now",
            "updated_at_ms": ":now", "max_retries": "coalesce(:max_retries, max_retries)", "run_at_ms": "null", "retry_of": "id",
            "schedule": "null", "slot_ms": "null", "batch": "null", "waits_for": "0", "unique_key": ":key", "unique_for": ":held_for",
            "origins": f"case :actor when 'python' then json_remove(origins, '$.{ADDED_BY}') else json_set(coalesce(origins, '{{}}'), '$.{ADDED_BY}', :actor) end",
        }  # fmt: skip
        new = sql.execute(
            f"""insert into jobs ({", ".join(INSERTED)}) select {", ".join(own.get(c, c) for c in INSERTED)} from jobs where seq = :seq""",
            {"by": by, "command": command, "step": step_ms, "now": now_ms, "max_retries": max_retries, "key": key,
             "held_for": held_for, "actor": actor, "seq": seq},
        ).lastrowid  # fmt: skip
        self._family.succeed(seq, int(new or 0), now_ms=now_ms, actor=actor)

    def delete(self, jobs: Sequence[int], *, running: bool = False, now_ms: int) -> None:
        """Remove jobs with their runs; what waits for them goes with them or not at all, which the caller has seen to.

        Args:
            jobs: their seqs.
            running: whether some of them run now; their workers learn of it from a signal.
            now_ms: the time.
        """
        if running:
            Settings(self._c).signal("deletion", "", now_ms=now_ms)
        listed = json.dumps(list(jobs))
        # Waits within the selection are let go first, or the trigger that keeps parents would hold on to them.
        self._c.rows(
            """update dependencies set met = 1 where met = 0 and child in (select value from json_each(:jobs))
                 and parent in (select value from json_each(:jobs))""",
            {"jobs": listed},
        )
        self._c.rows("delete from jobs where seq in (select value from json_each(?))", (listed,))
