"""Rows of parameters: from a file, a DataFrame, a mapping of lists or a list of mappings; every value checked, none guessed."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from queuectl import place
from queuectl.errors import InvalidValue, expected
from queuectl.sources import no_doubles
from queuectl.template import Cell

Rows = list[Mapping[str, Cell]]
_PLAIN = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NOTHING = "; nothing was enqueued"


def rows_of(source: Any) -> tuple[tuple[str, ...], Rows]:
    """Return the names of the parameters in their order, and the rows.

    Args:
        source: the path of a .csv, .tsv, .json or .jsonl file, a DataFrame, a mapping of names to lists, or mappings, one a row.

    Raises:
        InvalidValue: not one of these, no rows, an empty value or one that is no single value; the message names row and column.
    """
    if isinstance(source, (str, os.PathLike)):
        names, rows = _of_file(os.fspath(source))
    elif isinstance(source, Mapping):
        names, rows = _of_columns(source)
    elif hasattr(source, "columns") and hasattr(source, "__getitem__"):
        names, rows = _of_frame(source)
    elif isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        names, rows = _of_mappings(source)
    else:
        raise expected("params", "a file, a DataFrame, a mapping of lists, or mappings", source)
    if not rows:
        raise InvalidValue(f"params: expected at least one row, got none{_NOTHING}")
    return names, rows


# --- files ---


def _of_file(path: str) -> tuple[tuple[str, ...], Rows]:
    readers: dict[str, Callable[[str], tuple[tuple[str, ...], Rows]]] = {
        ".csv": lambda p: _of_csv(p, ","),
        ".tsv": lambda p: _of_csv(p, "\t"),
        ".json": _of_json,
        ".jsonl": _of_jsonl,
    }
    read = readers.get(os.path.splitext(path)[1].lower())
    if read is None:
        raise expected("params", f"a file that ends in {', '.join(readers)}", path)
    try:
        place.check_input(path)
        return read(path)
    except OSError as e:
        raise InvalidValue(f"{path}: {e.strerror}{_NOTHING}") from None
    except UnicodeDecodeError:
        raise InvalidValue(f"{path}: expected UTF-8{_NOTHING}") from None


def _of_csv(path: str, delimiter: str) -> tuple[tuple[str, ...], Rows]:
    import csv

    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            table = [r for r in csv.reader(f, delimiter=delimiter, skipinitialspace=True, strict=True) if r]
    except csv.Error as e:
        raise InvalidValue(f"{path}: {e}{_NOTHING}") from None
    if not table:
        raise InvalidValue(f"{path}: expected a line of names and then rows, got an empty file{_NOTHING}")
    names = _names([name.strip() for name in table[0]])
    for n, row in enumerate(table[1:], 1):
        if len(row) != len(names):
            raise InvalidValue(f"row {n}: expected {len(names)} values, got {len(row)}{_NOTHING}")
        for name, text in zip(names, row, strict=True):
            if not text:
                raise InvalidValue(f"row {n}, {name}: is empty{_NOTHING}")
    columns = [_typed([row[i] for row in table[1:]]) for i in range(len(names))]
    return names, [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _typed(texts: list[str]) -> list[Cell]:
    """Keep a column as numbers when each of its texts is one, the command's text as it was written."""
    if all(_PLAIN.fullmatch(t) for t in texts):
        read: Callable[[str], Any] = int if all(t.lstrip("-").isdigit() for t in texts) else float
        values = [read(t) for t in texts]
        if all(map(math.isfinite, values)):
            return [Cell(t, x) for t, x in zip(texts, values, strict=True)]
    return [Cell(t, t) for t in texts]


def _of_json(path: str) -> tuple[tuple[str, ...], Rows]:
    with open(path, encoding="utf-8") as f:
        found = _parsed(f.read(), path)
    if isinstance(found, dict):
        return _of_columns(found)
    if not isinstance(found, list):
        raise InvalidValue(f"{path}: expected a list of objects, or an object of lists{_NOTHING}")
    return _of_mappings(found)


def _of_jsonl(path: str) -> tuple[tuple[str, ...], Rows]:
    with open(path, encoding="utf-8") as f:
        lines = enumerate(f, 1)
        return _of_mappings([_parsed(line, f"{path}, line {n}") for n, line in lines if line.strip()])


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as e:
        raise InvalidValue(f"{where}: expected JSON ({e}){_NOTHING}") from None


# --- from Python ---


def _of_frame(frame: Any) -> tuple[tuple[str, ...], Rows]:
    labels = list(frame.columns)
    if len(set(map(str, labels))) != len(labels):
        _names(labels)
    return _of_columns({str(label): _values(frame[label]) for label in labels})


def _values(column: Any) -> list[Any]:
    # A Series gives float32 as Python floats, 0.1 as 0.10000000149011612; numpy's own scalars print as they were written.
    narrow = str(getattr(column, "dtype", "")) in ("float32", "float16")
    return list(column.to_numpy() if narrow else column)


def _of_columns(columns: Mapping[Any, Any]) -> tuple[tuple[str, ...], Rows]:
    names = _names(list(columns))
    lists: list[list[Any]] = []
    for name, values in columns.items():
        if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
            raise expected(f"params, {name}", "a list of values", values)
        lists.append(list(values))
    lengths = {len(values) for values in lists}
    if len(lengths) > 1:
        each = ", ".join(f"{n} {len(x)}" for n, x in zip(names, lists, strict=True))
        raise InvalidValue(f"params: expected lists of one length, got {each}{_NOTHING}")
    return names, [_row(names, values, n) for n, values in enumerate(zip(*lists, strict=True), 1)]


def _of_mappings(items: Iterable[Any]) -> tuple[tuple[str, ...], Rows]:
    names: tuple[str, ...] = ()
    rows: Rows = []
    for n, item in enumerate(items, 1):
        if not isinstance(item, Mapping):
            raise expected(f"row {n}", "a mapping of names to values", item)
        row = {str(k): x for k, x in item.items()}
        names = names or _names(list(item))
        wrong = [f"no {name}" for name in names if name not in row] + [
            f"{k} too many" for k in row if k not in names
        ]
        if wrong:
            raise InvalidValue(
                f"row {n}: expected the names of row 1, {', '.join(names)}; got {', '.join(wrong)}{_NOTHING}"
            )
        rows.append(_row(names, [row[name] for name in names], n))
    return names, rows


def _names(labels: Sequence[Any]) -> tuple[str, ...]:
    names = [str(label) for label in labels]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice or not names or not all(names):
        what = f"{', '.join(twice)} twice" if twice else "an empty one" if names else "none"
        raise InvalidValue(f"params: expected a different name for each column, got {what}{_NOTHING}")
    return tuple(names)


def _row(names: tuple[str, ...], values: Sequence[Any], n: int) -> dict[str, Cell]:
    return {name: cell(value, f"row {n}, {name}") for name, value in zip(names, values, strict=True)}


# --- one value ---


def cell(value: Any, where: str) -> Cell:
    """Return a value's text for a command and what is kept of it.

    Text stays as it is; true and false are written so; numbers as Python writes them (numpy's as numpy does: float32 0.1 is 0.1);
    dates and times in ISO 8601.

    Raises:
        InvalidValue: it is missing (None, NaN, NaT, NA), infinite, or no single value.
    """
    if _is_missing(value):
        raise InvalidValue(f"{where}: is empty ({value}); fill it or leave the row out{_NOTHING}")
    kind = type(value).__module__.partition(".")[0]
    if kind == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return _of_numpy(value, where)
    if isinstance(value, bool):
        return Cell("true" if value else "false", value)
    if isinstance(value, (str, int)):
        return Cell(str(value), value if type(value) in (str, int) else str(value))
    if isinstance(value, float):
        return _number(str(value), where)
    if isinstance(value, (datetime, date)):
        return Cell(value.isoformat(), value)
    if isinstance(value, Decimal):
        return _number(str(value), where)
    if isinstance(value, os.PathLike) and isinstance(path := os.fspath(value), str):
        return Cell(path, path)
    raise expected(where, "text, a number, true or false, a date or a path", value)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # an array, which is refused as no single value
        return False


def _of_numpy(value: Any, where: str) -> Cell:
    name = type(value).__name__
    if name.startswith("float") or name == "longdouble":
        return _number(str(value), where)
    if name.startswith("datetime64"):
        return Cell(str(value), str(value))
    plain = value.item()
    return cell(plain, where) if type(plain) in (bool, int, str) else _refuse(value, where)


def _refuse(value: Any, where: str) -> Cell:
    raise expected(where, "text, a number, true or false, a date or a path", value)


def _number(text: str, where: str) -> Cell:
    number = float(text)
    if not math.isfinite(number):
        raise expected(where, "a finite number", number)
    return Cell(text, number)


def kept(row: Mapping[str, Cell]) -> dict[str, Any]:
    """Return what a job remembers of its row, as JSON can hold it."""
    return {name: c.value if isinstance(c.value, (str, int, float)) else c.text for name, c in row.items()}
