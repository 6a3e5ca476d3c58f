"""The filter box."""

from __future__ import annotations

import contextlib

import panel_demo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import InvalidValue
from queuectl.model import State
from queuectl.panel.filters import QUALIFIERS, parse, with_state
from queuectl.store import Store
from queuectl.store.browse import Browse, Match, Wanted

NOW = 1_800_000_000_000


def one(text: str) -> Match:
    (match,) = parse(text, now_ms=NOW).matches
    return match


def test_nothing_means_everything() -> None:
    assert parse("  ", now_ms=NOW).is_everything()


def test_qualifiers_and_free_text_all_hold() -> None:
    wanted = parse("state:dead cmd:curl exit:7 err:4f2a… attempts:>2 age:<1h free text", now_ms=NOW)
    assert wanted == Wanted(
        (State.DEAD,),
        (
            Match("cmd", "has", ("curl",)), Match("exit", "=", (7,)), Match("sig", "starts", ("4f2a",)), Match("attempts", ">", (2,)),
            Match("created", ">", (NOW - 3_600_000,)), Match("text", "has", ("free",)), Match("text", "has", ("text",)),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('"two words"', Match("text", "has", ("two words",))),
        ('cmd:"a b"', Match("cmd", "has", ("a b",))),
        ("-cmd:curl", Match("cmd", "has", ("curl",), True)),
        ("exit:1,2", Match("exit", "=", (1, 2))),
        ("http://x:80/", Match("text", "has", ("http://x:80/",))),
        ("err:refused", Match("err", "has", ("refused",))),
        ("err:0a1b2c3d", Match("sig", "=", ("0a1b2c3d",))),
        ("err:dead", Match("err", "either", ("dead",))),  # a word and a hexadecimal start
        ("age:>2d", Match("created", "<", (NOW - 172_800_000,))),
        ("took:>30s", Match("took", ">", (30_000,))),
        ("id:kj5p…", Match("id", "starts", ("kj5p",))),
        ('unclosed:"a b', Match("text", "has", ("unclosed:a b",))),
        ("-", Match("text", "has", ("-",))),
    ],
)
def test_a_term_becomes_its_condition(text: str, match: Match) -> None:
    assert one(text) == match


def test_states_are_alternatives_and_can_be_left_out() -> None:
    assert parse("state:dead state:failed", now_ms=NOW).states == (State.FAILED, State.DEAD)
    assert State.COMPLETED not in (parse("-state:completed", now_ms=NOW).states or ())


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("stat:dead", "did you mean state:"),
        ("state:deed", "did you mean dead"),
        ("exit:x", "whole number"),
        ("age:1", "<1h"),
        ("cmd:", "expected a value"),
        ("x" * 1001, "at most"),
    ],
)
def test_what_is_not_understood_is_said_with_a_way_out(text: str, part: str) -> None:
    with pytest.raises(InvalidValue, match=part):
        parse(text, now_ms=NOW)


def test_a_click_on_a_chip_replaces_only_the_state() -> None:
    assert with_state('state:dead cmd:"a b" x', "pending") == 'state:pending cmd:"a b" x'
    assert with_state("state:dead x", None) == "x"


def test_every_example_of_the_help_is_understood() -> None:
    for qualifier in QUALIFIERS:
        assert not parse(qualifier.example, now_ms=NOW).is_everything()


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidValue):
        parse(text, now_ms=NOW)


@pytest.mark.parametrize(
    "text", ["' or 1=1 --", 'cmd:"\'); drop table jobs; --"', "id:%", "err:_", "queue:*", "x" * 900]
)
def test_hostile_filters_are_data(filled: Store, text: str) -> None:
    before = filled.jobs.counts()
    page = Browse(filled.connection).page(parse(text, now_ms=NOW))
    assert page.jobs == ()
    assert filled.jobs.counts() == before


@pytest.mark.parametrize(
    "text",
    [q.example for q in QUALIFIERS]
    + ["state:dead err:refused", "-state:completed -cmd:curl", "updated:<1d took:>1s runs:>=2"],
)
def test_a_page_holds_what_python_would_have_chosen(filled: Store, text: str) -> None:
    browse = Browse(filled.connection)
    wanted = parse(text, now_ms=panel_demo.HOUR * 10**6)
    ids = browse.ids(wanted)
    assert browse.count(wanted).n == len(ids)
    assert [j.id for j in browse.page(wanted, limit=2000).jobs] == ids[::-1]
