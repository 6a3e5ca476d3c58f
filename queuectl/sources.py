"""Many jobs from a file or an iterable: a command a line, or JSON objects of enqueue's fields."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from queuectl import place
from queuectl.errors import InvalidValue, expected

LINE_MAX = 1_000_000


def specs(source: Any) -> Sequence[str | dict[str, Any]]:
    """Return the specs of a file's lines, of standard input (`-`) or of an iterable; what is a command alone may stay one.

    Raises:
        InvalidValue: a line or an item is not understood; its number is in the message.
    """
    if isinstance(source, (str, os.PathLike)):
        return [s for n, line in enumerate(_lines(os.fspath(source)), 1) if (s := _spec_of_line(line, n))]
    if not isinstance(source, Iterable) or isinstance(source, (bytes, Mapping)):
        raise expected("source", "a file, or an iterable of commands and mappings", source)
    items = list(source)
    if set(map(type, items)) == {str}:  # a hundred thousand commands need no mapping each
        return items
    return [_spec_of_item(i, n) for n, i in enumerate(items, 1)]


def _spec_of_item(item: Any, n: int) -> dict[str, Any]:
    if isinstance(item, str):
        return {"command": item}
    if isinstance(item, Mapping):
        return dict(item)
    raise InvalidValue(
        f"job {n}: {expected('spec', 'a command or a mapping of enqueue fields', item)}; nothing was enqueued"
    )


def _lines(path: str) -> Iterator[str]:
    if path == "-":
        yield from _decoded(sys.stdin.buffer, "standard input")
        return
    try:
        place.check_input(path)
        with open(path, "rb") as f:
            yield from _decoded(f, path)
    except OSError as e:
        raise InvalidValue(f"{path}: {e.strerror}") from None


def _decoded(file: Any, name: str) -> Iterator[str]:
    n = 0
    while line := file.readline(LINE_MAX + 1):
        n += 1
        if len(line) > LINE_MAX:
            raise InvalidValue(f"{name}, line {n}: expected at most {LINE_MAX:,} bytes; nothing was enqueued")
        if n == 1 and line.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            raise InvalidValue(f"{name}: expected UTF-8 without a byte order mark; nothing was enqueued")
        try:
            yield line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise InvalidValue(f"{name}, line {n}: expected UTF-8; nothing was enqueued") from None


def _spec_of_line(line: str, n: int) -> dict[str, Any] | None:
    if not line.strip():
        return None
    if not line.lstrip().startswith("{"):
        return {"command": line}
    try:
        found = json.loads(line, object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as e:
        why = "nested too deep" if isinstance(e, RecursionError) else str(e)
        raise InvalidValue(
            f"line {n}: expected one JSON object, got {line[:60]!r} ({why}); nothing was enqueued"
        ) from None
    return dict(found)


def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, refusing one that names a field twice."""
    names = [k for k, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a field is given twice")
    return dict(pairs)
