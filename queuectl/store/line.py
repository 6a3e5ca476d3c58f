"""The line: what a runner does in its transaction — settle, promote, claim, give back, recover.

Every write that ends a claim is fenced by `state = 'processing' and runs = :run`: the claimer's own settle and a recoverer's
requeue use the same predicate, so of the two exactly one changes the row and the other sees that it came late.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from queuectl._sqlite import Connection
from queuectl.lifecycle import CLAIMED_COLUMNS, Claimed, Interruption
from queuectl.model import Progress
from queuectl.records import NamedTuple
from queuectl.store.family import Family
from queuectl.store.history import History
from queuectl.store.jobs import HOLDS_ITS_KEY

PROMOTED_AT_ONCE = 1000  # due jobs made pending in one transaction


class Settled(NamedTuple):
    """One ended run as it is written: what becomes of the job, and the run's own row."""

    seq: int
    job_id: str
    run: int
    worker_id: str
    state: str
    outcome: str
    attempts: int
    rank: int | None
    run_at_ms: int | None
    due_mono_ms: int | None
    started_ms: int
    finished_ms: int
    is_final: bool
    exit_code: int | None
    signal: int | None
    reason: str | None
    error: str | None
    error_sig: str | None
    sig_version: int | None
    template: str | None
    cpu_user_ms: int | None
    cpu_sys_ms: int | None
    max_rss: int | None
    stdout_bytes: int
    stderr_bytes: int
    stdout: bytes | None
    stderr: bytes | None
    stdout_file: str | None
    stderr_file: str | None
    result: str | None
    stored_bytes: int = 0


_SETTLE = """
update jobs set state = ?, outcome = ?, attempts = ?, rank = coalesce(?, rank), run_at_ms = ?, due_mono_ms = ?, started_at_ms = ?,
  finished_at_ms = ?, updated_at_ms = ?, worker_id = ?, exit_code = ?, signal = ?, reason = ?, error = ?, error_sig = ?,
  result = coalesce(?, result), snoozes = snoozes + ?, cancel = cancel * ?
where seq = ? and state = 'processing' and runs = ?"""

_RUN = """
insert into runs (job, run, worker_id, started_at_ms, finished_at_ms, outcome, exit_code, signal, reason, error, error_sig, sig_version,
  cpu_user_ms, cpu_sys_ms, max_rss, stdout_bytes, stderr_bytes, stdout_file, stderr_file)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_CLAIM = "update jobs set state = 'processing', worker_id = ?, runs = runs + 1, started_at_ms = ?, updated_at_ms = ? where seq in "

_PICK = "(select seq from jobs where state = 'pending' and queue = ? and limit_key = ? and interruptions = 0 order by rank, seq limit ?)"

_RETURNING = f" returning {CLAIMED_COLUMNS}, rank"


class Lost(NamedTuple):
    """A job whose worker is gone."""

    seq: int
    id: str
    run: int
    worker_id: str
    interruptions: int
    started_at_ms: int | None


class Line:
    """The order in which jobs run. All methods expect to be inside one `store.write()`."""

    def __init__(self, connection: Connection, family: Family, history: History) -> None:
        self._c = connection
        self._family, self._history = family, history

    # --- settle ---

    def settle(self, ended: Sequence[Settled], *, now_ms: int) -> list[Settled]:
        """Write ended runs; return those that came too late (their job is no longer this run's) and changed nothing."""
        if not ended:
            return []
        late = self._settle_jobs(ended, now_ms)
        if late:
            gone = set(map(id, late))
            ended = [e for e in ended if id(e) not in gone]
        sql = self._c.sql
        sql.executemany(_RUN, [_run_row(e) for e in ended])
        outputs = [
            (
                e.seq,
                e.run,
                max(e.stored_bytes, len(e.stdout or b"") + len(e.stderr or b"")),
                e.stdout,
                e.stderr,
            )
            for e in ended
            if e.stdout or e.stderr or e.stdout_file or e.stderr_file
        ]
        if outputs:
            sql.executemany("insert into outputs values (?, ?, ?, ?, ?)", outputs)
        causes = {
            e.error_sig: (e.error_sig, e.template or "", e.sig_version or 0, now_ms)
            for e in ended
            if e.error_sig
        }
        if causes:
            sql.executemany(
                "insert into causes values (?, ?, ?, ?) on conflict (sig) do nothing", causes.values()
            )
        dead = [(e.job_id, e.reason) for e in ended if e.state == "dead"]
        if dead:
            self._history.note_each("die", dead, actor="worker", now_ms=now_ms)
        self._family.ended([e.seq for e in ended if e.is_final], now_ms=now_ms, actor="worker")
        self._end_cancelled([e.seq for e in ended if not e.is_final], now_ms=now_ms)
        return late

    def _end_cancelled(self, jobs: Sequence[int], *, now_ms: int) -> None:
        """End those of these jobs, back in line, that somebody cancelled while they ran."""
        if not jobs:
            return
        rows = self._c.rows(
            """update jobs set state = 'cancelled', cancel = 0, finished_at_ms = :now, due_mono_ms = null, reason = 'cancelled while it ran'
               where cancel > 0 and seq in (select value from json_each(:jobs))
                 and (state = 'pending' or state = 'failed' or state = 'scheduled') returning seq""",
            {"now": now_ms, "jobs": json.dumps(list(jobs))},
        )
        self._family.ended([seq for (seq,) in rows], now_ms=now_ms, actor="worker")

    def _settle_jobs(self, ended: Sequence[Settled], now_ms: int) -> list[Settled]:
        sql = self._c.sql
        sql.execute("savepoint settle")
        changed = sql.executemany(_SETTLE, [_job_row(e, now_ms) for e in ended]).rowcount
        late: list[Settled] = []
        if changed != len(ended):
            # Some run lost its job to a recoverer: once more, one by one, to learn which.
            sql.execute("rollback to settle")
            late = [e for e in ended if sql.execute(_SETTLE, _job_row(e, now_ms)).rowcount != 1]
        sql.execute("release settle")
        return late

    # --- promote ---

    def promote(self, *, now_ms: int, mono_ms: int) -> list[tuple[str, int, int]]:
        """Make due jobs pending; return id, attempts and queue order of those that had failed before."""
        self._c.rows(
            """update jobs set state = 'pending', updated_at_ms = ? where seq in (
                 select seq from jobs where state = 'scheduled' and run_at_ms <= ? order by run_at_ms limit ?)""",
            (now_ms, now_ms, PROMOTED_AT_ONCE),
        )
        return self._c.rows(
            """update jobs set state = 'pending', due_mono_ms = null, updated_at_ms = ? where seq in (
                 select seq from jobs where state = 'failed' and due_mono_ms <= ? order by due_mono_ms limit ?)
               returning id, attempts, seq""",
            (now_ms, mono_ms, PROMOTED_AT_ONCE),
        )

    def next_due(self) -> tuple[int | None, int | None]:
        """Return when the next scheduled job is due (wall clock, ms) and when the next failed one (monotonic, ms)."""
        wall = self._c.one("select run_at_ms from jobs where state = 'scheduled' order by run_at_ms limit 1")
        mono = self._c.one("select due_mono_ms from jobs where state = 'failed' order by due_mono_ms limit 1")
        return (wall[0] if wall else None, mono[0] if mono else None)

    def rebase(self, boot_id: str, *, now_ms: int, mono_ms: int) -> bool:
        """After a restart of the machine, express the back-offs in this boot's monotonic clock. Return whether it was one."""
        row = self._c.one("select value from control where name = 'boot'")
        if row is not None and row[0] == boot_id:
            return False
        self._c.rows(
            "insert into control values ('boot', 1, ?, ?) on conflict (name) do update set value = excluded.value, generation = generation + 1",
            (boot_id, now_ms),
        )
        if row is None:
            return False
        self._c.rows(
            "update jobs set due_mono_ms = ? + max(0, run_at_ms - ?) where state = 'failed'",
            (mono_ms, now_ms),
        )
        return True

    # --- claim ---

    def claim(self, worker_id: str, want: int, *, queues: Sequence[str] | None, now_ms: int) -> list[Claimed]:
        """Claim up to `want` pending jobs in order, at most as many of each limit key as may run at once."""
        lanes = self._lanes(queues)
        if not lanes or want < 1:
            return []
        if len(lanes) == 1:
            queue, key, room = lanes[0]
            rows = self._c.rows(
                _CLAIM + _PICK + _RETURNING, (worker_id, now_ms, now_ms, queue, key, min(want, room))
            )
        else:
            picked = json.dumps(self._pick(lanes, want))
            rows = self._c.rows(
                _CLAIM + "(select value from json_each(?))" + _RETURNING, (worker_id, now_ms, now_ms, picked)
            )
        rows.sort(key=lambda r: (r[-1], r[0]))
        return [Claimed(*r[:-1]) for r in rows]

    def _lanes(self, queues: Sequence[str] | None) -> list[tuple[str, str, int]]:
        """Return (queue, limit key, room) of every lane that has pending jobs, is not paused and not full."""
        rows = self._c.rows(
            """select queue, limit_key, coalesce((select n from limits where key = limit_key), 9e9) - case limit_key when '' then 0 else (
                 select coalesce(sum(n), 0) from counters as c where c.limit_key = counters.limit_key and c.state = 'processing') end
               from counters
               where state = 'pending' and n > 0 and not exists (select 1 from queues where paused > 0 and name in ('*', queue))"""
        )
        return [(q, k, int(room)) for q, k, room in rows if room >= 1 and (queues is None or q in queues)]

    def _pick(self, lanes: Sequence[tuple[str, str, int]], want: int) -> list[int]:
        """Merge the heads of the lanes; lanes that share a limit key share its room."""
        heads: list[tuple[int, int, str, int]] = []
        for queue, key, room in lanes:
            rows = self._c.rows(
                """select rank, seq from jobs where state = 'pending' and queue = ? and limit_key = ? and interruptions = 0
                   order by rank, seq limit ?""",
                (queue, key, min(want, room)),
            )
            heads += [(rank, seq, key, room) for rank, seq in rows]
        heads.sort()
        taken: dict[str, int] = {}
        picked: list[int] = []
        for _, seq, key, room in heads:
            if key and taken.get(key, 0) >= room:
                continue
            taken[key] = taken.get(key, 0) + 1
            picked.append(seq)
            if len(picked) == want:
                break
        return picked

    def suspects(self, queues: Sequence[str] | None) -> int:
        """Return how many pending jobs were interrupted before and are to be tried alone."""
        rows = self._c.rows(
            """select queue, count(*) from jobs where state = 'pending' and interruptions > 0
               and not exists (select 1 from queues where paused > 0 and name in ('*', queue)) group by queue"""
        )
        return sum(n for q, n in rows if queues is None or q in queues)

    def claim_suspect(self, worker_id: str, *, queues: Sequence[str] | None, now_ms: int) -> list[Claimed]:
        """Claim one job that was interrupted before, for a runner that has nothing else."""
        rows = self._c.rows(
            """select seq, queue from jobs where state = 'pending' and interruptions > 0
               and not exists (select 1 from queues where paused > 0 and name in ('*', queue))
               and (limit_key = '' or (select coalesce(sum(n), 0) from counters where limit_key = jobs.limit_key and state = 'processing')
                 < coalesce((select n from limits where key = jobs.limit_key), 9e9))
               order by rank, seq"""
        )
        picked = [s for s, q in rows if queues is None or q in queues][:1]
        rows = self._c.rows(
            _CLAIM + "(select value from json_each(?))" + _RETURNING,
            (worker_id, now_ms, now_ms, json.dumps(picked)),
        )
        return [Claimed(*r[:-1]) for r in rows]

    def assign(self, pairs: Iterable[tuple[str, int, int]]) -> None:
        """Note which worker really runs a claimed job: (worker id, seq, run)."""
        self._c.sql.executemany(
            "update jobs set worker_id = ? where seq = ? and state = 'processing' and runs = ?", pairs
        )

    def tell(self, told: Iterable[tuple[Progress, int, int]]) -> None:
        """Note what running jobs say of their progress: (progress, seq, run)."""
        rows = [(p.done, p.total, p.text, run, seq, run) for p, seq, run in told]
        if rows:
            self._c.sql.executemany(
                """update jobs set progress_done = ?, progress_total = ?, progress_text = ?, progress_run = ?
                   where seq = ? and state = 'processing' and runs = ?""",
                rows,
            )

    def give_back(self, claims: Iterable[tuple[int, int]], *, now_ms: int) -> None:
        """Return claimed jobs that were never started, (seq, run), without a mark.

        One whose key was free while it was claimed, and was taken then, is queued again without it.
        """
        given = list(claims)
        self._c.sql.executemany(
            f"""update jobs set state = 'pending', runs = runs - 1, worker_id = null, started_at_ms = null, updated_at_ms = ?,
                 unique_key = case when unique_key is null or unique_key not in (select unique_key from jobs as other
                   where other.unique_key = jobs.unique_key and other.seq <> jobs.seq and {HOLDS_ITS_KEY}) then unique_key end
               where seq = ? and state = 'processing' and runs = ?""",
            [(now_ms, seq, run) for seq, run in given],
        )
        self._end_cancelled([seq for seq, _ in given], now_ms=now_ms)

    def to_cancel(
        self, workers: Sequence[str], running: Iterable[tuple[int, int]] = ()
    ) -> list[tuple[tuple[int, int], int]]:
        """Return what these workers are to stop: ((seq, run), ms from TERM to KILL).

        Jobs that somebody cancelled, and of those that run the ones whose row was deleted.
        """
        rows = self._c.rows(
            """select seq, runs, kill_after_ms from jobs
               where state = 'processing' and cancel > 0 and worker_id in (select value from json_each(?)) order by seq""",
            (json.dumps(list(workers)),),
        )
        keys = {seq: (seq, run) for seq, run in running}
        known = self._c.rows(
            "select seq from jobs where seq in (select value from json_each(?))", (json.dumps(list(keys)),)
        )
        gone = keys.keys() - {seq for (seq,) in known}
        return [((seq, run), wait) for seq, run, wait in rows] + [(keys[s], 0) for s in sorted(gone)]

    def unfinished(self, queues: Sequence[str] | None) -> int:
        """Return how many jobs are pending, running or waiting for a retry."""
        rows = self._c.rows(
            "select queue, sum(n) from counters where state = 'pending' or state = 'processing' or state = 'failed' group by queue"
        )
        return sum(n for q, n in rows if queues is None or q in queues)

    # --- recover ---

    def lost(self, runner: str | None) -> list[Lost]:
        """Return the jobs a runner holds; with None those held by workers that no row speaks of."""
        whose = (
            "in (select id from workers where runner = ?)" if runner else "not in (select id from workers)"
        )
        rows = self._c.rows(
            f"""select seq, id, runs, worker_id, interruptions, started_at_ms from jobs
                where state = 'processing' and worker_id {whose} order by +seq""",
            (runner,) if runner else (),
        )
        return [Lost(*r) for r in rows]

    def interrupted(self, job: Lost, change: Interruption, *, now_ms: int) -> bool:
        """Take a lost job from its dead worker, fenced; return False when its run had been settled after all."""
        final = change.state.value == "dead"
        changed = self._c.sql.execute(
            """update jobs set state = ?, interruptions = ?, reason = ?, outcome = 'lost', updated_at_ms = ?, finished_at_ms = ?, cancel = cancel * ?,
                 worker_id = case when ? then worker_id end
               where seq = ? and state = 'processing' and runs = ?""",
            (
                change.state.value,
                change.interruptions,
                change.reason,
                now_ms,
                now_ms if final else None,
                not final,
                final,
                job.seq,
                job.run,
            ),
        ).rowcount
        if changed != 1:
            return False
        started = None if job.started_at_ms is None else min(job.started_at_ms, now_ms)
        self._c.sql.execute(
            "insert into runs (job, run, worker_id, started_at_ms, finished_at_ms, outcome, reason) values (?, ?, ?, ?, ?, 'lost', ?)",
            (job.seq, job.run, job.worker_id, started, now_ms, change.reason),
        )
        verb = "poison" if final else "interrupt"
        self._history.note(verb, job.id, change.reason, actor="worker", now_ms=now_ms)
        if final:
            self._family.ended([job.seq], now_ms=now_ms, actor="worker")
        else:
            self._end_cancelled([job.seq], now_ms=now_ms)
        return True


def _job_row(e: Settled, now_ms: int) -> tuple[Any, ...]:
    return (
        e.state, e.outcome, e.attempts, e.rank, e.run_at_ms, e.due_mono_ms, e.started_ms,
        e.finished_ms if e.is_final else None, now_ms, e.worker_id, e.exit_code, e.signal, e.reason, e.error, e.error_sig,
        e.result, e.outcome == "snoozed", not e.is_final, e.seq, e.run,
    )  # fmt: skip


def _run_row(e: Settled) -> tuple[Any, ...]:
    return (
        e.seq, e.run, e.worker_id, e.started_ms, max(e.started_ms, e.finished_ms), e.outcome, e.exit_code, e.signal, e.reason, e.error, e.error_sig,
        e.sig_version, e.cpu_user_ms, e.cpu_sys_ms, e.max_rss, e.stdout_bytes, e.stderr_bytes, e.stdout_file, e.stderr_file,
    )  # fmt: skip
