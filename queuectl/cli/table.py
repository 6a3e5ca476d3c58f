"""The commands, derived from the public methods of `Queue` and of its groups.

Names, types, defaults and help come from each method's signature and docstring. What a signature cannot say
is in `EXTRAS`: short flags, the word that stands for a value, and an example.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, MappingProxyType
from typing import Any

from queuectl.records import NamedTuple

Text, Whole, Number, Flag = "text", "whole", "number", "flag"
Texts, Several = "texts", "several"  # a list of words; a list, or the word itself when there is one
_LISTS = {"Iterable", "Sequence", "Collection", "list", "tuple", "set", "frozenset"}


class Extra(NamedTuple):
    """What the table adds to a method's signature."""

    example: str
    short: Mapping[str, str] = MappingProxyType({})  # letter -> parameter
    shown: Mapping[str, str] = MappingProxyType({})  # parameter -> the word for its value in help
    values: Mapping[str, str] = MappingProxyType({})  # parameter -> the kind of words that complete it
    rest: str = ""  # the parameter that takes every word after `--`, shell-quoted


class Parameter(NamedTuple):
    """One word or flag that a command understands."""

    name: str
    kind: str
    default: Any
    required: bool = False
    positional: bool = False
    many: bool = False  # takes all remaining words
    short: str = ""

    @property
    def flag(self) -> str:
        """The long flag, `--max-retries` for `max_retries`."""
        return "--" + self.name.replace("_", "-")


GLOBALS = (
    Parameter("db", Text, None),
    Parameter("json", Flag, False),
    Parameter("csv", Flag, False),
)


class Command(NamedTuple):
    """A verb: the words that name it, the method it is, and its parameters."""

    path: tuple[str, ...]
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    extra: Extra

    @property
    def name(self) -> str:
        """The words that are typed, `dlq retry`."""
        return " ".join(self.path)

    @property
    def returns(self) -> str:
        """The result's type as the method declares it."""
        return str(self.function.__annotations__.get("return", ""))

    @property
    def returns_something(self) -> bool:
        """Whether there is a result to print as JSON or CSV."""
        return self.returns not in ("None", "NoReturn")

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of this name, written with `-` or `_`."""
        wanted = name.replace("-", "_")
        return next((p for p in self.parameters if p.name == wanted), None)


# The order is the order of `queuectl help`.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Jobs": ("enqueue", "enqueue-many", "map", "list", "show", "explain", "logs", "wait", "status", "events"),
    "Repair": (
        "failures",
        "report",
        "dlq list",
        "dlq retry",
        "dlq purge",
        "retry",
        "cancel",
        "edit",
        "bump",
        "delete",
        "refingerprint",
        "prune",
    ),
    "Schedules": (
        "schedule add",
        "schedule list",
        "schedule pause",
        "schedule resume",
        "schedule remove",
    ),
    "Workers": ("worker", "workers", "start-workers", "stop-workers", "pause", "resume"),
    "Queues": (
        "queue list",
        "queue get",
        "queue set",
        "queue unset",
        "limit list",
        "limit set",
        "limit unset",
    ),
    "Settings": ("config get", "config set", "doctor"),
}

EXTRAS: dict[str, Extra] = {
    "enqueue": Extra(
        'queuectl enqueue -c "python train.py --lr 0.1" --timeout 2h --max-retries 5',
        {"c": "command"},
        {
            **dict.fromkeys(("timeout", "kill_after", "backoff_max", "delay"), "TIME"),
            **dict.fromkeys(("after", "after_any", "after_fail"), "ID,ID"),
            **dict.fromkeys(("retry_on", "no_retry_on"), "RULES"),
            "backoff": "SHAPE",
            "run_at": "WHEN",
            "unique_for": "HOW",
            "on_conflict": "WHAT",
            "on_dep_fail": "WHAT",
            "tag": "NAME,NAME",
            "env": "NAME=VALUE",
            "cwd": "DIR",
        },
        {"cwd": "folder"},
        rest="command",
    ),
    "enqueue-many": Extra(
        "queuectl enqueue-many commands.txt", shown={"source": "FILE"}, values={"source": "file"}
    ),
    "map": Extra(
        'queuectl map "train.py --lr {lr}" params.csv --dry-run',
        shown={
            **dict.fromkeys(("timeout", "kill_after", "backoff_max", "delay"), "TIME"),
            **dict.fromkeys(("retry_on", "no_retry_on"), "RULES"),
            "params": "FILE",
            "after": "ID,ID",
            "backoff": "SHAPE",
            "run_at": "WHEN",
            "tag": "NAME,NAME",
            "env": "NAME=VALUE",
            "cwd": "DIR",
        },
        values={"params": "file", "cwd": "folder"},
    ),
    "list": Extra("queuectl list -s dead --since 2h", {"s": "state"}, values={"state": "state"}),
    "show": Extra("queuectl show kj5p8v9y --json"),
    "explain": Extra("queuectl explain kj5p8v9y"),
    "logs": Extra("queuectl logs -f kj5p8v9y", {"f": "follow"}),
    "wait": Extra("queuectl wait --timeout 10m"),
    "status": Extra("queuectl status"),
    "failures": Extra("queuectl failures --since 1d"),
    "refingerprint": Extra("queuectl refingerprint --dry-run"),
    "report": Extra(
        "queuectl report incident.html --since 1d", shown={"path": "FILE"}, values={"path": "file"}
    ),
    "retry": Extra("queuectl retry kj5p8v9y", values={"state": "state"}),
    "cancel": Extra("queuectl cancel --queue slow --dry-run", values={"state": "state"}),
    "delete": Extra("queuectl delete --state cancelled --dry-run", values={"state": "state"}),
    "bump": Extra("queuectl bump kj5p8v9y", values={"state": "state"}),
    "edit": Extra(
        "queuectl edit kj5p8v9y --priority 5 --dry-run",
        shown={
            **dict.fromkeys(("timeout", "kill_after", "backoff_max", "delay"), "TIME"),
            **dict.fromkeys(("retry_on", "no_retry_on"), "RULES"),
            "backoff": "SHAPE",
            "run_at": "WHEN",
            "on_dep_fail": "WHAT",
            "tag": "NAME,NAME",
            "cwd": "DIR",
        },
        values={"state": "state", "cwd": "folder"},
    ),
    "prune": Extra(
        "queuectl prune --older-than 7d --dry-run", shown={"older_than": "AGE"}, values={"state": "state"}
    ),
    "pause": Extra("queuectl pause slow"),
    "resume": Extra("queuectl resume slow"),
    "doctor": Extra("queuectl doctor"),
    "events": Extra("queuectl events --job kj5p8v9y"),
    "worker": Extra(
        "queuectl worker -v -c 3 -s 1", {"v": "verbose", "c": "count", "s": "sleep", "l": "limit"}
    ),
    "workers": Extra("queuectl workers"),
    "dlq list": Extra("queuectl dlq list"),
    "dlq retry": Extra("queuectl dlq retry xuya6a8w"),
    "dlq purge": Extra("queuectl dlq purge --dry-run"),
    "config get": Extra("queuectl config get", values={"key": "setting"}),
    "config set": Extra("queuectl config set max-retries 5", values={"key": "setting"}),
    "queue list": Extra("queuectl queue list"),
    "queue get": Extra("queuectl queue get gpu", values={"key": "queue setting"}),
    "queue set": Extra("queuectl queue set gpu timeout 2h", values={"key": "queue setting"}),
    "queue unset": Extra("queuectl queue unset gpu timeout", values={"key": "queue setting"}),
    "limit list": Extra("queuectl limit list"),
    "limit set": Extra("queuectl limit set db 2"),
    "limit unset": Extra("queuectl limit unset db"),
    "schedule add": Extra(
        'queuectl schedule add nightly "0 3 * * *" -c "make backup" --timezone Europe/Berlin',
        {"c": "command"},
        {
            **dict.fromkeys(("timeout", "kill_after", "backoff_max"), "TIME"),
            **dict.fromkeys(("retry_on", "no_retry_on"), "RULES"),
            "backoff": "SHAPE",
            "cron": '"* * * * *"',
            "misfire": "one|skip|all",
            "overlap": "skip|allow",
            "timezone": "ZONE",
            "tag": "NAME,NAME",
            "env": "NAME=VALUE",
            "cwd": "DIR",
        },
        {"cwd": "folder"},
        rest="command",
    ),
    "schedule list": Extra("queuectl schedule list"),
    "schedule remove": Extra("queuectl schedule remove nightly"),
    "schedule pause": Extra("queuectl schedule pause nightly"),
    "schedule resume": Extra("queuectl schedule resume nightly"),
}


def functions(api: type) -> dict[tuple[str, ...], Callable[..., Any]]:
    """Return every command's words and its method, for a class with public verbs and `_groups` of more."""
    found: dict[tuple[str, ...], Callable[..., Any]] = {(word,): method for word, method in _verbs(api)}
    for group, owner in sorted(getattr(api, "_groups", {}).items()):
        found |= {(group, word): method for word, method in _verbs(owner)}
    return found


def _verbs(owner: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    python_only = getattr(owner, "_python_only", ())
    for name in dir(owner):
        if (
            name[0] != "_"
            and name not in python_only
            and isinstance(method := getattr(owner, name), FunctionType)
        ):
            yield name.replace("_", "-"), method


def command(path: tuple[str, ...], function: Callable[..., Any]) -> Command:
    """Return the command of a method."""
    extra = EXTRAS.get(" ".join(path)) or Extra("queuectl " + " ".join(path))
    letters = {name: letter for letter, name in extra.short.items()}
    given = list(inspect.signature(function).parameters.values())[1:]  # without self
    return Command(path, function, tuple(_parameter(p, letters.get(p.name, "")) for p in given), extra)


def _parameter(given: inspect.Parameter, short: str) -> Parameter:
    many = given.kind is inspect.Parameter.VAR_POSITIONAL
    has_default = given.default is not inspect.Parameter.empty
    return Parameter(
        given.name,
        Texts if many else kind_of(given.annotation, given.default),
        given.default if has_default else None,
        required=not has_default and not many,
        positional=given.kind is not inspect.Parameter.KEYWORD_ONLY,
        many=many,
        short=short,
    )


def kind_of(annotation: Any, default: Any) -> str:
    """Return how a word becomes a value of this annotation; what may be text stays text, byte for byte."""
    if annotation is inspect.Parameter.empty:
        annotation = type(default)
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    members = {m.strip().split("[")[0].rpartition(".")[2] for m in _split_union(text)} - {"None", "NoneType"}
    if members & _LISTS:
        return Several if "str" in members else Texts
    if members == {"bool"}:
        return Flag
    if members == {"int"}:
        return Whole
    if members in ({"float"}, {"int", "float"}):
        return Number
    return Text


def _split_union(text: str) -> Iterator[str]:
    """Yield the members of `a | b[c | d]`, which are a and b[c | d]."""
    depth = start = 0
    for i, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == "|" and not depth:
            yield text[start:i]
            start = i + 1
    yield text[start:]
