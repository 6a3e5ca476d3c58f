"""What is wrong with the words that were typed."""

from __future__ import annotations

from collections.abc import Iterable

from queuectl.errors import InvalidValue


class UsageError(InvalidValue):
    """The command line is not understood; nothing was done."""


def nearest(word: str, known: Iterable[str], *, before: str = "") -> str:
    """Return `, did you mean X?` for the known word that is closest, with the words before it, or ''."""
    from difflib import get_close_matches  # 4 ms, only on the way to an error

    found = get_close_matches(word[:100], list(known), 1, 0.6)
    return f", did you mean {before}{found[0]}?" if found else ""
