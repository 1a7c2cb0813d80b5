"""Places for logs, by the name of their kind. A SQLite log can be opened a second time, to be read."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.log.memory import MemoryBackend
from playhead.log.sqlite import SqliteBackend
from playhead.ports.store import Append, Capability, Outcome, Page, Recorded, StoreBackend


@asynccontextmanager
async def sqlite_log(path: Path) -> AsyncGenerator[SqliteBackend]:
    backend = await SqliteBackend.open(path)
    try:
        yield backend
    finally:
        await backend.close()


def spoil(path: Path, *statements: str) -> None:
    """Change the file by hand, as somebody might."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


class Plain(StoreBackend):
    """A store that offers nothing beyond the base contract, as somebody's own may."""

    def __init__(self, inner: MemoryBackend | None = None) -> None:
        self.inner = inner or MemoryBackend()

    @property
    def log_id(self) -> LogId:
        return self.inner.log_id

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset()

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await self.inner.commit(batch)

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await self.inner.read_stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        return await self.inner.read_all(after=after, limit=limit)

    async def head(self) -> Position:
        return await self.inner.head()

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self.inner.wait_for_news(after, timeout_seconds)

    async def close(self) -> None:
        await self.inner.close()
