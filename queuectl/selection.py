"""Which jobs a person points at: ids, jobs, lists of them, or a pandas Series, Index or DataFrame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from queuectl import validate as v
from queuectl.errors import InvalidValue, expected


def ids_of(given: Iterable[Any], *, path: str) -> list[str]:
    """Return the ids, in order. A frame of another database is refused.

    Args:
        given: what was passed for `*ids`.
        path: the database acted on.
    """
    out: list[str] = []
    for item in given:
        if isinstance(item, str):
            out.append(v.ident("id", item))
        elif isinstance(getattr(item, "id", None), str):
            out.append(v.ident("id", item.id))
        elif hasattr(item, "columns") and hasattr(item, "index"):
            origin = getattr(item, "attrs", {}).get("queuectl_db")
            if origin is not None and origin != path:
                raise InvalidValue(f"frame: expected one of {path}, got one of {origin}")
            out += ids_of(item.index.get_level_values(0), path=path)
        elif isinstance(item, Iterable) and not isinstance(item, (bytes, dict)):
            out += ids_of(item, path=path)
        else:
            raise expected("id", "a job's id, or several", item)
    return out
