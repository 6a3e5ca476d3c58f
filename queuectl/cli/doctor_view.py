"""What a diagnosis looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from queuectl.cli.cells import safe

Lines = Iterator[str]


def _diagnosis(diagnosis: Any) -> Lines:
    count = sum(f.level != "note" for f in diagnosis)
    word = "No findings" if not count else "1 finding" if count == 1 else f"{count} findings"
    yield f"{word} in {len(diagnosis.checks)} checks of {safe(diagnosis.path)}"
    for f in diagnosis:
        yield ""
        yield f"{f.level}  {safe(f.check)}: {safe(f.what)}"
        yield f"  why     {safe(f.why)}"
        yield f"  remedy  {safe(f.remedy)}"


HUMAN: dict[str, Callable[[Any], Lines]] = {"Diagnosis": _diagnosis}
