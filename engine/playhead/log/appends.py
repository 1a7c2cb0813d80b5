"""What every backend must agree on about an append: its body in bytes, what it expects, and the events it becomes.

Pure. Does not know where a backend keeps anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count, repeat
from typing import Any, Final, assert_never, cast

import msgspec
import orjson

from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version
from playhead.errors import UsageError
from playhead.ports.store import Append, Expect, Recorded

Bodies = list[tuple[str, int, dict[str, Any]]]  # type, schema and data of an append's events

# Values that orjson would turn into strings by itself are refused: what is read back must be what was given.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(append: Append) -> bytes:
    """The append's body: a JSON array with one [type, schema, data] for each event. UsageError: data that is not JSON."""
    events = append.events
    if len(events) == 1:  # a comprehension for it takes as long as its JSON
        event = events[0]
        said = [[event.type, event.schema, event.data]]
    else:
        said = [[event.type, event.schema, event.data] for event in events]
    try:
        return orjson.dumps(said, _plain, _OPTIONS)
    except orjson.JSONEncodeError as error:
        raise UsageError(
            f"append {append.append_id!r} to stream {append.stream} holds data that is not JSON: {error}",
            hint="event data is made of objects with string keys, lists, strings, numbers, booleans and null",
        ) from error


def decode(body: bytes) -> Bodies:
    """The events of a body. ValueError: these bytes were not written by `encode`."""
    return _BODIES.decode(body)


def same_body(one: bytes, other: bytes) -> bool:
    """Whether two bodies say the same; the order of an object's keys does not count."""
    return one == other or _canonical(one) == _canonical(other)


def fits(expected: Version | Expect, actual: Version) -> bool:
    """Whether a stream at version `actual` is what the append expected."""
    if expected == actual:  # nearly always, and no other test of it is as quick
        return True
    match expected:
        case Expect.ANY:
            return True
        case Expect.NO_STREAM:
            return actual == 0
        case int():
            return False
    assert_never(expected)


def recorded(append: Append, *, first: Position, version: Version) -> list[Recorded]:
    """The append's events as the log keeps them, from that position on; `version` is that of the last one."""
    if len(append.events) == 1:
        return [recorded_alone(append, first, version)]
    return unfold(
        [(event.type, event.schema, event.data) for event in append.events],
        first=first,
        first_version=version - len(append.events) + 1,
        stream=append.stream,
        recorded_at=append.recorded_at,
        actor=append.actor,
        append_id=append.append_id,
        epoch=append.epoch,
        first_seq=append.first_seq,
    )


def recorded_alone(append: Append, position: Position, version: Version) -> Recorded:
    """The event of an append that has no other, as most have not: counters that count to one cost more than the event."""
    event = append.events[0]
    return Recorded(
        position=position,
        stream=append.stream,
        version=version,
        recorded_at=append.recorded_at,
        type=event.type,
        schema=event.schema,
        actor=append.actor,
        data=event.data,
        append_id=append.append_id,
        index=0,
        epoch=append.epoch,
        seq=append.first_seq,
    )


def unfold(
    bodies: Iterable[tuple[str, int, Mapping[str, Any]]],
    *,
    first: int,
    first_version: int,
    stream: StreamName,
    recorded_at: Micros,
    actor: str,
    append_id: str,
    epoch: Epoch | None,
    first_seq: Seq | None,
    first_index: int = 0,
) -> list[Recorded]:
    """Events that follow on one another, from what they share. `first` is the position of the first, `first_index` its place in
    its append, and the other firsts are its own."""
    # Numbers are named as what they are by the row: to call Position for each of them takes as long as to make the event.
    places = cast("Iterable[Position]", count(first))
    versions = cast("Iterable[Version]", count(first_version))
    seqs = cast("Iterable[Seq | None]", repeat(None) if first_seq is None else count(first_seq))
    return [
        Recorded(
            position=position,
            stream=stream,
            version=version,
            recorded_at=recorded_at,
            type=kind,
            schema=schema,
            actor=actor,
            data=data,
            append_id=append_id,
            index=index,
            epoch=epoch,
            seq=seq,
        )
        for (kind, schema, data), position, version, index, seq in zip(
            bodies, places, versions, count(first_index), seqs, strict=False
        )
    ]


def _plain(value: object) -> object:
    """Mappings and tuples that orjson does not know by itself, as the JSON types they stand for."""
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # orjson checks the items
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def _canonical(body: bytes) -> bytes:
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)


_BODIES: Final = msgspec.json.Decoder(Bodies)
