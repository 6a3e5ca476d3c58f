"""What people do to jobs: each method changes one job if its state allows, and says whether it did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from queuectl._sqlite import Connection, sqlite3
from queuectl.lifecycle import sources
from queuectl.model import State


def _in(states: tuple[State, ...]) -> str:
    return "(" + ", ".join(f"'{s.value}'" for s in states) + ")"


class Changes:
    """Guarded changes, one job at a time, inside one `store.write()`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def _changed(self, sql: str, args: Any) -> bool:
        return self._c.sql.execute(sql, args).rowcount == 1

    def can_unblock(self, ids: Sequence[str]) -> bool:
        """Whether any of these blocked jobs still waits for a job that has not ended."""
        row = self._c.one(
            """select 1 from dependencies join jobs as child on child.seq = child join jobs as parent on parent.seq = parent
               where met = 0 and child.id in (select value from json_each(?)) and parent.state not in ('completed', 'dead', 'cancelled') limit 1""",
            (json.dumps(list(ids)),),
        )
        return row is not None

    def relate(self, child: int, parents: Sequence[tuple[int, str]], *, now_ms: int) -> None:
        """Let a job wait for its parents (seq and what it needs of them: ok, any or fail); those that have ended so count at once."""
        for parent, needs in parents:
            self._c.rows(
                """insert into dependencies (parent, child, needs, met)
                   select :parent, :child, :needs, exists (select 1 from jobs where seq = :parent and (
                     (:needs <> 'fail' and state = 'completed') or (:needs <> 'ok' and state in ('dead', 'cancelled'))))""",
                {"parent": parent, "child": child, "needs": needs},
            )
        if parents:
            self._c.rows(
                """update jobs set waits_for = 0, state = case when run_at_ms > ? then 'scheduled' else 'pending' end
                   where seq = ? and not exists (select 1 from dependencies where child = jobs.seq and met = 0)""",
                (now_ms, child),
            )

    def cancel(self, seq: int, *, now_ms: int) -> bool:
        """Cancel a waiting job."""
        return self._changed(
            f"""update jobs set state = 'cancelled', finished_at_ms = :now, updated_at_ms = :now, reason = 'cancelled while it waited', due_mono_ms = null
                where seq = :seq and state in {_in(sources("cancel"))}""",
            {"seq": seq, "now": now_ms},
        )

    def ask_to_cancel(self, seq: int, *, now_ms: int) -> bool:
        """Ask the worker of a running job to stop it."""
        return self._changed(
            "update jobs set cancel = 1, updated_at_ms = ? where seq = ? and state = 'processing'",
            (now_ms, seq),
        )

    def requeue(self, seq: int, source: State, *, rank: int, max_retries: int | None, now_ms: int) -> bool:
        """Make a dead, cancelled, failed or scheduled job pending; dead and cancelled ones get a fresh budget.

        Returns False when the job is no longer in the state `source`, or when another job holds its unique key.
        """
        fresh = source in (State.DEAD, State.CANCELLED)
        try:
            return self._changed(
                """update jobs set state = 'pending', rank = :rank, updated_at_ms = :now, run_at_ms = null, due_mono_ms = null, finished_at_ms = null,
                     attempts = case when :fresh then 0 else attempts end, interruptions = case when :fresh then 0 else interruptions end,
                     max_retries = coalesce(:max_retries, max_retries), cancel = 0
                   where seq = :seq and state = :source""",
                {
                    "seq": seq,
                    "source": source.value,
                    "rank": rank,
                    "now": now_ms,
                    "fresh": fresh,
                    "max_retries": max_retries,
                },
            )
        except sqlite3.IntegrityError:
            return False

    def delete(self, seq: int, *, force: bool) -> bool:
        """Remove a job with its runs; a running one only by force."""
        guard = "" if force else " and state <> 'processing'"
        return self._changed(f"delete from jobs where seq = ?{guard}", (seq,))
