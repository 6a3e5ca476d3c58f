"""The filter box: `state:dead cmd:curl exit:7 err:4f2a… attempts:>2 age:<1h free text` becomes conditions.

Words without a qualifier are looked for in command, id and error. Several qualifiers must all hold; several values after one
qualifier, separated by commas, are alternatives; `-` before a term turns it around; quotes keep spaces together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches

from queuectl.errors import InvalidValue
from queuectl.model import State
from queuectl.records import NamedTuple
from queuectl.store.browse import Match, Wanted

LONGEST = 1000
_TERM = re.compile(r"""\s*(?P<term>-?(?:(?P<name>[A-Za-z_]+):)?(?P<value>(?:"[^"]*"|[^\s"])*))""")
_NUMBER = re.compile(r"(<=|>=|<|>|=)?(-?[0-9]{1,15})")
_AGE = re.compile(r"(<=|>=|<|>)?([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|w)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SIG = re.compile(r"[0-9a-f]{8}")
_SIG_PART = re.compile(r"([0-9a-f]{1,8})(?:…|\.\.\.)|([0-9a-f]{4,7})")
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Qualifier(NamedTuple):
    """What a person may write before a colon."""

    name: str
    help: str
    example: str


QUALIFIERS = (
    Qualifier("state", "where the job is in its life", "state:dead,failed"),
    Qualifier("cmd", "text in the command", 'cmd:"train.py --lr"'),
    Qualifier("err", "a cause (its signature or the start of it), or text in the error", "err:4f2a…"),
    Qualifier("exit", "exit code", "exit:7"),
    Qualifier("signal", "number of the signal it died of", "signal:9"),
    Qualifier("attempts", "failed attempts so far", "attempts:>2"),
    Qualifier("runs", "times started", "runs:>=5"),
    Qualifier("priority", "its priority", "priority:>0"),
    Qualifier("age", "time since it was enqueued", "age:<1h"),
    Qualifier("updated", "time since it last changed", "updated:<10m"),
    Qualifier("took", "run time of its latest run", "took:>30s"),
    Qualifier("queue", "name of its queue", "queue:slow"),
    Qualifier("tag", "one of its tags", "tag:nightly"),
    Qualifier("id", "its id, or the start of it with …", "id:kj5p…"),
    Qualifier("worker", "id of its worker", "worker:wmg14l71"),
)
_NAMES = tuple(q.name for q in QUALIFIERS)
_ALIASES = {
    "command": "cmd",
    "error": "err",
    "sig": "err",
    "cause": "err",
    "code": "exit",
    "is": "state",
    "tags": "tag",
    "prio": "priority",
}


def parse(text: str, *, now_ms: int) -> Wanted:
    """Turn a filter into conditions.

    Raises:
        InvalidValue: an unknown qualifier or a value that it does not take; says which and what would do.
    """
    if len(text) > LONGEST:
        raise InvalidValue(f"filter: expected at most {LONGEST:,} characters, got {len(text):,}")
    shown: set[State] | None = None
    hidden: set[State] = set()
    matches: list[Match] = []
    for negated, name, value in _terms(text):
        if name == "state":
            states = {_state(v) for v in _split(value)}
            if negated:
                hidden |= states
            else:
                shown = (shown or set()) | states
        elif name is None:
            matches.append(Match("text", "has", (value.lower(),), negated))
        else:
            matches.append(_READERS[name](name, value, negated, now_ms))
    if shown is None and not hidden:
        return Wanted(None, tuple(matches))
    states_left = tuple(
        s for s in State if s in (shown if shown is not None else set(State)) and s not in hidden
    )
    return Wanted(states_left, tuple(matches))


def with_state(text: str, state: str | None) -> str:
    """Return the filter with its state terms replaced, as a click on a state's chip does; None removes them."""
    kept = [m["term"] for m in _matches(text) if (m["name"] or "").lower() not in ("state", "is")]
    return " ".join(([f"state:{state}"] if state else []) + kept)


def _matches(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        assert match is not None
        if match["term"]:
            yield match
        # An opening quote without its closing one stops the pattern: the rest is taken as it stands.
        position = match.end() if match.end() > position else position + 1


def _terms(text: str) -> Iterator[tuple[bool, str | None, str]]:
    if text.count('"') % 2:
        text += '"'
    for match in _matches(text):
        term, given = match["term"], match["name"]
        negated = term.startswith("-") and len(term) > 1
        name = None
        value = term[1:] if negated else term
        if given is not None and (known := _ALIASES.get(given.lower(), given.lower())) in _NAMES:
            name, value = known, match["value"]
        elif (
            given is not None
            and not value.startswith('"')
            and (near := get_close_matches(given.lower(), _NAMES, 1, 0.75))
        ):
            raise InvalidValue(
                f"filter: {given}: is not a qualifier (did you mean {near[0]}:?); put the text in quotes to search for it"
            )
        value = value.replace('"', "") if name != "cmd" else _unquote(value)
        if value:
            yield negated, name, value
        elif name:
            example = next(q.example for q in QUALIFIERS if q.name == name)
            raise InvalidValue(f"filter: {name}: expected a value, as in {example}")


def _unquote(value: str) -> str:
    return value.replace('"', "")


def _split(value: str) -> list[str]:
    return [v for v in value.split(",") if v]


def _state(value: str) -> State:
    word = value.lower()
    try:
        return State(word)
    except ValueError:
        near = get_close_matches(word, list(State), 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InvalidValue(
            f"filter: state: expected one of {', '.join(State)}, got {value!r}{hint}"
        ) from None


def _number(name: str, value: str, negated: bool, _now_ms: int) -> Match:
    found = [_NUMBER.fullmatch(v) for v in _split(value)]
    if not found or None in found:
        raise InvalidValue(
            f"filter: {name}: expected a whole number or a comparison such as >2, got {value!r}"
        )
    tests = {m[1] or "=" for m in found if m}
    if len(tests) > 1:
        raise InvalidValue(f"filter: {name}: expected one comparison, got {value!r}; write two terms")
    return Match(name, tests.pop(), tuple(int(m[2]) for m in found if m), negated)


def _since(name: str, value: str, negated: bool, now_ms: int) -> Match:
    match = _AGE.fullmatch(value)
    if match is None:
        raise InvalidValue(f"filter: {name}: expected a time such as <1h, >30m or 2d, got {value!r}")
    moment = now_ms - round(float(match[2]) * _UNIT_MS[match[3]])
    # Younger than an hour means created later than an hour ago.
    return Match("created" if name == "age" else "updated", _TURNED[match[1] or "<="], (moment,), negated)


def _took(name: str, value: str, negated: bool, _now_ms: int) -> Match:
    match = _AGE.fullmatch(value)
    if match is None:
        raise InvalidValue(f"filter: {name}: expected a time such as >30s or <5m, got {value!r}")
    return Match("took", match[1] or ">=", (round(float(match[2]) * _UNIT_MS[match[3]]),), negated)


def _text(name: str, value: str, negated: bool, _now_ms: int) -> Match:
    return Match(name, "has", (value.lower(),), negated)


def _word(name: str, value: str, negated: bool, _now_ms: int) -> Match:
    return Match(name, "=", tuple(_split(value)) or (value,), negated)


def _id(name: str, value: str, negated: bool, _now_ms: int) -> Match:
    start = value.removesuffix("…").removesuffix("...")
    return (
        Match(name, "starts", (start,), negated) if start != value else _word(name, value, negated, _now_ms)
    )


def _error(name: str, value: str, negated: bool, _now_ms: int) -> Match:
    word = value.lower()
    if _SIG.fullmatch(word):
        return Match("sig", "=", (word,), negated)
    part = _SIG_PART.fullmatch(word)
    if part and part[1]:
        return Match("sig", "starts", (part[1],), negated)
    return Match(name, "either" if part else "has", (word,), negated)


_READERS: dict[str, Callable[[str, str, bool, int], Match]] = {
    "cmd": _text, "err": _error, "exit": _number, "signal": _number, "attempts": _number, "runs": _number, "priority": _number,
    "age": _since, "updated": _since, "took": _took, "queue": _word, "tag": _word, "id": _id, "worker": _word,
}  # fmt: skip
