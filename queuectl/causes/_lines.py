"""From bytes of any kind to a bounded number of bounded lines."""

from __future__ import annotations

import re
from collections.abc import Iterable

TAIL_BYTES = 16384
MAX_LINES = 1200
MAX_CHARS = 800
MAX_JSON_CHARS = 8000

# Each class excludes ESC, so a scan ends at the next one: linear whatever the bytes are.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_()][0-9A-B]?)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_BAR = re.compile(r"^[^|]{0,80}\d+%\|[^|]{0,200}\|[^\[]{0,60}\[[^\]]{0,80}\]\s*")


def tail_lines(data: bytes, *, skip: int = 0, size: int = TAIL_BYTES) -> list[str]:
    """The last lines of a stream, oldest first: no ANSI, a redrawn line split into what it showed in turn.

    Args:
        data: the stream's bytes.
        skip: bytes at the end to leave out.
        size: bytes to look at.
    """
    end = len(data) - skip
    if end <= 0:
        return []
    start = max(0, end - size)
    text = data[start:end].decode("utf-8", "replace")
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\r" in text:
        text = text.replace("\r", "\n")
    lines = text.split("\n")
    if start and len(lines) > 1:
        del lines[0]  # its beginning is missing
    lines = lines[-MAX_LINES:]
    return [_bounded(line) for line in lines]


def _bounded(line: str) -> str:
    if line[:1] in ("│", "╷", "╵"):
        line = line[2:]
    if "%|" in line:
        line = _BAR.sub("", line)
    if len(line) <= MAX_CHARS or (len(line) <= MAX_JSON_CHARS and line[0] == "{"):
        return line
    return line[:MAX_CHARS]


def one_line(text: str) -> str:
    """The text without control, bidirectional and invisible characters, its blanks squeezed."""
    return " ".join(_CONTROL.sub(" ", text).split())


def join(parts: Iterable[str]) -> str:
    """Parts as one message."""
    return " ".join(part.strip() for part in parts)
