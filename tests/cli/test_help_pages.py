"""Help as a person reads it: everything is named, nothing is wider than the terminal, and what follows a slip is short."""

from __future__ import annotations

import io

import pytest

from queuectl.cli import main
from queuectl.cli.help import BEGIN
from queuectl.cli.table import functions
from queuectl.queue import Queue
from queuectl.settings import OF_A_QUEUE, SETTINGS

COMMANDS = sorted(" ".join(path) for path in functions(Queue))


def said(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(list(words), stdout=out, stderr=err), out.getvalue(), err.getvalue()


@pytest.mark.parametrize("name", ["", *COMMANDS])
@pytest.mark.parametrize("columns", [60, 100])
def test_no_line_of_help_is_wider_than_the_terminal(monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, text, _ = said("help", *name.split())
    # Words that cannot be broken: an example is one line, to be copied.
    lines = [x for x in text.splitlines() if not x.startswith(("Example: ", "Usage: "))]
    assert code == 0 and max(map(len, lines)) <= columns


def test_the_overview_names_every_command_once_and_says_how_to_begin():
    _, text, _ = said()
    assert said("help")[1] == said("--help")[1] == text
    for name in COMMANDS:
        assert sum(line.startswith(f"  {name} ") for line in text.splitlines()) == 1, name
    assert all(f"  {line}\n" in text for line in BEGIN)


def test_in_the_overview_each_command_takes_one_sentence(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = said("help")[1]
    assert "  enqueue          Add a shell command to the queue.\n" in text
    assert "when this returns, it is on disk" in said("help", "enqueue")[1]


@pytest.mark.parametrize(("name", "known"), [("config set", SETTINGS), ("queue set", OF_A_QUEUE)])
def test_where_a_setting_is_to_be_named_all_are_listed(name, known):
    listed = said("help", *name.split())[1].partition("Settings:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines() if line[2] != " "] == list(known)


def test_a_slip_is_answered_with_the_nearest_word_and_not_with_all_of_them():
    slips = {
        ("config", "set", "max-retires", "3"): "config key: expected one of {} names, got 'max-retires' (did you mean max-retries?)",
        ("dlq", "retyr"): "unknown command 'dlq retyr', did you mean dlq retry?",
        ("dlq", "frobnicate"): "unknown command 'dlq frobnicate' (see `queuectl dlq --help`)",
        ("list", "-s", "deed"): "state: expected one of scheduled, blocked, pending, processing, failed, completed, dead, cancelled, got 'deed' (did you mean dead?)",
    }  # fmt: skip
    for words, message in slips.items():
        assert said(*words)[::2] == (2, f"queuectl: {message.format(len(SETTINGS))}\n")
