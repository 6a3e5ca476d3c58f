"""A setting's value, as it is shown, can be typed again and means the same."""

import pytest

from queuectl.settings import SETTINGS, shown


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
