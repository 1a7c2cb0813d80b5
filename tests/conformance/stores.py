"""Places that the kit of event stores is tried on: factories over memory and over a recorder. Only for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import StoreBackend
from playhead.testing.stores import StoreFactory


def place(open_it: Callable[[], Awaitable[StoreBackend]]) -> StoreFactory:
    """Opens by this function, and closes."""

    @asynccontextmanager
    async def factory() -> AsyncGenerator[StoreBackend]:
        backend = await open_it()
        try:
            yield backend
        finally:
            await backend.close()

    return factory


def memory(kind: type[MemoryBackend] = MemoryBackend) -> StoreFactory:
    """A log in memory, seen through backends of this kind."""
    records = MemoryRecords()

    async def open_it() -> StoreBackend:
        return kind(records)

    return place(open_it)
