"""Cells: how a time, a duration, a size and untrusted text look on a terminal, and how rows become columns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from queuectl.display import escape_terminal, mask_secrets


def safe(text: Any) -> str:
    """Return untrusted text as one line for a terminal."""
    return escape_terminal(mask_secrets(str(text)))


def local(ms: int | None) -> str:
    """Return milliseconds since the epoch as local time, `2025-11-30 15:30:22`."""
    return "-" if ms is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms // 1000))


def span(ms: float | None) -> str:
    """Return a duration as `850ms`, `2.5s`, `3m20s` or `2h05m`."""
    if ms is None:
        return "-"
    if ms < 1000:
        return f"{ms:.0f}ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f}s".replace(".0s", "s")
    minutes, seconds = divmod(int(ms // 1000), 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours}h{rest:02d}m" if hours else f"{minutes}m{seconds:02d}s"


def size(count: int | None) -> str:
    """Return bytes as `512 B`, `3.4 MiB`."""
    if count is None:
        return "-"
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def columns(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], otherwise: str) -> Iterator[str]:
    """Yield a table with its titles, or one line where there are no rows."""
    if not rows:
        yield otherwise
        return
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    for row in [titles, *rows]:
        yield "  ".join(f"{cell:<{wide}}" for cell, wide in zip(row, widths, strict=True)).rstrip()
