"""What is removed of what has ended: old jobs, outputs above their total, and the files that both leave behind.

Everything here goes in small pieces: the caller asks for a few rows at a time, so that no claim waits long for the write lock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from queuectl._sqlite import Connection
from queuectl.model import State
from queuectl.records import NamedTuple

TURN_MS = 5000  # of silence after which another process may go on with a pass

# A job that others still wait for, and one whose row holds a unique key that completion does not free, stay.
_FREE = """not exists (select 1 from dependencies join jobs as child on child.seq = dependencies.child
                   where dependencies.parent = jobs.seq and dependencies.met = 0 and child.state = 'blocked')
  and not (unique_key is not null and (unique_for = 'forever' or (unique_for = 'success' and state = 'completed')))"""

# The predicates of jobs_removable and jobs_dead, literally.
_GROUPS = {False: "state in ('completed', 'cancelled')", True: "state = 'dead'"}


class Place(NamedTuple):
    """A job in the order in which jobs ended, or an event in that in which they were noted."""

    finished_at_ms: int
    seq: int


class Kept(NamedTuple):
    """One run's output as it is stored."""

    rowid: int
    job: int
    run: int
    bytes: int


def _where(states: Sequence[State]) -> str:
    """Return the condition for states of one group: completed and cancelled, or dead."""
    is_dead = State.DEAD in states
    listed = ", ".join(f"'{State(s).value}'" for s in states)
    return f"{_GROUPS[is_dead]} and state in ({listed})"


class Retention:
    """Removal by age, outputs by their total, files. Methods that write expect to be inside one `store.write()`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    # --- jobs by age ---

    def places(
        self, states: Sequence[State], *, before_ms: int, after: Place | None, limit: int
    ) -> list[Place]:
        """Return jobs that ended before a moment, the oldest first, going on after a place."""
        beyond = "" if after is None else "and (finished_at_ms, seq) > (:at, :seq)"
        rows = self._c.rows(
            f"""select finished_at_ms, seq from jobs where {_where(states)} and finished_at_ms < :before {beyond}
                order by finished_at_ms, seq limit :limit""",
            {"before": before_ms, "limit": limit}
            | ({} if after is None else {"at": after.finished_at_ms, "seq": after.seq}),
        )
        return [Place(*r) for r in rows]

    def oldest_ms(self, states: Sequence[State]) -> int | None:
        """Return when the oldest job of these states ended."""
        found = self.places(states, before_ms=1 << 62, after=None, limit=1)
        return found[0].finished_at_ms if found else None

    def remove(self, seqs: Sequence[int], states: Sequence[State]) -> int:
        """Remove those of these jobs that are (still) in the states and free to go; return how many."""
        return self._c.sql.execute(
            f"""delete from jobs where seq in (select value from json_each(:seqs))
                and {_where(states)} and {_FREE}""",
            {"seqs": json.dumps(list(seqs))},
        ).rowcount

    def count(self, states: Sequence[State], *, before_ms: int) -> int:
        """Return how many would be removed; takes time in proportion."""
        row = self._c.one(
            f"select count(*) from jobs where {_where(states)} and finished_at_ms < ? and {_FREE}",
            (before_ms,),
        )
        return int(row[0]) if row else 0

    # --- events of jobs that are gone ---

    def event_places(self, *, before_ms: int, after: Place | None, limit: int) -> list[Place]:
        """Return events of jobs from before a moment, the oldest first, going on after a place."""
        beyond = "" if after is None else "and (at_ms, seq) > (:at, :seq)"
        rows = self._c.rows(
            f"""select at_ms, seq from events where at_ms < :before and job_id is not null {beyond}
                order by at_ms, seq limit :limit""",
            {"before": before_ms, "limit": limit}
            | ({} if after is None else {"at": after.finished_at_ms, "seq": after.seq}),
        )
        return [Place(*r) for r in rows]

    def remove_events(self, seqs: Sequence[int]) -> int:
        """Remove those of these events whose job is gone; return how many."""
        return self._c.sql.execute(
            """delete from events where seq in (select value from json_each(?))
               and not exists (select 1 from jobs where jobs.id = events.job_id)""",
            (json.dumps(list(seqs)),),
        ).rowcount

    # --- who removes ---

    def take_turn(self, who: str, *, now_ms: int) -> bool:
        """Whether this process may remove now: one does at a time, until it has been silent for five seconds."""
        changed = self._c.sql.execute(
            """insert into control values ('prune', 1, :who, :now) on conflict (name) do update
                 set value = :who, updated_at_ms = :now where value = :who or abs(:now - updated_at_ms) > :turn""",
            {"who": who, "now": now_ms, "turn": TURN_MS},
        ).rowcount
        return changed == 1

    def end_turn(self, who: str) -> None:
        """Let others remove at once."""
        self._c.rows("update control set updated_at_ms = 0 where name = 'prune' and value = ?", (who,))

    # --- outputs by their total ---

    def outputs_after(self, rowid: int, *, limit: int) -> tuple[int, int, int]:
        """Return the last rowid of the next outputs, their bytes, and how many they are."""
        row = self._c.one(
            """select coalesce(max(rowid), :rowid), coalesce(sum(bytes), 0), count(*) from (
                 select rowid, bytes from outputs where rowid > :rowid order by rowid limit :limit)""",
            {"rowid": rowid, "limit": limit},
        )
        assert row is not None
        return row[0], row[1], row[2]

    def oldest_outputs(self, *, limit: int) -> list[Kept]:
        """Return the outputs that were stored first."""
        return [
            Kept(*r)
            for r in self._c.rows(
                "select rowid, job, run, bytes from outputs order by rowid limit ?", (limit,)
            )
        ]

    def drop_outputs(self, outputs: Sequence[Kept], *, now_ms: int) -> None:
        """Drop outputs; their runs say when, and their files become litter."""
        keys = [(o.job, o.run) for o in outputs]
        sql = self._c.sql
        for column in ("stdout_file", "stderr_file"):
            sql.executemany(
                f"insert or ignore into litter select {column} from runs where job = ? and run = ? and {column} is not null",
                keys,
            )
        sql.executemany(
            "update runs set output_dropped_ms = ?, stdout_file = null, stderr_file = null where job = ? and run = ?",
            [(now_ms, *k) for k in keys],
        )
        sql.executemany("delete from outputs where rowid = ?", [(o.rowid,) for o in outputs])

    def dropped_ms(self, seq: int, run: int) -> int | None:
        """Return when a run's output was dropped, or None."""
        row = self._c.one("select output_dropped_ms from runs where job = ? and run = ?", (seq, run))
        return row[0] if row else None

    # --- files ---

    def litter(self, *, limit: int) -> list[str]:
        """Return names of files whose runs are gone."""
        return [r[0] for r in self._c.rows("select name from litter order by name limit ?", (limit,))]

    def litter_count(self) -> int:
        """Return how many files' runs are gone."""
        return int(self._c.rows("select count(*) from litter")[0][0])

    def is_wanted(self, job_id: str, run: int, name: str) -> bool:
        """Whether a file of this name belongs to a run, or may be about to."""
        row = self._c.one(
            """select 1 from jobs left join runs on runs.job = jobs.seq and runs.run = :run
               where jobs.id = :id and (jobs.state = 'processing' or :name in (runs.stdout_file, runs.stderr_file))""",
            {"id": job_id, "run": run, "name": name},
        )
        return row is not None

    def forget_litter(self, names: Sequence[str]) -> None:
        """Note that files are gone, or wanted after all."""
        self._c.sql.executemany("delete from litter where name = ?", [(n,) for n in names])
