"""Many rows at once, for frames: each column of some thousand rows comes as one packed text.

Python's sqlite3 makes an object of every value, which costs more than everything SQLite does to find it. Here SQLite itself puts
a column's values of a slice of rows one after another (`group_concat`), and the reader takes them apart with numpy. All columns of
a slice come from one query over the same rows, so they are in the same order as its key, which comes along. That this order is the
key's own follows from the way the rows are found, by the table's key alone (`not indexed`); the reader checks it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from queuectl._sqlite import Connection, sqlite3
from queuectl.model import Outcome, State
from queuectl.records import NamedTuple, record
from queuectl.store.filters import Filter

WHOLE, SOME, TEXT, CHOICE = "whole", "some", "text", "choice"
SEPARATOR, MISSING = b"\x1f", b"\x1e"
NONE = -1  # stands for a missing number; none of those that may be missing is negative
FIRST_LETTER = ord("A")  # of a choice; the sign before it stands for a missing one
SLICE = 20_000  # rows packed at once
PART = 4  # fewer than 1/PART of the rows: looked up one by one instead of passing all
TOO_BIG = 18  # SQLITE_TOOBIG
OFTEN = ("completed", "ok", "dead", "failed", "pending")  # words looked for first


class Column(NamedTuple):
    """A value of each row: what it is in SQL, and how it is packed.

    Attributes:
        sql: the expression.
        kind: WHOLE numbers, SOME of them missing, TEXT (may be missing), or one CHOICE of a few words.
        words: those words.
        always: no row is without its TEXT, so nobody has to count those that have one.
    """

    sql: str
    kind: str
    words: tuple[str, ...] = ()
    always: bool = False


def _own(names: str, kind: str, prefix: str = "", *, always: bool = False) -> dict[str, Column]:
    return {name: Column(prefix + name, kind, always=always) for name in names.split()}


JOBS: dict[str, Column] = {
    **_own("seq priority attempts max_retries runs created_at_ms updated_at_ms", WHOLE),
    **_own("exit_code signal run_at_ms started_at_ms finished_at_ms", SOME),
    **_own("id queue command tags", TEXT, always=True),
    **_own("worker_id error reason error_sig params result", TEXT),
    "state": Column("state", CHOICE, tuple(State)),
    "outcome": Column("outcome", CHOICE, tuple(Outcome)),
    "first_start_ms": Column(
        "case when runs > 1 then (select started_at_ms from runs where job = jobs.seq and run = 1) else started_at_ms end",
        SOME,
    ),
}

RUNS: dict[str, Column] = {
    **_own("seq", WHOLE, "jobs."),
    **_own("id queue command", TEXT, "jobs.", always=True),
    **_own("run finished_at_ms stdout_bytes stderr_bytes", WHOLE, "runs."),
    **_own("exit_code signal started_at_ms cpu_user_ms cpu_sys_ms max_rss", SOME, "runs."),
    **_own("worker_id error error_sig", TEXT, "runs."),
    "outcome": Column("runs.outcome", CHOICE, tuple(Outcome)),
}


@record
class RunFilter:
    """Which runs are meant: conditions on the run, beside those on its job."""

    outcomes: tuple[Outcome, ...] | None = None
    sig: str | None = None
    since_ms: int | None = None  # of finished_at
    until_ms: int | None = None

    def where(self, *, by_key: bool = False) -> tuple[str, dict[str, Any]]:
        """Return the clause (always true when empty) and its named values; `by_key` keeps it from leading to an index."""
        parts, values = ["true"], dict[str, Any]()
        sign = "+" if by_key else ""
        if self.outcomes is not None:
            listed = (f"runs.outcome = '{Outcome(o).value}'" for o in self.outcomes)
            parts.append("(" + (" or ".join(listed) or "false") + ")")
        for clause, name, value in (
            (f"{sign}runs.error_sig = :run_sig", "run_sig", self.sig),
            (f"{sign}runs.finished_at_ms >= :run_since", "run_since", self.since_ms),
            (f"{sign}runs.finished_at_ms < :run_until", "run_until", self.until_ms),
        ):
            if value is not None:
                parts.append(clause)
                values[name] = value
        return " and ".join(parts), values


Packed = str | bytes | list[bytes | None]


class Slice(NamedTuple):
    """Some rows, in ascending order of their key: how many, and each column packed.

    Numbers are text with a space between them, a choice is one letter a row, text is UTF-8 with `SEPARATOR` between and `MISSING`
    for a missing value, or a plain list where a value holds one of these characters itself.
    """

    rows: int
    columns: Mapping[str, Packed]


class _Table(NamedTuple):
    """Rows to read: from where, under which conditions, in which order."""

    columns: Mapping[str, Column]
    source: str
    order: str
    where: str
    values: dict[str, Any]


class Frames:
    """Reads whole columns; one consistent view of the database for each frame."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    # --- jobs and runs ---

    def jobs(self, wanted: Filter, names: Sequence[str], *, limit: int | None, few: bool) -> Iterator[Slice]:
        """Yield the jobs of a filter, oldest first; with a limit the newest so many.

        Args:
            wanted: which jobs.
            names: keys of `JOBS`.
            limit: at most so many, the newest.
            few: they are few among all, so that looking each up is less work than passing all.
        """
        where, values = wanted.where()
        table = _Table({n: JOBS[n] for n in names}, "jobs not indexed", "jobs.seq", where, values)
        with self._c.reading():
            if limit is not None and wanted.is_empty() and (stretch := self._newest(limit)):
                yield from self._passed(table, *stretch)
            elif limit is not None or few:
                newest = "" if limit is None else f" limit {limit}"
                sql = f"select seq from jobs where {where} order by {'+seq' if few else 'seq'} desc{newest}"
                yield from self._listed(table, [r[0] for r in reversed(self._c.rows(sql, values))])
            else:
                yield from self._passed(table, *self._whole())

    def runs(
        self, wanted: Filter, of_run: RunFilter, names: Sequence[str], *, limit: int | None, few: bool
    ) -> Iterator[Slice]:
        """Yield the ended runs of a filter's jobs by job and number; with a limit those that ended last.

        Args:
            wanted: which jobs.
            of_run: which of their runs.
            names: keys of `RUNS`.
            limit: at most so many.
            few: the jobs are few among all.
        """
        where, values = wanted.where()
        (run_where, run_values), (by_key, _) = of_run.where(), of_run.where(by_key=True)
        values = values | run_values
        columns = {n: RUNS[n] for n in names}
        source, order = "jobs not indexed cross join runs on runs.job = jobs.seq", "jobs.seq, runs.run"
        # In a scope of its own, where names such as error_sig are the job's.
        meant = (
            "true"
            if wanted.is_empty()
            else f"exists (select 1 from jobs as j where j.seq = jobs.seq and {where})"
        )
        with self._c.reading():
            if limit is not None:
                found = self._c.rows(
                    f"""select runs.finished_at_ms, runs.job, runs.run from runs join jobs on jobs.seq = runs.job where {run_where} and {meant}
                        order by runs.finished_at_ms desc, runs.job desc, runs.run desc limit :newest""",
                    values | {"newest": limit},
                )
                if not found:
                    return
                end = dict(zip(("end_ms", "end_job", "end_run"), found[-1], strict=True))
                last = "(+runs.finished_at_ms, runs.job, runs.run) >= (:end_ms, :end_job, :end_run)"
                table = _Table(columns, source, order, f"{by_key} and {last} and {meant}", values | end)
                yield from self._listed(table, sorted({job for _, job, _ in found}))
                return
            table = _Table(columns, source, order, f"{by_key} and {meant}", values)
            if few:
                jobs = self._c.rows(f"select seq from jobs where {where} order by +seq", values)
            elif of_run.since_ms is not None or of_run.sig is not None:
                jobs = self._c.rows(f"select distinct job from runs where {run_where}", values)
                jobs.sort()
            else:
                yield from self._passed(table, *self._whole())
                return
            yield from self._listed(table, [r[0] for r in jobs])

    # --- slices ---

    def _whole(self) -> tuple[int, int]:
        """The first job's number and the last one's; (0, -1) without jobs."""
        first, last = self._c.rows("select (select min(seq) from jobs), (select max(seq) from jobs)")[0]
        return (0, -1) if first is None else (first, last)

    def _newest(self, limit: int) -> tuple[int, int] | None:
        """Between which numbers the newest jobs lie; None where others were removed from among them."""
        first, last, found = self._c.rows(
            "select min(seq), max(seq), count(*) from (select seq from jobs order by seq desc limit ?)",
            (limit,),
        )[0]
        if not found:
            return 0, -1
        return (first, last) if last - first < PART * found else None

    def _passed(self, table: _Table, first: int, last: int) -> Iterator[Slice]:
        """All rows of the jobs between two numbers, slice by slice."""
        for low in range(first, last + 1, SLICE):
            within = {"low": low, "high": min(low + SLICE, last + 1)}
            yield from self._sliced(table, "jobs.seq >= :low and jobs.seq < :high", within)

    def _listed(self, table: _Table, seqs: Sequence[int]) -> Iterator[Slice]:
        """The rows of these jobs, in ascending order; where they lie close together their whole stretch is passed."""
        for at in range(0, len(seqs), SLICE):
            part = seqs[at : at + SLICE]
            if part[-1] - part[0] < PART * len(part):
                within: dict[str, Any] = {"low": part[0], "high": part[-1] + 1}
                stretch = "jobs.seq >= :low and jobs.seq < :high"
            else:
                within = {"part": json.dumps(part)}
                stretch = "jobs.seq in (select value from json_each(:part))"
            yield from self._sliced(table, stretch, within)

    def _sliced(self, table: _Table, stretch: str, within: dict[str, Any]) -> Iterator[Slice]:
        try:
            found = self._pack(table, stretch, within)
        except sqlite3.DataError:  # more text than one value may hold: halves of it
            for half in _halves(within):
                yield from self._sliced(table, stretch, half)
            return
        if found.rows:
            yield found

    def _pack(self, table: _Table, stretch: str, within: dict[str, Any]) -> Slice:
        each = [_packed(c) for c in table.columns.values()]
        counts = [
            "count(*)" if c.always else f"count({c.sql})" for c in table.columns.values() if c.kind == TEXT
        ]
        rows = f"from {table.source} where {stretch} and {table.where}"
        rest, values = 1 + len(each), table.values | within
        row = self._fetch(f"select {', '.join(['count(*)', *each, *counts])} {rows}", values)[0]
        columns = dict(zip(table.columns, row[1:rest], strict=True))
        texts = (n for n, c in table.columns.items() if c.kind == TEXT)
        for name, present in zip(texts, row[rest:], strict=True):
            if row[0] and not _is_plain(columns[name], row[0], present):
                found = self._fetch(
                    f"select cast({table.columns[name].sql} as blob) {rows} order by {table.order}", values
                )
                columns[name] = [r[0] for r in found]
        return Slice(row[0], columns)

    def _fetch(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        try:
            return self._c.sql.execute(sql, values).fetchall()
        except sqlite3.DataError:
            raise
        except sqlite3.DatabaseError as e:
            if getattr(e, "sqlite_errorcode", 0) == TOO_BIG:
                raise sqlite3.DataError(str(e)) from e
            raise self._c.fault(e) from e

    # --- the rest ---

    def templates(self) -> dict[str, str]:
        """Return the masked message of each cause."""
        return dict(self._c.rows("select sig, template from causes order by sig"))

    def events(
        self,
        *,
        job_id: str | None = None,
        verb: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int | None = None,
    ) -> list[tuple[int, int, str, str, str | None, str | None]]:
        """Return what happened, oldest first: (seq, at ms, actor, verb, job id, detail); with a limit the newest so many."""
        rows = self._c.rows(
            """select seq, at_ms, actor, verb, job_id, detail from events
               where (:job is null or job_id = :job) and (:verb is null or verb = :verb)
                 and (:since is null or at_ms >= :since) and (:until is null or at_ms < :until)
               order by seq desc limit :limit""",
            {"job": job_id, "verb": verb, "since": since_ms, "until": until_ms, "limit": -1 if limit is None else limit},
        )  # fmt: skip
        rows.reverse()
        return rows


def _is_plain(packed: bytes, rows: int, present: int) -> bool:
    """Whether each separator separates and each sign of a missing value is one."""
    return packed.count(SEPARATOR) == rows - 1 and packed.count(MISSING) == rows - present


def _packed(column: Column) -> str:
    match column.kind:
        case "whole":
            return f"group_concat({column.sql}, ' ')"
        case "some":
            return f"group_concat(coalesce({column.sql}, {NONE}), ' ')"
        case "choice":
            whens = " ".join(
                f"when '{w}' then '{chr(FIRST_LETTER + column.words.index(w))}'"
                for w in sorted(column.words, key=lambda w: OFTEN.index(w) if w in OFTEN else len(OFTEN))
            )
            return f"group_concat(case {column.sql} {whens} else '{chr(FIRST_LETTER - 1)}' end, '')"
        case _:
            # As bytes: what another program wrote need not be UTF-8.
            value = column.sql if column.always else f"coalesce({column.sql}, char({MISSING[0]}))"
            return f"cast(group_concat({value}, char({SEPARATOR[0]})) as blob)"


def _halves(within: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "part" in within:
        part = json.loads(within["part"])
        middle = len(part) // 2
        if middle:
            yield {"part": json.dumps(part[:middle])}
            yield {"part": json.dumps(part[middle:])}
        return
    low, high = within["low"], within["high"]
    middle = (low + high) // 2
    if middle > low:
        yield {"low": low, "high": middle}
        yield {"low": middle, "high": high}
