"""Jobs: put in, looked up, listed and counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from queuectl._sqlite import Connection, sqlite3
from queuectl.errors import IdTaken, JobNotFound, StateConflict
from queuectl.ids import LENGTH, Ids
from queuectl.model import Job, JobList, Progress, Run, State, state_of
from queuectl.store.filters import Filter

INSERTED = (
    "id", "command", "queue", "state", "priority", "rank", "max_retries", "created_at_ms", "updated_at_ms", "run_at_ms",
    "timeout_ms", "kill_after_ms", "warn", "backoff", "backoff_base", "backoff_max_ms", "jitter", "retry_on", "no_retry_on",
    "keep_children", "cwd", "env", "tags", "params", "unique_key", "unique_for", "limit_key", "waits_for", "on_dep_fail",
    "retry_of", "batch", "schedule", "slot_ms", "origins",
)  # fmt: skip
_INSERT = f"insert into jobs ({', '.join(INSERTED)}) values ({', '.join('?' * len(INSERTED))})"
_INSERT_IF = f"""insert into jobs ({", ".join(INSERTED)}) select {", ".join("?" * len(INSERTED))}
  where coalesce((select generation from control where name = 'config'), 0) = ?"""
_INSERT_ALIKE = f"""insert into jobs ({", ".join(INSERTED)})
  select cast(substr(?, {LENGTH} * key + 1, {LENGTH}) as text), value, {", ".join("?" * (len(INSERTED) - 2))} from json_each(?)"""
_LANE = tuple(INSERTED.index(c) for c in ("queue", "limit_key", "state"))
_BATCH = INSERTED.index("batch")
PIECE_CHARS = 10_000_000  # of commands in one statement

# The unique index's own predicate, word for word, so that the index serves.
HOLDS_ITS_KEY = """unique_key is not null and (
  unique_for = 'forever'
  or (unique_for = 'success' and state not in ('dead', 'cancelled'))
  or (unique_for = 'active' and state in ('scheduled', 'blocked', 'pending', 'processing', 'failed'))
  or (unique_for = 'queued' and runs = 0 and state in ('scheduled', 'blocked', 'pending')))"""

FEW = 20_000  # rows of a state up to which its partial index is sorted instead of scanning the newest jobs


class Jobs:
    """The table `jobs` and what belongs to a job: runs and outputs."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    # --- in ---

    def insert(self, rows: Sequence[Sequence[Any]]) -> int:
        """Insert rows of `INSERTED`'s columns; return the first one's seq. All in one write transaction, in order.

        Raises:
            IdTaken: an id is taken; nothing was inserted.
            StateConflict: a unique key is taken; nothing was inserted.
        """
        with self._c.write() as sql:
            before = self._last_seq()
            try:
                if len(rows) == 1 and rows[0][_BATCH] is None:
                    return int(sql.execute(_INSERT, rows[0]).lastrowid or 0)
                sql.executemany(_INSERT, rows)
            except sqlite3.IntegrityError as e:
                raise self._refused(e, [r[0] for r in rows], before) from None
            self._tally(Counter(tuple(r[c] for c in _LANE) for r in rows if r[_BATCH] is not None))
            return self._last_seq() - len(rows) + 1

    def insert_one(self, row: Sequence[Any], *, settings: int) -> int:
        """Insert a row of `INSERTED`'s columns, without a batch, in a transaction of its own; return its seq.

        Args:
            row: its values.
            settings: generation of the settings that it was made of; if that has passed, nothing is inserted, and 0 returned.

        Raises:
            IdTaken: its id is taken; nothing was inserted.
        """
        try:
            return self._c.insert(_INSERT_IF, [*row, settings])
        except sqlite3.IntegrityError as e:
            raise self._refused(e, [row[0]], self._last_seq()) from None

    def insert_alike(self, row: Sequence[Any], ids: Ids, commands: Sequence[str]) -> int:
        """Insert one row again and again under other ids and commands; return the first one's seq.

        One statement goes through all of a piece: a third of what a statement for each row takes.

        Args:
            row: values of `INSERTED`'s columns; id and command are not looked at, a batch is required.
            ids: one for each row.
            commands: as many.

        Raises:
            IdTaken: an id is taken; nothing was inserted.
        """
        longest = max(map(len, commands))
        n = max(1, min(len(ids), PIECE_CHARS // longest))
        with self._c.write() as sql:
            before = self._last_seq()
            try:
                for start in range(0, len(ids), n):
                    texts = json.dumps(commands[start : start + n], ensure_ascii=False)
                    named = ids.packed[LENGTH * start : LENGTH * (start + n)].encode()
                    sql.execute(_INSERT_ALIKE, [named, *row[2:], texts])
            except sqlite3.IntegrityError as e:
                raise self._refused(e, ids, before) from None
            self._tally({tuple(row[c] for c in _LANE): len(ids)})
            return self._last_seq() - len(ids) + 1

    def _tally(self, added: Mapping[tuple[Any, ...], int]) -> None:
        """Count the new jobs of a batch, which the trigger leaves out: (queue, limit key, state) and how many."""
        self._c.sql.executemany(
            """insert into counters values (?, ?, ?, ?)
               on conflict (queue, limit_key, state) do update set n = n + excluded.n""",
            [(*lane, n) for lane, n in added.items()],
        )

    def _last_seq(self) -> int:
        return int(self._c.rows("select coalesce(max(seq), 0) from jobs")[0][0])

    def _refused(self, error: sqlite3.IntegrityError, ids: Sequence[str], before: int) -> Exception:
        """Return what to say of new jobs that were refused; `before` is the last number given before them, of which some may be in by now."""
        if "jobs.id" in str(error):
            known = self.taken(ids, up_to=before)
            first = ids[0]
            for first in ids:
                if first in known:
                    break
                known.add(first)
            return IdTaken(f"id: a job {first} exists already; the first is kept, choose another id")
        if "unique_key" in str(error):
            return StateConflict(
                "unique-key: a job with this key is in the queue already; wait for it or use another key"
            )
        return error

    def taken(self, ids: Sequence[str], *, up_to: int | None = None) -> set[str]:
        """Return those of these ids that jobs have (only jobs up to a number)."""
        rows = self._c.rows(
            "select id from jobs where id in (select value from json_each(?)) and seq <= ifnull(?, seq)",
            (json.dumps(list(ids)), up_to),
        )
        return {i for (i,) in rows}

    # --- out ---

    def get(self, job_id: str) -> Job:
        """Return the job of this id.

        Raises:
            JobNotFound: there is none.
        """
        row = self._c.one(f"select {Job.ROW} from jobs where id = ?", (job_id,))
        if row is None:
            raise JobNotFound(f"job {job_id}: no job has this id (see `queuectl list`)")
        return Job.from_row(row)

    def at(self, seqs: Iterable[int]) -> list[Job]:
        """Return the jobs of these sequence numbers, in their order; those that are gone are left out."""
        wanted = list(seqs)
        rows = self._c.rows(
            f"select {Job.ROW} from jobs where seq in (select value from json_each(?)) order by seq",
            (json.dumps(wanted),),
        )
        found = {r[0]: Job.from_row(r) for r in rows}
        return [found[s] for s in wanted if s in found]

    def seq_of(self, job_id: str) -> int | None:
        """Return the sequence number of an id, or None."""
        row = self._c.one("select seq from jobs where id = ?", (job_id,))
        return row[0] if row else None

    def holder(self, unique_key: str) -> str | None:
        """Return the id of the job that holds a unique key, or None (the predicate is the unique index's own)."""
        row = self._c.one(f"select id from jobs where unique_key = ? and {HOLDS_ITS_KEY}", (unique_key,))
        return row[0] if row else None

    def states_of(self, ids: Iterable[str]) -> dict[str, State]:
        """Return the states of the ids that exist, in the order given."""
        wanted = list(ids)
        found = dict(
            self._c.rows(
                "select id, state from jobs where id in (select value from json_each(?))",
                (json.dumps(wanted),),
            )
        )
        return {i: state_of(found[i]) for i in wanted if i in found}

    def progress(self) -> dict[str, Progress]:
        """Return what running jobs tell of their progress, by id."""
        rows = self._c.rows(
            """select id, progress_done, progress_total, progress_text from jobs
               where state = 'processing' and progress_run = runs order by +seq"""
        )
        return {i: Progress(*told) for i, *told in rows}

    def stamps(self, ids: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Return state and time of the last change, ms, of the ids that exist."""
        rows = self._c.rows(
            "select id, state, updated_at_ms from jobs where id in (select value from json_each(?))",
            (json.dumps(list(ids)),),
        )
        return {i: (state, at) for i, state, at in rows}

    def newest(self, wanted: Filter, *, limit: int) -> JobList:
        """Return the newest jobs of a filter, newest last, and how many were left out."""
        return self._last(wanted, "seq desc" if self._scan_newest(wanted) else "+seq desc", limit)

    def _scan_newest(self, wanted: Filter) -> bool:
        if wanted.ids is not None or wanted.sig is not None or wanted.batch is not None:
            return False
        return wanted.states is None or sum(self.counts(wanted.queue).get(s, 0) for s in wanted.states) > FEW

    def latest_dead(self, wanted: Filter, *, limit: int) -> JobList:
        """Return the dead jobs of a filter that died last, in the order in which they died (its states must be dead alone)."""
        return self._last(wanted, "finished_at_ms desc, seq desc", limit)

    def _last(self, wanted: Filter, order: str, limit: int) -> JobList:
        """Return the first `limit` jobs in a (descending) order of ours, turned round, and how many were left out."""
        where, values = wanted.where()
        rows = self._c.rows(
            f"select {Job.ROW} from jobs where {where} order by {order} limit :limit",
            values | {"limit": limit},
        )
        rows.reverse()
        left = self.count(wanted) - len(rows) if len(rows) == limit else 0
        return JobList([Job.from_row(r) for r in rows], left_out=left)

    def ids(self, wanted: Filter) -> list[tuple[int, str, State]]:
        """Return seq, id and state of every job of a filter, oldest first."""
        where, values = wanted.where()
        return [
            (s, i, state_of(t))
            for s, i, t in self._c.rows(f"select seq, id, state from jobs where {where} order by seq", values)
        ]

    def count(self, wanted: Filter) -> int:
        """Return how many jobs a filter matches; by state and queue alone this costs nothing."""
        if wanted == Filter(states=wanted.states, queue=wanted.queue):
            counts = self.counts(wanted.queue)
            return sum(n for s, n in counts.items() if wanted.states is None or s in wanted.states)
        where, values = wanted.where()
        return int(self._c.rows(f"select count(*) from jobs where {where}", values)[0][0])

    def counts(self, queue: str | None = None) -> dict[State, int]:
        """Return the number of jobs by state, in the order of `State`, zeros included."""
        rows = self._c.rows(
            "select state, sum(n) from counters where :queue is null or queue = :queue group by state",
            {"queue": queue},
        )
        found = dict(rows)
        return {s: int(found.get(s.value, 0)) for s in State}

    def recount(self) -> dict[State, int]:
        """Count all rows anew, for `doctor`."""
        found = dict(self._c.rows("select state, count(*) from jobs group by state"))
        return {s: int(found.get(s.value, 0)) for s in State}

    # --- runs ---

    def runs(self, seq: int) -> tuple[Run, ...]:
        """Return a job's ended runs, oldest first."""
        rows = self._c.rows(
            """select jobs.id, run, runs.worker_id, runs.started_at_ms, runs.finished_at_ms, runs.outcome, runs.exit_code, runs.signal,
                 runs.reason, runs.error, runs.error_sig, cpu_user_ms, cpu_sys_ms, max_rss, stdout_bytes, stderr_bytes,
                 output_dropped_ms
               from runs join jobs on jobs.seq = runs.job
               where runs.job = ? order by run""",
            (seq,),
        )
        return tuple(Run.from_row(r) for r in rows)

    def output(self, seq: int, run: int) -> tuple[bytes | None, bytes | None, str | None, str | None] | None:
        """Return inline stdout and stderr, and the files' names for large ones; None when the run has not ended."""
        row = self._c.one(
            """select outputs.stdout, outputs.stderr, stdout_file, stderr_file
               from runs left join outputs using (job, run) where job = ? and run = ?""",
            (seq, run),
        )
        return (row[0], row[1], row[2], row[3]) if row else None
