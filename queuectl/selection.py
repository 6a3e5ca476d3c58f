"""Which jobs a person points at: ids, jobs, lists of them, or a pandas Series, Index, mask or DataFrame.

A frame also tells what its rows showed when it was read, so that a verb can leave alone what has changed since, and which commands
were edited in it. pandas is not imported here: who passes a frame has it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from queuectl import validate as v
from queuectl.errors import InvalidValue, expected
from queuectl.records import NamedTuple

LEVELS = ("id", "job_id")


class Seen(NamedTuple):
    """What a frame showed of a job."""

    state: str | None = None
    updated_ms: int | None = None  # when the row had last changed
    read_ms: int | None = None  # when the frame was read, for one without that column


class Chosen:
    """The jobs that were pointed at, in order, and what their frame showed of them."""

    __slots__ = ("commands", "ids", "seen")

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.ids: list[str] = list(ids)
        self.seen: dict[str, Seen] = {}
        self.commands: dict[str, str] = {}  # as the frame has them, edited or not

    def why_stale(self, now: Mapping[str, tuple[str, int]]) -> dict[str, str]:
        """Return which jobs have changed since they were read, and how.

        Args:
            now: each job's state and when its row last changed, ms.
        """
        found: dict[str, str] = {}
        for name, seen in self.seen.items():
            if name not in now:
                continue
            state, updated = now[name]
            if seen.updated_ms is not None:
                changed = updated != seen.updated_ms
            else:
                changed = seen.read_ms is not None and updated > seen.read_ms
            if changed:
                moved = seen.state is not None and seen.state != state
                found[name] = (
                    f"{seen.state} when read, {state} now"
                    if moved
                    else f"changed since it was read ({state} now)"
                )
        return found


def ids_of(given: Iterable[Any], *, path: str) -> list[str]:
    """Return the ids of what was pointed at, in order; see `chosen`."""
    return chosen(given, path=path).ids


def chosen(given: Iterable[Any], *, path: str) -> Chosen:
    """Return what was pointed at. A frame of another database is refused.

    Args:
        given: what was passed for `*ids`.
        path: the database acted on.

    Raises:
        InvalidValue: not an id, or a frame without ids or of another database.
    """
    out = Chosen()
    for item in given:
        _add(item, out, path)
    return out


def _add(item: Any, out: Chosen, path: str) -> None:
    pandas = sys.modules.get("pandas")
    if isinstance(item, str):
        out.ids.append(v.ident("id", item))
    elif pandas is not None and isinstance(item, (pandas.DataFrame, pandas.Series, pandas.Index)):
        _add_labelled(item, out, path, pandas)
    elif isinstance(getattr(item, "id", None), str):
        out.ids.append(v.ident("id", item.id))
    elif getattr(getattr(item, "dtype", None), "kind", "") == "b":
        raise expected(
            "id",
            "ids, or a mask with the ids as its index (`frame[mask]` always works)",
            "a mask without an index",
        )
    elif isinstance(item, Iterable) and not isinstance(item, (bytes, dict)):
        for each in item:
            _add(each, out, path)
    else:
        raise expected("id", "a job's id, or several", item)


def _add_labelled(item: Any, out: Chosen, path: str, pandas: Any) -> None:
    attrs = getattr(item, "attrs", {})
    _check_origin(attrs.get("queuectl_db"), path)
    if isinstance(item, pandas.Series) and pandas.api.types.is_bool_dtype(item.dtype):
        item = item[item.fillna(False).astype(bool)]
        if _labels(item) is None:
            raise expected(
                "id", "a mask with the ids as its index (`frame[mask]` always works)", "a mask without ids"
            )
    labels = _labels(item)
    if labels is None:
        raise expected(
            "id", "a frame with the index or a column `id` or `job_id`", f"one with {_names(item)}"
        )
    names = [v.ident("id", name) for name in labels]
    out.ids += names
    if not isinstance(item, pandas.Index):
        _note_seen(item, names, out, attrs.get("queuectl_read_ms"))


def _check_origin(origin: object, path: str) -> None:
    if not isinstance(origin, str) or origin == path:
        return
    try:
        if os.path.samefile(origin, path):
            return
    except OSError:
        pass
    raise InvalidValue(f"frame: expected one of {path}, got one of {origin}; nothing was done")


def _labels(item: Any) -> Any:
    """The ids of each row: an index or a column of that name; an index or Series of text without a name is ids itself."""
    index = getattr(item, "index", item)
    for level in LEVELS:
        if level in index.names:
            return index.get_level_values(level)
    columns = getattr(item, "columns", None)
    if columns is not None:
        return next((item[name] for name in LEVELS if name in columns), None)
    values = item.dropna()
    named = item.name is None or item.name in LEVELS
    return values if named and all(isinstance(x, str) for x in values) else None


def _names(item: Any) -> str:
    columns = [str(c) for c in getattr(item, "columns", ())]
    if hasattr(item, "columns"):
        return ", ".join(columns[:8]) or "no columns"
    return f"a {type(item).__name__} named {getattr(item, 'name', None)!r}"


def _note_seen(item: Any, names: list[str], out: Chosen, read_ms: object) -> None:
    columns = getattr(item, "columns", ())
    of_jobs = "run" not in columns and "run" not in item.index.names  # a run's moments are not its job's
    updated: list[int | None] = [None] * len(names)
    if of_jobs and "updated_at" in columns and getattr(item["updated_at"].dtype, "tz", None) is not None:
        moments = item["updated_at"]
        ms = moments.dt.as_unit("ms").astype("int64")
        updated = [None if gone else int(x) for gone, x in zip(moments.isna(), ms, strict=True)]
    states = [str(s) for s in item["state"]] if of_jobs and "state" in columns else [None] * len(names)
    read = read_ms if isinstance(read_ms, int) else None
    for name, state, at in zip(names, states, updated, strict=True):
        out.seen[name] = Seen(state, at, read)
    texts = (
        item["command"] if "command" in columns else item if getattr(item, "name", None) == "command" else ()
    )
    if of_jobs:
        out.commands |= {n: c for n, c in zip(names, texts, strict=False) if isinstance(c, str)}
