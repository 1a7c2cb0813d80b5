"""Between a row of `appends` and its events. Owns the two forms of an append id and how rows are unfolded; runs no SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from psycopg.rows import TupleRow

from playhead.core.names import StreamName
from playhead.errors import LogUnusable
from playhead.log import decode
from playhead.log.appends import Bodies, unfold
from playhead.ports.store import Recorded
from playhead_adapters.stores.postgres.address import Address

_HEX_ID = re.compile(r"[0-9a-f]{32}")


def packed(append_id: str) -> bytes:
    """As it is kept: half the bytes, twice (row and index), for the ids that most appends have."""
    return b"h" + bytes.fromhex(append_id) if _HEX_ID.fullmatch(append_id) else b"t" + append_id.encode()


def unpacked(kept: bytes) -> str:
    return kept[1:].hex() if kept[:1] == b"h" else kept[1:].decode()


def events_of(address: Address, rows: Iterable[TupleRow], *, by: int, after: int, limit: int) -> list[Recorded]:
    """Up to `limit` events of the rows, in order, of those behind `after`; `by` is the column that counts: position or version."""
    events: list[Recorded] = []
    for row in rows:
        skip = max(0, after - (row[by] - row[3]))
        events += _unfolded(address, row, skip, min(row[3], skip + limit - len(events)))
        if len(events) >= limit:
            break
    return events


def _unfolded(address: Address, row: Any, skip: int, end: int) -> list[Recorded]:
    position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body = row
    bodies = decoded(address, position, count, body)
    first = skip - count + 1  # what to add to the number of the row's last event
    return unfold(
        bodies[skip:end] if skip or end < count else bodies,
        first=position + first,
        first_version=version + first,
        stream=StreamName(stream),
        recorded_at=recorded_at,
        actor=actor,
        append_id=unpacked(append_id),
        epoch=epoch,
        first_seq=None if first_seq is None else first_seq + skip,
        first_index=skip,
    )


def decoded(address: Address, position: int, count: int, body: bytes) -> Bodies:
    """The bodies of a row's events. LogUnusable: it does not hold what it says."""
    try:
        bodies = decode(body)
    except ValueError as error:
        raise _damaged(address, f"the append at position {position} cannot be read: {error}") from error
    if len(bodies) != count:
        raise _damaged(address, f"the append at position {position} holds {len(bodies)} events and not {count}")
    return bodies


def _damaged(address: Address, what: str) -> LogUnusable:
    return LogUnusable(
        f"the log at {address} is damaged: {what}", hint="stop every server of it, and restore it from a backup"
    )
