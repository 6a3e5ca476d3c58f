"""Records: what they promise, compared with the standard library's data classes where these promise the same."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

import pytest

from queuectl.records import as_dict, like, names, record, replace


@record
class Point:
    x: int
    y: int = 2
    _note: str = ""

    @property
    def sum(self) -> int:
        return self.x + self.y


@record(frozen=False)
class Open:
    n: int


@record
class Empty:
    pass


def test_fields_come_in_their_order_and_have_defaults():
    assert names(Point) == ("x", "y", "_note")
    assert (Point(1).x, Point(1).y, Point(1, 5).sum, Point(y=1, x=3).x) == (1, 2, 6, 3)
    assert as_dict(Point(1)) == {"x": 1, "y": 2, "_note": ""}


@pytest.mark.parametrize("args, kw", [((), {}), ((1, 2, "", 4), {}), ((1,), {"x": 2}), ((1,), {"z": 2})])
def test_wrong_arguments_are_refused_at_the_first_and_at_every_later_instance(args, kw):
    @record
    class Fresh:
        x: int
        y: int = 2
        _note: str = ""

    for cls in (Fresh, Fresh, Point):
        with pytest.raises(TypeError, match="__init__"):
            cls(*args, **kw)


def test_what_is_hidden_is_neither_shown_nor_compared():
    assert Point(1, _note="a") == Point(1, _note="b") and hash(Point(1, _note="a")) == hash(Point(1))
    assert repr(Point(1, _note="a")) == "Point(x=1, y=2)"
    assert replace(Point(1, _note="a"), x=3)._note == "a"


def test_a_repr_and_an_equality_like_those_of_data_classes():
    @dataclass(frozen=True)
    class Twin:
        a: str
        b: tuple[int, ...]

    theirs, ours = Twin, record(type("Twin", (), {"__annotations__": {"a": "str", "b": "tuple"}}))
    assert repr(ours("x'", (1,))) == repr(theirs("x'", (1,))).split("<locals>.")[-1]
    assert ours("x", (1,)) != theirs("x", (1,)) and ours("x", (1,)) == ours("x", (1,)) != ours("x", (2,))
    assert Point(1) != (1, 2)


def test_a_frozen_record_cannot_be_changed():
    point = Point(1)
    with pytest.raises(AttributeError, match="'x'"):
        point.x = 2
    with pytest.raises(AttributeError):
        del point.x
    with pytest.raises(AttributeError):
        point.new = 1
    assert point == Point(1)


def test_an_open_record_can_be_changed_and_is_no_key():
    n = Open(1)
    n.n += 1
    assert n == Open(2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(n)
    with pytest.raises(AttributeError):
        n.other = 1


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))])
def test_copies_are_equal_and_hold_the_hidden_too(again):
    for one in (Point(1, 5, "kept"), Open(3)):
        assert again(one) == one and as_dict(again(one)) == as_dict(one)


def test_a_record_may_have_no_field():
    assert Empty() == Empty() and repr(Empty()) == "Empty()"


def test_copies_that_differ_in_some_fields_are_as_those_of_replace():
    copy_of = like(Point(1, 2, "a"), "y", "x")
    assert copy_of(5, 6) == replace(Point(1, 2, "a"), x=6, y=5) and type(copy_of(5, 6)) is Point
    assert copy_of(5, 6)._note == "a" and copy_of(7, 8) == Point(8, 7)
    for wrong in ((), (1,), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"shorter|longer"):
            copy_of(*wrong)


def test_a_copy_that_was_asked_for_nothing_yet_is_whole():
    def made():
        return like(Point(1, 2, "a"), "x")(5)

    whole = replace(Point(1, 2, "a"), x=5)
    assert made().y == 2 and made() == whole and repr(made()) == repr(whole) and hash(made()) == hash(whole)
    assert pickle.loads(pickle.dumps(made())) == whole and copy.deepcopy(made()) == whole
    assert as_dict(made()) == as_dict(whole) and replace(made(), y=3) == replace(whole, y=3)
    with pytest.raises(AttributeError, match="nothing"):
        _ = made().nothing
    with pytest.raises(AttributeError, match="cannot change"):
        made().y = 3
    with pytest.raises(AttributeError):
        _ = object.__new__(Point).x
