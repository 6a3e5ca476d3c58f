"""Progress lines: a job that prints `::queuectl progress 30 100 epoch 3` says how far it is."""

from __future__ import annotations

import math
import re

from queuectl.model import Progress

MARK = b"::queuectl progress "
TAIL = 65_536  # bytes of output, from the end, in which the latest line is looked for
TEXT_MAX = 200  # characters
NUMBER_MAX = 1e15

# At the start of a line; a carriage return begins a line too, as progress bars have it. What is not ended yet may still grow.
_LINE = re.compile(
    rb"(?:^|[\r\n])::queuectl progress[ \t]+([0-9.eE+]{1,30})[ \t]+([0-9.eE+]{1,30})(?:[ \t]+([^\r\n]*))?(?=[\r\n])"
)


def latest(tail: bytes, *, whole: bool = True, ended: bool = False) -> Progress | None:
    """Return the last progress line of an output's tail; None when there is none.

    Args:
        tail: the end of what was written to standard output.
        whole: it is all that was written; otherwise it may begin in the middle of a line.
        ended: nothing follows, so that a last line without its end counts.
    """
    if MARK not in tail:
        return None
    if not whole:
        tail = tail[min((at for at in (tail.find(b"\n"), tail.find(b"\r")) if at >= 0), default=len(tail)) :]
    found = None
    for match in _LINE.finditer(tail + b"\n" if ended else tail):
        found = _read(match) or found
    return found


def _read(match: re.Match[bytes]) -> Progress | None:
    try:
        done, total = float(match[1]), float(match[2])
    except ValueError:
        return None
    if not (math.isfinite(done) and 0 <= done <= NUMBER_MAX and 0 < total <= NUMBER_MAX):
        return None
    text = (match[3] or b"")[: 4 * TEXT_MAX].decode(errors="replace").strip()[:TEXT_MAX]
    return Progress(done, total, text or None)
