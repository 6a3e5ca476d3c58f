"""Records and named tuples: classes of named values, as `dataclasses` and `typing` make them, without what that costs at every start.

`dataclasses` writes five methods for each class and compiles them one by one while the module is imported: 0.5 ms for a small
class, 1.7 ms for a job's fifty fields, a sixth of the time of `queuectl enqueue`; a `typing.NamedTuple` of six fields takes 0.14 ms, and a worker
has forty of them. Here the methods are shared by all classes, and what makes an instance is compiled when a class gets its first
one; most of a command's classes never get one.
"""

from __future__ import annotations

from collections import _tuplegetter  # type: ignore[attr-defined]  # what its own named tuples are read by
from collections.abc import Callable, Iterable
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple

C = TypeVar("C")
R = TypeVar("R")
_CLASS_ONLY = "ClassVar"
_PATTERN = "_pattern"  # the slot of what a copy has not taken over yet


@overload
def record(cls: type[C], /) -> type[C]: ...
@overload
def record(*, frozen: bool = ...) -> Callable[[type[C]], type[C]]: ...
@dataclass_transform(frozen_default=True)
def record(cls: type[C] | None = None, /, *, frozen: bool = True) -> Any:
    """Make a class of its annotated fields: slots, `__init__` in their order, equality, a readable `repr`; frozen ones also have a hash.

    A field's default is shared by all instances, so it must not change. Fields are not inherited. One whose name begins with
    an underscore is neither shown nor compared.

    Args:
        cls: the class.
        frozen: its instances cannot be changed.
    """
    if cls is None:
        return lambda cls: _make(cls, frozen=frozen)
    return _make(cls, frozen=frozen)


def names(of: Any) -> tuple[str, ...]:
    """Return the names of a record's fields, or of its class's, in their order."""
    found: tuple[str, ...] = of.FIELDS
    return found


def as_dict(of: Any) -> dict[str, Any]:
    """Return a record's fields by name."""
    return {name: getattr(of, name) for name in of.FIELDS}


def replace(of: R, **changes: Any) -> R:
    """Return a copy of a record with some fields changed.

    Raises:
        TypeError: no such field.
    """
    return type(of)(**(as_dict(of) | changes))


def like(pattern: R, *own: str) -> Callable[..., R]:
    """Return a function that copies a record with other values of its `own` fields, in their order: `replace` for very many.

    What a copy has in common with the pattern it gets when it is first asked for it, since most are never asked.

    Args:
        pattern: a record.
        own: the fields in which its copies differ.
    """
    cls: Any = type(pattern)
    setters = [_slot(cls, n).__set__ for n in own]
    connect = _slot(cls, _PATTERN).__set__
    common = [(_slot(cls, n).__set__, getattr(pattern, n)) for n in cls.FIELDS if n not in own]

    def copy(*values: Any) -> R:
        made: R = object.__new__(cls)
        connect(made, common)
        for setter, value in zip(setters, values, strict=True):
            setter(made, value)
        return made

    return copy


def _complete(self: Any, name: str) -> Any:
    """Give a copy what it has in common with its pattern: it has no such attribute yet, and perhaps never will."""
    if name != _PATTERN and name in self.FIELDS:
        for setter, value in getattr(self, _PATTERN, ()):
            setter(self, value)
    return object.__getattribute__(self, name)


def _make(cls: type, *, frozen: bool) -> type:
    body = dict(cls.__dict__)
    fields = tuple(
        n for n, kind in body.get("__annotations__", {}).items() if not kind.startswith(_CLASS_ONLY)
    )
    defaults = {n: body.pop(n) for n in fields if n in body}
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)
    shown = tuple(n for n in fields if not n.startswith("_"))
    values = attrgetter(*shown) if len(shown) > 1 else _one(shown)
    body |= {
        "__slots__": (*fields, _PATTERN),
        "FIELDS": fields,
        "_defaults": defaults,
        "_values": staticmethod(values),
    }
    shared: dict[str, Any] = {
        "__repr__": _repr,
        "__eq__": _eq,
        "__getattr__": _complete,
        "__getstate__": _getstate,
        "__setstate__": _setstate,
    }
    shared |= (
        {"__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse} if frozen else {"__hash__": None}
    )
    for name, method in shared.items():
        body.setdefault(name, method)
    made = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    made.__init__ = _init_at_first_use(made, frozen=frozen)  # type: ignore[misc]
    return made


def _one(fields: Iterable[str]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda of: tuple(getattr(of, name) for name in fields)


def _init_at_first_use(cls: Any, *, frozen: bool) -> Callable[..., None]:
    def first(self: Any, *args: Any, **kw: Any) -> None:
        cls.__init__ = made = _init(cls, frozen=frozen)
        made(self, *args, **kw)

    return first


def _init(cls: Any, *, frozen: bool) -> Any:
    """Write `__init__`: each value of a frozen record goes straight to its slot, past the refusal; plain assignments are quicker."""
    fields, defaults = cls.FIELDS, cls._defaults
    space: dict[str, Any] = {f"set_{n}": _slot(cls, n).__set__ for n in fields}
    space |= {f"default_{n}": v for n, v in defaults.items()}
    words = ", ".join(f"{n}=default_{n}" if n in defaults else n for n in fields)
    body = "".join(f"\n    set_{n}(self, {n})" if frozen else f"\n    self.{n} = {n}" for n in fields)
    # Compiled apart: a Ctrl-C that comes out of an exec of text makes Python end itself by that signal, whoever caught it.
    exec(compile(f"def __init__(self, {words}):{body or ' pass'}", __file__, "exec"), space)
    init = space["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _slot(cls: Any, name: str) -> MemberDescriptorType:
    slot = cls.__dict__[name]
    assert isinstance(slot, MemberDescriptorType)
    return slot


def _repr(self: Any) -> str:
    shown = (f"{n}={getattr(self, n)!r}" for n in self.FIELDS if not n.startswith("_"))
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: Any) -> Any:
    return self._values(self) == self._values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _refuse(self: Any, name: str, *_: Any) -> None:
    raise AttributeError(
        f"cannot change {name!r}: a {type(self).__name__} is what was read, not what is kept"
    )


def _getstate(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, n) for n in self.FIELDS)


def _setstate(self: Any, state: tuple[Any, ...]) -> None:
    for cls in type(self).__mro__:
        if "FIELDS" in cls.__dict__:
            for name, value in zip(self.FIELDS, state, strict=True):
                _slot(cls, name).__set__(self, value)
            return


# --- named tuples ---


class _TupleMaker(type):
    """Makes a class that names `NamedTuple` as its base a plain subclass of `tuple`, as `typing` does."""

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
        return _tuple(name, body) if bases else super().__new__(mcs, name, bases, body)


if not TYPE_CHECKING:

    class NamedTuple(metaclass=_TupleMaker):
        """A tuple of its class's annotated fields, in their order; a default stands for what is not given."""


def _tuple(name: str, body: dict[str, Any]) -> type:
    fields = tuple(body.get("__annotations__", {}))
    defaults = {n: body.pop(n) for n in fields if n in body}
    for at, field in enumerate(fields):
        body[field] = _tuplegetter(at, f"Field {at}")
    for own, method in _TUPLE.items():
        body.setdefault(own, method)
    body |= {"__slots__": (), "__match_args__": fields, "_fields": fields, "_field_defaults": defaults}
    made: Any = type(name, (tuple,), body)

    def first(cls: Any, *args: Any, **kw: Any) -> Any:
        made.__new__ = new = staticmethod(_new(made))
        return new(cls, *args, **kw)

    made.__new__ = staticmethod(first)
    return made  # type: ignore[no-any-return]


def _new(cls: Any) -> Any:
    space: dict[str, Any] = {"new": tuple.__new__}
    space |= {f"default_{n}": value for n, value in cls._field_defaults.items()}
    words = "".join(f", {n}=default_{n}" if n in cls._field_defaults else f", {n}" for n in cls._fields)
    values = "".join(f"{n}, " for n in cls._fields)
    exec(compile(f"def __new__(_cls{words}): return new(_cls, ({values}))", __file__, "exec"), space)
    made = space["__new__"]
    made.__qualname__ = f"{cls.__qualname__}.__new__"
    return made


def _tuple_values(self: Any) -> tuple[Any, ...]:
    return tuple(self)


def _tuple_make(cls: Any, values: Iterable[Any]) -> Any:
    return cls(*values)


def _tuple_replace(self: Any, /, **changes: Any) -> Any:
    unknown = changes.keys() - set(self._fields)
    if unknown:
        raise ValueError(f"no such field: {', '.join(sorted(unknown))}")
    return type(self)(*[changes.get(n, value) for n, value in zip(self._fields, self, strict=True)])


def _tuple_as_dict(self: Any) -> dict[str, Any]:
    return dict(zip(self._fields, self, strict=True))


def _tuple_repr(self: Any) -> str:
    shown = (f"{n}={value!r}" for n, value in zip(self._fields, self, strict=True))
    return f"{type(self).__name__}({', '.join(shown)})"


_TUPLE = {
    "_make": classmethod(_tuple_make),
    "_replace": _tuple_replace,
    "_asdict": _tuple_as_dict,
    "__repr__": _tuple_repr,
    "__getnewargs__": _tuple_values,
}
