"""The numbers of a report as people write them."""

from __future__ import annotations

from datetime import datetime

from queuectl.incident._facts import Facts, Group


def moment(ms: int) -> str:
    """Return a local time."""
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def zone(ms: int) -> str:
    """Return the zone that the report's times are in."""
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Z (UTC%z)")


def span(ms: int) -> str:
    """Return a length of time."""
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def many(n: int, one: str, several: str | None = None) -> str:
    """Return `1 job`, `2 jobs`."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def summary(facts: Facts) -> list[str]:
    """Return the sentences that a reader in a hurry needs."""
    if not facts.groups:
        return ["No run failed in this time."]
    first = facts.groups[0].cause
    out = [
        f"{many(facts.runs, 'run')} failed of {many(len(facts.groups) + facts.left_out, 'cause')}, which cost {span(facts.wasted_ms)} of worker time.",
        f"{first.share:.0%} of them share one cause, {first.sig}, last seen {moment(first.last_seen_ms)}.",
    ]
    whose = "the jobs of the causes below" if facts.left_out else "these jobs"
    dead, waiting = sum(g.dead for g in facts.groups), sum(g.waiting for g in facts.groups)
    out.append(
        f"Of {whose} {many(dead, 'is', 'are')} dead now and {many(waiting, 'waits', 'wait')} for another attempt."
    )
    return out


def now_in_queue(group: Group) -> str:
    """Return what of a cause is in the queue now."""
    return f"{many(group.dead, 'job')} dead, {group.waiting:,} waiting for a retry"
