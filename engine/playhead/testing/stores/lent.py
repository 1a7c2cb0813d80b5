"""A store lent to a log: what the log does goes to the store, but for closing it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from playhead.log import Log
from playhead.ports.store import StoreBackend


@asynccontextmanager
async def log_over(store: StoreBackend) -> AsyncGenerator[Log]:
    """The log that the engine would use, over this store."""
    async with Log.open(cast(StoreBackend, _Lent(store))) as log:
        yield log


class _Lent:
    """Has whatever the store has: also what goes with its capabilities."""

    def __init__(self, store: StoreBackend) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def close(self) -> None:
        """Whoever lent it closes it."""
