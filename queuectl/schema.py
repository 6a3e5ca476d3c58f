"""The tables, made by sqlite-utils migrations. This page is the first thing to read about the data.

Times are integer milliseconds UTC. A released migration is never edited; the next one is written. `user_version` is the number of
migrations applied, so that an up-to-date database is opened without importing sqlite-utils.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any

from queuectl import _sqlite, place
from queuectl._sqlite import APPLICATION_ID, Connection
from queuectl.errors import DatabaseRefused

if TYPE_CHECKING:
    import sqlite_utils

VERSION = 1
SHAPE = 3151676493  # `shape()` of a fresh database; a test holds that it is
TABLES = frozenset(
    (
        "jobs",
        "runs",
        "outputs",
        "litter",
        "causes",
        "workers",
        "config",
        "control",
        "queues",
        "limits",
        "dependencies",
        "schedules",
        "events",
        "counters",
    )
)

# A seq is never used again: a late result of a deleted job must not meet another job at its number.
# No check lists words with `in`: from three words on SQLite fills a table with them at every statement, half the time of an insert.
JOBS = """
create table jobs (
  seq integer primary key autoincrement,
  id text not null constraint job_id_unique unique constraint job_id_short check (length(id) between 1 and 64),
  command text not null constraint job_command_not_empty check (length(command) > 0),
  queue text not null,
  state text not null constraint job_state_known check (
    state = 'pending' or state = 'processing' or state = 'completed' or state = 'failed'
    or state = 'scheduled' or state = 'blocked' or state = 'dead' or state = 'cancelled'),
  priority integer not null default 0,
  rank integer not null,
  attempts integer not null default 0 constraint job_attempts_counted check (attempts >= 0),
  max_retries integer not null constraint job_max_retries_counted check (max_retries >= 0),
  runs integer not null default 0 constraint job_runs_counted check (runs >= 0),
  interruptions integer not null default 0 constraint job_interruptions_counted check (interruptions >= 0),
  snoozes integer not null default 0,
  created_at_ms integer not null,
  updated_at_ms integer not null,
  run_at_ms integer,
  due_mono_ms integer,
  started_at_ms integer,
  finished_at_ms integer,
  worker_id text,
  outcome text,
  exit_code integer,
  signal integer,
  reason text,
  error text,
  error_sig text,
  timeout_ms integer constraint job_timeout_positive check (timeout_ms > 0),
  kill_after_ms integer not null,
  warn text,
  backoff text not null,
  backoff_base real not null,
  backoff_max_ms integer not null,
  jitter real not null,
  retry_on text,
  no_retry_on text,
  keep_children integer not null default 0,
  cwd text not null,
  env text,
  tags text not null default '',
  params text,
  result text,
  progress_done real,
  progress_total real,
  progress_text text,
  progress_run integer,
  unique_key text,
  unique_for text constraint job_unique_for_known check (
    unique_for is null or unique_for = 'active' or unique_for = 'queued' or unique_for = 'success' or unique_for = 'forever'),
  limit_key text not null default '',
  waits_for integer not null default 0,
  on_dep_fail text,
  retry_of text,
  batch text,
  schedule text,
  slot_ms integer,
  origins text,
  cancel integer not null default 0,
  constraint job_processing_has_a_worker check (state <> 'processing' or (worker_id is not null and runs > 0)),
  constraint job_final_has_an_end check (
    (finished_at_ms is null) = (state <> 'completed' and state <> 'dead' and state <> 'cancelled')),
  constraint job_waiting_has_a_time check ((state <> 'scheduled' and state <> 'failed') or run_at_ms is not null),
  constraint job_failed_has_a_deadline check (state <> 'failed' or due_mono_ms is not null),
  constraint job_failed_has_attempts_left check (state <> 'failed' or (attempts > 0 and attempts < max_retries))
) strict
"""

# Each partial index repeats its predicate literally in the query that uses it. Where few rows of many are meant, the query says `order by +seq`:
# with `order by seq` SQLite walks the whole table in its order, to save the sorting of a handful.
INDEXES = """
create index jobs_pending on jobs (queue, limit_key, rank, seq) where state = 'pending';
create index jobs_scheduled on jobs (run_at_ms) where state = 'scheduled';
create index jobs_failed on jobs (due_mono_ms) where state = 'failed';
create index jobs_processing on jobs (worker_id) where state = 'processing';
create index jobs_suspect on jobs (queue) where state = 'pending' and interruptions > 0;
create index jobs_cancel on jobs (seq) where state = 'processing' and cancel > 0;
create index jobs_blocked on jobs (seq) where state = 'blocked';
create index jobs_cancelled on jobs (seq) where state = 'cancelled';
create index jobs_completed on jobs (seq) where state = 'completed';
create index jobs_dead on jobs (finished_at_ms) where state = 'dead';
create index jobs_dead_sig on jobs (error_sig) where state = 'dead';
create index jobs_failed_sig on jobs (error_sig) where state = 'failed';
create index jobs_removable on jobs (finished_at_ms) where state in ('completed', 'cancelled');
create index jobs_batch on jobs (batch) where batch is not null;
create unique index jobs_slot on jobs (schedule, slot_ms) where schedule is not null;
create index jobs_of_schedule on jobs (schedule) where schedule is not null
  and state in ('scheduled', 'blocked', 'pending', 'processing', 'failed');
create unique index jobs_unique on jobs (unique_key) where unique_key is not null and (
  unique_for = 'forever'
  or (unique_for = 'success' and state not in ('dead', 'cancelled'))
  or (unique_for = 'active' and state in ('scheduled', 'blocked', 'pending', 'processing', 'failed'))
  or (unique_for = 'queued' and runs = 0 and state in ('scheduled', 'blocked', 'pending')));
"""

RUNS = """
create table runs (
  job integer not null references jobs (seq) on delete cascade,
  run integer not null constraint run_number_positive check (run > 0),
  worker_id text,
  started_at_ms integer,
  finished_at_ms integer not null,
  outcome text not null constraint run_outcome_known check (
    outcome = 'ok' or outcome = 'failed' or outcome = 'timeout' or outcome = 'killed'
    or outcome = 'spawn' or outcome = 'lost' or outcome = 'cancelled' or outcome = 'snoozed'),
  exit_code integer,
  signal integer,
  reason text,
  error text,
  error_sig text,
  sig_version integer,
  cpu_user_ms integer,
  cpu_sys_ms integer,
  max_rss integer,
  stdout_bytes integer not null default 0,
  stderr_bytes integer not null default 0,
  stdout_file text,
  stderr_file text,
  output_dropped_ms integer,
  primary key (job, run),
  constraint run_ends_after_its_start check (started_at_ms is null or finished_at_ms >= started_at_ms)
) strict, without rowid;
create index runs_finished on runs (finished_at_ms);
create index runs_failures on runs (error_sig, finished_at_ms, started_at_ms) where error_sig is not null;
create table outputs (
  job integer not null references jobs (seq) on delete cascade,
  run integer not null,
  bytes integer not null,
  stdout blob,
  stderr blob,
  primary key (job, run)
) strict;
create table litter (
  name text primary key
) strict, without rowid;
create trigger runs_leave_files after delete on runs when old.stdout_file is not null or old.stderr_file is not null begin
  insert or ignore into litter select old.stdout_file where old.stdout_file is not null;
  insert or ignore into litter select old.stderr_file where old.stderr_file is not null;
end;
create table causes (
  sig text primary key,
  template text not null,
  version integer not null,
  first_seen_ms integer not null
) strict, without rowid
"""

# The jobs of a batch are counted by the call that adds them, at once for all.
REST = """
create table workers (
  id text primary key,
  runner text not null,
  state text not null,
  stop text,
  job integer,
  host text not null,
  boot_id text not null,
  pid integer not null,
  pid_start integer not null,
  queues text,
  started_at_ms integer not null,
  heartbeat_at_ms integer not null,
  beat_mono_ms integer not null,
  done integer not null default 0,
  failed integer not null default 0
) strict, without rowid;
create index workers_runner on workers (runner);
create table config (
  key text primary key,
  value text not null,
  updated_at_ms integer not null
) strict, without rowid;
create table control (
  name text primary key,
  generation integer not null default 0,
  value text,
  updated_at_ms integer not null
) strict, without rowid;
create table queues (
  name text primary key,
  paused integer not null default 0 constraint queue_paused_known check (paused between 0 and 3),
  reason text,
  settings text,
  breaker text,
  updated_at_ms integer not null
) strict, without rowid;
create table limits (
  key text primary key,
  n integer not null constraint limit_positive check (n > 0)
) strict, without rowid;
create table dependencies (
  parent integer not null references jobs (seq) on delete cascade,
  child integer not null references jobs (seq) on delete cascade,
  needs text not null constraint dependency_kind_known check (needs in ('ok', 'any', 'fail')),
  met integer not null default 0,
  primary key (parent, child)
) strict, without rowid;
create index dependencies_child on dependencies (child, met);
create table schedules (
  id text primary key,
  cron text not null,
  zone text not null,
  command text not null,
  fields text not null,
  misfire text not null constraint schedule_misfire_known check (misfire in ('one', 'skip', 'all')),
  overlap text not null constraint schedule_overlap_known check (overlap in ('skip', 'allow')),
  paused integer not null default 0,
  next_ms integer,
  last_ms integer,
  skipped integer not null default 0,
  error text,
  created_at_ms integer not null
) strict, without rowid;
create index schedules_next on schedules (next_ms) where paused = 0;
create table events (
  seq integer primary key,
  at_ms integer not null,
  actor text not null,
  verb text not null,
  job_id text,
  detail text
) strict;
create index events_job on events (job_id) where job_id is not null;
create index events_at on events (at_ms);
create table counters (
  queue text not null,
  limit_key text not null,
  state text not null,
  n integer not null,
  primary key (queue, limit_key, state)
) strict, without rowid;
create trigger jobs_count_insert after insert on jobs when new.batch is null begin
  insert into counters values (new.queue, new.limit_key, new.state, 1)
    on conflict (queue, limit_key, state) do update set n = n + 1;
end;
create trigger jobs_count_delete after delete on jobs begin
  update counters set n = n - 1 where queue = old.queue and limit_key = old.limit_key and state = old.state;
end;
create trigger jobs_count_update after update of state, queue, limit_key on jobs
  when old.state <> new.state or old.queue <> new.queue or old.limit_key <> new.limit_key begin
  update counters set n = n - 1 where queue = old.queue and limit_key = old.limit_key and state = old.state;
  insert into counters values (new.queue, new.limit_key, new.state, 1)
    on conflict (queue, limit_key, state) do update set n = n + 1;
end;
create trigger jobs_keep_parents before delete on jobs
  when exists (select 1 from dependencies join jobs as c on c.seq = child where parent = old.seq and met = 0 and c.state = 'blocked') begin
  select raise(ignore);
end;
create view dlq as
  select id, command, queue, attempts, max_retries, runs, reason, error, error_sig, tags,
    datetime(created_at_ms / 1000, 'unixepoch', 'localtime') as created,
    datetime(finished_at_ms / 1000, 'unixepoch', 'localtime') as died
  from jobs where state = 'dead';
create view active as
  select id, command, queue, state, priority, attempts, runs, worker_id,
    datetime(created_at_ms / 1000, 'unixepoch', 'localtime') as created,
    datetime(run_at_ms / 1000, 'unixepoch', 'localtime') as due,
    datetime(started_at_ms / 1000, 'unixepoch', 'localtime') as started
  from jobs where state in ('scheduled', 'blocked', 'pending', 'processing', 'failed');
create view run_log as
  select jobs.id, runs.run, jobs.command, runs.outcome, runs.exit_code, runs.signal, runs.reason, runs.error, runs.error_sig,
    datetime(runs.started_at_ms / 1000, 'unixepoch', 'localtime') as started,
    (runs.finished_at_ms - runs.started_at_ms) / 1000.0 as seconds, runs.max_rss, runs.worker_id
  from runs join jobs on jobs.seq = runs.job
"""


def _statements(script: str) -> list[str]:
    """Split a script at its semicolons, keeping trigger bodies whole."""
    out, part = [], ""
    for piece in script.split(";"):
        part += piece
        if "create trigger" in part and not piece.strip().lower().endswith("end"):
            part += ";"
            continue
        if part.strip():
            out.append(part.strip())
        part = ""
    return out


def _foundation(db: sqlite_utils.Database) -> None:
    for script in (JOBS, INDEXES, RUNS, REST):
        for statement in _statements(script):
            db.execute(statement)


def migrations() -> Any:
    """Return the migrations, oldest first, as sqlite-utils runs them."""
    _sqlite.utils()
    from sqlite_utils.migrations import Migrations

    steps = Migrations("queuectl")
    steps(name="001_foundation")(_foundation)
    return steps


def fill(connection: Connection) -> None:
    """Bring a database to the current version in one transaction."""
    with connection.write():
        if version(connection) < VERSION:
            migrations().apply(connection.utils)
            connection.rows(f"pragma application_id = {APPLICATION_ID}")
            connection.rows(f"pragma user_version = {VERSION}")


def version(connection: Connection) -> int:
    """Return the schema version of the file."""
    return int(connection.rows("pragma user_version")[0][0])


def open_database(path: str, *, create: bool = True, **options: Any) -> Connection:
    """Open a queue's database, making it first where there is none and bringing an older one up to date.

    Raises:
        DatabaseRefused: the file is not ours, newer than this program, or its tables are not what we made; untouched.
    """
    if not os.path.lexists(path):
        if not create:
            raise DatabaseRefused(f"{path}: no such database")
        _sqlite.create(path, fill)
    place.check_file(path)
    connection = Connection(path, **options)
    try:
        _check_identity(connection)
        connection.configure()
        if version(connection) < VERSION:
            if connection.read_only:
                raise DatabaseRefused(
                    f"{path}: made by an older queuectl; the next command brings it up to date"
                )
            fill(connection)
        _check_shape(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_identity(connection: Connection) -> None:
    application = connection.rows("pragma application_id")[0][0]
    if application != APPLICATION_ID:
        raise DatabaseRefused(
            f"{connection.path}: expected a queuectl database, found another program's (application id {application}); left untouched"
        )
    found = version(connection)
    if found > VERSION:
        raise DatabaseRefused(
            f"{connection.path}: made by a newer queuectl (schema {found}, this one knows {VERSION}); upgrade queuectl"
        )
    if found < 1:
        raise DatabaseRefused(
            f"{connection.path}: has schema version {found}; left untouched, restore a backup"
        )


def shape(connection: Connection) -> int:
    """Return a checksum of our tables and their indexes, and of every trigger and view."""
    rows = connection.rows(
        "select type, name, tbl_name, sql from sqlite_schema where sql is not null order by name, type"
    )
    ours = (
        f"{kind} {name} {sql}"
        for kind, name, table, sql in rows
        if kind in ("trigger", "view") or table in TABLES
    )
    return zlib.crc32("\0".join(ours).encode())


def _check_shape(connection: Connection) -> None:
    if shape(connection) != SHAPE:
        raise DatabaseRefused(
            f"{connection.path}: its tables, triggers or views are not those that queuectl made; "
            "left untouched, restore a backup or drop what was added"
        )
