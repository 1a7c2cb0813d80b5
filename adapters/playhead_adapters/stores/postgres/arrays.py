"""Parameters of a batch as PostgreSQL's binary arrays. Owns their bytes.

psycopg adapts a list element by element, in Python and by the type of each: for a batch of a thousand appends that takes longer than
the database does. These say what they hold, and are packed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from struct import Struct, pack
from typing import Final

from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

_INT8: Final = 20
_BYTEA: Final = 17
_TEXT: Final = 25
_LENGTH: Final = Struct(">i").pack


class Int8s:
    """A `bigint[]` without NULLs."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[int]) -> None:
        self.values = values


class Byteas:
    """A `bytea[]` without NULLs."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[bytes]) -> None:
        self.values = values


class Texts:
    """A `text[]` without NULLs."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[str]) -> None:
        self.values = values


class Int8sDumper(Dumper):
    format = Format.BINARY
    oid = 1016

    def dump(self, obj: Int8s) -> bytes:
        values = obj.values
        flat = chain.from_iterable(zip(repeat(8), values, strict=False))
        return _head(_INT8, len(values)) + pack(">" + "iq" * len(values), *flat)


class ByteasDumper(Dumper):
    format = Format.BINARY
    oid = 1001

    def dump(self, obj: Byteas) -> bytes:
        return _of_bytes(_BYTEA, obj.values)


class TextsDumper(Dumper):
    format = Format.BINARY
    oid = 1009

    def dump(self, obj: Texts) -> bytes:
        return _of_bytes(_TEXT, [value.encode() for value in obj.values])


def register(adapters: AdaptersMap) -> None:
    """Let a connection take these as parameters."""
    adapters.register_dumper(Int8s, Int8sDumper)
    adapters.register_dumper(Byteas, ByteasDumper)
    adapters.register_dumper(Texts, TextsDumper)


def _of_bytes(element: int, values: Sequence[bytes]) -> bytes:
    parts = chain.from_iterable((_LENGTH(len(value)), value) for value in values)
    return b"".join(chain((_head(element, len(values)),), parts))


def _head(element: int, length: int) -> bytes:
    """One dimension that begins at 1, no NULLs. An empty array has no dimension at all."""
    return pack(">iiIii", 1, 0, element, length, 1) if length else pack(">iiI", 0, 0, element)
