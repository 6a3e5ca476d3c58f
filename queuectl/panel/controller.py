"""The panel without its widgets: what is looked at, what was answered, what was clicked. Plain data in, plain data out.

    browser ── message ──► Controller.handle ── verb ──► Queue
                               │
    browser ◄── state ── Controller.refresh ── questions ──► Store

Each call opens its own connection and closes it; a lock per panel, and no thought of the thread it runs on, since widget callbacks
may arrive on any.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from queuectl import display
from queuectl.errors import InvalidValue, NotSupported, QueuectlError
from queuectl.model import Worker
from queuectl.panel import acts, filters, reads
from queuectl.panel.view import View
from queuectl.settings import holds_for
from queuectl.store import Store
from queuectl.store.browse import Browse

Data = dict[str, Any]
LEASE_S = 60.0
SHOWN = "shown"  # the viewer that is expected when a panel has been displayed
READS = ("view", "lease", "poke", "log", "stderr")


def wall_ms() -> int:
    """Return the wall clock, milliseconds UTC."""
    return time.time_ns() // 1_000_000


class Controller:
    """One panel's state and deeds.

    Args:
        path: absolute path of the database.
        open_queue: makes a Queue on it; it is closed after each use where it can be.
        read_only: refuse everything that changes something.
        clock: monotonic seconds, for the viewer's lease.
        now_ms: wall clock, milliseconds UTC.
    """

    def __init__(
        self,
        path: str,
        open_queue: Callable[[], Any],
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self.lock = threading.RLock()
        self.view = View()
        self.head: Data = {}
        self.body: Data = {}
        self.detail: Data = {}
        self.log: Data = {}
        self.notice: Data = {}
        self.picked: list[str] = []
        self.picked_all = False
        self.queries = 0
        self.on_change: Callable[[frozenset[str]], None] = lambda _names: None
        self._open_queue = open_queue
        self._clock, self._now_ms = clock, now_ms
        self._throughput = reads.Throughput()
        self._viewers: dict[str, float] = {}
        self._notices = 0
        self._crew: list[Worker] = []

    # --- who looks ---

    def lease(self, viewer: str, visible: bool) -> None:
        """Note that a viewer sees the panel for the next 60 seconds, or no longer."""
        with self.lock:
            if viewer != SHOWN and (visible or viewer in self._viewers):
                self._viewers.pop(SHOWN, None)  # somebody real has come; a view not yet in sight is nobody
            if visible and len(self._viewers) < 1000:
                self._viewers[viewer] = self._clock() + LEASE_S
            else:
                self._viewers.pop(viewer, None)

    def extend(self, seconds: float) -> None:
        """Lengthen the leases that have not run out: the kernel was busy and could not hear of a new one."""
        with self.lock:
            now = self._clock()
            self._viewers = {v: t + seconds for v, t in self._viewers.items() if t > now}

    def is_watched(self) -> bool:
        """Whether anybody sees the panel now."""
        with self.lock:
            now = self._clock()
            self._viewers = {v: t for v, t in self._viewers.items() if t > now}
            return bool(self._viewers)

    # --- questions ---

    def refresh(self, *, keep_page: bool = False) -> None:
        """Ask the store for everything the view shows, and tell `on_change` what is different.

        Args:
            keep_page: leave the page of jobs as it is: its rows are selected, and must not move under the pointer.
        """
        with self.lock:
            before = {n: getattr(self, n) for n in ("head", "body", "detail", "log")}
            try:
                with self._store() as store, self._queue() as queue:
                    now = self._now_ms()
                    self.queries += 1
                    self._crew = queue.workers()
                    self.head = reads.head(store, self._crew, self._throughput, now_ms=now)
                    self.head["can"] = {v: s for v, s in self.head["can"].items() if hasattr(queue, v)}
                    self.head |= {"trouble": None, "read_only": self.read_only}
                    if not (keep_page and self.body.get("tab") == self.view.tab == "jobs"):
                        self.body = self._body(store, now)
                    self.detail = self._detail(store)
                self.log = self._log()
            except Exception as e:
                trouble = acts.trouble(e, self.path, exists=os.path.lexists(self.path))
                self.head = {
                    **self.head,
                    "db": self.path,
                    "name": os.path.basename(self.path),
                    "trouble": trouble,
                    "read_only": self.read_only,
                }
            changed = frozenset(n for n, old in before.items() if getattr(self, n) != old)
        if changed:
            self.on_change(changed)

    def tick(self) -> None:
        """Refresh because the database changed; a page with selected rows stays."""
        self.refresh(keep_page=bool(self.picked) and not self.picked_all)

    def follow(self) -> None:
        """Read on in the output of a job that is running; nothing else has changed."""
        with self.lock:
            if self.detail.get("state") != "processing":
                return
            before, self.log = self.log, self._log()
            changed = before != self.log
        if changed:
            self.on_change(frozenset(("log",)))

    def _body(self, store: Store, now: int) -> Data:
        tab = self.view.tab
        try:
            match tab:
                case "jobs":
                    body = reads.jobs(store, self.view, now_ms=now)
                case "failures":
                    body = reads.failures(store, self.view, now_ms=now)
                case "workers":
                    body = reads.workers(store, self._crew, self.view, now_ms=now)
                case "activity":
                    body = reads.activity(store, self.view, now_ms=now)
                case _:
                    body = reads.config(store)
        except InvalidValue as e:
            body = {
                "rows": [],
                "before": None,
                "after": None,
                "total": 0,
                "exact": True,
                "query": self.view.query,
                "error": str(e),
            }
        return body | {"tab": tab}

    def _detail(self, store: Store) -> Data:
        if not self.view.open:
            return {}
        try:
            return reads.detail(store, self.view.open)
        except LookupError:
            return {"id": self.view.open, "gone": True}

    def _log(self) -> Data:
        """Return the output of the open run, or of the worker whose log is shown; the end of it when it is long."""
        if self.view.open and self.detail.get("run_list"):
            runs = [r["run"] for r in self.detail["run_list"]]
            run: int = self.view.run if self.view.run is not None and self.view.run in runs else runs[-1]
            text = self._output(self.view.open, run, self.view.stream)
            return {"id": self.view.open, "run": run, "stream": self.view.stream, **_tail(text)}
        return {}

    def _output(self, job_id: str, run: int, stream: str) -> str:
        try:
            with self._queue() as queue:
                return as_text(queue.logs(job_id, run=run, stderr=stream == "stderr"))
        except LookupError:
            return ""

    # --- clicks ---

    def handle(self, message: Data) -> Data:
        """Answer one message of the browser: `{"kind": …, …}` gives `{"ok": True, …}` or `{"ok": False, "error": …}`."""
        kind = message.get("kind")
        try:
            if self.read_only and kind not in READS:
                raise NotSupported("this panel is read-only; open one with q.panel() to change the queue")
            answer = self._answer(str(kind), message)
        except QueuectlError as e:
            return {"ok": False, "error": str(e), "rid": message.get("rid")}
        except Exception as e:
            return {"ok": False, "error": f"{type(e).__name__}: {e}"[:500], "rid": message.get("rid")}
        return {"ok": True, "rid": message.get("rid"), **answer}

    def _answer(self, kind: str, message: Data) -> Data:
        match kind:
            case "view":
                self.look(message.get("patch") or {})
                return {}
            case "lease":
                self.lease(str(message.get("viewer"))[:64], bool(message.get("on")))
                return {}
            case "poke":
                self.refresh()
                return {}
            case "stderr":
                return self._example(str(message.get("id")))
            case "act":
                return self._act(message)
            case "enqueue":
                with self._queue() as queue:
                    answer = acts.enqueue(queue, message)
                return self._told(answer, f"Job {answer['id']} added")
            case "start" | "stop" | "pause" | "config":
                return self._change(kind, message)
            case _:
                raise InvalidValue(f"message: unknown kind {display.preview(kind)!r}")

    def look(self, patch: Data) -> None:
        """Set parts of the view, as `View` knows them, and read what it shows."""
        with self.lock:
            self.view = self.view.changed(patch)
        self.on_change(frozenset(("view",)))
        self.refresh()

    def _act(self, message: Data) -> Data:
        with self._queue() as queue, self._store() as store:
            answer = acts.act(queue, store, message, now_ms=self._now_ms())
        if answer["dry"]:
            return answer
        with self.lock:
            self.picked, self.picked_all = [], False
        self.on_change(frozenset(("picked", "picked_all")))
        return self._told(answer, _told(answer))

    def _change(self, kind: str, message: Data) -> Data:
        deed = {"start": acts.start, "stop": acts.stop, "pause": acts.pause, "config": acts.configure}[kind]
        with self._queue() as queue:
            answer = deed(queue, message)
        return self._told(answer, _SAID[kind](answer))

    def _told(self, answer: Data, text: str) -> Data:
        """Put the result where it stays until the next one, and show the queue as it is now."""
        with self.lock:
            self._notices += 1
            self.notice = {
                "n": self._notices, "at": self._now_ms(), "text": text, "code": answer.get("code"),
                "skipped": answer.get("skipped", []), "notes": answer.get("notes", []), "id": answer.get("id"),
            }  # fmt: skip
        self.on_change(frozenset(("notice",)))
        self.refresh()
        return answer

    def _example(self, job_id: str) -> Data:
        """Return the end of a job's stderr (or stdout, when that is empty), as an example of its cause."""
        with self._queue() as queue:
            for stderr in (True, False):
                with contextlib.suppress(LookupError):
                    text = as_text(queue.logs(job_id, stderr=stderr))
                    if text.strip():
                        return {
                            "id": job_id,
                            "stream": "stderr" if stderr else "stdout",
                            "text": text[-4000:],
                        }
        return {"id": job_id, "stream": "stderr", "text": ""}

    # --- for Python ---

    def ids(self, query: str) -> list[str]:
        """Return the ids of all jobs that a filter matches now."""
        with self._store() as store:
            return Browse(store.connection).ids(filters.parse(query, now_ms=self._now_ms()))

    def selected_ids(self) -> list[str]:
        """Return the ids that are selected; all that the filter matches when that was chosen."""
        with self.lock:
            picked, everything, query = list(self.picked), self.picked_all, self.view.query
        return self.ids(query) if everything else picked

    @contextlib.contextmanager
    def _store(self) -> Iterator[Store]:
        store = Store(self.path, create=False)
        try:
            yield store
        finally:
            store.close()

    @contextlib.contextmanager
    def _queue(self) -> Iterator[Any]:
        queue = self._open_queue()
        try:
            yield queue
        finally:
            if close := getattr(queue, "close", None):
                close()


def as_text(found: object) -> str:
    """Return what `logs` gave as text: text, bytes, or pieces of either."""
    if isinstance(found, bytes):
        return found.decode("utf-8", "backslashreplace")
    if isinstance(found, str):
        return found
    if found is None:
        return ""
    pieces = list(cast("Iterable[str | bytes]", found))
    return as_text(b"".join(p if isinstance(p, bytes) else p.encode("utf-8", "replace") for p in pieces))


def _tail(text: str) -> Data:
    left_out = max(0, len(text) - reads.OUTPUT_CHARS)
    return {"text": text[left_out:], "left_out": left_out}


def _told(answer: Data) -> str:
    n, alone = answer["done"], answer["left_alone"]
    jobs = "1 job" if n == 1 else f"{n:,} jobs"
    skipped = f", {alone:,} skipped" if alone else ""
    return f"{jobs} {answer['word']}{skipped}" if n else f"Nothing {answer['word']}{skipped}"


_SAID: dict[str, Callable[[Data], str]] = {
    "start": lambda a: (
        f"{len(a['ids'])} worker{'s' if len(a['ids']) != 1 else ''} started in the background; they outlive this kernel"
    ),
    "stop": lambda a: (
        f"{', '.join(a['ids'][:5])}: {'stopped now, their jobs are pending again' if a['now'] else 'told to stop after the current job'}"
    ),
    "pause": lambda a: "Claims are paused; running jobs go on" if a["verb"] == "pause" else "Claims go on",
    "config": lambda a: f"{a['key']} saved; {holds_for(a['key'])}",
}
