"""Ids of jobs, workers and runners: 8 random characters a–z 0–9, of which there are 2.8 · 10¹² combinations."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from typing import overload

LENGTH = 8
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"  # in the order in which an index has them

# From random bytes to characters, each as likely as the others: the bytes that 36 does not divide are left out.
_LETTERS = bytes(ord(ALPHABET[n % len(ALPHABET)]) for n in range(256))
_UNEVEN = bytes(range(256 - 256 % len(ALPHABET), 256))


def new_id() -> str:
    """Return a new id."""
    while True:
        text = os.urandom(2 * LENGTH).translate(_LETTERS, _UNEVEN)
        if len(text) >= LENGTH:
            return text[:LENGTH].decode()


class Ids(Sequence[str]):
    """Ids of a batch, one string after the other.

    Args:
        packed: all of them together.
    """

    def __init__(self, packed: str) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed) // LENGTH

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Ids: ...
    def __getitem__(self, at: int | slice) -> str | Ids:
        if isinstance(at, slice):
            return Ids("".join([self[n] for n in range(*at.indices(len(self)))]))
        start = LENGTH * range(len(self))[at]
        return self.packed[start : start + LENGTH]

    def without(self, taken: Container[str]) -> Ids:
        """Return the same ids, with a new one in the place of each that is taken."""
        return Ids("".join([new_id() if i in taken else i for i in self]))


def new_ids(n: int) -> Ids:
    """Return n different ids in ascending order, so that the index of ids takes them in one walk.

    Their first characters count up from a random start, in as many places as n needs; the others are random. So no two are equal, and each
    is as unlikely to be some older job's as one of `new_id`.
    """
    counted = 1
    while len(ALPHABET) ** counted < n:
        counted += 1
    start = int.from_bytes(os.urandom(8)) % (len(ALPHABET) ** counted - n + 1)
    columns = bytearray(LENGTH * n)
    for place in range(counted):
        columns[place::LENGTH] = _counting(start, n, each=len(ALPHABET) ** (counted - 1 - place))
    for place in range(counted, LENGTH):
        columns[place::LENGTH] = _random(n)
    return Ids(columns.decode())


def _counting(start: int, n: int, *, each: int) -> bytes:
    """Return n characters of the cycle in which each of the alphabet's stands `each` times, from a place on."""
    first = start // each
    held = [ALPHABET[(first + k) % len(ALPHABET)] * each for k in range(n // each + 2)]
    return "".join(held)[start % each : start % each + n].encode()


def _random(n: int) -> bytes:
    text = b""
    while len(text) < n:
        text += os.urandom(n - len(text) + n // 32 + LENGTH).translate(_LETTERS, _UNEVEN)
    return text[:n]
