"""A store whose appends fail on request: before they are written, or after, so that only the answer is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.ports.store import Ack, Append, EventStore, Page, Recorded, Subscription


class FaultyStore(EventStore):
    """`lose_answers`: every append that is new is written, and then its answer is lost. `full`: nothing can be written."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.lose_answers = False
        self.full = False
        self.refused = 0
        self.stream_reads: list[tuple[StreamName, Version]] = []

    @property
    def log_id(self) -> LogId:
        return self._store.log_id

    async def append(self, append: Append) -> Ack:
        if self.full:
            self.refused += 1
            raise LogUnusable("the disk is full")
        ack = await self._store.append(append)
        if self.lose_answers and not ack.duplicate:
            raise OutcomeUnknown("the connection was lost")
        return ack

    def read_stream(
        self, stream: StreamName, *, after: Version = Version(0), upto: Version | None = None
    ) -> AsyncIterator[Sequence[Recorded]]:
        self.stream_reads.append((stream, after))
        return self._store.read_stream(stream, after=after, upto=upto)

    async def read_all(self, *, after: Position, limit: int = 1000) -> Page:
        return await self._store.read_all(after=after, limit=limit)

    async def head(self) -> Position:
        return await self._store.head()

    async def first_bytes(self, position: Position) -> str:
        return await self._store.first_bytes(position)

    async def is_forgotten(self, position: Position) -> bool:
        return await self._store.is_forgotten(position)

    def subscribe(self, *, after: Position) -> AbstractAsyncContextManager[Subscription]:
        return self._store.subscribe(after=after)

    async def close(self) -> None:
        await self._store.close()
