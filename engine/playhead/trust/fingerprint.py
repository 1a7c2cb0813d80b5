"""A digest of a call's literal inputs, the same in every process, to notice that a resumed flow asks for other work.

Only values with a canonical form count: JSON types, bytes, tuples, sets, dataclasses, pydantic models, enums, dates and times,
Decimal, UUID and paths. Never pickle bytes, since equal values may pickle differently. Anything else is *opaque*: where it
stands is part of the digest, what it is worth is not. Kept on the user's side: an unkeyed digest of a value is never sent.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import reprlib
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final, cast
from uuid import UUID

from pydantic import BaseModel

DIGEST_BYTES: Final = 16
MAX_PARTS: Final = 100_000  # of one value: beyond it, telling whether the input changed costs more than most tasks
MAX_DEPTH: Final = 64
PLAIN_DEPTH: Final = 3  # of small plain values, which are most: they are encoded without looking out for anything else
PLAIN_WIDTH: Final = 32
MAX_DESCRIBED: Final = 80  # characters: two of them fit into a message

_INLINE = 64  # bytes: longer strings are hashed at once instead of being copied through every level
_FLOAT = struct.Struct(">d")


def fingerprint(value: object) -> bytes | None:
    """16 bytes that are equal for equal values of equal types; None if the value as a whole has no canonical form.

    Opaque parts count by their place only; what a value holds of itself is one, as is what is nested deeper than MAX_DEPTH. A
    value of more than MAX_PARTS parts has no canonical form.
    """
    try:
        encoded = _plainly(value, PLAIN_DEPTH) or _Canonical().encode(value)
    except _TooManyParts:
        return None
    return None if encoded is _OPAQUE else hashlib.sha256(encoded).digest()[:DIGEST_BYTES]


def opaque_parts(value: object) -> tuple[str, ...]:
    """The ways to the parts that a fingerprint does not see, such as `['connection']`; "" is the value itself."""
    canonical = _Canonical()
    try:
        canonical.encode(value)
    except _TooManyParts:
        return ("",)
    return tuple(canonical.opaque)


def describe(value: object) -> str:
    """One line for "had input A, now B": the value's repr, shortened; its type where that says more. Never raises."""
    text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= MAX_DESCRIBED else f"{text[: MAX_DESCRIBED - 1]}…"


class _TooManyParts(Exception):
    pass


def _plainly(value: object, depth: int) -> bytes | None:
    """What `_Canonical` makes of leaves in few and small lists, tuples and dicts, in a third of its time; None for all else."""
    leaf = _LEAVES.get(type(value))
    if leaf is not None:
        tag, content = leaf
        return _tagged(tag, content(value))
    kind = type(value)
    if kind not in _CONTAINERS or depth == 0 or len(it := cast("Sequence[object]", value)) > PLAIN_WIDTH:
        return None
    parts = [_plainly(part, depth - 1) for part in it]
    if kind is dict:
        named = cast("dict[object, object]", value).values()
        items = [_plainly(part, depth - 1) for part in named]
        pairs = sorted(
            (key, item) for key, item in zip(parts, items, strict=True) if key is not None and item is not None
        )
        encoded = [key + item for key, item in pairs]
        return _tagged(b"m", b"".join(encoded)) if len(encoded) == len(parts) else None
    if None in parts:
        return None
    return _tagged(b"l" if kind is list else b"t", b"".join(cast("list[bytes]", parts)))


class _Canonical:
    """One encoding: a tag, a length and content for each part, so that no two values of different shape encode alike."""

    def __init__(self) -> None:
        self.opaque: list[str] = []
        self._parts = 0
        self._open: set[int] = set()
        self._path: list[tuple[str, object]] = []

    def encode(self, value: object) -> bytes:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _TooManyParts
        leaf = _LEAVES.get(type(value))
        if leaf is not None:
            tag, content = leaf
            return _tagged(tag, content(value))
        if id(value) in self._open or len(self._open) >= MAX_DEPTH:
            return self._opaque()
        self._open.add(id(value))
        try:
            return self._branch(value)
        finally:
            self._open.discard(id(value))

    def _branch(self, value: object) -> bytes:
        kind = type(value)
        if kind is list or kind is tuple:
            return _tagged(b"l" if kind is list else b"t", self._items(value))
        if kind is dict:
            return _tagged(b"m", self._pairs(cast("dict[object, object]", value)))
        if kind is set or kind is frozenset:
            members = cast("frozenset[object]", value)
            return _tagged(b"e", b"".join(sorted(self._at("{", "…}", member) for member in members)))
        if isinstance(value, enum.Enum):
            return _tagged(b"E", _name(kind) + _text(value.name))
        if isinstance(value, PurePath):
            return _tagged(b"P", _text(str(value)))
        if isinstance(value, BaseModel):
            return _tagged(b"o", _name(kind) + self._fields({**dict(value), **(value.model_extra or {})}))
        if dataclasses.is_dataclass(kind):
            fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(kind)}
            return _tagged(b"o", _name(kind) + self._fields(fields))
        if tuple in kind.__mro__ and hasattr(kind, "_fields"):
            return _tagged(b"n", _name(kind) + self._items(value))
        return self._opaque()

    def _items(self, value: object) -> bytes:
        items = cast("Sequence[object]", value)
        return b"".join(self._at("[", index, item) for index, item in enumerate(items))

    def _fields(self, fields: Mapping[str, object]) -> bytes:
        return b"".join(_tagged(b"F", _text(name)) + self._at(".", name, fields[name]) for name in sorted(fields))

    def _pairs(self, value: dict[object, object]) -> bytes:
        pairs = [(self._at(".", "key", key), self._at("[", key, item)) for key, item in value.items()]
        return b"".join(key + item for key, item in sorted(pairs))

    def _at(self, step: str, name: object, child: object) -> bytes:
        if type(child) in _LEAVES:
            return self.encode(child)  # which is never opaque, so that nobody asks for the way to it
        self._path.append((step, name))
        try:
            return self.encode(child)
        finally:
            self._path.pop()

    def _opaque(self) -> bytes:
        self.opaque.append(
            "".join(f"[{describe(name)}]" if step == "[" else f"{step}{name}" for step, name in self._path)
        )
        return _OPAQUE


def _tagged(tag: bytes, content: bytes) -> bytes:
    if len(content) > _INLINE:
        return b"%b#%b" % (tag, hashlib.sha256(content).digest())
    return b"%b%d:%b" % (tag, len(content), content)


def _name(kind: type) -> bytes:
    """The type, without its module: a flow's own classes live in another one after it was sealed."""
    return _tagged(b"N", kind.__qualname__.encode())


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _moment(value: datetime) -> bytes:
    zone = value.tzinfo
    name = getattr(zone, "key", None) or str(zone)
    return f"{value.replace(tzinfo=None).isoformat()} {value.utcoffset()} {name} {value.fold}".encode()


def _time(value: time) -> bytes:
    return f"{value.isoformat()} {value.tzinfo} {value.fold}".encode()


def _span(value: timedelta) -> bytes:
    return f"{value.days} {value.seconds} {value.microseconds}".encode()


def _bytes(value: bytes | bytearray) -> bytes:
    return bytes(value)


class _Short(reprlib.Repr):
    """Without addresses, which differ in each process, and without what a broken __repr__ raises."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60

    def repr_instance(self, x: Any, level: int) -> str:
        own: object = type(x).__repr__
        if own is not object.__repr__:
            try:
                return self._shortened(repr(x))
            except Exception:  # noqa: BLE001, S110 — a broken __repr__ must not hide the divergence
                pass
        return f"<{type(x).__qualname__}>"

    def _shortened(self, text: str) -> str:
        return text if len(text) <= self.maxother else f"{text[: self.maxother - 1]}…"


_OPAQUE: Final = b"?"
_CONTAINERS: Final = frozenset({list, tuple, dict})
_SHORT = _Short()

# By exact type: a subclass of str, int or datetime may hold more than its base shows.
_LEAVES: Final[dict[type, tuple[bytes, Callable[[Any], bytes]]]] = {
    type(None): (b"0", lambda _: b""),
    bool: (b"b", lambda value: b"1" if value else b"0"),
    int: (b"i", lambda value: b"%x" % value),
    float: (b"f", _FLOAT.pack),
    complex: (b"c", lambda value: _FLOAT.pack(value.real) + _FLOAT.pack(value.imag)),
    str: (b"s", _text),
    bytes: (b"B", _bytes),
    bytearray: (b"A", _bytes),
    datetime: (b"D", _moment),
    date: (b"d", lambda value: value.isoformat().encode()),
    time: (b"T", _time),
    timedelta: (b"p", _span),
    Decimal: (b"x", lambda value: str(value).encode()),
    UUID: (b"u", lambda value: value.bytes),
}
