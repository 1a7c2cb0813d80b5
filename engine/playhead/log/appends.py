"""What every backend must agree on about an append: its body in bytes, what it expects, and the events it becomes.

Pure. Does not know where a backend keeps anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import orjson

from playhead.core.names import Position, Seq, Version
from playhead.errors import UsageError
from playhead.ports.store import Append, Expect, Recorded

# Values that orjson would turn into strings by itself are refused: what is read back must be what was given.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(append: Append) -> bytes:
    """The append's body: a JSON array with one [type, schema, data] for each event. UsageError: data that is not JSON."""
    try:
        return orjson.dumps([[e.type, e.schema, e.data] for e in append.events], default=_plain, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise UsageError(
            f"append {append.append_id!r} to stream {append.stream} holds data that is not JSON: {error}",
            hint="event data is made of objects with string keys, lists, strings, numbers, booleans and null",
        ) from error


def decode(body: bytes) -> list[tuple[str, int, dict[str, Any]]]:
    """The events of a body. ValueError: these bytes were not written by `encode`."""
    rows = orjson.loads(body)
    try:
        return [(str(kind), int(schema), dict(data)) for kind, schema, data in rows]
    except TypeError as error:
        raise ValueError(f"not an append's body: {error}") from error


def same_body(one: bytes, other: bytes) -> bool:
    """Whether two bodies say the same; the order of an object's keys does not count."""
    return one == other or _canonical(one) == _canonical(other)


def fits(expected: Version | Expect, actual: Version) -> bool:
    """Whether a stream at version `actual` is what the append expected."""
    match expected:
        case Expect.ANY:
            return True
        case Expect.NO_STREAM:
            return actual == 0
        case int():
            return actual == expected
    assert_never(expected)


def recorded(append: Append, *, positions: Sequence[int], version: Version) -> list[Recorded]:
    """The append's events as the log keeps them; `version` is that of the last one."""
    before = version - len(append.events)
    return [
        Recorded(
            position=Position(position),
            stream=append.stream,
            version=Version(before + 1 + index),
            recorded_at=append.recorded_at,
            type=event.type,
            schema=event.schema,
            actor=append.actor,
            data=event.data,
            append_id=append.append_id,
            index=index,
            epoch=append.epoch,
            seq=None if append.first_seq is None else Seq(append.first_seq + index),
        )
        for index, (position, event) in enumerate(zip(positions, append.events, strict=True))
    ]


def _plain(value: object) -> object:
    """Mappings and tuples that orjson does not know by itself, as the JSON types they stand for."""
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # orjson checks the items
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def _canonical(body: bytes) -> bytes:
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
