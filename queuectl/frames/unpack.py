"""Packed columns (`store.frames`) taken apart: numbers by numpy, text without an object for each value where pyarrow is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from queuectl.errors import QueuectlError
from queuectl.frames import schema
from queuectl.store.frames import CHOICE, FIRST_LETTER, JOBS, MISSING, RUNS, SEPARATOR, TEXT, Packed, Slice

try:
    import pyarrow as pa
except ImportError:
    pa = None

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]

# Small enough to keep as they are; each widens when asked for.
_NARROW = {
    "attempts": np.int32,
    "max_retries": np.int32,
    "runs": np.int32,
    "exit_code": np.int32,
    "signal": np.int16,
    "run": np.int32,
}
_CATEGORIES = {"queue", "worker_id", "error_sig"}
_SHARED = {"error", "reason", "tags"}  # text of which many rows have the same


class Columns:
    """The columns of one frame, read slice by slice.

    Args:
        names: keys of `store.frames.JOBS` or `RUNS`.
        of_runs: they are of runs.
    """

    def __init__(self, names: Sequence[str], *, of_runs: bool = False) -> None:
        self.names = list(dict.fromkeys(names))
        self._kinds = RUNS if of_runs else JOBS
        self._categories = _CATEGORIES | ({"command"} if of_runs else set())
        self._parts: dict[str, list[Any]] = {n: [] for n in self.names}
        self._labels: dict[str, _Labels] = {n: _Labels() for n in self.names if n in self._categories}
        self._shared = {n: _Shared() for n in self.names if n in _SHARED and pa is None}
        self._last = -1

    def add(self, part: Slice) -> None:
        """Take one more slice."""
        for name in self.names:
            self._parts[name].append(self._unpacked(name, part.columns[name], part.rows))
        seq = self._parts["seq"][-1]
        if int(seq[0]) < self._last or bool((seq[1:] < seq[:-1]).any()):
            raise QueuectlError(
                "frame: the SQLite here does not keep the order of a sub-query; please report its version"
            )
        self._last = int(seq[-1])

    def _unpacked(self, name: str, packed: Packed, rows: int) -> Any:
        kind = self._kinds[name].kind
        if kind == TEXT:
            if name in self._categories:
                return self._labels[name].codes(_strings(packed))
            if pa is not None:
                return _arrow(packed, rows)
            strings = _strings(packed)
            return np.array(self._shared[name].of(strings) if name in self._shared else strings, object)
        assert isinstance(packed, str)
        if kind == CHOICE:
            return np.frombuffer(packed.encode("ascii"), np.uint8).astype(np.int8) - FIRST_LETTER
        return np.fromstring(packed, np.int64, sep=" ").astype(_NARROW.get(name, np.int64), copy=False)

    # --- whole columns ---

    def _whole(self, name: str, empty: Any) -> Any:
        parts = self._parts[name]
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0] if parts else empty

    def ints(self, name: str) -> Ints:
        """Return a column of numbers; `NONE` where one is missing."""
        found: Ints = self._whole(name, np.zeros(0, np.int64)).astype(np.int64, copy=False)
        return found

    def codes(self, name: str) -> npt.NDArray[np.int8]:
        """Return the number of each row's word of a choice, −1 where it is missing or unknown."""
        found: npt.NDArray[np.int8] = self._whole(name, np.zeros(0, np.int8))
        return found

    def category(self, name: str, *, renamed: Mapping[str, str] | None = None) -> pd.Categorical:
        """Return a category; with `renamed`, what each label stands for, the same for several where it is."""
        codes: Codes = self._whole(name, np.zeros(0, np.int32))
        labels = [text for text in self._labels[name] if text is not None]
        if renamed is not None:
            stands = [renamed.get(text) or None for text in labels]
            places = {text: i for i, text in enumerate(t for t in dict.fromkeys(stands) if t is not None)}
            number = np.array([*(-1 if t is None else places[t] for t in stands), -1], np.int32)
            codes, labels = number[codes], list(places)
        return schema.category(codes, labels) if labels else _unlabelled(len(codes))

    def text(self, name: str, *, otherwise: str | None = None) -> Any:
        """Return a column of text as pandas' string array; where it is missing, that of another column."""
        if otherwise is not None:
            first, second = self.text(name), self.text(otherwise)
            return pd.Series(first).fillna(pd.Series(second)).array
        parts = self._parts[name]
        if pa is not None:
            return pd.array(pa.chunked_array(parts, pa.large_string()), dtype=schema.TEXT)
        values = self._whole(name, np.zeros(0, object))
        return pd.array(values, dtype=schema.TEXT)

    def strings(self, name: str) -> list[str | None]:
        """Return a column of text as a list."""
        if pa is not None:
            return [x for part in self._parts[name] for x in part.to_pylist()]
        return list(self._whole(name, np.zeros(0, object)))


def _unlabelled(rows: int) -> pd.Categorical:
    return pd.Categorical.from_codes(np.full(rows, -1, np.int8), pd.Index([], dtype=schema.TEXT))


class _Labels(dict["str | None", int]):
    """A number for each text as it is met, −1 for a missing one."""

    def __missing__(self, text: str | None) -> int:
        self[text] = number = -1 if text is None else len(self) - (None in self)
        return number

    def codes(self, strings: Sequence[str | None]) -> Codes:
        return np.fromiter(map(self.__getitem__, strings), np.int32, len(strings))


class _Shared(dict["str | None", "str | None"]):
    """One object for equal texts, as long as they are not too many."""

    MOST = 100_000

    def __missing__(self, text: str | None) -> str | None:
        if len(self) < self.MOST:
            self[text] = text
        return text

    def of(self, strings: Sequence[str | None]) -> list[str | None]:
        return list(map(self.__getitem__, strings))


def _strings(packed: Packed) -> list[str | None]:
    if isinstance(packed, list):
        return [None if b is None else b.decode(errors="replace") for b in packed]
    assert isinstance(packed, bytes)
    found: list[str | None] = list(packed.decode(errors="replace").split(SEPARATOR.decode()))
    if MISSING not in packed:
        return found
    nothing = MISSING.decode()
    return [None if x == nothing else x for x in found]


def _arrow(packed: Packed, rows: int) -> Any:
    """A pyarrow array of the same text: its buffers are the packed bytes without the separators, and where each value begins."""
    if isinstance(packed, list):
        return pa.array(_strings(packed), pa.large_string())
    assert isinstance(packed, bytes)
    if not packed.isascii():
        packed = packed.decode(errors="replace").encode()
    letters = np.frombuffer(packed, np.uint8)
    signs = letters < SEPARATOR[0] + 1
    at = np.flatnonzero(signs)
    ends = at[letters[at] == SEPARATOR[0]]
    starts = np.append(0, ends + 1)
    stops = np.append(ends, len(letters))
    missing = (
        (stops - starts == 1) & (letters[np.minimum(starts, max(len(letters) - 1, 0))] == MISSING[0])
        if len(letters)
        else np.zeros(rows, bool)
    )
    offsets = np.append(0, np.cumsum(np.where(missing, 0, stops - starts)))
    kept = np.ones(len(letters), bool)
    kept[ends] = False
    kept[starts[missing]] = False
    valid = None
    if missing.any():
        valid = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes())
    buffers = [valid, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(letters[kept])]
    return pa.LargeStringArray.from_buffers(rows, buffers[1], buffers[2], buffers[0], int(missing.sum()))
