"""Between a row of `appends` and its events. Owns the two forms of an append id and how a row is unfolded; runs no SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version
from playhead.log.appends import decode
from playhead.log.sqlite.faults import damaged
from playhead.ports.store import Recorded

Row = tuple[int, str, int, int, int, str, int | None, int | None, str | bytes, bytes]

_HEX_ID = re.compile(r"[0-9a-f]{32}")


def packed(append_id: str) -> str | bytes:
    """As it is kept: half the bytes, twice (row and index), for the ids that most appends have."""
    return bytes.fromhex(append_id) if _HEX_ID.fullmatch(append_id) else append_id


def unpacked(kept: str | bytes) -> str:
    return kept.hex() if isinstance(kept, bytes) else kept


def events_of(row: Row, path: Path, *, skip: int = 0) -> Iterator[Recorded]:
    """The row's events in order, without the first `skip`: a page may begin inside a row. LogUnusable: the row does not hold
    what it says."""
    position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body = row
    try:
        bodies = decode(body)
    except ValueError as error:
        raise damaged(path, f"the append at position {position} cannot be read: {error}") from error
    if len(bodies) != count:
        raise damaged(path, f"the append at position {position} holds {len(bodies)} events and not {count}")
    name = unpacked(append_id)
    for index, (kind, schema, data) in enumerate(bodies[skip:], skip):
        yield Recorded(
            position=Position(position - count + 1 + index),
            stream=StreamName(stream),
            version=Version(version - count + 1 + index),
            recorded_at=Micros(recorded_at),
            type=kind,
            schema=schema,
            actor=actor,
            data=data,
            append_id=name,
            index=index,
            epoch=None if epoch is None else Epoch(epoch),
            seq=None if first_seq is None else Seq(first_seq + index),
        )
