"""A store lent to a log: what the log does goes to the store, but for closing it. What the log has no part in is not lent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.log import Log
from playhead.ports.store import Append, Capability, Outcome, Page, Recorded, StoreBackend

# The others come with methods of their own, which are not lent: what declares them and has them not is refused.
LENT: Final = frozenset({Capability.WAKES, Capability.DENSE, Capability.CHAINED})


@asynccontextmanager
async def log_over(store: StoreBackend) -> AsyncGenerator[Log]:
    """The log that the engine would use, over this store."""
    async with Log.open(_Lent(store)) as log:
        yield log


class _Lent(StoreBackend):
    def __init__(self, store: StoreBackend) -> None:
        self._store = store

    @property
    def log_id(self) -> LogId:
        return self._store.log_id

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._store.capabilities & LENT

    @property
    def restored(self) -> Position | None:
        return self._store.restored

    async def accept_restored(self) -> None:
        await self._store.accept_restored()

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await self._store.commit(batch)

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await self._store.read_stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        return await self._store.read_all(after=after, limit=limit)

    async def head(self) -> Position:
        return await self._store.head()

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._store.wait_for_news(after, timeout_seconds)

    async def close(self) -> None:
        """Whoever lent it closes it."""
