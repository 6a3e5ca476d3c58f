"""A setting's value, as it is shown, can be typed again and means the same."""

import pytest

from queuectl.settings import SETTINGS, holds_for, shown


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_shown_can_be_typed_again(name):
    s = SETTINGS[name]
    assert s.read(shown(name, s.default)) == s.default


@pytest.mark.parametrize(
    ("typed", "size", "again"),
    [("16M", 16 << 20, "16M"), ("65536", 65536, "64K"), ("70001", 70001, "70001"), ("2G", 2 << 30, "2G"), ("1536K", 1536 << 10, "1536K")],
)  # fmt: skip
def test_sizes_are_shown_in_the_largest_unit_that_is_exact(typed, size, again):
    assert SETTINGS["output-cap"].read(typed) == size and shown("output-cap", size) == again


def test_a_change_is_said_to_hold_for_what_it_holds_for():
    assert holds_for("timeout") == "it applies to jobs enqueued from now on"
    assert holds_for("on-dead") == holds_for("breaker") == holds_for("retention") == "it applies at once"
    assert holds_for("output-cap") == "it applies to workers started from now on"


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("retry-on", "1-5,timeout"),
        ("no-retry-on", "3,re:a,b"),
        ("keep-children", "yes"),
        ("backoff", "[2,10,60]"),
        ("warn", "USR1,30s"),
    ],
)
def test_a_value_is_shown_as_it_was_typed(name, typed):
    s = SETTINGS[name]
    assert shown(name, s.read(typed)).replace(" ", "") == typed
    assert s.read(shown(name, s.read(typed))) == s.read(typed)
