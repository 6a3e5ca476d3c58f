"""The commands are the public verbs of `Queue`, no more and no fewer, with the same parameters and with help for each."""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest

from queuectl.cli import main
from queuectl.cli.help import page, read
from queuectl.cli.table import EXTRAS, GLOBALS, SECTIONS, command, functions
from queuectl.queue import Queue

COMMANDS = functions(Queue)
PATHS = sorted(COMMANDS)
NAMES = [" ".join(path) for path in PATHS]


def public(owner: type) -> set[str]:
    """Return the public verbs of a class that are not for Python only."""
    names = {name for name in dir(owner) if not name.startswith("_") and callable(getattr(owner, name))}
    return {name.replace("_", "-") for name in names - set(getattr(owner, "_python_only", ()))}


def test_the_commands_are_the_public_verbs() -> None:
    verbs = {(name,) for name in public(Queue)}
    verbs |= {(group, name) for group, owner in Queue._groups.items() for name in public(owner)}
    assert set(COMMANDS) == verbs


def test_what_is_for_python_only_is_there() -> None:
    for owner in (Queue, *Queue._groups.values()):
        for name in getattr(owner, "_python_only", ()):
            assert hasattr(owner, name) or name in inspect.getsource(owner.__init__)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_command_has_its_methods_parameters_and_says_what_each_is_for(path: tuple[str, ...]) -> None:
    asked = command(path, COMMANDS[path])
    own = list(inspect.signature(COMMANDS[path]).parameters)[1:]
    assert [p.name for p in asked.parameters] == own
    assert not {p.name for p in GLOBALS} & set(own)
    doc = read(COMMANDS[path].__doc__ or "")
    assert doc.summary
    assert set(doc.parameters) == set(own)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_the_table_adds_only_to_parameters_that_exist(path: tuple[str, ...]) -> None:
    asked = command(path, COMMANDS[path])
    extra = EXTRAS[" ".join(path)]
    named = {*extra.short.values(), *extra.shown, *extra.values} | ({extra.rest} if extra.rest else set())
    assert named <= {p.name for p in asked.parameters}
    assert extra.example.startswith(f"queuectl {' '.join(path)}")


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_help_page_is_plain_and_narrow(path: tuple[str, ...], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = page(path, COMMANDS)
    assert text.startswith(f"Usage: queuectl {' '.join(path)}")
    assert "Example: " in text and "Exit codes: " in text
    assert all(len(line) <= 80 or "queuectl" in line for line in text.split("\n"))


def test_every_command_has_a_section() -> None:
    listed = {name for names in SECTIONS.values() for name in names}
    assert set(NAMES) <= listed


@pytest.mark.parametrize("letter, verb, name", [
    ("c", "enqueue", "command"), ("s", "list", "state"), ("f", "logs", "follow"),
    ("v", "worker", "verbose"), ("c", "worker", "count"), ("s", "worker", "sleep"), ("l", "worker", "limit"),
])  # fmt: skip
def test_short_flags_of_the_original(letter: str, verb: str, name: str) -> None:
    assert {p.short: p.name for p in command((verb,), COMMANDS[(verb,)]).parameters}[letter] == name


def test_python_and_command_line_are_one_implementation(tmp_path: Any) -> None:
    path = str(tmp_path / "q.db")
    assert (
        main(["--db", path, "enqueue", "--id", "a", "-c", "true", "--priority", "3"], stdout=io.StringIO())
        == 0
    )
    queue = Queue(path)
    assert queue.show("a").job.priority == 3
    queue.close()
