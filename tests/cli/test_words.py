"""Every word is understood before anything runs: what is accepted, and what is refused with nothing done."""

from __future__ import annotations

from typing import Any

import pytest

BYTE_FOR_BYTE = [
    "123",
    "True",
    "None",
    "1e5",
    "1e3",
    "0x10",
    "0e12",
    "00012345",
    "2025-10-10",
    "[1, 2]",
    "[1,2]",
    "{a: b}",
    "{a}",
    "a, b",
    "x,y",
    "make #all",
    "1 # b",
    '"q"',
    "'q'",
    '"x,y"',
    "\\n",
    "a\nb",
    "tab\there",
    "echo 'it''s' \"$HOME\" `date` \\",
    " spaces around ",
    "é 漢字 🎉 \u202e",
    "--help me",
    "lambda: 0",
    "__import__('os')",
    "(1)",
    "1_000",
    "...",
    "\x7f\x1b[2J",
    "=cmd",
    "a" * 90_000,
]


@pytest.mark.parametrize("command", BYTE_FOR_BYTE, ids=lambda c: repr(c)[:30])
def test_a_command_arrives_byte_for_byte(command: str, typed: Any, fake: Any) -> None:
    ways = [[f"-c={command}"], [f"--command={command}"], ["--command", command], ["-c", command], [command]]
    if command.startswith("--"):  # as a word of its own it would be a flag
        ways = ways[:2]
    for words in ways:
        assert typed("enqueue", *words) == (0, "done\n", "")
    assert fake.calls == [("enqueue", {"command": command})] * len(ways)


@pytest.mark.parametrize("words", [["-c=-ls"], ["--command=-ls"], ["-c-ls"], ["--", "-ls"]])
def test_a_value_may_start_with_a_dash(words: list[str], typed: Any, fake: Any) -> None:
    assert typed("enqueue", *words).code == 0
    assert fake.calls == [("enqueue", {"command": "-ls"})]


def test_everything_after_two_dashes_is_the_command(typed: Any, fake: Any) -> None:
    typed(
        "enqueue",
        "--priority",
        "3",
        "--",
        "python",
        "train.py",
        "--lr",
        "0.1",
        "--help",
        "--",
        "a b",
        "it's",
        "",
    )
    command = "python train.py --lr 0.1 --help -- 'a b' 'it'\"'\"'s' ''"
    assert fake.calls == [("enqueue", {"command": command, "priority": 3})]


ACCEPTED = [
    ("worker -v -c 3 -s 1", "worker", {"verbose": True, "count": 3, "sleep": 1.0}),
    ("worker -vc 3 -s1", "worker", {"verbose": True, "count": 3, "sleep": 1.0}),
    ("worker -vc3 -s=0.5 -l 2", "worker", {"verbose": True, "count": 3, "sleep": 0.5, "limit": 2}),
    ("worker --verbose=true --count=2 --no-stop", "worker", {"verbose": True, "count": 2, "sleep": 3.0}),
    ("worker --verbose=false --stop", "worker", {"count": 1, "sleep": 3.0, "stop": True}),
    ("worker -s .5", "worker", {"count": 1, "sleep": 0.5}),
    ("enqueue -c x --max-retries 5", "enqueue", {"command": "x", "max_retries": 5}),
    ("enqueue -c x --max_retries=5", "enqueue", {"command": "x", "max_retries": 5}),
    ("enqueue -c x --priority -5", "enqueue", {"command": "x", "priority": -5}),
    ("enqueue -c x --priority=-5", "enqueue", {"command": "x", "priority": -5}),
    ("enqueue -c x --timeout 10m", "enqueue", {"command": "x", "timeout": "10m"}),
    ("enqueue -c x --tag a,b", "enqueue", {"command": "x", "tag": "a,b"}),
    ("enqueue -c x --tag a --tag b", "enqueue", {"command": "x", "tag": ["a", "b"]}),
    ("enqueue -c x --keep-children", "enqueue", {"command": "x", "keep_children": True}),
    ("enqueue-many jobs.txt --queue q", "enqueue-many", {"source": "jobs.txt", "queue": "q"}),
    ("enqueue_many -", "enqueue-many", {"source": "-"}),
    ("map {x} f.csv", "map", {"template": "{x}", "params": "f.csv"}),
    ("list -s pending", "list", {"state": "pending", "limit": 100}),
    ("show 00012345", "show", {"id": "00012345"}),
    ("show --id 1e5", "show", {"id": "1e5"}),
    ("pause", "pause", {}),
    ("pause slow", "pause", {"queue": "slow"}),
    ("dlq list", "dlq list", {"limit": 100}),
    ("dlq retry 0e12 000 a", "dlq retry", {"ids": ("0e12", "000", "a")}),
    ("dlq retry --sig a1b2c3d4 --dry-run", "dlq retry", {"ids": (), "sig": "a1b2c3d4", "dry_run": True}),
    ("dlq retry -- -x", "dlq retry", {"ids": ("-x",)}),
    ("config set max-retries 5", "config set", {"key": "max-retries", "value": "5"}),
    ("config set max-retries -1", "config set", {"key": "max-retries", "value": "-1"}),
    ("config get", "config get", {}),
]


@pytest.mark.parametrize("line, verb, given", ACCEPTED, ids=[line for line, _, _ in ACCEPTED])
def test_words_become_typed_values(
    line: str, verb: str, given: dict[str, Any], typed: Any, fake: Any
) -> None:
    ended = typed(*line.split(" "))
    assert (ended.code, ended.err) == (0, "")
    assert fake.calls == [(verb, given)]


REFUSED = [
    ("enqueue -c x --prioirty 3", "unknown flag --prioirty, did you mean --priority?"),
    ("enqueue -c x --max-retrys=5", "unknown flag --max-retrys, did you mean --max-retries?"),
    ("dlq purge --dry-rum", "unknown flag --dry-rum, did you mean --dry-run?"),
    ("dlq purge --dry-run=maybe", "--dry-run: expected true or false, got 'maybe'"),
    ("dlq purge --dry-run true", "extra word 'true'"),
    ("dlq purge --no-dry-run=true", "--no-dry-run takes no value"),
    ("enqueue -c x --no-priority", "unknown flag --no-priority"),
    ("enqueue -c x --max-retries", "--max-retries needs a value"),
    ("enqueue -c", "-c needs a value"),
    ("enqueue -c --", "-c needs a value"),
    ("enqueue -c -ls", "-c needs a value (for a value that starts with -, write -c=-ls)"),
    ("enqueue -c --x", "-c needs a value (for a value that starts with -, write -c=--x)"),
    ("enqueue -c --priority 3", "-c needs a value"),
    ("enqueue", "command is missing"),
    ("enqueue --", "command is missing"),
    ("enqueue ls -l", "unknown flag -l; quote the command or put -- before it"),
    (
        "enqueue ls /tmp",
        "extra word '/tmp': the command is already 'ls'; quote the command or put -- before it",
    ),
    ("enqueue python train.py --lr 0.1", "unknown flag --lr; quote the command or put -- before it"),
    (
        "enqueue -c echo hello",
        "extra word 'hello': the command is already 'echo'; quote the command or put --",
    ),
    ("enqueue -c x -c y", "--command is given twice"),
    ("enqueue -c x --command=y", "--command is given twice"),
    ("enqueue -c x -- y", "the command is given twice: with -c and after --"),
    ("enqueue -c x -- --trace", "the command is given twice"),
    ("enqueue x -- y", "extra word 'x' before --"),
    ("enqueue -c x --priority 3 --priority 3", "--priority is given twice"),
    ("enqueue -c x --priority 1.5", "--priority: expected a whole number, got '1.5'"),
    ("enqueue -c x --priority abc", "--priority: expected a whole number, got 'abc'"),
    ("enqueue -c x --priority 1_000", "--priority: expected a whole number, got '1_000'"),
    ("enqueue -c x --priority 0x10", "--priority: expected a whole number, got '0x10'"),
    ("enqueue -c x --priority=+3", "--priority: expected a whole number, got '+3'"),
    ("enqueue -c x --priority=", "--priority: expected a whole number, got ''"),
    ("enqueue -c x --priority ٣", "--priority: expected a whole number, got '٣'"),
    ("enqueue -c x --priority 9223372036854775808", "--priority: expected a whole number"),
    (f"enqueue -c x --priority {'9' * 5000}", "(5,000 characters)"),
    ("enqueue -c x --priority 1e308", "--priority: expected a whole number, got '1e308'"),
    ("enqueue -c x --priority True", "--priority: expected a whole number, got 'True'"),
    ("enqueue -c x --backoff-base inf", "--backoff-base: expected a number, got 'inf'"),
    ("enqueue -c x --backoff-base nan", "--backoff-base: expected a number, got 'nan'"),
    ("enqueue -c x --backoff-base 1e999", "--backoff-base: expected a number, got '1e999'"),
    ("worker -c three", "-c: expected a whole number, got 'three'"),
    ("worker --sleep inf", "--sleep: expected a number, got 'inf'"),
    ("worker -v 3", "extra word '3'"),
    ("worker -vx", "unknown flag -x in -vx"),
    ("worker -vv", "--verbose is given twice"),
    ("worker --verbose --no-verbose", "--verbose is given twice"),
    ("worker --json", "--json: worker returns nothing"),
    ("list - to_csv x", "extra word '-'"),
    ("list -- --trace", "extra word '--trace'"),
    ("list -- --interactive", "extra word '--interactive'"),
    ("-- --trace", "expected a command before --"),
    ("-- --completion", "expected a command before --"),
    ("list to_csv", "extra word 'to_csv'"),
    ("list --json --csv", "--json and --csv exclude each other"),
    ("list --json=maybe", "--json: expected true or false"),
    ("list --db", "--db needs a value"),
    ("--db a list --db b", "--db is given twice"),
    ("show", "id is missing"),
    ("show a b", "extra word 'b'"),
    ("show a --id b", "extra word 'a'"),
    ("config set max-retries", "value is missing"),
    ("config set a b c", "extra word 'c'"),
    ("config", "config: expected get or set"),
    ("dlq", "dlq: expected list, purge or retry"),
    ("enqueu -c x", "unknown command 'enqueu', did you mean enqueue?"),
    ("dlq lst", "unknown command 'dlq lst', did you mean dlq list?"),
    ("zzz", "unknown command 'zzz' (see `queuectl --help`)"),
    ("_secret", "unknown command '_secret'"),
    ("__class__", "unknown command '__class__'"),
    ("conn", "unknown command 'conn'"),
    ("jobs", "unknown command 'jobs'"),
    ("close", "unknown command 'close'"),
    ("dlq frame", "unknown command 'dlq frame'"),
    ("dlq queue", "unknown command 'dlq queue'"),
    ("dlq __init__", "unknown command 'dlq __init__'"),
    ("-", "unknown command '-'"),
    ("--bogus list", "unknown flag --bogus"),
    ("-x", "unknown flag -x"),
    ("help zzz", "unknown command 'zzz'"),
    ("help list extra", "extra word 'extra'"),
    ("completion tcsh", "completion: expected bash, zsh or fish, got tcsh"),
    ("completion", "completion: expected bash, zsh or fish, got nothing"),
    ("--version list", "--version stands alone"),
]


@pytest.mark.parametrize("line, message", REFUSED, ids=[line[:50] for line, _ in REFUSED])
def test_a_wrong_word_is_named_and_nothing_runs(line: str, message: str, typed: Any, fake: Any) -> None:
    ended = typed(*line.split(" "))
    assert message in ended.err
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("queuectl: ") and ended.err.count("\n") == 1
    assert fake.calls == [] and fake.paths == []


@pytest.mark.parametrize("word", ["caf\udce9", "\ud800"])
@pytest.mark.parametrize("line", [["enqueue", "-c"], ["enqueue", "--"], []])
def test_undecodable_bytes_are_refused(word: str, line: list[str], typed: Any, fake: Any) -> None:
    ended = typed(*line, word)
    assert ended.code == 2 and "is not valid UTF-8 text" in ended.err
    assert fake.calls == []


def test_an_empty_word_is_still_a_word(typed: Any, fake: Any) -> None:
    assert typed("enqueue", "-c", "").code == 0
    assert typed("enqueue", "--command=").code == 0
    assert typed("show", "").code == 0
    assert [given for _, given in fake.calls] == [{"command": ""}, {"command": ""}, {"id": ""}]


@pytest.mark.parametrize(
    "line", ["--db here.db list", "list --db here.db", "--db=here.db list", "list --db=here.db"]
)
def test_the_database_is_named_before_or_after_the_verb(line: str, typed: Any, fake: Any) -> None:
    assert typed(*line.split()).code == 0
    assert fake.paths == ["here.db"]


def test_without_a_name_the_queue_finds_its_database(typed: Any, fake: Any) -> None:
    typed("list")
    assert fake.paths == [None]
