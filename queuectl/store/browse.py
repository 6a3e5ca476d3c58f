"""Looking through the jobs of a large queue: pages by key, and bounded counts.

No question here takes time in proportion to a million jobs: pages go by key and never by offset, and a search that no index
serves walks the table in slices until its time is up and then says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from queuectl._sqlite import Connection
from queuectl.model import Job, State
from queuectl.records import NamedTuple, record
from queuectl.store.jobs import Jobs

FEW = 20_000  # rows of a state up to which they are all read and sorted
SLICE = 20_000  # sequence numbers looked through between two looks at the clock
BUDGET_S = 0.05
RARE = 20  # a state with fewer than 1/RARE of the jobs is looked up by its own index

Clock = Callable[[], float]


@record
class Match:
    """One condition: a field, how it is compared, and the values of which any may match."""

    field: str
    test: str  # a key of that field's entry in TESTS
    values: tuple[str | int, ...]
    negated: bool = False


@record
class Wanted:
    """Which jobs are looked for: all matches must hold; no states means any."""

    states: tuple[State, ...] | None = None
    matches: tuple[Match, ...] = ()

    def is_everything(self) -> bool:
        """Whether no condition was given."""
        return self.states is None and not self.matches

    def exact_sig(self) -> bool:
        """Whether one whole signature is asked for, which an index serves."""
        return any(m.field == "sig" and m.test == "=" and not m.negated for m in self.matches)


def _has(column: str) -> str:
    return f"instr(lower({column}), :v) > 0"


_ERROR, _REASON = "coalesce(error, '')", "coalesce(reason, '')"
_ANYWHERE = "(" + " or ".join(_has(c) for c in ("command", "id", _ERROR)) + ")"
_NUMBERS = {"=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_TOOK = "(case when started_at_ms is null then null else coalesce(finished_at_ms, updated_at_ms) - started_at_ms end)"


def _compare(column: str) -> dict[str, str]:
    return {name: f"{column} {op} :v" for name, op in _NUMBERS.items()}


# Every condition there is: field, test, clause. Nothing that a person typed becomes SQL.
TESTS: dict[str, dict[str, str]] = {
    "text": {"has": _ANYWHERE},
    "cmd": {"has": _has("command"), "starts": "instr(lower(command), :v) = 1"},
    "id": {"=": "id = :v", "starts": "substr(id, 1, length(:v)) = :v"},
    "queue": {"=": "queue = :v"},
    "tag": {"=": "instr(tags, ' ' || :v || ' ') > 0"},
    "sig": {"=": "error_sig = :v", "starts": "substr(error_sig, 1, length(:v)) = :v"},
    "err": {
        "has": f"({_has(_ERROR)} or {_has(_REASON)})",
        "either": f"(substr(error_sig, 1, length(:v)) = :v or {_has(_ERROR)})",
    },
    "worker": {"=": "worker_id = :v"},
    "exit": _compare("exit_code"),
    "signal": _compare("signal"),
    "attempts": _compare("attempts"),
    "runs": _compare("runs"),
    "priority": _compare("priority"),
    "created": _compare("created_at_ms"),
    "updated": _compare("updated_at_ms"),
    "took": _compare(_TOOK),
}


class Order(NamedTuple):
    """A way to sort: its key column, its direction, and the states whose index has it."""

    column: str
    descending: bool
    groups: tuple[tuple[State, ...], ...] = ()


ORDERS = {
    "newest": Order("seq", True),
    "oldest": Order("seq", False),
    "ended": Order("finished_at_ms", True, ((State.DEAD,), (State.COMPLETED, State.CANCELLED))),
    "next": Order("rank", False, ((State.PENDING,),)),
}


class Key(NamedTuple):
    """A place in an order: the sort column's value and the job's seq."""

    value: int
    seq: int


@record
class Page:
    """Some jobs in their order.

    Attributes:
        jobs: at most as many as asked for.
        before: where to go on towards the beginning, or None at the beginning.
        after: where to go on towards the end, or None at the end.
        searched: None when the search is complete, else how many sequence numbers were looked through before time was up;
            `after` (or `before`, going back) goes on from there.
    """

    jobs: tuple[Job, ...]
    before: Key | None
    after: Key | None
    searched: int | None = None


class Count(NamedTuple):
    """How many; a lower bound unless exact."""

    n: int
    exact: bool


class Browse:
    """Questions that read and never write."""

    def __init__(
        self, connection: Connection, *, clock: Clock = time.monotonic, budget_s: float = BUDGET_S
    ) -> None:
        self._c = connection
        self._jobs = Jobs(connection)
        self._clock = clock
        self._budget_s = budget_s

    # --- pages ---

    def page(
        self,
        wanted: Wanted,
        *,
        order: str = "newest",
        key: Key | None = None,
        back: bool = False,
        limit: int = 50,
    ) -> Page:
        """Return the jobs after `key` in an order, or those before it when going back; None is either end."""
        sort = ORDERS[order]
        found, searched, resume = self._search(wanted, sort, key, sort.descending != back, limit + 1)
        more = len(found) > limit
        found = found[:limit]
        end = resume or (_key(found[-1], sort) if more else None)
        if back:
            found.reverse()
            far = _key(found[-1], sort) if found and key is not None else None
            return Page(tuple(found), end, far, searched)
        near = None if key is None else (_key(found[0], sort) if found else Key(key.value, key.seq))
        return Page(tuple(found), near, end, searched)

    def _search(
        self, wanted: Wanted, sort: Order, key: Key | None, descending: bool, limit: int
    ) -> tuple[list[Job], int | None, Key | None]:
        if sort.groups:
            return self._by_index(wanted, sort, key, descending, limit), None, None
        if self._is_few(wanted):
            return self._sorted(wanted, key, descending, limit), None, None
        if self._is_rare(wanted):
            return self._looked_up(wanted, key, descending, limit), None, None
        return self._sliced(wanted, key, descending, limit)

    def _is_few(self, wanted: Wanted) -> bool:
        if wanted.exact_sig() and wanted.states and set(wanted.states) <= {State.DEAD, State.FAILED}:
            return True
        return wanted.states is not None and self._size(wanted) <= FEW

    def _is_rare(self, wanted: Wanted) -> bool:
        return not wanted.matches and self._size(wanted) * RARE < sum(self._jobs.counts().values())

    def _size(self, wanted: Wanted) -> int:
        return sum(n for s, n in self._jobs.counts().items() if wanted.states is None or s in wanted.states)

    def _sorted(self, wanted: Wanted, key: Key | None, descending: bool, limit: int) -> list[Job]:
        where, values = _where(wanted)
        return self._read(
            f"select {Job.ROW} from jobs where {where} and {_beyond(key, descending)} order by +seq {_way(descending)} limit :limit",
            values | _bounds(key, limit),
        )

    def _looked_up(self, wanted: Wanted, key: Key | None, descending: bool, limit: int) -> list[Job]:
        where, values = _where(wanted)
        return self._read(
            f"""select {Job.ROW} from jobs where seq in (
                  select seq from jobs where {where} and {_beyond(key, descending)} order by +seq {_way(descending)} limit :limit)
                order by seq {_way(descending)}""",
            values | _bounds(key, limit),
        )

    def _sliced(
        self, wanted: Wanted, key: Key | None, descending: bool, limit: int
    ) -> tuple[list[Job], int | None, Key | None]:
        where, values = _where(wanted)
        sql = f"select {Job.ROW} from jobs where {where} and seq >= :low and seq < :high order by seq {_way(descending)} limit :limit"
        until = self._clock() + self._budget_s
        found: list[Job] = []
        looked = 0
        for low, high in self._slices(key, descending):
            found += self._read(sql, values | {"low": low, "high": high, "limit": limit - len(found)})
            looked += high - low
            if len(found) >= limit:
                return found, None, None
            edge = low if descending else high - 1
            if self._clock() > until and self._exists_beyond(edge, descending):
                return found, looked, Key(edge, edge)
        return found, None, None

    def _slices(self, key: Key | None, descending: bool) -> Iterator[tuple[int, int]]:
        first, last = self._ends()
        if descending:
            high = last + 1 if key is None else min(key.seq, last + 1)
            while high > first:
                yield max(first, high - SLICE), high
                high -= SLICE
        else:
            low = first if key is None else max(key.seq + 1, first)
            while low <= last:
                yield low, min(low + SLICE, last + 1)
                low += SLICE

    def _ends(self) -> tuple[int, int]:
        first = self._c.one("select min(seq) from jobs")
        last = self._c.one("select max(seq) from jobs")
        return (first[0], last[0]) if first and last and first[0] is not None else (1, 0)

    def _exists_beyond(self, seq: int, descending: bool) -> bool:
        return (
            self._c.one(f"select 1 from jobs where seq {'<' if descending else '>'} ? limit 1", (seq,))
            is not None
        )

    def _by_index(
        self, wanted: Wanted, sort: Order, key: Key | None, descending: bool, limit: int
    ) -> list[Job]:
        found: list[Job] = []
        for group in sort.groups:
            states = tuple(s for s in group if wanted.states is None or s in wanted.states)
            if states:
                found += self._of_group(
                    group, Wanted(states, wanted.matches), sort.column, key, descending, limit
                )
        found.sort(key=lambda j: _key(j, sort), reverse=descending)
        return found[:limit]

    def _of_group(
        self,
        group: tuple[State, ...],
        wanted: Wanted,
        column: str,
        key: Key | None,
        descending: bool,
        limit: int,
    ) -> list[Job]:
        # The group's own literals first, exactly as the partial index has them.
        listed = ", ".join(f"'{s.value}'" for s in group)
        partial = f"state in ({listed})" if len(group) > 1 else f"state = {listed}"
        where, values = _where(wanted)
        beyond = "true" if key is None else f"({column}, seq) {'<' if descending else '>'} (:value, :seq)"
        way = _way(descending)
        return self._read(
            f"select {Job.ROW} from jobs where {partial} and {where} and {beyond} order by {column} {way}, seq {way} limit :limit",
            values | {"limit": limit} | ({} if key is None else {"value": key.value, "seq": key.seq}),
        )

    def _read(self, sql: str, values: dict[str, Any]) -> list[Job]:
        return [Job.from_row(r) for r in self._c.rows(sql, values)]

    # --- how many, and which ---

    def counts(self) -> dict[State, int]:
        """Return the number of jobs by state."""
        return self._jobs.counts()

    def count(self, wanted: Wanted) -> Count:
        """Return how many jobs are wanted: exact where an index or a counter tells, else what was found in the time allowed."""
        if not wanted.matches:
            return Count(self._size(wanted), True)
        where, values = _where(wanted)
        if self._is_few(wanted):
            return Count(int(self._c.rows(f"select count(*) from jobs where {where}", values)[0][0]), True)
        until, n = self._clock() + self._budget_s, 0
        sql = f"select count(*) from jobs where {where} and seq >= :low and seq < :high"
        for low, high in self._slices(None, True):
            n += int(self._c.rows(sql, values | {"low": low, "high": high})[0][0])
            if self._clock() > until and self._exists_beyond(low, True):
                return Count(n, False)
        return Count(n, True)

    def ids(self, wanted: Wanted, *, limit: int = 100_000) -> list[str]:
        """Return the ids of all jobs that are wanted, oldest first, at most `limit`."""
        where, values = _where(wanted)
        order = "+seq" if self._is_few(wanted) or (wanted.states and not wanted.matches) else "seq"
        return [
            r[0]
            for r in self._c.rows(
                f"select id from jobs where {where} order by {order} limit :limit", values | {"limit": limit}
            )
        ]

    def oldest_pending_ms(self) -> int | None:
        """Return since when the longest waiting pending job has been ready (its last change), or None."""
        if self._jobs.counts()[State.PENDING] <= FEW // 4:
            row = self._c.one("select min(updated_at_ms) from jobs where state = 'pending'")
        else:
            row = self._c.one(
                "select updated_at_ms from jobs where seq = (select min(seq) from jobs where state = 'pending')"
            )
        return row[0] if row else None


def _where(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    parts, values = ["true"], dict[str, Any]()
    if wanted.states is not None:
        # Literals of our own enum, so that the partial indexes apply.
        parts.append(
            "(" + (" or ".join(f"state = '{State(s).value}'" for s in wanted.states) or "false") + ")"
        )
    for number, match in enumerate(wanted.matches):
        clause = TESTS[match.field][match.test]
        either = []
        for which, value in enumerate(match.values):
            name = f"m{number}_{which}"
            either.append(clause.replace(":v", f":{name}"))
            values[name] = value
        any_of = "(" + " or ".join(either) + ")"
        parts.append(f"not coalesce({any_of}, false)" if match.negated else any_of)
    return " and ".join(parts), values


def _beyond(key: Key | None, descending: bool) -> str:
    # `+` keeps SQLite from walking the table by its key where the states' own index is far smaller.
    return "true" if key is None else f"+seq {'<' if descending else '>'} :seq"


def _bounds(key: Key | None, limit: int) -> dict[str, Any]:
    return {"limit": limit} | ({} if key is None else {"seq": key.seq})


def _way(descending: bool) -> str:
    return "desc" if descending else "asc"


def _key(job: Job, sort: Order) -> Key:
    return Key(int(getattr(job, sort.column) or 0), job.seq)
