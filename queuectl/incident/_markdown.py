"""The report as Markdown. Untrusted text stands in code, behind a fence longer than any in it."""

from __future__ import annotations

import re

from queuectl.display import escape_terminal, mask_secrets
from queuectl.incident import _calls, _words
from queuectl.incident._facts import Facts, Group, name_of

_BARS = " ▁▂▃▄▅▆▇█"


def document(facts: Facts) -> str:
    """Return the whole report."""
    parts = [
        head(facts),
        table(facts),
        *(f"{group(g, number)}\n\n{retry(facts, g)}" for number, g in enumerate(facts.groups, 1)),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def head(facts: Facts) -> str:
    """Return title, window and summary."""
    window = f"{_words.moment(facts.start_ms)} to {_words.moment(facts.end_ms)}, {_words.zone(facts.made_ms)}"
    return "\n\n".join(
        [
            f"# Failures in {inline(name_of(facts))}",
            window + ".",
            *_words.summary(facts),
            f"Made {_words.moment(facts.made_ms)} by queuectl {facts.version}.",
        ]
    )


def table(facts: Facts) -> str:
    """Return the causes as a table of what is not free text."""
    if not facts.groups:
        return ""
    rows = [
        "| | cause | runs | share | jobs | dead now | first seen | last seen | cost | over time |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {i} | `{c.sig}` | {c.count:,} | {c.share:.0%} | {c.jobs:,} | {g.dead:,} | {_words.moment(c.first_seen_ms)} | "
        f"{_words.moment(c.last_seen_ms)} | {_words.span(c.wasted_ms)} | {sparkline(g.timeline)} |"
        for i, g in enumerate(facts.groups, 1)
        for c in [g.cause]
    ]
    more = f"\n\n{_words.many(facts.left_out, 'cause')} more not shown." if facts.left_out else ""
    return "## Causes\n\n" + "\n".join(rows) + more


def group(g: Group, number: int) -> str:
    """Return one cause: its message, example and sample."""
    c = g.cause
    parts = [
        f"## {number}. {inline(c.message or c.sig)}",
        f"Cause `{c.sig}`: {_words.many(c.count, 'run')} of {_words.many(c.jobs, 'job')}; {_words.now_in_queue(g)}.",
    ]
    if c.commands:
        parts += ["Commands:", fenced("\n".join(mask_secrets(x) for x in c.commands))]
    if c.example_job:
        parts += [
            f"Latest example, job {inline(c.example_job)}:",
            fenced("\n".join(g.sample) or c.example_line or ""),
        ]
    return "\n\n".join(parts)


def retry(facts: Facts, g: Group) -> str:
    """Return the calls that retry a cause's dead jobs."""
    if not g.dead:
        return "No job is dead because of it now."
    return "\n\n".join(
        [
            f"Once it is fixed, retry its {_words.many(g.dead, 'job')}:",
            fenced(_calls.shell(facts, g), "sh"),
            fenced(f"{_calls.opened(facts)}\n{_calls.python(g)}", "python"),
        ]
    )


def inline(text: str) -> str:
    """Return untrusted text as code within a line."""
    shown = escape_terminal(mask_secrets(text))
    ticks = "`" * (1 + max((len(m) for m in re.findall("`+", shown)), default=0))
    room = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{room}{shown}{room}{ticks}" if shown.strip() else "(empty)"


def fenced(text: str, language: str = "text") -> str:
    """Return untrusted text as a block of code."""
    shown = escape_terminal(text, multiline=True)
    ticks = "`" * max(3, 1 + max((len(m) for m in re.findall("`+", shown)), default=0))
    return f"{ticks}{language}\n{shown}\n{ticks}"


def sparkline(counts: tuple[int, ...]) -> str:
    """Return a timeline as a row of small bars, 24 of them."""
    halves = [counts[i] + counts[i + 1] for i in range(0, len(counts) - 1, 2)]
    most = max(halves, default=0) or 1
    return "".join(_BARS[-(-n * 8 // most)] for n in halves).replace(" ", "·")
