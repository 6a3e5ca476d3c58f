"""Every setting, once: its name, how it is read, what it is when nobody says, and in whose hands it lies.

A *job* setting can be given to `enqueue`, to a queue and to `config`; in that order they win, over the built-in value, and what
won is frozen in the job's row. A *queue* setting is given to a queue or to `config`, and a *worker* setting to `config`; both are read
by workers while they run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from queuectl import patterns
from queuectl import validate as v
from queuectl.errors import InvalidValue, expected
from queuectl.records import record

SIGNALS = ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "CONT", "WINCH", "ALRM")


@record
class Setting:
    """One setting; `read` turns what a person typed into the stored form or raises InvalidValue."""

    name: str
    read: Callable[[object], Any]
    default: Any
    help: str
    column: str | None = None  # of `jobs`, for a job setting


def _optional(read: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value in (None, "none") else read(value)


def read_backoff(value: object) -> str:
    """Return exponential, linear, fixed, or a JSON list of seconds such as [2,10,60]."""
    rule = "exponential, linear, fixed, or a list of seconds like [2,10,60]"
    items: object = value
    if isinstance(value, str):
        if value in ("exponential", "linear", "fixed"):
            return value
        try:
            items = json.loads(value)
        except (ValueError, RecursionError):
            raise expected("backoff", rule, value) from None
    if not isinstance(items, (list, tuple)) or not 1 <= len(items) <= 100:
        raise expected("backoff", rule, value)
    seconds = [v.number("backoff", s, low=0, high=31_536_000) for s in items]
    return json.dumps([int(s) if s == int(s) else s for s in seconds])


_RULE = re.compile(r"[0-9]{1,3}(-[0-9]{1,3})?|timeout|signal|spawn")


def _is_rule(rule: str) -> bool:
    if not _RULE.fullmatch(rule):
        return False
    low, _, high = rule.partition("-")
    return not low.isdigit() or int(low) <= int(high or low) <= 255


def read_failure_rules(name: str) -> Callable[[object], str]:
    """Return a reader of rules such as `1,64-78,timeout,re:Connection refused`."""

    def read(value: object) -> str:
        items = list(value) if isinstance(value, (list, tuple)) else split_rules(v.text(name, value))
        for item in items:
            rule = v.text(name, item)
            if rule.startswith("re:"):
                patterns.check(name, rule[3:])
            elif not _is_rule(rule):
                raise expected(name, "exit codes (1 or 64-78), timeout, signal, spawn or re:REGEX", rule)
        if not items:
            raise expected(name, "one rule or several", value)
        return json.dumps(items, ensure_ascii=False)

    return read


def split_rules(text: str) -> list[str]:
    """Split at commas; everything after `re:` is one regular expression, commas included."""
    head, mark, regex = text.partition("re:")
    parts = [p.strip() for p in head.split(",") if p.strip()]
    return parts + ([mark + regex] if mark else [])


def read_warn(value: object) -> str:
    """Return a warning such as USR1,30: the signal, and how many seconds before the time limit."""
    name, comma, before = v.text("warn", value).partition(",")
    name = name.removeprefix("SIG")
    if name not in SIGNALS or not comma:
        raise expected("warn", f"SIGNAL,SECONDS like USR1,30 with one of {', '.join(SIGNALS)}", value)
    return f"{name},{v.duration_ms('warn', before, low=1)}"


def read_flag(name: str) -> Callable[[object], int]:
    """Return a reader of yes-or-no values, stored as 0 or 1."""

    def read(value: object) -> int:
        if value in (True, False) and isinstance(value, (bool, int)):
            return int(value)
        if value in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            return int(value in ("true", "yes", "on", "1"))
        raise expected(name, "true or false", value)

    return read


_BREAKER = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")
RUNS_MAX = 1000  # runs that a breaker looks back on


def read_breaker(value: object) -> str:
    """Return a breaker's rule such as 5/10: so many failures among the last so many runs."""
    found = _BREAKER.fullmatch(value) if isinstance(value, str) else None
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= RUNS_MAX:
        raise expected(
            "breaker", f"FAILURES/RUNS like 5/10, with 1 ≤ failures ≤ runs ≤ {RUNS_MAX:,}, or none", value
        )
    return f"{int(found[1])}/{int(found[2])}"


def read_hook(name: str) -> Callable[[object], str]:
    """Return a reader of a hook's shell command."""
    return lambda value: v.text(name, value, longest=v.COMMAND_MAX)


def read_cause_rules(value: object) -> list[list[str]]:
    """Return rules of one's own for causes: pairs of a regular expression and the name that its failures go by."""
    rule = 'pairs of a regular expression and a name, like [["disk quota", "quota"]]'
    items: object = value
    if isinstance(value, str):
        try:
            items = json.loads(value)
        except (ValueError, RecursionError):
            raise expected("cause-rules", rule, value) from None
    if not isinstance(items, (list, tuple)) or len(items) > 1000:
        raise expected("cause-rules", rule, value)
    return [_cause_rule(item, rule) for item in items]


def _cause_rule(item: object, rule: str) -> list[str]:
    if not isinstance(item, (list, tuple)) or len(item) != 2:
        raise expected("cause-rules", rule, item)
    regex, name = (v.text("cause-rules", part) for part in item)
    try:
        re.compile(regex)
    except (re.error, RecursionError, OverflowError) as e:
        raise expected("cause-rules", f"a regular expression ({e})", regex) from None
    return [regex, name.strip()]


def _size(name: str, *, low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        factor = 1
        if isinstance(value, str) and value[-1:].upper() in ("K", "M", "G"):
            factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[value[-1].upper()]
            value = value[:-1]
        size = v.whole(name, value, low=0) * factor
        if not low <= size <= high:
            raise expected(name, f"bytes from {low:,} to {high:,}, or a size like 16M", value)
        return size

    return read


def _ms(name: str, *, low: int = 0, high: int = 10 * 366 * 86_400_000) -> Callable[[object], int]:
    return lambda value: v.duration_ms(name, value, low=low, high=high)


JOB_SETTINGS = (
    Setting("max-retries", lambda x: v.whole("max-retries", x, low=0, high=10_000), 3,
            "Maximum retry attempts before moving to DLQ", "max_retries"),
    Setting("backoff", read_backoff, "exponential", "How retry delays grow: exponential, linear, fixed or a list of seconds", "backoff"),
    Setting("backoff-base", lambda x: v.number("backoff-base", x, low=1, high=86_400), 2.0,
            "Base of the retry delay, seconds: base ** n, base * n or base", "backoff_base"),
    Setting("backoff-max", _ms("backoff-max"), 3_600_000, "Longest retry delay", "backoff_max_ms"),
    Setting("jitter", lambda x: v.number("jitter", x, low=0, high=1), 0.0, "Random share added to or taken from a retry delay, 0 to 1", "jitter"),
    Setting("timeout", _optional(_ms("timeout", low=1)), None, "Time limit of one run; none for no limit", "timeout_ms"),
    Setting("kill-after", _ms("kill-after"), 10_000, "Time between TERM and KILL", "kill_after_ms"),
    Setting("warn", _optional(read_warn), None, "Signal sent before the time limit, like USR1,30", "warn"),
    Setting("priority", lambda x: v.whole("priority", x, low=-v.PRIORITY_MAX, high=v.PRIORITY_MAX), 0, "Higher runs first", "priority"),
    Setting("retry-on", _optional(read_failure_rules("retry-on")), None, "Only these failures are retried", "retry_on"),
    Setting("no-retry-on", _optional(read_failure_rules("no-retry-on")), None, "These failures are not retried", "no_retry_on"),
    Setting("keep-children", read_flag("keep-children"), 0, "Leave what a finished command left running", "keep_children"),
    Setting("on-dep-fail", lambda x: v.choice("on-dep-fail", x, ("block", "cancel", "run")), "block",
            "What happens to a job whose parent died", "on_dep_fail"),
)  # fmt: skip

WORKER_SETTINGS = (
    Setting("stop-grace", _ms("stop-grace"), 10_000, "How long running jobs may go on after TERM or Ctrl-C"),
    Setting("priority-aging", _optional(_ms("priority-aging", low=1)), None, "Head start that one step of priority is worth; none for strict priority"),
    Setting("max-interruptions", lambda x: v.whole("max-interruptions", x, low=1, high=1_000_000), 3,
            "How often a job's worker may die under it before the job goes to the DLQ"),
    Setting("lease", _ms("lease", low=500, high=3_600_000), 30_000, "Silence after which a worker counts as frozen"),
    Setting("output-cap", _size("output-cap", low=1 << 16, high=1 << 40), 16 << 20, "Most bytes kept of each output stream of a run"),
    Setting("retention", _optional(_ms("retention", low=1000)), None, "Age at which completed and cancelled jobs are removed; none to keep them"),
    Setting("retention-dead", _optional(_ms("retention-dead", low=1000)), None, "Age at which dead jobs are removed; none to keep them"),
    Setting("output-total", _optional(_size("output-total", low=1 << 20, high=1 << 50)), None,
            "Most bytes of output kept of all runs, the oldest dropped first; none for no limit"),
    Setting("snooze", _ms("snooze", low=1), 60_000, "Delay after exit status 75 (EX_TEMPFAIL)"),
    Setting("cause-rules", _optional(read_cause_rules), None, "Your own causes of failure: pairs of a regular expression and a name"),
)  # fmt: skip

HOOKS = ("on-success", "on-failure", "on-dead", "on-queue-empty")

QUEUE_SETTINGS = (
    Setting("breaker", _optional(read_breaker), None, "Failures among the last runs that pause a queue, like 5/10; none for no breaker"),
    Setting("breaker-probe", _ms("breaker-probe", low=1000), 60_000, "How often a queue that its breaker paused lets one job through"),
    Setting("on-success", _optional(read_hook("on-success")), None, "Shell command run when a job has completed"),
    Setting("on-failure", _optional(read_hook("on-failure")), None, "Shell command run when an attempt has failed"),
    Setting("on-dead", _optional(read_hook("on-dead")), None, "Shell command run when a job has died"),
    Setting("on-queue-empty", _optional(read_hook("on-queue-empty")), None,
            "Shell command run when nothing of a queue is left to run"),
)  # fmt: skip

SETTINGS: dict[str, Setting] = {s.name: s for s in JOB_SETTINGS + QUEUE_SETTINGS + WORKER_SETTINGS}
OF_A_QUEUE: dict[str, Setting] = {s.name: s for s in JOB_SETTINGS + QUEUE_SETTINGS}


def holds_for(name: str) -> str:
    """Return to what a new value of a setting applies, as people say it."""
    if name in {s.name for s in JOB_SETTINGS}:
        return "it applies to jobs enqueued from now on"
    return "it applies to workers started from now on" if name == "output-cap" else "it applies at once"


def setting(name: object) -> Setting:
    """Return the setting of this name; `max_retries` is understood as `max-retries`."""
    key = name.replace("_", "-") if isinstance(name, str) else name
    if key in SETTINGS:
        return SETTINGS[str(key)]
    try:
        v.choice("config key", key, tuple(SETTINGS))
    except InvalidValue as e:
        raise InvalidValue(f"{e}") from None
    raise AssertionError("unreachable")


def queue_setting(name: object) -> Setting:
    """Return the setting of this name, of those that a queue can have."""
    found = setting(name)
    if found.name not in OF_A_QUEUE:
        raise InvalidValue(
            f"queue key: expected a setting of jobs or of a queue, got {found.name!r}, which is of workers "
            f"(see `queuectl config set {found.name}`)"
        )
    return found


def shown(name: str, value: Any) -> str:
    """Return a setting's stored value as a person would type it."""
    if value is None:
        return "none"
    read_ms = SETTINGS[name].column in ("backoff_max_ms", "timeout_ms", "kill_after_ms") or name in (
        "stop-grace", "priority-aging", "lease", "retention", "retention-dead", "snooze", "breaker-probe",
    )  # fmt: skip
    if read_ms:
        return v.span(value).replace(" ", "")
    if isinstance(value, float):
        return f"{value:g}"
    if name in ("retry-on", "no-retry-on"):
        rules: list[str] = json.loads(value)
        return ",".join(sorted(rules, key=lambda r: r.startswith("re:")))  # what follows re: belongs to it
    if name == "warn":
        signal, _, before = value.partition(",")
        return f"{signal},{v.span(int(before)).replace(' ', '')}"
    if name == "keep-children":
        return "yes" if value else "no"
    if name in ("output-cap", "output-total"):
        factor, unit = next(
            (f, u) for f, u in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"), (1, "")) if value % f == 0
        )
        return f"{value // factor}{unit}"
    return str(value)


class ConfigChange(str):
    """A setting's new value, as the command line says it."""

    key: str
    value: Any

    def __new__(cls, key: str, value: Any) -> ConfigChange:
        """Make the sentence for a key and its stored value."""
        text = f"Configuration updated: {key} = {shown(key, value)}"
        if key == "max-retries":
            text += f"\nJobs will retry up to {value} times before moving to DLQ"
        elif key == "backoff-base":
            text += f"\nRetry delays will be: {delays(value)}"
        self = super().__new__(cls, text)
        self.key, self.value = key, value
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the key and its stored value."""
        return {"key": self.key, "value": self.value}


def delays(base: float) -> str:
    """Return the first four delays of an exponential back-off: 2s, 4s, 8s, 16s..."""
    return ", ".join(f"{base**n:g}s" for n in range(1, 5)) + "..."


class ConfigTable(dict[str, Any]):
    """The settings in force, as stored; its text is the command's table."""

    def __str__(self) -> str:
        lines = ["", "===== CONFIGURATION ====="]
        for key, value in self.items():
            what = f"Retry delays: {delays(value)}" if key == "backoff-base" else SETTINGS[key].help
            lines += [f"{key:<12} = {shown(key, value)}", f"  {what}"]
        return "\n".join([*lines, "=" * 25])

    def _repr_html_(self) -> str:
        from queuectl import html

        rows = [(key, shown(key, value), SETTINGS[key].help) for key, value in self.items()]
        return html.table(("setting", "value", "what for"), rows)


@record
class InForce:
    """A setting of a queue: its stored value, and whether the queue, `config` or nobody said so."""

    key: str
    value: Any
    origin: str  # queue, config or built-in

    def as_dict(self) -> dict[str, Any]:
        """Return key, value and where it comes from."""
        return {"key": self.key, "value": self.value, "from": self.origin}


class QueueSettings(list[InForce]):
    """The settings in force for a queue."""

    @property
    def by_key(self) -> dict[str, Any]:
        """The stored values by name."""
        return {s.key: s.value for s in self}


def in_force(own: dict[str, Any], config: dict[str, Any]) -> QueueSettings:
    """Return what holds for a queue: its own word, else that of `config`, else the built-in value."""
    found = QueueSettings()
    for s in OF_A_QUEUE.values():
        if s.name in own:
            found.append(InForce(s.name, own[s.name], "queue"))
        elif s.name in config:
            found.append(InForce(s.name, config[s.name], "config"))
        else:
            found.append(InForce(s.name, s.default, "built-in"))
    return found


class QueueChange(str):
    """A queue's new setting, as the command line says it."""

    queue: str
    key: str
    value: Any

    def __new__(cls, queue: str, key: str, value: Any, *, origin: str = "queue") -> QueueChange:
        """Make the sentence for a queue's key and the stored value now in force."""
        note = "" if origin == "queue" else f" ({origin})"
        self = super().__new__(cls, f"Queue {queue} updated: {key} = {shown(key, value)}{note}")
        self.queue, self.key, self.value = queue, key, value
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the queue, the key and the stored value."""
        return {"queue": self.queue, "key": self.key, "value": self.value}
