"""From typed words to a command and typed values: everything is understood before anything runs.

Text stays byte for byte, whole numbers are plain digits, flags are given once, and a word that means nothing
is an error that names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from queuectl.cli.table import (
    GLOBALS,
    Command,
    Extra,
    Flag,
    Number,
    Parameter,
    Several,
    Texts,
    Whole,
    command,
)
from queuectl.cli.usage import UsageError, nearest
from queuectl.records import NamedTuple

WORDS = ("completion", "help")  # commands that need no queue
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?([0-9]{1,18}(\.[0-9]{1,18})?|\.[0-9]{1,18})")
_ADVICE = "; quote the command or put -- before it"

Functions = dict[tuple[str, ...], Callable[..., Any]]


class Request(NamedTuple):
    """What was asked for: a command with values for some of its parameters, or help about `path`."""

    path: tuple[str, ...]
    command: Command | None
    options: dict[str, Any]
    db: str | None = None
    form: str = "human"  # human, json, csv
    help: bool = False
    version: bool = False


def understand(argv: Sequence[str], functions: Functions) -> Request:
    """Return what the words ask for, or raise UsageError. Pure: nothing is opened or run."""
    _refuse_undecodable(argv)
    head, rest = _split_rest(argv)
    general: dict[str, Any] = {}
    path, position = _path(head, functions, general)
    if path[:1] == ("help",):
        return _help_about(tuple(head[position:]), functions)
    if any(word in ("-h", "--help") for word in head):
        return Request(path, None, {}, help=True)
    if general.pop("version", False):
        if path or rest is not None:
            raise UsageError("--version stands alone")
        return Request((), None, {}, version=True)
    if path[:1] == ("completion",):
        return Request(path, None, {"words": [*head[position:], *(rest or [])]})
    if path not in functions:
        return _incomplete(path, rest, functions)
    return _Reader(command(path, functions[path]), general).read(head[position:], rest)


def _refuse_undecodable(argv: Sequence[str]) -> None:
    for word in argv:
        if not word.isascii():
            try:
                word.encode()
            except UnicodeEncodeError:
                raise UsageError(f"{word!a} is not valid UTF-8 text") from None


def _split_rest(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    words = list(argv)
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _path(head: list[str], functions: Functions, general: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    """Return the words that name the command and where its own words start; flags before go to `general`."""
    reader = _Reader(Command((), _path, (), Extra("")), general)
    path: tuple[str, ...] = ()
    i = 0
    while i < len(head) and path not in functions and path[:1] not in [(w,) for w in WORDS]:
        word = head[i]
        if word in ("-h", "--help"):
            i += 1
        elif word in ("--version", "-V"):
            general["version"] = True
            i += 1
        elif word.startswith("-") and word != "-":
            i = reader.flag(head, i)
        else:
            path = (*path, _known(path, word, functions))
            i += 1
    return path, i


def _known(path: tuple[str, ...], word: str, functions: Functions) -> str:
    words = {p[len(path)] for p in functions if p[: len(path)] == path}
    if not path:
        words |= set(WORDS)
    name = word.replace("_", "-") if not word.startswith("_") else word
    if name in words:
        return name
    group = "".join(f"{w} " for w in path)
    hint = nearest(word, words, before=group) or f" (see `queuectl {group}--help`)"
    raise UsageError(f"unknown command {f'{group}{word}'!r}{hint}")


def _help_about(words: tuple[str, ...], functions: Functions) -> Request:
    path: tuple[str, ...] = ()
    for word in words:
        if word.startswith("-"):
            continue
        if path in functions or path[:1] == ("completion",):
            raise UsageError(f"extra word {word!r} after `help {' '.join(path)}`")
        path = (*path, _known(path, word, functions))
    return Request(path, None, {}, help=True)


def _incomplete(path: tuple[str, ...], rest: list[str] | None, functions: Functions) -> Request:
    if not path and rest is None:
        return Request((), None, {}, help=True)
    if not path:
        raise UsageError("expected a command before --; see `queuectl help`")
    words = sorted(p[1] for p in functions if p[:1] == path[:1])
    raise UsageError(
        f"{path[0]}: expected {' or '.join([', '.join(words[:-1]), words[-1]]) if words[1:] else words[0]}"
    )


class _Reader:
    """Reads one command's words into values, once each."""

    def __init__(self, asked: Command, general: dict[str, Any]) -> None:
        self.command = asked
        self.general = general
        self.options: dict[str, Any] = {}
        self.given: dict[str, str] = {}  # how each was written, for "given twice"
        self.words: list[str] = []
        self.dashes = False

    def read(self, words: list[str], rest: list[str] | None) -> Request:
        self.dashes = bool(rest)
        try:
            i = 0
            while i < len(words):
                i = self.flag(words, i) if _looks_like_flag(words[i]) else self.word(words, i)
            self.after_dashes(rest or [])
            self.place_words()
        except UsageError as e:
            raise UsageError(f"{e}{self.hint()}") from None
        self.require()
        self.unwrap()
        return Request(self.command.path, self.command, self.options, self.general.get("db"), self.form())

    def hint(self) -> str:
        return _ADVICE if self.command.extra.rest and self.words and not self.dashes else ""

    # -- flags ------------------------------------------------------------------------------------

    def flag(self, words: list[str], i: int) -> int:
        """Read the flag at words[i] and its value; return the position after them."""
        if words[i].startswith("--"):
            return self.long(words, i)
        return self.short(words, i)

    def long(self, words: list[str], i: int) -> int:
        name, equals, value = words[i].partition("=")
        parameter = self.named(name[2:])
        if parameter is None:
            plain = self.named(name[5:]) if name.startswith(("--no-", "--no_")) else None
            if plain is None or plain.kind != Flag:
                raise UsageError(f"unknown flag {name}{nearest(name, self.flags())}")
            if equals:
                raise UsageError(f"{name} takes no value")
            self.put(plain, False, name)
            return i + 1
        if parameter.kind == Flag:
            self.put(parameter, _yes_or_no(name, value) if equals else True, name)
            return i + 1
        if equals:
            self.put(parameter, value, name)
            return i + 1
        self.put(parameter, self.value_after(words, i, name), name)
        return i + 2

    def short(self, words: list[str], i: int) -> int:
        letters = words[i][1:]
        for at, letter in enumerate(letters):
            name = f"-{letter}"
            parameter = next((p for p in self.command.parameters if p.short == letter), None)
            if parameter is None:
                raise UsageError(f"unknown flag {name}" + (f" in {words[i]}" if len(letters) > 1 else ""))
            tail = letters[at + 1 :]
            if parameter.kind == Flag:
                if tail.startswith("="):
                    self.put(parameter, _yes_or_no(name, tail[1:]), name)
                    return i + 1
                self.put(parameter, True, name)
            elif tail:
                self.put(parameter, tail.removeprefix("="), name)
                return i + 1
            else:
                self.put(parameter, self.value_after(words, i, name), name)
                return i + 2
        return i + 1

    def value_after(self, words: list[str], i: int, name: str) -> str:
        value = words[i + 1] if i + 1 < len(words) else None
        if value is None or _looks_like_flag(value):
            instead = f" (for a value that starts with -, write {name}={value})" if value is not None else ""
            raise UsageError(f"{name} needs a value{instead}")
        return value

    def named(self, name: str) -> Parameter | None:
        wanted = name.replace("-", "_")
        found = self.command.parameter(wanted)
        return found or next((p for p in GLOBALS if p.name == wanted), None)

    def flags(self) -> list[str]:
        return [p.flag for p in (*self.command.parameters, *GLOBALS)]

    def put(self, parameter: Parameter, value: Any, name: str) -> None:
        target = self.general if parameter in GLOBALS else self.options
        typed = value if parameter.kind == Flag else _typed(parameter, value, name)
        if parameter.kind in (Texts, Several) and not (parameter.positional and not parameter.many):
            target[parameter.name] = [*target.get(parameter.name, []), typed]
        elif parameter.name in target:
            raise UsageError(f"{parameter.flag} is given twice")
        else:
            target[parameter.name] = typed
        self.given[parameter.name] = name

    # -- words ------------------------------------------------------------------------------------

    def word(self, words: list[str], i: int) -> int:
        self.words.append(words[i])
        return i + 1

    def after_dashes(self, rest: list[str]) -> None:
        name = self.command.extra.rest
        if not (name and rest):
            self.words += rest
            return
        from shlex import join

        parameter = self.command.parameter(name)
        assert parameter is not None
        if name in self.given:
            raise UsageError(f"the {name} is given twice: with {self.given[name]} and after --")
        others = [p for p in self.command.parameters if p.positional and p.name != name]
        if len(self.words) > len(others):
            raise UsageError(f"extra word {self.words[len(others)]!r} before --")
        self.put(parameter, join(rest), "--")

    def place_words(self) -> None:
        places = [p for p in self.command.parameters if p.positional and (p.many or p.name not in self.given)]
        for word in self.words:
            if not places:
                raise UsageError(f"extra word {word!r}{self.already()}")
            self.put(places[0], word, "word")
            if not places[0].many:
                places.pop(0)

    def already(self) -> str:
        taken = next((p.name for p in self.command.parameters if p.positional), None)
        return f": the {taken} is already {_short(str(self.options[taken]))}" if taken in self.options else ""

    def require(self) -> None:
        for parameter in self.command.parameters:
            if parameter.required and parameter.name not in self.options:
                raise UsageError(
                    f"{self.command.name}: {parameter.name} is missing, as in: {self.command.extra.example}"
                )

    def unwrap(self) -> None:
        """Leave a word that came alone as it is, so that the method may split it at its commas."""
        for parameter in self.command.parameters:
            value = self.options.get(parameter.name)
            if parameter.kind == Several and isinstance(value, list) and len(value) == 1:
                self.options[parameter.name] = value[0]

    def form(self) -> str:
        chosen = [name for name in ("json", "csv") if self.general.get(name)]
        if len(chosen) > 1:
            raise UsageError("--json and --csv exclude each other")
        if chosen and not self.command.returns_something:
            raise UsageError(f"--{chosen[0]}: {self.command.name} returns nothing that could be printed so")
        return chosen[0] if chosen else "human"


def _looks_like_flag(word: str) -> bool:
    return word.startswith("-") and word != "-" and not _NUMBER.fullmatch(word)


def _yes_or_no(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise UsageError(f"{name}: expected true or false, got {value!r}")
    return value == "true"


def _typed(parameter: Parameter, value: str, name: str) -> Any:
    called = parameter.name.replace("_", "-") if name == "word" else name
    if parameter.kind == Whole:
        if not _WHOLE.fullmatch(value) or not -(2**63) <= int(value) < 2**63:
            raise UsageError(f"{called}: expected a whole number, got {_short(value)}")
        return int(value)
    if parameter.kind == Number:
        if not _NUMBER.fullmatch(value) or not math.isfinite(float(value)):
            raise UsageError(f"{called}: expected a number, got {_short(value)}")
        return float(value)
    return value


def _short(value: str) -> str:
    return repr(value) if len(value) <= 60 else f"{value[:50]!r}… ({len(value):,} characters)"
