"""New jobs: of rows that were just inserted the jobs that they are, without reading them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from queuectl.model import Job, State
from queuectl.records import like
from queuectl.store.jobs import INSERTED

_EMPTY = {
    "attempts": 0, "runs": 0, "interruptions": 0, "snoozes": 0, "due_mono_ms": None, "started_at_ms": None, "finished_at_ms": None,
    "worker_id": None, "outcome": None, "exit_code": None, "signal": None, "reason": None, "error": None, "error_sig": None, "result": None,
    "progress_done": None, "progress_total": None, "progress_text": None, "progress_run": None, "cancel": 0,
}  # fmt: skip
_OWN = (
    "id",
    "command",
    "rank",
    "created_at_ms",
    "updated_at_ms",
    "cwd",
)  # of a job of which nothing but its command was said
_OWN_AT = tuple(INSERTED.index(c) for c in _OWN)


def job_of(row: Mapping[str, Any], seq: int) -> Job:
    """Return the job of a row of `INSERTED`'s columns."""
    columns = {c: row[c] for c in INSERTED}
    columns["state"] = State(columns["state"])
    return Job(seq=seq, **columns, **_EMPTY)  # type: ignore[arg-type]


def jobs_of(rows: Sequence[Mapping[str, Any]], first: int) -> dict[str, Job]:
    """Return the jobs of several, by id; `first` is the seq of the first."""
    return {row["id"]: job_of(row, first + n) for n, row in enumerate(rows)}


class Mould:
    """What commands have in common of which nothing else is said, while neither the settings nor who adds them change.

    Args:
        settings: generation of the settings that a row was made of.
        actor: who added it.
        row: that row.
        head_start: what its priority is worth, milliseconds.
    """

    def __init__(self, settings: int, actor: str, row: Mapping[str, Any], *, head_start: int) -> None:
        self.settings, self.actor, self._head_start = settings, actor, head_start
        self._row = [row[c] for c in INSERTED]
        self._job = like(job_of(row, 0), "seq", *_OWN)

    def row(self, id: str, command: str, *, cwd: str, now_ms: int) -> list[Any]:
        """Return a command's row."""
        row = self._row[:]
        own = (id, command, now_ms - self._head_start, now_ms, now_ms, cwd)
        for at, value in zip(_OWN_AT, own, strict=True):
            row[at] = value
        return row

    def job(self, seq: int, row: Sequence[Any]) -> Job:
        """Return the job of such a row."""
        return self._job(seq, *[row[at] for at in _OWN_AT])


class Alike(Sequence[Job]):
    """Jobs that differ in their number, id and command alone, each made when it is asked for.

    Args:
        first: the first of them.
        ids: of all.
        commands: of all.
    """

    def __init__(self, first: Job, ids: Sequence[str], commands: Sequence[str]) -> None:
        self._seq, self._ids, self._commands = first.seq, ids, commands
        self._job = like(first, "seq", "id", "command")

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, at: int) -> Job: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Job]: ...
    def __getitem__(self, at: int | slice) -> Job | Sequence[Job]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        n = range(len(self))[at]
        return self._job(self._seq + n, self._ids[n], self._commands[n])
