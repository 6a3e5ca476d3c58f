"""CSV has a header always, and the same one with rows and without."""

from __future__ import annotations

import inspect
import io
from pathlib import Path

import pytest

from queuectl.cli import main
from queuectl.cli.table import command, functions
from queuectl.queue import Queue


def csv(place: Path, *words: str) -> list[str]:
    out = io.StringIO()
    assert main([*words, "--csv", "--db", str(place)], stdout=out) == 0
    return out.getvalue().splitlines()


def lists() -> list[str]:
    """The commands that need no word and return a list."""
    found = []
    for path, function in functions(Queue).items():
        returns = inspect.signature(function).return_annotation
        if str(returns).endswith(("List", "Workers", "Entries")) and not any(
            p.required for p in command(path, function).parameters
        ):
            found.append(" ".join(path))
    return sorted(found)


@pytest.mark.parametrize("name", lists())
def test_an_empty_list_is_its_header(place, name):
    (header,) = csv(place, *name.split())
    assert len(header.split(",")) >= 3


def test_the_header_is_the_same_with_rows(q, start):
    verbs = ("list", "dlq list", "workers", "failures", "queue list", "limit list", "schedule list")
    empty = {verb: csv(Path(q.path), *verb.split()) for verb in verbs}
    q.enqueue("true", limit_key="k", limit=1)
    q.enqueue("exit 3", max_retries=0)
    q.schedule.add("nightly", "0 3 * * *", command="true")
    start("-s", "1")
    assert q.wait(timeout=30).failed
    for verb in verbs:
        assert csv(Path(q.path), *verb.split())[0] == empty[verb][0], verb
        assert len(csv(Path(q.path), *verb.split())) > 1, verb
