"""Named tuples: what they promise, compared with those of `typing`."""

import copy
import inspect
import pickle
import typing

import pytest

from queuectl.records import NamedTuple


class Ours(NamedTuple):
    x: int
    y: str = "a"
    z: tuple[int, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.x

    def plus(self, n: int) -> int:
        return self.x + n


class Theirs(typing.NamedTuple):
    x: int
    y: str = "a"
    z: tuple[int, ...] = ()


class Late(NamedTuple):
    a: int
    b: int = 3


@pytest.mark.parametrize("kind", [Ours, Theirs], ids=["ours", "typing's"])
def test_they_are_tuples_with_names(kind):
    one = kind(1, z=(2,))
    assert one == (1, "a", (2,)) and isinstance(one, tuple) and hash(one) == hash((1, "a", (2,)))
    assert (one.x, one.y, one.z, len(one), list(one)) == (1, "a", (2,), 3, [1, "a", (2,)])
    assert kind._fields == ("x", "y", "z") == kind.__match_args__
    assert kind._field_defaults == {"y": "a", "z": ()}
    assert repr(one) == f"{kind.__name__}(x=1, y='a', z=(2,))"
    assert one._asdict() == {"x": 1, "y": "a", "z": (2,)} and kind._make([1, "b", ()]) == (1, "b", ())
    assert one._replace(y="c") == (1, "c", (2,)) and type(one._replace(y="c")) is kind
    assert copy.deepcopy(one) == one and pickle.loads(pickle.dumps(one)) == one
    assert type(pickle.loads(pickle.dumps(one))) is kind
    assert not hasattr(one, "__dict__") and kind.__module__ == __name__
    assert (kind(1) < kind(2), max(kind(1), kind(3)).x, kind(1) + (2,)) == (True, 3, (1, "a", (), 2))
    match one:
        case kind(x, y):
            assert (x, y) == (1, "a")


@pytest.mark.parametrize("kind", [Ours, Theirs], ids=["ours", "typing's"])
@pytest.mark.parametrize(("args", "kw"), [((), {}), ((1, 2, 3, 4), {}), ((1,), {"w": 1}), ((1,), {"x": 2})])
def test_what_does_not_fit_is_refused(kind, args, kw):
    for _ in range(2):  # the first instance is made another way
        with pytest.raises(TypeError):
            kind(*args, **kw)


@pytest.mark.parametrize("kind", [Ours, Theirs], ids=["ours", "typing's"])
def test_they_do_not_change(kind):
    with pytest.raises(AttributeError):
        kind(1).x = 2
    with pytest.raises(AttributeError):
        kind(1).w = 2
    with pytest.raises((ValueError, TypeError)):
        kind(1)._replace(w=1)


def test_methods_and_properties_are_kept():
    assert (Ours(4).double, Ours(4).plus(1)) == (8, 5)


def test_the_first_instance_is_as_the_others():
    assert Late.__new__ is not None and Late(1) == (1, 3) == Late(a=1) == Late(*(1,))
    assert Late(5, b=6) == (5, 6)
    assert list(inspect.signature(Late.__new__).parameters) == ["_cls", "a", "b"]
