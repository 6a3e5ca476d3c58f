"""Values from outside, checked once: each function returns the value in our form or raises `InvalidValue`.

Numbers are refused when they are bools or text that is not plain ASCII digits; text never holds NUL or a lone
surrogate. A value that passed here is trusted everywhere else.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from queuectl.errors import InvalidValue, expected

COMMAND_MAX = 100_000  # bytes; the kernel refuses an argument of 131,072 (MAX_ARG_STRLEN)
ID_MAX = 64
INT_MAX = 2**63 - 1
PRIORITY_MAX = 1_000_000
LISTED = 12  # names that a message lists although it knows which one was meant

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_INT = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|w)?")
_UNIT_MS = {"ms": 1, "s": 1000, None: 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SAME = {
    "running": "processing",
    "active": "processing",
    "queued": "pending",
    "waiting": "pending",
    "ready": "pending",
    "done": "completed",
    "success": "completed",
    "finished": "completed",
    "succeeded": "completed",
    "error": "failed",
    "retrying": "failed",
    "delayed": "scheduled",
}  # other tools' words for our states
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def whole(name: str, value: object, *, low: int = -INT_MAX, high: int = INT_MAX) -> int:
    """Return a whole number between low and high, from an int or its plain decimal text."""
    rule = f"a whole number ≥ {low}" if high == INT_MAX else f"a whole number from {low} to {high}"
    if isinstance(value, str) and _INT.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise expected(name, rule, value)
    number = int(value)  # type: ignore[call-overload]
    if not low <= number <= high:
        raise expected(name, rule, value)
    return int(number)


def number(name: str, value: object, *, low: float, high: float) -> float:
    """Return a finite number between low and high, from a number or its plain decimal text."""
    rule = f"a number from {low:g} to {high:g}"
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise expected(name, rule, value)
    if not low <= value <= high:
        raise expected(name, rule, value)
    return float(value)


def text(name: str, value: object, *, longest: int = 4096, empty: bool = False) -> str:
    """Return text without NUL or undecodable bytes, at most `longest` bytes."""
    if not isinstance(value, str):
        raise expected(name, "text", value)
    if "\0" in value:
        raise expected(name, "text without NUL bytes", value)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise expected(name, "valid UTF-8 text", value) from None
    if size > longest:
        raise InvalidValue(f"{name}: expected at most {longest:,} bytes, got {size:,}")
    if not empty and not value.strip():
        raise expected(name, "text that is not empty", value)
    return value


def command(value: object) -> str:
    """Return a shell command, byte for byte as given."""
    return text("command", value, longest=COMMAND_MAX)


def ident(name: str, value: object) -> str:
    """Return a name of letters, digits and `_ . -` that starts with a letter or digit, at most 64 characters."""
    rule = f"1 to {ID_MAX} letters, digits, '_', '.' or '-', starting with a letter or digit"
    if not isinstance(value, str) or len(value) > ID_MAX or not _ID.fullmatch(value) or ".." in value:
        raise expected(name, rule, value)
    return value


def choice(name: str, value: object, options: Sequence[str]) -> str:
    """Return one of the options, suggesting the nearest for a slip of the keyboard."""
    if isinstance(value, str) and value in options:
        return str(value)
    near: list[str] = []
    if isinstance(value, str):
        from difflib import get_close_matches

        words = {o: o for o in options} | {w: o for w, o in _SAME.items() if o in options}
        near = [words[w] for w in get_close_matches(value, words, 1)]
    hint = f" (did you mean {near[0]}?)" if near else ""
    known = (
        f"one of {len(options)} names" if near and len(options) > LISTED else "one of " + ", ".join(options)
    )
    raise InvalidValue(f"{expected(name, known, value)}{hint}")


def duration_ms(name: str, value: object, *, low: int = 0, high: int = 10 * 366 * 86_400_000) -> int:
    """Return milliseconds from seconds (a number) or text such as 500ms, 90s, 10m, 2h, 7d."""
    rule = "seconds or a time like 90s, 10m, 2h"
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if not match:
            raise expected(name, rule, value)
        ms = float(match[1]) * _UNIT_MS[match[2]]
    elif isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise expected(name, rule, value)
    else:
        ms = float(value) * 1000
    if not low <= ms <= high:
        raise expected(name, f"{rule}, {span(low)} to {span(high)}", value)
    return round(ms)


def span(ms: int) -> str:
    """Return milliseconds as people write them: 90 s, 10 m, 2 h, 7 d."""
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m")):
        if ms >= size and ms % size == 0:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:g} s"


def when_ms(name: str, value: object) -> int:
    """Return milliseconds UTC from a datetime or ISO 8601 text; without a zone it is local time."""
    rule = "a date and time like 2026-12-24T18:00:00 or with a zone, +01:00 or Z"
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise expected(name, rule, value) from None
    if not isinstance(moment, datetime):
        raise expected(name, rule, value)
    try:
        ms = round(moment.timestamp() * 1000)
    except (OverflowError, ValueError, OSError):
        raise expected(name, rule, value) from None
    if not 0 <= ms <= 4_102_444_800_000:
        raise expected(name, f"{rule}, between 1970 and 2100", value)
    return ms


def since_ms(name: str, value: object, *, now_ms: int) -> int:
    """Return milliseconds UTC from a moment (see `when_ms`) or an age such as 2h, 7d before now."""
    if isinstance(value, timedelta) or (isinstance(value, str) and _DURATION.fullmatch(value)):
        return now_ms - duration_ms(name, value)
    if isinstance(value, str):
        try:
            return when_ms(name, value)
        except InvalidValue:
            raise expected(name, "a time like 2026-12-24T18:00 or an age like 2h, 7d", value) from None
    return when_ms(name, value)


def env_json(value: object) -> str | None:
    """Return extra environment as a JSON object: from a mapping, or from `NAME=value` or `NAME` items."""
    if value is None:
        return None
    pairs: dict[str, str] = {}
    if isinstance(value, Mapping):
        for key, item in value.items():
            pairs[_env_name(key)] = text(f"env {key}", item, longest=COMMAND_MAX, empty=True)
    else:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, Iterable):
            raise expected("env", "NAME=value, NAME, or a mapping of text to text", value)
        for item in items:
            key, equals, content = text("env", item, longest=COMMAND_MAX).partition("=")
            if not equals:
                if key not in os.environ:
                    raise expected(
                        "env", f"NAME=value, or the name of a variable that is set here ({key} is not)", item
                    )
                content = os.environ[key]
            pairs[_env_name(key)] = text(f"env {key}", content, longest=COMMAND_MAX, empty=True)
    if len(json.dumps(pairs)) > COMMAND_MAX:
        raise InvalidValue(f"env: expected at most {COMMAND_MAX:,} bytes in all")
    return json.dumps(pairs, ensure_ascii=False) if pairs else None


def _env_name(key: object) -> str:
    if not isinstance(key, str) or not _ENV.fullmatch(key):
        raise expected("env", "names of letters, digits and '_'", key)
    if key.startswith("QUEUECTL_"):
        raise expected("env", "a name that does not start with QUEUECTL_ (those are set by the worker)", key)
    return key


def folder(value: object) -> str:
    """Return an existing folder as an absolute path."""
    given = os.fspath(value) if isinstance(value, os.PathLike) else value
    name = text("cwd", given)
    try:
        path = os.path.realpath(name, strict=True)
    except OSError as e:
        raise expected("cwd", f"an existing folder ({e.strerror})", value) from None
    if not os.path.isdir(path):
        raise expected("cwd", "a folder", value)
    return path


def tags(value: object) -> str:
    """Return tags as ' a b ' (each between spaces), from one, a comma-separated text or several."""
    if value is None:
        return ""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, Iterable):
        raise expected("tag", "a name or several names", value)
    names = dict.fromkeys(ident("tag", t) for t in items)
    return f" {' '.join(names)} " if names else ""


def json_text(name: str, value: Any, *, longest: int = 1_000_000) -> str:
    """Return a value as JSON text."""
    try:
        out = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise expected(name, "something JSON can hold", value) from None
    return text(name, out, longest=longest)
