"""Lines of structured loggers: JSON objects and logfmt."""

from __future__ import annotations

import json
import re

from queuectl.records import record

_BAD = frozenset(
    [
        "error",
        "err",
        "fatal",
        "critical",
        "crit",
        "panic",
        "alert",
        "emerg",
        "emergency",
        "severe",
        "dpanic",
        "failure",
        "e",
        "f",
    ]
)
_LEVELS = ("level", "severity", "lvl", "levelname", "log.level", "log_level", "loglevel", "level_name", "@l")
_ERRORS = (
    "error",
    "err",
    "exception",
    "exc_info",
    "exc",
    "error_message",
    "errorMessage",
    "error.message",
    "cause",
    "@x",
    "stack_trace",
    "stack",
    "traceback",
)
_MESSAGES = ("short_message", "message", "msg", "event", "text", "@m", "@mt", "body", "detail", "reason")
_PAIR = re.compile(r"([A-Za-z_@][\w.@-]{0,40})=(?:\"((?:[^\"\\]|\\.){0,600})\"|([^\s\"]{0,300}))")
PINO_ERROR, SYSLOG_ERROR, LONG_ENOUGH = 50, 3, 12


@record
class Record:
    """One line of a structured logger: its message, and whether its level is error or worse."""

    message: str
    bad: bool


def read(line: str) -> Record | None:
    """The record in a line, or None when it is none."""
    text = line.strip()
    if text.startswith("{") and text.endswith("}"):
        return _json(text)
    at = text.find("{")
    if 0 < at < 120 and text.endswith("}") and ('"level"' in text or '"severity"' in text):
        return _json(text[at:])
    return _logfmt(text) if "level=" in text or "lvl=" in text or "severity=" in text else None


def _json(text: str) -> Record | None:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    level = next((fields[key] for key in _LEVELS if key in fields), None)
    if isinstance(level, dict):
        level = level.get("name")
    if isinstance(level, (int, float)):
        bad = level <= SYSLOG_ERROR if "short_message" in fields else level >= PINO_ERROR
    else:
        bad = str(level).lower() in _BAD
    if level is None:
        bad = any(key in fields for key in _ERRORS)
        if not bad:
            return None
    return Record(_message(fields), bad)


def message_in(text: str) -> str:
    """What an object at the end of a line says: its stderr, or its message."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(fields, dict):
        return ""
    return next(
        (text for key in ("stderr", "module_stderr", "msg", "message") if (text := _text(fields.get(key)))),
        "",
    )


def _logfmt(text: str) -> Record | None:
    fields = {m.group(1): m.group(2) if m.group(2) is not None else m.group(3) for m in _PAIR.finditer(text)}
    level = next((fields[key] for key in _LEVELS if key in fields), None)
    return None if level is None else Record(_message(fields), level.lower() in _BAD)


def _message(fields: dict[str, object]) -> str:
    """The error's own words; with the event's where they are too short to stand alone."""
    error = next((text for key in _ERRORS if (text := _text(fields.get(key)))), "")
    event = next((text for key in _MESSAGES if (text := _text(fields.get(key)))), "")
    if len(error) >= LONG_ENOUGH or not event:
        return error
    return f"{event}: {error}" if error and error != event else event


def _text(value: object) -> str:
    """A field as one line: of a traceback or a stack the line that names the error."""
    if isinstance(value, dict):
        kind = next(
            (str(value[key]) for key in ("type", "name", "class", "kind", "code") if value.get(key)), ""
        )
        words = next(
            (
                text
                for key in ("message", "msg", "detail", "reason", "stack")
                if (text := _text(value.get(key)))
            ),
            "",
        )
        return f"{kind}: {words}" if kind and words and not words.startswith(kind) else words or kind
    if isinstance(value, list):
        return _text(value[0]) if value else ""
    if not isinstance(value, str) or not value:
        return ""
    if "\n" not in value:
        return value.strip()
    from queuectl.causes import _structured  # the two know each other: a field may hold a whole traceback

    lines = value.split("\n")[-200:]
    found = _structured.find(lines)
    return found[0] if found else next((line.strip() for line in lines if line.strip()), "")
