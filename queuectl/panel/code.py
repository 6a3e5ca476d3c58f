"""Copy as code: the Python line that does what a click has just done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LISTED = 200  # ids written out; more are named by the filter that chose them


def call(verb: str, *args: object, **kwargs: object) -> str:
    """Return `q.verb(args, name=value)`; values that are None are left out."""
    words = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in kwargs.items() if v is not None]
    return f"q.{verb}({', '.join(words)})"


def on_ids(verb: str, ids: Iterable[str], **kwargs: object) -> str:
    """Return the call on a list of ids; a long list is given as one argument, an unwieldy one by its beginning."""
    listed = list(ids)
    if len(listed) > LISTED:
        head = ", ".join(repr(i) for i in listed[:3])
        rest = "".join(f", {k}={v!r}" for k, v in kwargs.items() if v is not None)
        return f"q.{verb}([{head}, …]{rest})  # {len(listed):,} ids"
    return call(verb, *listed, **kwargs)


def on_filter(verb: str, query: str, **kwargs: object) -> str:
    """Return the call on everything that a filter of the panel matches now."""
    rest = "".join(f", {k}={v!r}" for k, v in kwargs.items() if v is not None)
    return f"q.{verb}(q.panel().ids({query!r}){rest})"


def enqueue(fields: Mapping[str, Any]) -> str:
    """Return the call of `enqueue` with the fields that were filled in."""
    rest = {k: v for k, v in fields.items() if k != "command"}
    return call("enqueue", fields["command"], **rest)
