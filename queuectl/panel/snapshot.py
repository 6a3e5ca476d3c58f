"""The panel as it was, in plain HTML without scripts: what a saved notebook shows where no kernel is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from queuectl.display import escape_html

_ROWS = 20
_CELL = "padding:2px 10px 2px 0;text-align:left;vertical-align:top"


def snapshot_html(head: dict[str, Any], body: dict[str, Any]) -> str:
    """Return counts and the first jobs of the page, every text escaped."""
    at = (
        datetime.fromtimestamp(head.get("at", 0) / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        if head.get("at")
        else "never"
    )
    counts = ", ".join(f"{n:,} {escape_html(s)}" for s, n in head.get("counts", {}).items() if n) or "no jobs"
    parts = [
        f"<div><p><strong>queuectl</strong> {escape_html(str(head.get('name', '')))}: {counts}. "
        f"As it was at {at}; run the cell again for the live panel.</p>"
    ]
    if trouble := head.get("trouble"):
        parts.append(f"<p>{escape_html(str(trouble.get('text', '')))}</p>")
    rows = body.get("rows") or []
    if rows:
        titles = "".join(
            f'<th scope="col" style="{_CELL}">{t}</th>'
            for t in ("State", "ID", "Command", "Attempts", "Result")
        )
        lines = "".join(_line(r) for r in rows[:_ROWS])
        parts.append(f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>")
    return "".join(parts) + "</div>"


def _line(row: dict[str, Any]) -> str:
    cells = (row["state"], row["id"], row["cmd"], f"{row['attempts']}/{row['max']}", row.get("reason") or "")
    return "<tr>" + "".join(f'<td style="{_CELL}">{escape_html(str(c))}</td>' for c in cells) + "</tr>"
