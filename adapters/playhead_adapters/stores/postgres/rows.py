"""Between a row of `appends` and its events. Owns the two forms of an append id and how rows are unfolded; runs no SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version
from playhead.errors import LogUnusable
from playhead.log import decode
from playhead.log.appends import Bodies, unfold
from playhead.ports.store import Recorded
from playhead_adapters.stores.postgres.address import Address

# Named as what they are where the database hands them out: to call Position and the like takes a tenth of an event's time. The second
# is the stream's number, the sixth the actor's.
Row = tuple[Position, int, Version, int, Micros, int, Epoch | None, Seq | None, bytes, bytes]

_HEX_ID = re.compile(r"[0-9a-f]{32}")


def packed(append_id: str) -> bytes:
    """As it is kept: half the bytes, twice (row and index), for the ids that most appends have."""
    return b"h" + bytes.fromhex(append_id) if _HEX_ID.fullmatch(append_id) else b"t" + append_id.encode()


def unpacked(kept: bytes) -> str:
    return kept[1:].hex() if kept[:1] == b"h" else kept[1:].decode()


def events_of(
    address: Address, rows: Iterable[Row], names: Mapping[int, str], *, by_version: bool, after: int, limit: int
) -> list[Recorded]:
    """Up to `limit` events of the rows, in order, of those behind `after`, which is a version or else a position."""
    events: list[Recorded] = []
    if limit < 1:
        return events
    for row in rows:
        position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body = row
        if count == 1:  # as most are; made here, because to call for it takes as long as to make it
            ((kind, schema, data),) = decoded(address, position, 1, body)
            events.append(
                Recorded(
                    position=position,
                    stream=cast(StreamName, names[stream]),
                    version=version,
                    recorded_at=recorded_at,
                    type=kind,
                    schema=schema,
                    actor=names[actor],
                    data=data,
                    append_id=unpacked(append_id),
                    index=0,
                    epoch=epoch,
                    seq=first_seq,
                )
            )
        else:
            skip = max(0, after - ((version if by_version else position) - count))
            events += _unfolded(address, row, names, skip, min(count, skip + limit - len(events)))
            if len(events) >= limit:
                break
    return events


def _unfolded(address: Address, row: Row, names: Mapping[int, str], skip: int, end: int) -> list[Recorded]:
    position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body = row
    bodies = decoded(address, position, count, body)
    first = skip - count + 1  # what to add to the number of the row's last event
    return unfold(
        bodies[skip:end] if skip or end < count else bodies,
        first=position + first,
        first_version=version + first,
        stream=StreamName(names[stream]),
        recorded_at=recorded_at,
        actor=names[actor],
        append_id=unpacked(append_id),
        epoch=epoch,
        first_seq=None if first_seq is None else Seq(first_seq + skip),
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


def nameless(address: Address) -> LogUnusable:
    return _damaged(address, "an append's stream or actor has no name")


def _damaged(address: Address, what: str) -> LogUnusable:
    return LogUnusable(
        f"the log at {address} is damaged: {what}", hint="stop every server of it, and restore it from a backup"
    )
