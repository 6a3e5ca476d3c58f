"""A queue with the verbs that the panel uses, on a real store, without an engine: what a click asks for can be seen in `calls`."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from panel_demo import job

from queuectl import settings
from queuectl.answers import ActionResult
from queuectl.errors import InvalidValue, NothingMatched
from queuectl.lifecycle import sources
from queuectl.model import Job, State
from queuectl.store import Store
from queuectl.store.filters import Filter
from queuectl.store.jobs import INSERTED
from queuectl.store.workers import Runner

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []


def now() -> int:
    return time.time_ns() // 1_000_000


class FakeQueue:
    def __init__(self, path: str) -> None:
        self.path = path
        self.store = Store(path)
        self.config = SimpleNamespace(set=self._configure)

    def close(self) -> None:
        self.store.close()

    def _note(self, verb: str, *args: Any, **kwargs: Any) -> None:
        CALLS.append((verb, args, kwargs))

    def _configure(self, key: str, value: str) -> None:
        item = settings.setting(key)
        read = item.read(value)
        self._note("config.set", key, value)
        with self.store.write():
            self.store.settings.set(item.name, read, now_ms=now())

    def enqueue(self, command: str, **fields: Any) -> Job:
        self._note("enqueue", command, **fields)
        if "timeout" in fields:
            settings.setting("timeout").read(fields["timeout"])
        row = job(State.PENDING, command, now()) | {
            n: fields[n] for n in ("priority", "queue", "max_retries") if n in fields
        }
        with self.store.write() as sql:
            names = [n for n in row if n in INSERTED]
            sql.execute(
                f"insert into jobs ({', '.join(names)}) values ({', '.join('?' * len(names))})",
                [row[n] for n in names],
            )
        return self.store.jobs.get(row["id"])

    def _act(self, verb: str, ids: Any, dry_run: bool, **filters: Any) -> ActionResult:
        wanted = [ids] if isinstance(ids, str) else list(ids or ())
        if filters:
            wanted = [
                i
                for _, i, _ in self.store.jobs.ids(
                    Filter(states=(State(filters["state"]),), sig=filters.get("sig"))
                )
            ]
        if not wanted:
            raise NothingMatched("no job matches")
        ok = {"retry": sources("requeue"), "cancel": (*sources("cancel"), State.PROCESSING)}.get(
            verb, tuple(s for s in State if s is not State.PROCESSING)
        )
        done, skipped = [], []
        states = self.store.jobs.states_of(wanted)
        with self.store.write():
            for i in wanted:
                state = states.get(i)
                if state not in ok:
                    skipped.append((i, f"is {state}" if state else "no job has this id"))
                    continue
                done.append(i)
                if not dry_run:
                    self._do(verb, i, state)
        if not dry_run:
            self._note(verb, tuple(done))
        return ActionResult(verb, tuple(done), tuple(skipped), dry_run)

    def _do(self, verb: str, job_id: str, state: State) -> None:
        seq = self.store.jobs.seq_of(job_id)
        assert seq is not None
        match verb:
            case "retry":
                self.store.changes.requeue(
                    [(seq, state)], step_ms=0, max_retries=None, now_ms=now(), actor="panel"
                )
            case "cancel":
                self.store.changes.cancel([(seq, state)], now_ms=now(), actor="panel")
            case "delete":
                self.store.changes.delete([seq], now_ms=now())
            case _:
                self.store.changes.edit(seq, {"priority": 1}, now_ms=now())

    def retry(self, ids: Any = (), *, dry_run: bool = False, **filters: Any) -> ActionResult:
        return self._act("retry", ids, dry_run, **filters)

    def cancel(self, ids: Any = (), *, dry_run: bool = False, **filters: Any) -> ActionResult:
        return self._act("cancel", ids, dry_run, **filters)

    def delete(self, ids: Any = (), *, dry_run: bool = False, **filters: Any) -> ActionResult:
        return self._act("delete", ids, dry_run, **filters)

    def bump(self, ids: Any = (), *, dry_run: bool = False, **filters: Any) -> ActionResult:
        return self._act("bump", ids, dry_run, **filters)

    def edit(
        self, ids: Any = (), *, priority: int = 0, dry_run: bool = False, **filters: Any
    ) -> ActionResult:
        return self._act("edit", ids, dry_run, **filters)

    def logs(
        self, job_id: str, *, run: int | None = None, stderr: bool = False, follow: bool = False
    ) -> bytes:
        found = self.store.jobs.get(job_id)
        out = self.store.jobs.output(found.seq, run or found.runs)
        return (out[1 if stderr else 0] or b"") if out else b""

    def start_workers(self, n: int = 1, *, queues: Any = None) -> list[Any]:
        self._note("start_workers", n, queues=queues)
        ids = [f"fake{now() % 10_000:04d}{k}" for k in range(n)]
        with self.store.write():
            self.store.workers.register(
                ids, Runner("fake", "lab-1", "b", 1, 1, 1), queues=queues, now_ms=now()
            )
        return [w for w in self.store.workers.all() if w.id in ids]

    def stop_workers(self, *ids: str, now: bool = False) -> None:
        self._note("stop_workers", *ids, now=now)
        with self.store.write():
            if not self.store.workers.ask_to_stop(ids, "now" if now else "graceful"):
                raise InvalidValue("worker: expected the id of one that runs")

    def pause(self, queue: str = "*") -> None:
        with self.store.write():
            self.store.settings.pause(queue, True, now_ms=now())

    def resume(self, queue: str | None = None) -> None:
        with self.store.write():
            for each in [queue] if queue else ["*", *self.store.settings.paused()]:
                self.store.settings.pause(each, False, now_ms=now())

    def workers(self) -> list[Any]:
        return self.store.workers.all()
