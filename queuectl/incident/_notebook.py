"""The report as a notebook: what happened as text, what to do as cells ready to be run. Written without outputs."""

from __future__ import annotations

import json
from typing import Any

from queuectl.incident import _calls, _markdown
from queuectl.incident._facts import Facts

Cell = dict[str, Any]


def notebook(facts: Facts) -> str:
    """Return the notebook, format 4.5."""
    since = f"since={facts.since!r}" if facts.since else ""
    cells = [
        _text(_markdown.head(facts)),
        _code(_calls.opened(facts)),
        _text(_markdown.table(facts) or "No run failed in this time."),
    ]
    if facts.groups:
        cells += [
            _text("The same, as the queue is now:"),
            _code(f"runs = q.runs({since})\nanalysis.error_groups(runs)"),
            _code('analysis.plot_failure_heat(runs, "10min");'),
        ]
    for number, group in enumerate(facts.groups, 1):
        cells.append(_text(_markdown.group(group, number)))
        cells.append(_code(f"q.dlq.frame(sig={group.cause.sig!r})"))
        if group.dead:
            cells.append(_text("What a retry would do; once the cause is fixed, run the second cell:"))
            cells.append(_code(_calls.python(group, dry_run=True)))
            cells.append(_code("# " + _calls.python(group)))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:03d}"
    return json.dumps(
        {
            "cells": cells,
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        indent=1,
        ensure_ascii=False,
    ) + "\n"  # fmt: skip


def _text(source: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str) -> Cell:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }
