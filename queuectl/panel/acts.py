"""What a click does: one verb of `Queue`, on ids, on a filter or on a cause, first as a dry run where it destroys."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from queuectl.answers import ActionResult
from queuectl.errors import InvalidValue, QueuectlError, expected
from queuectl.panel import code, filters
from queuectl.store import Store
from queuectl.store.browse import Browse

Data = dict[str, Any]
VERBS = {"retry": {}, "cancel": {}, "delete": {}, "bump": {}, "edit": {"priority"}}
DONE = {
    "retry": "requeued",
    "cancel": "cancelled",
    "delete": "deleted",
    "bump": "moved to the front",
    "edit": "changed",
}
MOST = 100_000  # jobs that one click may change
FORM = (
    "command", "queue", "priority", "timeout", "delay", "run_at", "after", "max_retries", "id", "tag", "cwd",
)  # fmt: skip


def act(queue: Any, store: Store, message: Data, *, now_ms: int) -> Data:
    """Do `verb` to the `scope` of a message, or say what it would do when `dry` is set.

    A scope is `{"ids": [...]}`, `{"query": "state:dead …"}` (everything the filter matches now) or `{"sig": "4f2a…"}`.

    Raises:
        QueuectlError: what the verb raises; nothing was done then.
    """
    verb, dry = message.get("verb"), bool(message.get("dry"))
    if verb not in VERBS:
        raise expected("verb", "one of " + ", ".join(VERBS), verb)
    options = {k: v for k, v in (message.get("options") or {}).items() if k in VERBS[verb]}
    run: Callable[..., ActionResult] = getattr(queue, verb)
    scope = message.get("scope") or {}
    if "sig" in scope:
        sig = _text("sig", scope["sig"])
        result = _tolerant(run, dry_run=dry, sig=sig, state="dead", **options)
        line = code.call(verb, sig=sig, state="dead", **options)
    elif "query" in scope:
        text = _text("query", scope["query"])
        ids = Browse(store.connection).ids(filters.parse(text, now_ms=now_ms), limit=MOST)
        result = _on(run, ids, dry, options)
        line = code.on_filter(verb, text, **options)
    else:
        ids = [_text("id", i) for i in scope.get("ids") or ()][:MOST]
        result = _on(run, ids, dry, options)
        line = code.on_ids(verb, result.done or ids, **options)
    return report(result, verb=verb, code=line)


def _on(run: Callable[..., ActionResult], ids: list[str], dry: bool, options: Data) -> ActionResult:
    if not ids:
        return ActionResult(run.__name__, (), (), dry)
    return _tolerant(run, ids, dry_run=dry, **options)


def _tolerant(run: Callable[..., ActionResult], *args: Any, **kwargs: Any) -> ActionResult:
    """Run a verb; that nothing matched is an answer here and no error."""
    from queuectl.errors import NothingMatched

    try:
        return run(*args, **kwargs)
    except NothingMatched:
        return ActionResult(run.__name__, (), (), bool(kwargs.get("dry_run")))


def report(result: ActionResult, *, verb: str, code: str) -> Data:
    """Return a result as the panel tells it: how many, and the reasons why others were left alone."""
    reasons: dict[str, list[str]] = {}
    for job_id, why in result.skipped:
        # The reason often starts with the id; the same reason is counted once.
        reasons.setdefault(why.replace(job_id, "").strip(" :,") or why, []).append(job_id)
    return {
        "verb": verb,
        "word": DONE[verb],
        "dry": result.dry_run,
        "done": len(result.done),
        "skipped": [
            {"why": why[:200], "n": len(ids), "ids": ids[:3]} for why, ids in list(reasons.items())[:8]
        ],
        "left_alone": len(result.skipped),
        "notes": list(getattr(result, "notes", ()))[:5],
        "code": code,
    }


def enqueue(queue: Any, message: Data) -> Data:
    """Enqueue the job of the form; fields left empty take their defaults."""
    given = message.get("fields") or {}
    fields: Data = {}
    for name in FORM:
        value = given.get(name)
        if value not in (None, ""):
            fields[name] = value
    for name in ("priority", "max_retries"):
        if name in fields:
            fields[name] = _whole(name.replace("_", "-"), fields[name])
    for name in ("after", "tag"):
        if name in fields:
            fields[name] = ",".join(_text(name, fields[name]).replace(",", " ").split())
    if not str(fields.get("command", "")).strip():
        raise InvalidValue("command: expected what to run, got nothing")
    job = queue.enqueue(fields["command"], **{k: v for k, v in fields.items() if k != "command"})
    return {"id": job.id, "state": job.state.value, "code": code.enqueue(fields)}


def start(queue: Any, message: Data) -> Data:
    """Start workers in the background."""
    n = _whole("workers", message.get("n", 1))
    if not 1 <= n <= 64:
        raise expected("workers", "a whole number from 1 to 64", n)
    queues = [w for w in str(message.get("queues") or "").replace(",", " ").split() if w] or None
    found = queue.start_workers(n, queues=queues) if queues else queue.start_workers(n)
    return {"ids": [w.id for w in found], "code": code.call("start_workers", n, queues=queues)}


def stop(queue: Any, message: Data) -> Data:
    """Tell workers to stop: gracefully, or now."""
    ids = [_text("worker", i) for i in message.get("ids") or ()]
    if not ids:
        raise InvalidValue("stop: expected the id of a worker, got nothing")
    now = bool(message.get("now"))
    queue.stop_workers(*ids, now=True) if now else queue.stop_workers(*ids)
    return {"ids": ids, "now": now, "code": code.call("stop_workers", *ids, now=True if now else None)}


def pause(queue: Any, message: Data) -> Data:
    """Pause or resume a queue, or all of them."""
    verb = "pause" if message.get("on") else "resume"
    name = message.get("queue")
    args = () if name in (None, "", "*") else (_text("queue", name),)
    getattr(queue, verb)(*args)
    return {"verb": verb, "code": code.call(verb, *args)}


def configure(queue: Any, message: Data) -> Data:
    """Set one setting; the value is read as the command line reads it."""
    key, value = _text("key", message.get("key")), _text("value", message.get("value"))
    queue.config.set(key, value)
    return {"key": key, "code": code.call("config.set", key, value)}


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > 4096:
        raise expected(name, "text of at most 4,096 characters", value)
    return value


def _whole(name: str, value: object) -> int:
    with contextlib.suppress(TypeError, ValueError):
        if not isinstance(value, (bool, float)):
            return int(str(value))
    raise expected(name, "a whole number", value)


def trouble(error: Exception, path: str, *, exists: bool) -> Data:
    """Return what is wrong with the database, in one of the panel's words."""
    text = str(error) if isinstance(error, QueuectlError) else f"{type(error).__name__}: {error}"
    name = type(error).__name__
    if not exists:
        return {
            "kind": "missing",
            "text": f"{path}: there is no database here. Enqueue a job to make one, or open another path.",
        }
    kind = {"DatabaseBusy": "locked", "DatabaseMoved": "moved"}.get(name, "error")
    if name == "DatabaseRefused" and "newer" in text:
        kind = "newer"
    return {"kind": kind, "text": text[:500]}


def listed(ids: Iterable[str]) -> list[str]:
    """Return ids as a list of text, at most as many as one click may change."""
    return [str(i) for i in ids][:MOST]
