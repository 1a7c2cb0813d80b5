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
from playhead_adapters.stores.postgres.batches import DUPLICATE, Answer, Standing, outcome_of, values_of
from playhead_adapters.stores.postgres.connections import Connection, answered_in_time, rows
from playhead_adapters.stores.postgres.migrations import FORMAT
from playhead_adapters.stores.postgres.places import Places
from playhead_adapters.stores.postgres.witness import Witness

TRIES: Final = 5  # after a deadlock or the like, in which nothing was written


class Writer:
    """One commit at a time: the next waits for the one before, also where that one's caller has left."""

    def __init__(self, address: Address, witness: Witness, connection: Connection) -> None:
        self._address = address
        self._witness = witness
        self._connection: Connection | None = connection
        self._places = Places()
        self._turn = asyncio.Lock()
        self._closed = False

    async def write(self, batch: Sequence[Append]) -> tuple[list[Outcome], Position]:
        """The outcomes, and the head behind them. LogUnusable: nothing was written. OutcomeUnknown: ask again."""
        bodies = [encode(append) for append in batch]
        async with self._turn:
            if self._closed:
                raise LogUnusable(f"the log at {self._address} is closed", hint="append while it is open")
            connection = await self._open()
            try:
                answer = await self._extend(connection, batch, bodies) or await self._append(connection, batch, bodies)
            except BaseException:  # what was reckoned from places that may not be taken
                self._places.forget()
                raise
            self._witness.saw(answer.head, answer.link)
            standing = await self._standing(connection, answer.kinds, answer.lasts)
        outcomes = [
            outcome_of(append, body, kind, last, version, standing)
            for append, body, kind, last, version in zip(
                batch, bodies, answer.kinds, answer.lasts, answer.versions, strict=True
            )
        ]
        return outcomes, answer.head

    async def close(self) -> None:
        async with self._turn:
            self._closed = True
            await self._drop()

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._places.forget()
            self._connection = await self._witness.connect()
        return self._connection

    async def _drop(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _extend(self, connection: Connection, batch: Sequence[Append], bodies: Sequence[bytes]) -> Answer | None:
        """Append at places that this process knows. None: it does not, or somebody else has written, or one of them is there already;
        nothing was written then, and the database has to look."""
        placed = self._places.place(batch, bodies)
        if placed is None:
            return None
        values = {"ability": FORMAT, "channel": self._address.channel, **placed.values}
        try:
            fits, known_at, known_version = await self._call(connection, "extend", values)
        except psycopg.errors.UniqueViolation:
            self._places.forget()
            return None
        if not fits:
            self._places.forget(alone=False)
            return None
        for (place, head), last, version in zip(placed.missed, known_at or (), known_version or (), strict=True):
            if last is not None and last <= head:  # else it stands behind this one in the batch, and fits there
                placed.answer.kinds[place] = DUPLICATE
                placed.answer.lasts[place] = last
                placed.answer.versions[place] = version
        return placed.answer

    async def _append(self, connection: Connection, batch: Sequence[Append], bodies: Sequence[bytes]) -> Answer:
        """Append where the database finds the place, and learn it."""
        given = values_of(batch, bodies)
        values = {"ability": FORMAT, "channel": self._address.channel, **given}
        try:
            row = await self._call(connection, "append", values)
        except psycopg.errors.UniqueViolation as error:
            raise faults.unusable(self._address, error) from error
        answer, (before, numbers, versions, actors) = Answer(*row[:5]), row[5:]
        self._places.learn(
            answer,
            before,
            dict(zip(given["streams"].values, zip(numbers, versions, strict=True), strict=True)),
            dict(zip(given["actors"].values, actors, strict=True)),
        )
        return answer

    async def _call(self, connection: Connection, name: str, values: dict[str, Any]) -> tuple[Any, ...]:
        """The one row of a commit. UniqueViolation: nothing was written, since one of them is there."""
        for attempt in range(TRIES):
            try:
                with answered_in_time(connection):
                    (row,) = await rows(connection, name, values)
            except faults.TRY_AGAIN as error:
                if attempt == TRIES - 1:
                    raise faults.unusable(self._address, error) from error
            except psycopg.errors.UniqueViolation:
                raise
            except psycopg.Error as error:
                if faults.lost(connection, error):
                    await self._drop()
                    raise faults.unknown(self._address) from error
                raise faults.unusable(self._address, error) from error
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
            with answered_in_time(connection):
                found = await rows(connection, "read_bodies", {"positions": Int8s(again)})
        except psycopg.Error as error:  # what was appended beside them is written: only the same again tells all
            await self._drop()
            raise faults.unknown(self._address) from error
        if len(found) < len(again):
            raise OutcomeUnknown(
                f"an append to the log at {self._address} was forgotten while it came again", hint="append it again"
            )
        return {position: (count, epoch, seq, body) for position, count, epoch, seq, body in found}
