"""Forgetting and copies: what is removed from a log, and how another's is taken over. Owns the rows of a copy; runs named statements."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from msgspec.structs import replace

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import UsageError
from playhead.log import chain, encode
from playhead.log.kept import check_restore, no_such_end
from playhead.log.ranges import Range
from playhead.ports.store import Append, Kept, NewEvent
from playhead_adapters.stores.postgres.address import Address
from playhead_adapters.stores.postgres.arrays import Byteas, Int8s
from playhead_adapters.stores.postgres.batches import values_of
from playhead_adapters.stores.postgres.connections import Connection, rows, run
from playhead_adapters.stores.postgres.rows import decoded, nameless, unpacked


async def forget(connection: Connection, stream: StreamName, upto: Version) -> int:
    """Remove the stream's events up to that version; how many there were. UsageError: no append ends there."""
    if "\0" in stream:  # see `PostgresBackend.read_stream`
        raise no_such_end(stream, upto)
    ((removed,),) = await rows(connection, "forget", {"stream": stream, "upto": upto})
    if removed is None:
        raise no_such_end(stream, upto)
    return int(removed)


async def read_kept(connection: Connection, address: Address, after: Position, limit: int) -> list[Kept]:
    kept: list[Kept] = []
    for position, stream, version, count, recorded_at, actor, epoch, seq, append_id, body, link in await rows(
        connection, "read_kept", {"after": after, "limit": limit}
    ):
        if stream is None or actor is None:
            raise nameless(address)
        events = tuple(
            NewEvent(type=kind, schema=schema, data=data)
            for kind, schema, data in decoded(address, position, count, body)
        )
        append = Append(
            stream=stream,
            events=events,
            expected=Version(version - count),
            append_id=unpacked(append_id),
            actor=actor,
            recorded_at=recorded_at,
            epoch=epoch,
            first_seq=seq,
        )
        kept.append(Kept(append=append, last=position, version=version, link=link))
    return kept


async def forgotten(connection: Connection) -> list[Range]:
    return [(Position(first), Position(last), link) for first, last, link in await rows(connection, "forgotten")]


async def restore(
    connection: Connection, address: Address, log_id: LogId, kept: Sequence[Kept], ranges: Sequence[Range]
) -> Position:
    """Take these over in one transaction; the head behind them. UsageError: they do not fit behind what is here."""
    try:
        async with connection.transaction():
            ((has, head),) = await rows(connection, "lock_head")
            check_restore(LogId(has), Position(head), log_id, kept, ranges)
            if kept:
                await run(connection, "restore_appends", _rows_of(kept))
            if ranges:
                await rows(connection, "restore_forgotten", _ranges_of(ranges))
            ends = [(each.last, each.link) for each in kept] + [(last, link) for _, last, link in ranges]
            if ends:
                head, link = max(ends, key=lambda end: end[0])
                await run(connection, "restore_head", {"position": head, "link": link or chain.FIRST})
            await run(connection, "set_meta", {"key": "log_id", "value": log_id})
    except psycopg.errors.UniqueViolation as error:
        raise UsageError(
            f"an append has an id, a version or a position that the log at {address} has already",
            hint="the log that it comes from breaks its contract: try `playhead store verify` there",
        ) from error
    return Position(head)


def _rows_of(kept: Sequence[Kept]) -> dict[str, object]:
    appends = [replace(each.append, expected=Version(0)) for each in kept]
    bodies = [encode(append) for append in appends]
    return {
        **values_of(appends, bodies),
        "lasts": Int8s([each.last for each in kept]),
        "versions": Int8s([each.version for each in kept]),
        "links": Byteas([each.link or b"" for each in kept]),
    }


def _ranges_of(ranges: Sequence[Range]) -> dict[str, object]:
    return {
        "firsts": Int8s([first for first, _, _ in ranges]),
        "lasts": Int8s([last for _, last, _ in ranges]),
        "links": Byteas([link or b"" for _, _, link in ranges]),
    }
