"""Help pages, written from signatures, docstrings and the table: plain text, as wide as the terminal."""

from __future__ import annotations

import inspect
import os
import re
from textwrap import wrap

from queuectl.cli.argv import Functions
from queuectl.cli.table import (
    SECTIONS,
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
from queuectl.records import NamedTuple

EXIT_CODES = (
    "Exit codes: 0 done; 1 a run-time fault, or a job that was waited for failed; 2 a word or value that is "
    "not understood, nothing changed; 3 nothing matched; 4 timed out waiting; 5 refused for the job's state."
)
BEGIN = ('queuectl enqueue -c "echo Hello World"', "queuectl worker -v", "queuectl status")
_HEADER = re.compile(
    r"(Args|Returns|Raises|Yields|Example|Examples|Source|Sources|Note|Effect|Effects|See also):\s*$"
)
_WORDS = {Whole: "N", Number: "NUMBER"}


class Doc(NamedTuple):
    """A docstring in its parts."""

    summary: str
    paragraphs: list[str]
    parameters: dict[str, str]


def page(path: tuple[str, ...], functions: Functions) -> str:
    """Return the help page of a command, of a group or, for no words, of everything."""
    if path[:1] == ("completion",):
        lines = _completion_page()
    elif path in functions:
        lines = _command_page(command(path, functions[path]))
    else:
        lines = _overview(path, functions)
    return "\n".join(lines) + "\n"


def read(docstring: str) -> Doc:
    """Return the parts of a Google docstring."""
    lines = inspect.cleandoc(docstring or "").split("\n")
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in lines:
        header = _HEADER.match(line)
        if header:
            current = header[1]
            sections[current] = []
        elif line and not line.startswith(" ") and current:
            current = ""
            sections[""] += ["", line]
        else:
            sections[current].append(line)
    paragraphs = [" ".join(p.split()) for p in "\n".join(sections[""]).split("\n\n") if p.strip()]
    return Doc(paragraphs[0] if paragraphs else "", paragraphs[1:], _arguments(sections.get("Args", [])))


def _arguments(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        start = re.match(r" {4}\*{0,2}(\w+)(?: \([^)]*\))?:\s*(.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def width() -> int:
    """Return the columns to fill: $COLUMNS or the terminal's, at most 100; 80 where neither is usable."""
    try:
        columns = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 0
    return min(columns, 100) if columns >= 40 else 80


def _overview(path: tuple[str, ...], functions: Functions) -> list[str]:
    if path:
        sections = {"Commands": [p for p in functions if p[: len(path)] == path]}
        top = [f"Usage: queuectl {' '.join(path)} COMMAND …", ""]
    else:
        sections = _by_section(functions)
        top = ["Run and repair background jobs kept in one SQLite file.", "", "Usage: queuectl COMMAND …", ""]
        top += ["To begin:", *(f"  {line}" for line in BEGIN), ""]
    column = max(len(" ".join(p)) for paths in sections.values() for p in paths) + 4
    for title, paths in sections.items():
        top += [f"{title}:"]
        for p in paths:
            top += _entry(" ".join(p), _brief(read(functions[p].__doc__ or "").summary), column)
        top += [""]
    if not path:
        top += [*_entry("completion", "Print a completion script for bash, zsh or fish.", column), ""]
        top += _global_flags() + [""] + wrap(EXIT_CODES, width()) + [""]
    return [*top, f"`queuectl {' '.join([*path, 'COMMAND'])} --help` says more about one of them."]


def _brief(summary: str) -> str:
    """Return the first part of a summary, which is enough to choose by; the command's own page has the rest."""
    return re.split(r"[;:.](?: |$)", summary, maxsplit=1)[0] + "."


def _by_section(functions: Functions) -> dict[str, list[tuple[str, ...]]]:
    left = dict.fromkeys(sorted(functions, key=lambda p: (len(p), p)))
    sections: dict[str, list[tuple[str, ...]]] = {}
    for title, names in SECTIONS.items():
        sections[title] = [p for p in (tuple(n.split()) for n in names) if p in left]
        for p in sections[title]:
            del left[p]
    if left:
        sections["More"] = list(left)
    return {title: paths for title, paths in sections.items() if paths}


def _command_page(asked: Command) -> list[str]:
    doc = read(asked.function.__doc__ or "")
    lines = [f"Usage: queuectl {' '.join([asked.name, *_usage(asked)])}", ""]
    lines += [*wrap(doc.summary, width()), ""]
    for paragraph in doc.paragraphs:
        lines += [*wrap(paragraph, width()), ""]
    words = [p for p in asked.parameters if p.positional and not p.short]
    flags = [p for p in asked.parameters if not p.positional or p.short]
    column = 30
    if words:
        lines += ["Words:"]
        for p in words:
            lines += _entry(_shown(asked, p), doc.parameters.get(p.name, ""), column)
        lines += [""]
    if flags:
        lines += ["Flags:"]
        for p in flags:
            lines += _entry(_flag(asked, p), doc.parameters.get(p.name, "") + _default(p), column)
        lines += [""]
    lines += _settings(asked.extra)
    lines += _global_flags(with_forms=asked.returns_something)
    return [*lines, "", f"Example: {asked.extra.example}", "", *wrap(EXIT_CODES, width())]


def _settings(extra: Extra) -> list[str]:
    """Describe the settings where one is to be named."""
    kind = extra.values.get("key")
    if kind is None:
        return []
    from queuectl.settings import OF_A_QUEUE, SETTINGS, shown

    lines = ["Settings:"]
    for s in (OF_A_QUEUE if kind == "queue setting" else SETTINGS).values():
        lines += _entry(s.name, f"{s.help} (default: {shown(s.name, s.default)})", 30)
    return [*lines, ""]


def _usage(asked: Command) -> list[str]:
    if asked.extra.rest:
        others = _others(asked)
        return [*others, "[flags]", "(-c COMMAND | -- WORD…)"]
    words = []
    for p in asked.parameters:
        if p.positional:
            shown = _shown(asked, p)
            words.append(f"[{shown}…]" if p.many else shown if p.required else f"[{shown}]")
    return [*words, "[flags]"]


def _others(asked: Command) -> list[str]:
    """The words before a command; of several, the first may be left out where the last has a default."""
    words = [p for p in asked.parameters if p.positional and p.name != asked.extra.rest]
    if words and not words[-1].required:
        return [f"[{_shown(asked, p)}]" for p in words[:-1]] + [_shown(asked, words[-1])]
    return [_shown(asked, p) for p in words]


def _shown(asked: Command, p: Parameter) -> str:
    if p.name in asked.extra.shown:
        return asked.extra.shown[p.name]
    return p.name.rstrip("s").upper() if p.many else p.name.upper()


def _flag(asked: Command, p: Parameter) -> str:
    short = f"-{p.short}, " if p.short else "    "
    if p.kind == Flag:
        return f"{short}{p.flag}"
    word = asked.extra.shown.get(p.name) or _WORDS.get(p.kind) or p.name.rpartition("_")[2].upper()
    return f"{short}{p.flag} {word}" + ("…" if p.kind in (Texts, Several) else "")


def _default(p: Parameter) -> str:
    if p.default in (None, False, (), "") or p.required:
        return ""
    if p.default is True:
        return f" (on; --no{p.flag[1:]} turns it off)"
    return f" (default: {p.default:g})" if isinstance(p.default, float) else f" (default: {p.default})"


def _global_flags(*, with_forms: bool = True) -> list[str]:
    lines = ["Everywhere:"]
    lines += _entry(
        "    --db PATH",
        "The database; else $QUEUECTL_DB, else data/queue.db in this folder, made on first use.",
        30,
    )
    if with_forms:
        lines += _entry("    --json", "Print JSON Lines: one object for each record.", 30)
        lines += _entry(
            "    --csv", "Print CSV; text that a spreadsheet would take for a formula gets a leading '.", 30
        )
    return lines + _entry("-h, --help", "Print this and do nothing.", 30)


def _completion_page() -> list[str]:
    return [
        "Usage: queuectl completion bash|zsh|fish",
        "",
        "Print a completion script for a shell.",
        "",
        'bash: eval "$(queuectl completion bash)"     in ~/.bashrc',
        'zsh:  eval "$(queuectl completion zsh)"      in ~/.zshrc, after compinit',
        "fish: queuectl completion fish | source      in ~/.config/fish/config.fish",
    ]


def _entry(left: str, right: str, column: int) -> list[str]:
    """Return `left`, and `right` wrapped in a column of its own; below it where the column is too narrow."""
    left = f"  {left}"
    text = wrap(right, max(20, width() - column)) or [""]
    if len(left) > column - 2:
        return [left, *(" " * column + line for line in text)] if right else [left]
    return [f"{left:<{column}}{text[0]}".rstrip(), *(" " * column + line for line in text[1:])]
