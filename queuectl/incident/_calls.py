"""The exact calls that look at a cause and retry it, in the shell and in Python."""

from __future__ import annotations

import shlex

from queuectl.incident._facts import Facts, Group


def opened(facts: Facts) -> str:
    """Return the lines of Python that open the queue."""
    return f"from queuectl import Queue, analysis\n\nq = Queue({facts.db!r})"


def shell(facts: Facts, group: Group) -> str:
    """Return the shell's lines: first what would be done, then doing it."""
    begin = f"queuectl --db {shlex.quote(facts.db)} dlq retry --sig {group.cause.sig}"
    return f"{begin} --dry-run\n{begin}"


def python(group: Group, *, dry_run: bool = False) -> str:
    """Return the same in Python."""
    more = ", dry_run=True" if dry_run else ""
    return f"q.dlq.retry(sig={group.cause.sig!r}{more})"
