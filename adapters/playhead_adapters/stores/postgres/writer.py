"""The one writer of this process: a batch of appends becomes one call, and the call a transaction. Owns its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from playhead.core.names import Position
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log import encode
from playhead.ports.store import Append, Outcome
from playhead_adapters.stores.postgres import faults
from playhead_adapters.stores.postgres.address import Address
from playhead_adapters.stores.postgres.arrays import Int8s
from playhead_adapters.stores.postgres.batches import DUPLICATE, Standing, outcome_of, values_of
from playhead_adapters.stores.postgres.connections import CLIENT_SECONDS, Connection, rows
from playhead_adapters.stores.postgres.migrations import FORMAT
from playhead_adapters.stores.postgres.witness import Witness

_Answer = tuple[
    list[int], list[int], list[int], Position, bytes
]  # kinds, lasts, versions; the head behind them, and its link

TRIES: Final = 5  # after a deadlock or the like, in which nothing was written


class Writer:
    """One commit at a time: the next waits for the one before, also where that one's caller has left."""

    def __init__(self, address: Address, witness: Witness, connection: Connection) -> None:
        self._address = address
        self._witness = witness
        self._connection: Connection | None = connection
        self._turn = asyncio.Lock()
        self._closed = False

    async def write(self, batch: Sequence[Append]) -> tuple[list[Outcome], Position]:
        """The outcomes, and the head behind them. LogUnusable: nothing was written. OutcomeUnknown: ask again."""
        bodies = [encode(append) for append in batch]
        values = {"ability": FORMAT, "channel": self._address.channel, **values_of(batch, bodies)}
        async with self._turn:
            if self._closed:
                raise LogUnusable(f"the log at {self._address} is closed", hint="append while it is open")
            connection = await self._open()
            kinds, lasts, versions, head, link = await self._call(connection, values)
            self._witness.saw(head, link)
            standing = await self._standing(connection, kinds, lasts)
        outcomes = [
            outcome_of(append, body, kind, last, version, standing)
            for append, body, kind, last, version in zip(batch, bodies, kinds, lasts, versions, strict=True)
        ]
        return outcomes, head

    async def close(self) -> None:
        async with self._turn:
            self._closed = True
            await self._drop()

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._witness.connect()
        return self._connection

    async def _drop(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _call(self, connection: Connection, values: dict[str, Any]) -> _Answer:
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

    async def _standing(
        self, connection: Connection, kinds: Sequence[int], lasts: Sequence[int]
    ) -> dict[int, Standing]:
        """What stands where an append came again. Rare."""
        again = sorted({last for kind, last in zip(kinds, lasts, strict=True) if kind == DUPLICATE})
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
