"""From what a person gave to a row of `jobs`: fields checked, defaults looked up in order job, queue, config, built-in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from queuectl import lifecycle, processes, reserve
from queuectl import validate as v
from queuectl.errors import IdTaken, InvalidValue, QueuectlError, StateConflict, expected
from queuectl.ids import new_id, new_ids
from queuectl.model import ADDED_BY, WAITING, Job, State, held
from queuectl.new_jobs import Alike, Mould, job_of, jobs_of
from queuectl.settings import JOB_SETTINGS
from queuectl.store import Store
from queuectl.store.jobs import INSERTED

T = TypeVar("T")
_SETTINGS = {s.name.replace("-", "_"): s for s in JOB_SETTINGS}
_OTHERS = ("id", "queue", "delay", "run_at", "after", "after_any", "after_fail", "unique_key", "unique_for", "on_conflict", "limit_key", "limit",
           "tag", "cwd", "env", "params")  # fmt: skip
FIELDS = ("command", *_SETTINGS, *_OTHERS)
DEFAULT = "default"  # the queue of jobs that name none
CONFLICTS = ("error", "skip", "replace")
DRAWS = 5  # of ids, until one that is taken is an error
_UNKNOWN_DEFAULTS = dict.fromkeys(INSERTED)


class Enqueuer:
    """Turns specs into rows for one store; remembers the defaults while nobody changes them.

    Args:
        store: where the jobs go.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._generation = -1
        self._defaults: dict[str, dict[str, tuple[Any, str]]] = {}
        self._mould: Mould | None = None

    def forget(self) -> None:
        """Look the defaults up again next time."""
        self._generation, self._mould = -1, None

    def _defaults_for(self, queue: str) -> dict[str, tuple[Any, str]]:
        # Not `data_version`: beside workers that changes all the time, and every job would pay for all settings.
        generation = self.store.settings.generation()
        if generation != self._generation:
            self._generation = generation
            self._defaults = {}
            self._config = self.store.settings.changed()
            self._aging = self._config.get("priority-aging")
        if queue not in self._defaults:
            own = self.store.settings.queue_settings(queue)
            found: dict[str, tuple[Any, str]] = {}
            for s in JOB_SETTINGS:
                if s.name in own:
                    found[s.name] = (own[s.name], "queue")
                elif s.name in self._config:
                    found[s.name] = (self._config[s.name], "config")
                else:
                    found[s.name] = (s.default, "")
            self._defaults[queue] = found
        return self._defaults[queue]

    def _here(self) -> str:
        try:
            here = os.getcwd()
        except FileNotFoundError:
            raise InvalidValue("cwd: the current folder was deleted; go to another or give --cwd") from None
        return here

    def row(
        self, spec: Mapping[str, Any], *, now_ms: int, batch: str | None = None, actor: str = "python"
    ) -> dict[str, Any]:
        """Return the columns of one job; nothing is written.

        Raises:
            InvalidValue: a field is unknown or not what was expected.
        """
        for name in spec:
            if name not in FIELDS:
                v.choice("field", name, FIELDS)
        command = v.command(spec.get("command"))
        queue = DEFAULT if spec.get("queue") is None else v.ident("queue", spec["queue"])
        defaults, origins = self._defaults_for(queue), {}
        row: dict[str, Any] = dict(_UNKNOWN_DEFAULTS)
        for name, s in _SETTINGS.items():
            given = spec.get(name)
            if given is None:
                value, origin = defaults[s.name]
            else:
                value, origin = s.read(given), "job"
            row[s.column or name] = value
            if origin:
                origins[s.name] = origin
        if actor != "python":
            origins[ADDED_BY] = actor
        ready = now_ms
        state = State.PENDING
        if spec.get("delay") is not None and spec.get("run_at") is not None:
            raise InvalidValue("delay and run-at: expected one of them, got both")
        if spec.get("delay") is not None:
            ready += v.duration_ms("delay", spec["delay"])
        if spec.get("run_at") is not None:
            ready = max(now_ms, v.when_ms("run-at", spec["run_at"]))
        if ready > now_ms:
            state, row["run_at_ms"] = State.SCHEDULED, ready
        row.update(
            id=new_id() if spec.get("id") is None else v.ident("id", spec["id"]),
            command=command, queue=queue, state=state.value, created_at_ms=now_ms, updated_at_ms=now_ms,
            rank=lifecycle.rank(ready, row["priority"], self._aging),
            cwd=self._here() if spec.get("cwd") is None else v.folder(spec["cwd"]),
            env=v.env_json(spec.get("env")), tags=v.tags(spec.get("tag")), limit_key="", waits_for=0, batch=batch,
            origins=json.dumps(origins) if origins else None,
            params=None if spec.get("params") is None else v.json_text("params", spec["params"]),
        )  # fmt: skip
        self._unique(row, spec)
        self._limited(row, spec)
        row["parents"] = self._parents(spec)
        if row["parents"]:
            row["state"], row["waits_for"] = State.BLOCKED.value, len(row["parents"])
        return row

    @staticmethod
    def _unique(row: dict[str, Any], spec: Mapping[str, Any]) -> None:
        row["on_conflict"] = v.choice("on-conflict", spec.get("on_conflict") or "error", CONFLICTS)
        if spec.get("unique_key") is None:
            if spec.get("unique_for") is not None:
                raise InvalidValue("unique-for: expected together with unique-key, got it alone")
            return
        row["unique_key"] = v.text("unique-key", spec["unique_key"], longest=256)
        row["unique_for"] = v.choice(
            "unique-for", spec.get("unique_for") or "active", ("queued", "active", "success", "forever")
        )

    @staticmethod
    def _limited(row: dict[str, Any], spec: Mapping[str, Any]) -> None:
        row["limit"] = (
            None if spec.get("limit") is None else v.whole("limit", spec["limit"], low=1, high=100_000)
        )
        if spec.get("limit_key") is not None:
            row["limit_key"] = v.ident("limit-key", spec["limit_key"])
        elif row["limit"] is not None:
            raise InvalidValue("limit: expected together with limit-key, got it alone")

    @staticmethod
    def _parents(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the ids of the jobs to wait for, and what is needed of each: the strictest, when one is named twice."""
        found: dict[str, str] = {}
        for name, needs in (("after_any", "any"), ("after", "ok"), ("after_fail", "fail")):
            given = spec.get(name)
            if given is None:
                continue
            flag = name.replace("_", "-")
            for job in _jobs(flag, given):
                if needs == "fail" and found.get(job) == "ok":
                    raise InvalidValue(
                        f"{flag}: expected a job that is not waited for with after too, got {job}"
                    )
                found[job] = needs
        return list(found.items())

    def _seqs_of_parents(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Return the seq of every parent that is in the database; one that is an earlier job of the same call needs none yet.

        Raises:
            InvalidValue: no job has the id.
        """
        found: dict[str, int] = {}
        earlier: set[str] = set()
        for row in rows:
            for parent, _ in row["parents"]:
                seq = None if parent in earlier else self.store.jobs.seq_of(parent)
                if seq is not None:
                    found[parent] = seq
                elif parent not in earlier:
                    raise InvalidValue(
                        f"after: expected the id of a job, got {parent!r}, which no job has; nothing was enqueued"
                    )
            earlier.add(row["id"])
        return found

    def add(
        self, specs: Iterable[str | Mapping[str, Any]], *, batch: str | None = None, actor: str = "python"
    ) -> Sequence[Job]:
        """Enqueue all specs (fields, or a command alone) in one transaction, or none; return the jobs.

        A spec whose unique key is held and whose on-conflict is skip gets the holder, as a `HeldJob`.

        Raises:
            InvalidValue: a spec is wrong; the message names its number when there are several.
            StateConflict: an id or a unique key is taken.
        """
        specs = specs if isinstance(specs, list) else list(specs)
        if batch is not None and len(specs) > 1 and (commands := _bare(specs)):
            return self._add_bare(commands, batch=batch, actor=actor)
        now, rows, drawn = processes.now_ms(), [], []
        for n, given in enumerate(specs, 1):
            spec = {"command": given} if isinstance(given, str) else given
            try:
                rows.append(self.row(spec, now_ms=now, batch=batch, actor=actor))
                if spec.get("id") is None:
                    drawn.append(rows[-1])
            except QueuectlError as e:
                if n == 1 and not rows and batch is None:
                    raise
                raise type(e)(f"job {n}: {e}; nothing was enqueued") from None
        if not rows:
            return []
        reserve.require_space(self.store.path)

        def insert() -> list[Job]:
            with self.store.write():
                out = self._insert(rows, now_ms=now, actor=actor)
                # One for all of them; a single job's row tells enough.
                if batch is not None and len(rows) > 1:
                    self._note(out[0].id, out[-1].id, len(rows), actor=actor, now_ms=now)
                return out

        def redraw() -> None:
            taken = self.store.jobs.taken([r["id"] for r in drawn])
            for r in drawn:
                if r["id"] in taken:
                    r["id"] = new_id()

        out = self._drawing(insert, redraw)
        self.store.connection.checkpoint_if_large()
        return out

    def _drawing(self, insert: Callable[[], T], redraw: Callable[[], object]) -> T:
        """Insert jobs with ids that were drawn. Where one of them is some older job's, draw it anew: of ten million jobs' it is, in every third batch of 100,000."""
        for _ in range(DRAWS - 1):
            try:
                return insert()
            except IdTaken:
                # Within a caller's transaction what was inserted before it is still there.
                if self.store.connection.sql.in_transaction:
                    raise
                redraw()
        return insert()

    def add_command(self, command: str, *, actor: str = "python") -> Job:
        """Enqueue one command with nothing else said of it: what `add` does, at half its price.

        Raises:
            InvalidValue: it is no command.
        """
        v.command(command)
        tries = 0
        while True:
            now, mould = processes.now_ms(), self._mould
            if mould is None or mould.actor != actor:
                mould = self._mould = self._new_mould(command, actor, now_ms=now)
            row = mould.row(new_id(), command, cwd=self._here(), now_ms=now)
            reserve.require_space(self.store.path)
            try:
                if seq := self.store.jobs.insert_one(row, settings=mould.settings):
                    break
                self._mould = None  # somebody has changed the settings that it was made of
            except IdTaken:
                tries += 1
                if tries == DRAWS:
                    raise
        self.store.connection.checkpoint_if_large()
        return mould.job(seq, row)

    def _new_mould(self, command: str, actor: str, *, now_ms: int) -> Mould:
        row = self.row({"command": command}, now_ms=now_ms, actor=actor)
        return Mould(self._generation, actor, row, head_start=now_ms - row["rank"])

    def _add_bare(self, commands: Sequence[str], *, batch: str, actor: str) -> Sequence[Job]:
        """Enqueue commands that have been checked, with nothing else said of them."""
        now = processes.now_ms()
        row = self.row({"command": commands[0]}, now_ms=now, batch=batch, actor=actor)
        ids = new_ids(len(commands))
        reserve.require_space(self.store.path)

        def insert() -> int:
            with self.store.connection.roomy(), self.store.write():
                first = self.store.jobs.insert_alike([row[c] for c in INSERTED], ids, commands)
                self._note(ids[0], ids[-1], len(ids), actor=actor, now_ms=now)
                return first

        def redraw() -> None:
            nonlocal ids
            ids = ids.without(self.store.jobs.taken(ids))

        first = self._drawing(insert, redraw)
        self.store.connection.checkpoint_if_large()
        return Alike(job_of(row, first), ids, commands)

    def _note(self, first: str, last: str, n: int, *, actor: str, now_ms: int) -> None:
        said = f"{n:,} jobs, {first} to {last}"
        self.store.history.note("enqueue", None, said, actor=actor, now_ms=now_ms)

    def _insert(self, rows: Sequence[dict[str, Any]], *, now_ms: int, actor: str) -> list[Job]:
        """Insert the rows whose unique key is free, or is made free; return a job for each."""
        holders = self._holders(rows, now_ms=now_ms, actor=actor)
        kept = [r for n, r in enumerate(rows) if n not in holders]
        parents = self._seqs_of_parents(kept)
        first = self.store.jobs.insert([[r[c] for c in INSERTED] for r in kept]) if kept else 0
        waiting = False
        for n, r in enumerate(kept):
            parents[r["id"]] = first + n
            if r["parents"]:
                waiting = True
                waits = [(parents[job_id], needs) for job_id, needs in r["parents"]]
                self.store.family.relate(first + n, waits, now_ms=now_ms, actor=actor)
            if r["limit"] is not None:
                self.store.queues.set_limit(r["limit_key"], r["limit"])
        added = jobs_of(kept, first)
        if waiting:  # what its parents are by now may have changed its state
            added |= {r["id"]: self.store.jobs.get(r["id"]) for r in kept if r["parents"]}
        return [
            held(self.store.jobs.get(holders[n])) if n in holders else added[r["id"]]
            for n, r in enumerate(rows)
        ]

    def _holders(self, rows: Sequence[dict[str, Any]], *, now_ms: int, actor: str) -> dict[int, str]:
        """Return, by the row's number, the id of the job that is returned instead of a new one; make room where a row replaces.

        Raises:
            StateConflict: the holder cannot be replaced.
        """
        found: dict[int, str] = {}
        mine: dict[str, str] = {}
        for n, r in enumerate(rows):
            key = r["unique_key"]
            if key is None or r["on_conflict"] == "error":
                continue
            holder = mine.get(key) or self.holder(r)
            if holder is None:
                mine[key] = r["id"]
            elif r["on_conflict"] == "skip":
                found[n] = holder
            else:
                if key in mine:
                    raise StateConflict(f"unique-key: {key} is given twice in one call; nothing was enqueued")
                self._replace(self.store.jobs.get(holder), r, now_ms=now_ms, actor=actor)
                mine[key] = r["id"]
        return found

    def _replace(self, holder: Job, row: Mapping[str, Any], *, now_ms: int, actor: str) -> None:
        if holder.state not in WAITING:
            raise StateConflict(
                f"unique-key: job {holder.id} holds {row['unique_key']} and is {holder.state}; only a waiting job is replaced, nothing was enqueued"
            )
        self.store.changes.replaced(holder.seq, by=row["id"], now_ms=now_ms, actor=actor)
        self.store.history.note("replace", holder.id, f"by {row['id']}", actor=actor, now_ms=now_ms)

    def holder(self, row: Mapping[str, Any]) -> str | None:
        """Return the id of the job that holds a row's unique key."""
        return self.store.jobs.holder(row["unique_key"])


def _bare(specs: Sequence[str | Mapping[str, Any]]) -> Sequence[str] | None:
    """Return the commands of specs that say nothing else, or None: then each is looked at by itself, were it only to say what is wrong."""
    try:
        commands: Sequence[Any] = specs
        if set(map(type, specs)) != {str}:
            if any(len(s) > 1 for s in specs if not isinstance(s, str)):
                return None
            commands = [s if isinstance(s, str) else s["command"] for s in specs]
        together = "\n".join(commands)
        together.encode()
    except (KeyError, TypeError, UnicodeEncodeError):
        return None
    short = max(map(len, commands)) <= v.COMMAND_MAX // 4  # a character has at most four bytes
    return commands if short and "\0" not in together and all(map(str.strip, commands)) else None


def _jobs(flag: str, given: object) -> list[str]:
    """Return ids from a job, its id, ids separated by commas, or several of these."""
    if isinstance(given, str):
        return [v.ident(flag, i) for i in given.split(",")]
    if isinstance(getattr(given, "id", None), str):
        return [v.ident(flag, given.id)]  # type: ignore[attr-defined]
    if isinstance(given, Iterable) and not isinstance(given, (bytes, Mapping)):
        return [i for item in given for i in _jobs(flag, item)]
    raise expected(flag, "a job, its id, or several", given)
