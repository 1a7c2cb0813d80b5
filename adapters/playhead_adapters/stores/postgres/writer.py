"""The one writer of this process: a batch of appends becomes one call, and the call a transaction. Owns its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import psycopg

from playhead.core.names import Position, Version
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log import chain, encode, same_body
from playhead.ports.store import Append, Appended, Conflict, Duplicate, Expect, Outcome
from playhead_adapters.stores.postgres import faults
from playhead_adapters.stores.postgres.address import Address
from playhead_adapters.stores.postgres.arrays import Byteas, Int8s, Texts
from playhead_adapters.stores.postgres.connections import CLIENT_SECONDS, Connection, rows
from playhead_adapters.stores.postgres.migrations import FORMAT
from playhead_adapters.stores.postgres.rows import packed

TRIES: Final = 5  # after a deadlock or the like, in which nothing was written

_ANY: Final = -1  # as the function writes "any version", "no epoch" and "no record"
_APPENDED, _CONFLICT, _DUPLICATE = range(3)


class Writer:
    """One commit at a time: the next waits for the one before, also where that one's caller has left."""

    def __init__(self, address: Address, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._address = address
        self._connect = connect
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def write(self, batch: Sequence[Append]) -> tuple[list[Outcome], Position]:
        """The outcomes, and the head behind them. LogUnusable: nothing was written. OutcomeUnknown: ask again."""
        bodies = [encode(append) for append in batch]
        values = _values(self._address, batch, bodies)
        async with self._turn:
            if self._closed:
                raise LogUnusable(f"the log at {self._address} is closed", hint="append while it is open")
            connection = await self._open()
            kinds, lasts, versions, head = await self._call(connection, values)
            kept = await self._kept(connection, kinds, lasts)
        outcomes = [
            _outcome(append, body, kind, last, version, kept)
            for append, body, kind, last, version in zip(batch, bodies, kinds, lasts, versions, strict=True)
        ]
        return outcomes, Position(head)

    async def close(self) -> None:
        async with self._turn:
            self._closed = True
            await self._drop()

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        return self._connection

    async def _drop(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _call(
        self, connection: Connection, values: dict[str, Any]
    ) -> tuple[list[int], list[int], list[int], int]:
        for attempt in range(TRIES):
            try:
                async with asyncio.timeout(CLIENT_SECONDS):
                    (row,) = await rows(connection, "append", values)
            except faults.TRY_AGAIN as error:
                if attempt == TRIES - 1:
                    raise faults.unusable(self._address, error) from error
            except psycopg.Error as error:
                if faults.lost(connection, error):
                    await self._drop()
                    raise faults.unknown(self._address) from error
                raise faults.unusable(self._address, error) from error
            except TimeoutError as error:
                await self._drop()
                raise faults.unknown(self._address) from error
            else:
                return row
        raise AssertionError("the last try returned or raised")

    async def _kept(self, connection: Connection, kinds: Sequence[int], lasts: Sequence[int]) -> dict[int, _Kept]:
        """What stands where an append came again. Rare."""
        again = sorted({last for kind, last in zip(kinds, lasts, strict=True) if kind == _DUPLICATE})
        if not again:
            return {}
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                found = await rows(connection, "read_bodies", {"positions": Int8s(again)})
        except (
            psycopg.Error,
            TimeoutError,
        ) as error:  # what was appended beside them is written: only the same again tells all
            await self._drop()
            raise faults.unknown(self._address) from error
        if len(found) < len(again):
            raise OutcomeUnknown(
                f"an append to the log at {self._address} was forgotten while it came again", hint="append it again"
            )
        return {position: (count, epoch, seq, body) for position, count, epoch, seq, body in found}


_Kept = tuple[int, int | None, int | None, bytes]  # count, epoch, first_seq, body


def _values(address: Address, batch: Sequence[Append], bodies: Sequence[bytes]) -> dict[str, Any]:
    """The parameters of `append_1`."""
    streams: dict[str, int] = {}
    actors: dict[str, int] = {}
    first_like: dict[tuple[str, str], int] = {}
    return {
        "ability": FORMAT,
        "channel": address.channel,
        "stream_of": Int8s([streams.setdefault(append.stream, len(streams) + 1) for append in batch]),
        "actor_of": Int8s([actors.setdefault(append.actor, len(actors) + 1) for append in batch]),
        "first_like": Int8s(
            [first_like.setdefault((append.stream, append.append_id), i) for i, append in enumerate(batch, 1)]
        ),
        "streams": Texts(list(streams)),
        "actors": Texts(list(actors)),
        "expected": Int8s([_expected(append) for append in batch]),
        "counts": Int8s([len(append.events) for append in batch]),
        "recorded_ats": Int8s([append.recorded_at for append in batch]),
        "epochs": Int8s([_ANY if append.epoch is None else append.epoch for append in batch]),
        "first_seqs": Int8s([_ANY if append.first_seq is None else append.first_seq for append in batch]),
        "append_ids": Byteas([packed(append.append_id) for append in batch]),
        "digests": Byteas([chain.digest(append, body) for append, body in zip(batch, bodies, strict=True)]),
        "bodies": Byteas(bodies),
    }


def _expected(append: Append) -> int:
    match append.expected:
        case Expect.ANY:
            return _ANY
        case Expect.NO_STREAM:
            return 0
        case version:
            return version


def _outcome(append: Append, body: bytes, kind: int, last: int, version: int, kept: dict[int, _Kept]) -> Outcome:
    if kind == _CONFLICT:
        return Conflict(Version(version))
    if kind == _APPENDED:
        return Appended(Position(last - len(append.events) + 1), Position(last), Version(version))
    count, epoch, first_seq, before = kept[last]
    same = (epoch, first_seq) == (append.epoch, append.first_seq) and same_body(before, body)
    return Duplicate(Position(last - count + 1), Position(last), Version(version), same)
