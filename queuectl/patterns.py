"""Regular expressions from outside: checked when given, and stopped where they take too long.

A pattern such as `(a+)+b` needs longer than the age of the universe for forty letters, and Python's engine has no limit of its own. It does
look for signals while it searches, so an alarm ends it. Only the main thread can be interrupted so; runners decide about retries in theirs.
"""

from __future__ import annotations

import re
import signal
import threading
from functools import lru_cache

from queuectl.errors import expected

LONGEST = 1000  # characters of a pattern
LIMIT_S = 0.05  # of one search

_too_slow: set[str] = set()  # patterns that were stopped once; not tried again by this process


class _Alarm(Exception):
    """The time of a search is up."""


def check(name: str, pattern: str) -> None:
    """Refuse what is not a regular expression, or is longer than `LONGEST`.

    Raises:
        InvalidValue: it is neither short nor right.
    """
    if len(pattern) > LONGEST:
        raise expected(name, f"a regular expression of at most {LONGEST:,} characters after re:", pattern)
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as e:
        raise expected(name, f"a regular expression after re: ({e})", f"re:{pattern}") from None


def found(pattern: str, text: str, *, limit_s: float = LIMIT_S) -> bool | None:
    """Return whether a pattern is found in a text, `^` and `$` being the ends of lines; None when that took too long.

    Args:
        pattern: one that `check` let pass.
        text: where.
        limit_s: seconds until the search is stopped; the pattern is not tried again then.
    """
    if pattern in _too_slow:
        return None
    if threading.current_thread() is not threading.main_thread():
        return _compiled(pattern).search(text) is not None
    try:
        return _limited(pattern, text, limit_s)
    except _Alarm:
        _too_slow.add(pattern)
        return None


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


def _limited(pattern: str, text: str, limit_s: float) -> bool:
    compiled = _compiled(pattern)
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        try:
            return compiled.search(text) is not None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)


def _ring(_number: int, _frame: object) -> None:
    raise _Alarm
