"""What people do to jobs, many at once: each method changes those whose state allows it and says why it left the others alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from queuectl._sqlite import Connection, sqlite3
from queuectl.lifecycle import sources
from queuectl.model import WAITING, State
from queuectl.settings import JOB_SETTINGS
from queuectl.store.family import Family
from queuectl.store.history import History
from queuectl.store.jobs import INSERTED
from queuectl.store.settings import Settings

Place = tuple[int, State]  # a job's seq, and the state it was found in
EDITABLE = frozenset((
    "command", "queue", "tags", "cwd", "run_at_ms", "due_mono_ms", "state", "rank", "origins", *(s.column for s in JOB_SETTINGS),
))  # fmt: skip
Refused = dict[int, str]  # seq of a job that was left alone, and why

KEY_TAKEN = "another job holds its unique key"


def _in(states: Iterable[State]) -> str:
    return "(" + ", ".join(f"'{s.value}'" for s in states) + ")"


class Changes:
    """Guarded changes, inside one `store.write()`. Every one that ends jobs tells those that wait for them."""

    def __init__(self, connection: Connection, family: Family, history: History) -> None:
        self._c = connection
        self._family, self._history = family, history

    def cancel(
        self, jobs: Sequence[Place], *, now_ms: int, actor: str, reason: str = "cancelled while it waited"
    ) -> Refused:
        """Cancel waiting jobs, and ask the workers of running ones to stop them."""
        sql = self._c.sql
        waiting = [seq for seq, state in jobs if state is not State.PROCESSING]
        sql.executemany(
            f"""update jobs set state = 'cancelled', finished_at_ms = ?, updated_at_ms = ?, reason = ?, due_mono_ms = null, waits_for = 0
                where seq = ? and state in {_in(sources("cancel"))}""",
            [(now_ms, now_ms, reason, seq) for seq in waiting],
        )
        sql.executemany(
            "update jobs set cancel = 1, updated_at_ms = ? where seq = ? and state = 'processing'",
            [(now_ms, seq) for seq, state in jobs if state is State.PROCESSING],
        )
        self._family.ended(waiting, now_ms=now_ms, actor=actor)
        return {}

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
        rank: Callable[[int], int],
        max_retries: int | None,
        now_ms: int,
        actor: str,
    ) -> Refused:
        """Put dead, cancelled, failed or scheduled jobs back in line; dead and cancelled ones with a fresh budget.

        A job that never ran waits again for those of its parents that have not ended as it needs.

        Args:
            jobs: the jobs.
            rank: the place in the line of a job that is ready now, by its priority.
            max_retries: a new budget of attempts.
            now_ms: the time.
            actor: who asks.
        """
        refused: Refused = {}
        reopened: list[int] = []
        # Parents before children, so that a child finds its parent in line again.
        for seq, source in sorted(jobs):
            is_final = source in (State.DEAD, State.CANCELLED)
            waits = source is State.CANCELLED and self._family.rewait(seq)
            if waits and (why := self._lost(seq)):
                refused[seq] = why
            elif not self._back_in_line(
                seq, source, waits=waits, rank=rank, max_retries=max_retries, now_ms=now_ms
            ):
                refused[seq] = KEY_TAKEN
            elif is_final:
                reopened.append(seq)
        self._family.reopened(reopened, now_ms=now_ms)
        self._family.renewed(reopened, now_ms=now_ms, actor=actor)
        return refused

    def _lost(self, seq: int) -> str | None:
        """Return why a job would be cancelled again at once, if it would."""
        rule = self._c.rows("select on_dep_fail from jobs where seq = ?", (seq,))[0][0]
        lost = [b for b in self._family.blockers(seq, limit=1) if b.is_lost]
        if rule != "cancel" or not lost:
            return None
        return f"waits for {lost[0].id}, which is {lost[0].state}; retry that one first"

    def _back_in_line(
        self,
        seq: int,
        source: State,
        *,
        waits: bool,
        rank: Callable[[int], int],
        max_retries: int | None,
        now_ms: int,
    ) -> bool:
        priority = self._c.rows("select priority from jobs where seq = ?", (seq,))[0][0]
        fresh = source in (State.DEAD, State.CANCELLED)
        try:
            return (
                self._c.sql.execute(
                    """update jobs set state = case when :waits then 'blocked' else 'pending' end, waits_for = :waits, rank = :rank,
                         updated_at_ms = :now, run_at_ms = null, due_mono_ms = null, finished_at_ms = null, cancel = 0,
                         attempts = case when :fresh then 0 else attempts end, interruptions = case when :fresh then 0 else interruptions end,
                         reason = case when :waits then null else reason end, max_retries = coalesce(:max_retries, max_retries)
                       where seq = :seq and state = :source""",
                    {
                        "seq": seq,
                        "source": source.value,
                        "rank": rank(priority),
                        "now": now_ms,
                        "fresh": fresh,
                        "waits": waits,
                        "max_retries": max_retries,
                    },
                ).rowcount
                == 1
            )
        except sqlite3.IntegrityError:
            return False

    def put(self, seq: int, columns: Mapping[str, Any], *, now_ms: int) -> bool:
        """Give a waiting job new values of some columns."""
        listed = ", ".join(f"{c} = :{c}" for c in columns if c in EDITABLE)
        changed = self._c.sql.execute(
            f"update jobs set {listed}, updated_at_ms = :now where seq = :seq and state in {_in(WAITING)}",
            {**columns, "now": now_ms, "seq": seq},
        )
        return changed.rowcount == 1

    def bump(self, jobs: Sequence[Place], *, now_ms: int) -> Refused:
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
            self._c.sql.executemany(
                "update jobs set rank = ?, updated_at_ms = ? where seq = ?",
                [(first - len(mine) + n, now_ms, s) for n, s in enumerate(mine)],
            )
        return {}

    def supersede(
        self,
        seq: int,
        source: State,
        *,
        by: str,
        command: str,
        rank: Callable[[int], int],
        max_retries: int | None,
        now_ms: int,
        actor: str,
    ) -> str | None:
        """Put a new job with another command in the place of one that ended or waits; return why not, or None.

        The new one has the old one's settings, a fresh budget and its id in `retry_of`; what still waits for the old one waits for it,
        and so does it for what the old one waits for. The old one is cancelled, unless it is so already.
        """
        if source is State.CANCELLED and self._family.rewait(seq) and (why := self._lost(seq)):
            return why
        sql = self._c.sql
        sql.execute("savepoint supersede")
        try:
            priority, key, held_for = self._c.rows(
                "select priority, unique_key, unique_for from jobs where seq = ?", (seq,)
            )[0]
            sql.execute(
                f"""update jobs set state = 'cancelled', finished_at_ms = :now, updated_at_ms = :now, due_mono_ms = null, waits_for = 0,
                      reason = 'retried as ' || :by || coalesce('; before: ' || reason, ''),
                      unique_key = case when unique_for = 'forever' then null else unique_key end,
                      unique_for = nullif(unique_for, 'forever')
                    where seq = :seq and state in {_in((*sources("requeue"), State.BLOCKED))}""",
                {"now": now_ms, "by": by, "seq": seq},
            )
            own = {
                "id": ":by", "command": ":command", "state": "'blocked'", "rank": ":rank", "created_at_ms": ":now", "updated_at_ms": ":now",
                "max_retries": "coalesce(:max_retries, max_retries)", "run_at_ms": "null", "retry_of": "id", "schedule": "null",
                "slot_ms": "null", "batch": "null", "waits_for": "0", "unique_key": ":key", "unique_for": ":held_for",
            }  # fmt: skip
            new = sql.execute(
                f"""insert into jobs ({", ".join(INSERTED)}) select {", ".join(own.get(c, c) for c in INSERTED)} from jobs where seq = :seq""",
                {"by": by, "command": command, "rank": rank(priority), "now": now_ms, "max_retries": max_retries, "key": key,
                 "held_for": held_for, "seq": seq},
            ).lastrowid  # fmt: skip
        except sqlite3.IntegrityError:
            sql.execute("rollback to supersede")
            return KEY_TAKEN
        finally:
            sql.execute("release supersede")
        self._family.succeed(seq, int(new or 0), now_ms=now_ms, actor=actor)
        return None

    def delete(
        self, jobs: Sequence[Place], *, now_ms: int, cascade: bool = False
    ) -> tuple[Refused, list[str]]:
        """Remove jobs with their runs; one that others wait for only with them.

        Returns:
            Why some were left alone, and the ids of the waiting jobs that went along with `cascade`.
        """
        refused: Refused = {}
        also: list[str] = []
        if any(state is State.PROCESSING for _, state in jobs):  # their workers learn of it from the signal
            Settings(self._c).signal("deletion", "", now_ms=now_ms)
        # Children before parents, so that a selection of both goes whole.
        for seq, _ in sorted(jobs, reverse=True):
            waiting = self._family.waiting_for(seq)
            if waiting and not cascade:
                named = ", ".join(i for _, i in waiting[:3]) + (" …" if len(waiting) > 3 else "")
                refused[seq] = f"{len(waiting)} waiting for it: {named} (--cascade deletes them too)"
                continue
            also += self._delete_waiting(seq)
            self._c.rows("delete from jobs where seq = ?", (seq,))
        return refused, also

    def _delete_waiting(self, seq: int) -> list[str]:
        """Delete the blocked jobs that wait for a job at any distance, the furthest first; return their ids."""
        found = dict(self._family.waiting_for(seq))
        level = list(found)
        while level:
            below = {s: i for parent in level for s, i in self._family.waiting_for(parent)}
            level = [s for s in below if s not in found]
            found |= below
        for child in sorted(found, reverse=True):
            self._c.rows("delete from jobs where seq = ?", (child,))
        return [found[s] for s in sorted(found)]
