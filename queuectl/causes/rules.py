"""The user's own rules: a regular expression and the name its failures go by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from queuectl.errors import InvalidValue
from queuectl.records import record

SEARCHED_CHARS = 800
"""A rule sees this much of a line: a user's expression may backtrack, a short line bounds what that costs."""


@record
class Rule:
    """Failures with a line that `regex` finds are filed under `name`."""

    regex: re.Pattern[str]
    name: str

    def first_match(self, lines: Sequence[str]) -> str | None:
        """The last line that matches, or None."""
        return next((line for line in reversed(lines) if self.regex.search(line[:SEARCHED_CHARS])), None)


def parse_rules(rules: Iterable[tuple[str, str]]) -> tuple[Rule, ...]:
    """Compile `[(regex, name)]`, in the order in which they are tried.

    Raises:
        InvalidValue: an entry is no pair of texts, a name is empty, or an expression does not compile.
    """
    return tuple(_parse(position, rule) for position, rule in enumerate(rules, 1))


@lru_cache(maxsize=8)
def compiled(rules: tuple[tuple[str, str], ...]) -> tuple[Rule, ...]:
    """Compile rules that were checked before, once."""
    return parse_rules(rules)


def _parse(position: int, rule: object) -> Rule:
    if not (
        isinstance(rule, (tuple, list)) and len(rule) == 2 and all(isinstance(part, str) for part in rule)
    ):
        raise InvalidValue(f"cause rule {position}: expected a pair (regex, name), got {rule!r}")
    regex, name = rule
    if not name.strip():
        raise InvalidValue(f"cause rule {position}: expected a name, got {name!r}")
    try:
        return Rule(re.compile(regex), name.strip())
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidValue(
            f"cause rule {position}: expected a regular expression, got {regex!r}: {error}"
        ) from error
