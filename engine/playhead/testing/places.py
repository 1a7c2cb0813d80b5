"""Where a store under test is: how the same log is opened again and again. Knows URLs; checks nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from playhead.log import open_backend
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import StoreBackend

StoreFactory = Callable[[], AbstractAsyncContextManager[StoreBackend]]


def place_at(url: str) -> StoreFactory:
    """Opens the log behind a URL; what is in `memory:` lives as long as what this returns."""
    records = MemoryRecords()

    @asynccontextmanager
    async def place() -> AsyncGenerator[StoreBackend]:
        backend = MemoryBackend(records) if url == "memory:" else await open_backend(url)
        try:
            yield backend
        finally:
            await backend.close()

    return place
