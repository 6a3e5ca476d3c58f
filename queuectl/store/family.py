"""Jobs that wait for jobs: told of every end, in the commit that writes it.

    ended          some jobs have ended: their children become ready, stay blocked with a reason, or are cancelled, which is an end again
    reopened       ended jobs are back in line: children that have not started wait for them again
    relate         a new job and its parents
    returned       cancelled jobs are back in line: what is in their way
    renewed        jobs that are back in line: what their parents are by now
    reconsidered   a job whose rule has changed

Whoever writes a final state calls `ended` in the same transaction; nothing else releases a child.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence

from queuectl import lifecycle
from queuectl._sqlite import Connection
from queuectl.lifecycle import Need
from queuectl.model import State
from queuectl.records import NamedTuple
from queuectl.store.history import History

_WAITS = """
select parent, child, needs, c.id, c.on_dep_fail, p.id, p.state
  from dependencies join jobs as c on c.seq = child join jobs as p on p.seq = parent
 where met = 0 and c.state = 'blocked' and {which} in (select value from json_each(?))
 order by child, parent"""

# A child has started when a run of it was ever counted; until then a parent that is tried again takes it back.
_NOT_STARTED = "runs = 0 and state in ('blocked', 'pending', 'scheduled')"


class Wait(NamedTuple):
    """One open wait: a blocked child, what it needs of which parent, and what became of that one."""

    parent: int
    child: int
    needs: str
    child_id: str
    rule: str
    parent_id: str
    parent_state: str


class Blocker(NamedTuple):
    """A job that another one still waits for."""

    id: str
    state: State
    needs: str  # ok, any or fail
    is_lost: bool  # it has ended, and not as needed


class Family:
    """The table `dependencies`. Methods that change it expect to be inside one `store.write()`."""

    def __init__(self, connection: Connection, history: History) -> None:
        self._c = connection
        self._history = history

    # --- told ---

    def ended(self, jobs: Sequence[int], *, now_ms: int, actor: str) -> None:
        """Tell the children of jobs that have just reached a final state, and theirs, and so on."""
        while jobs and self._c.one("select 1 from dependencies limit 1") is not None:
            jobs = self._decide(self._waits("parent", jobs), now_ms=now_ms, actor=actor)

    def returned(self, children: Sequence[int], waiting: Collection[int], *, now_ms: int) -> None:
        """Compare the waits of jobs that were cancelled and are back in line with what their parents are now; those of them wait again."""
        if children and self._c.one("select 1 from dependencies limit 1") is not None:
            self._rewait(children)
            self._block(sorted(waiting), now_ms=now_ms)

    def reopened(self, jobs: Sequence[int], *, now_ms: int) -> None:
        """Let the children of jobs that are back in line wait again, unless they have started."""
        if not jobs or self._c.one("select 1 from dependencies limit 1") is None:
            return
        listed = json.dumps(list(jobs))
        children = [
            r[0]
            for r in self._c.rows(
                f"""select distinct child from dependencies join jobs on seq = child
                    where parent in (select value from json_each(?)) and {_NOT_STARTED} order by child""",
                (listed,),
            )
        ]
        self._c.rows(
            """update dependencies set met = 0 where met = 1 and parent in (select value from json_each(?))
               and child in (select value from json_each(?))""",
            (listed, json.dumps(children)),
        )
        self._block(children, now_ms=now_ms)

    def relate(
        self, child: int, parents: Sequence[tuple[int, str]], *, now_ms: int, actor: str = "python"
    ) -> None:
        """Let a new, blocked job wait for its parents: seq and what it needs of them, ok, any or fail."""
        if not parents:
            return
        self._c.sql.executemany(
            "insert into dependencies (parent, child, needs) values (?, ?, ?)",
            [(p, child, n) for p, n in parents],
        )
        self.renewed([child], now_ms=now_ms, actor=actor)

    def renewed(self, children: Sequence[int], *, now_ms: int, actor: str) -> None:
        """Decide anew for blocked jobs by what their parents are now."""
        self.ended(self._decide(self._waits("child", children), now_ms=now_ms, actor=actor), now_ms=now_ms, actor=actor)  # fmt: skip

    def reconsidered(self, children: Sequence[int], *, now_ms: int, actor: str) -> None:
        """Decide anew for blocked jobs whose rule has changed: what the old one let pass counts no more."""
        self._rewait(children)
        self._block(children, now_ms=now_ms)
        self.renewed(children, now_ms=now_ms, actor=actor)
        self._release(children, now_ms=now_ms)

    def succeed(self, old: int, new: int, *, now_ms: int, actor: str) -> None:
        """Put a new, blocked job in the place of another one: in front of what waits for it, and behind what it waits for."""
        self._c.rows(
            """update dependencies set parent = :new where parent = :old and met = 0
               and exists (select 1 from jobs where seq = child and state = 'blocked')""",
            {"old": old, "new": new},
        )
        self._c.rows(
            """insert into dependencies (parent, child, needs) select parent, :new, needs from dependencies
               where child = :old and exists (select 1 from jobs where seq = :old and runs = 0)""",
            {"old": old, "new": new},
        )
        self._rewait([new])
        self._release([new], now_ms=now_ms)
        self.renewed([new], now_ms=now_ms, actor=actor)
        self._block([s for s, _ in self.waiting_for(new)], now_ms=now_ms)

    # --- asked ---

    def blockers(self, child: int, *, limit: int = 1000) -> list[Blocker]:
        """Return the jobs a job still waits for, those first that have ended otherwise than needed."""
        rows = self._c.rows(
            """select p.id, p.state, needs, p.state in ('completed', 'dead', 'cancelled') from dependencies join jobs as p on p.seq = parent
               where child = ? and met = 0 order by 4 desc, parent limit ?""",
            (child, limit),
        )
        return [Blocker(i, State(s), n, bool(lost)) for i, s, n, lost in rows]

    def hopeless(self, ids: Iterable[str]) -> dict[str, str]:
        """Return those of these jobs that are blocked and can no longer run by themselves, each with a job that is in its way:
        one that it waits for, at any distance, and that has ended otherwise than needed."""
        rows = self._c.rows(
            """with recursive up(id, job) as (
                 select id, seq from jobs where state = 'blocked' and id in (select value from json_each(?))
                 union select up.id, parent from up join dependencies on child = up.job and met = 0
                   join jobs on seq = up.job and state = 'blocked')
               select up.id, min(jobs.id) from up join dependencies on child = up.job and met = 0 join jobs on seq = parent
                where state in ('completed', 'dead', 'cancelled') and exists (select 1 from jobs as c where c.seq = child and c.state = 'blocked')
                group by up.id order by up.id""",
            (json.dumps(list(ids)),),
        )
        return dict(rows)

    def waiting_for(self, job: int) -> list[tuple[int, str]]:
        """Return seq and id of the blocked jobs that still wait for a job."""
        return self._c.rows(
            "select seq, id from dependencies join jobs on seq = child where parent = ? and met = 0 and state = 'blocked' order by seq",
            (job,),
        )

    # --- steps ---

    def _waits(self, which: str, jobs: Sequence[int]) -> list[Wait]:
        return [Wait(*r) for r in self._c.rows(_WAITS.format(which=which), (json.dumps(list(jobs)),))]

    def _decide(self, waits: Sequence[Wait], *, now_ms: int, actor: str) -> list[int]:
        """Do to each waiting child what follows from its parents' states; return the seqs of those that were cancelled."""
        met: list[tuple[int, int]] = []
        lost: dict[int, Wait] = {}
        for w in waits:
            match lifecycle.need(w.needs, State(w.parent_state), w.rule):
                case Need.MET:
                    met.append((w.parent, w.child))
                case Need.LOST:
                    lost.setdefault(w.child, w)
        sql = self._c.sql
        sql.executemany("update dependencies set met = 1 where parent = ? and child = ?", met)
        self._release({child for _, child in met} - lost.keys(), now_ms=now_ms)
        why = {c: lifecycle.lost_reason(w.needs, w.parent_id, State(w.parent_state)) for c, w in lost.items()}
        stays = [(why[c], now_ms, c) for c, w in lost.items() if w.rule != "cancel"]
        sql.executemany(
            "update jobs set reason = ?, updated_at_ms = ? where seq = ? and state = 'blocked'", stays
        )
        goes = [w for w in lost.values() if w.rule == "cancel"]
        sql.executemany(
            """update jobs set state = 'cancelled', waits_for = 0, reason = ?, finished_at_ms = ?, updated_at_ms = ?
               where seq = ? and state = 'blocked'""",
            [(why[w.child], now_ms, now_ms, w.child) for w in goes],
        )
        self._history.note_each(
            "cancel", [(w.child_id, why[w.child]) for w in goes], actor=actor, now_ms=now_ms
        )
        return [w.child for w in goes]

    def _rewait(self, children: Sequence[int]) -> None:
        """Set which waits of jobs that never ran are over, by what their parents are now."""
        self._c.rows(
            """update dependencies set met = exists (select 1 from jobs where seq = parent and (
                 (needs <> 'fail' and state = 'completed') or (needs <> 'ok' and state in ('dead', 'cancelled'))))
               where child in (select value from json_each(?)) and exists (select 1 from jobs where seq = child and runs = 0)""",
            (json.dumps(list(children)),),
        )

    def _release(self, children: Iterable[int], *, now_ms: int) -> None:
        """Make pending, or scheduled, those that wait for nothing more."""
        self._c.rows(
            """update jobs set waits_for = 0, reason = null, updated_at_ms = :now,
                 state = case when run_at_ms > :now then 'scheduled' else 'pending' end
               where state = 'blocked' and seq in (select value from json_each(:children))
                 and not exists (select 1 from dependencies where child = jobs.seq and met = 0)""",
            {"now": now_ms, "children": json.dumps(list(children))},
        )

    def _block(self, children: Sequence[int], *, now_ms: int) -> None:
        """Block those that wait again, and say which of their other parents is lost."""
        listed = json.dumps(list(children))
        self._c.rows(
            """update jobs set state = 'blocked', reason = null, updated_at_ms = ?,
                 waits_for = (select count(*) from dependencies where child = jobs.seq and met = 0)
               where seq in (select value from json_each(?))""",
            (now_ms, listed),
        )
        lost = {
            w.child: lifecycle.lost_reason(w.needs, w.parent_id, State(w.parent_state))
            for w in reversed(self._waits("child", children))
            if lifecycle.need(w.needs, State(w.parent_state), w.rule) is Need.LOST
        }
        self._c.sql.executemany("update jobs set reason = ? where seq = ?", [(r, c) for c, r in lost.items()])
