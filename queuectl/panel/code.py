"""Copy as code: the Python line that does what a click has just done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

AS_LIST = 20  # more ids than these are given as one argument


def call(verb: str, *args: object, **kwargs: object) -> str:
    """Return `q.verb(args, name=value)`; values that are None are left out."""
    words = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in kwargs.items() if v is not None]
    return f"q.{verb}({', '.join(words)})"


def on_ids(verb: str, ids: Iterable[str], **kwargs: object) -> str:
    """Return the call on ids, every one of them, so that it can be run; many are given as one list."""
    listed = list(ids)
    return call(verb, *([listed] if len(listed) > AS_LIST else listed), **kwargs)


def on_filter(verb: str, query: str, **kwargs: object) -> str:
    """Return the call on everything that a filter of the panel matches now."""
    rest = "".join(f", {k}={v!r}" for k, v in kwargs.items() if v is not None)
    return f"q.{verb}(q.panel().ids({query!r}){rest})"


def enqueue(fields: Mapping[str, Any]) -> str:
    """Return the call of `enqueue` with the fields that were filled in."""
    rest = {k: v for k, v in fields.items() if k != "command"}
    return call("enqueue", fields["command"], **rest)
