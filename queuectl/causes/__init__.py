"""The cause of a failure: which line tells it, and which failures share it.

`cause_of` is a pure function of what a run left behind. It reads at most the last 64 KiB of each stream, never
raises, and gives the same answer in every process; `docs/causes.md` tells the rules and how often they err.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from signal import Signals

from queuectl.causes._choose import best
from queuectl.causes._lines import one_line, tail_lines
from queuectl.causes._mask import template_of
from queuectl.causes.rules import Rule, compiled, parse_rules
from queuectl.records import record

__all__ = ["VERSION", "Cause", "Rule", "cause_of", "compiled", "parse_rules"]

VERSION = 8
"""Stored with each run; raised whenever any output may get another sig."""

LINE_CHARS = 300
TEMPLATE_CHARS = 200
ORDINARY_TIERS = 50
"""Below this tier a line is the program's small talk, not its complaint."""


@record
class Cause:
    """What a failure is filed under.

    Attributes:
        sig: 8 lower-case hexadecimal digits, the hash of the template.
        template: the message with its variable parts masked, ≤ 200 characters, one line, no control characters.
        line: the line that tells the cause as it was printed, ≤ 300 characters, no control characters.
    """

    sig: str
    template: str
    line: str


def cause_of(
    *,
    outcome: str,
    exit_code: int | None,
    signal: int | None,
    stdout: bytes,
    stderr: bytes,
    rules: Sequence[Rule] = (),
) -> Cause:
    """Say why a run failed.

    Args:
        outcome: how the run ended: failed, timeout, killed, lost, spawn, …
        exit_code: the exit status, when it exited.
        signal: the number of the signal it died of, when it did.
        stdout: the end of its output, as bytes of any kind.
        stderr: the end of its error output.
        rules: the user's own rules; the first that matches a line wins over everything else.
    """
    for rule in rules:
        line = rule.first_match(tail_lines(stderr)) or rule.first_match(tail_lines(stdout))
        if line is not None:
            return _cause(rule.name, line)
    ending = _ending(outcome, exit_code, signal)
    if outcome in ("timeout", "lost") or signal in (
        9,
        15,
    ):  # nobody speaks after these: what was said was before
        return _cause(ending, ending)
    pick = best(stderr, stdout)
    if pick is None or (ending.startswith("signal") and pick.tier < ORDINARY_TIERS):
        return _cause(ending, ending)
    template = template_of(pick.text)
    if pick.tier < ORDINARY_TIERS:
        template = f"{ending}: {template}"
    return _cause(template or ending, pick.line)


def _cause(template: str, line: str) -> Cause:
    shown = one_line(template)[:TEMPLATE_CHARS].rstrip() or "unknown"
    sig = blake2b(shown.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return Cause(sig, shown, one_line(line)[:LINE_CHARS].rstrip() or shown)


def _ending(outcome: str, exit_code: int | None, signal: int | None) -> str:
    """The cause of last resort: how it ended."""
    if outcome == "timeout":
        return "timed out"
    if outcome == "lost":
        return "worker lost"
    if signal is None and exit_code is not None and 128 < exit_code <= 128 + 64:
        signal = exit_code - 128  # a shell's way to pass on its child's death
    if signal is not None:
        return f"signal {_signal_name(signal)}"
    if exit_code is not None:
        return f"exit status {exit_code}"
    return "could not be started" if outcome == "spawn" else outcome


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return str(number)
