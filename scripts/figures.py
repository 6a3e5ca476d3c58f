"""Figures that the documents quote: written here by the scripts that measure them, with the machine they were measured on."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "docs" / "figures-foundation.json"


def recorded(name: str) -> dict[str, Any]:
    """Return one script's figures as last recorded; nothing when they never were."""
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found.get(name, {})


def record(name: str, values: dict[str, Any]) -> None:
    """Put one script's figures into docs/figures-foundation.json, in the place of its former ones."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    found[name] = {"machine": machine(), "date": date.today().isoformat()} | values
    FILE.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")


def machine() -> str:
    """Return what a figure depends on, in a few words."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({platform.machine()}), Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"


def spread(values: Sequence[float], *, digits: int = 3) -> dict[str, float]:
    """Return median and largest."""
    return {"median": round(statistics.median(values), digits), "max": round(max(values), digits)}
