"""One lock for each key that is in use. A key that nobody holds or waits for takes no memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Shared:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class KeyedLocks:
    """Bounded by the number of tasks that hold or wait for a lock; first come, first served on each key."""

    def __init__(self) -> None:
        self._shared: dict[str, _Shared] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncGenerator[None]:
        shared = self._shared.setdefault(key, _Shared())
        shared.users += 1
        try:
            async with shared.lock:
                yield
        finally:
            shared.users -= 1
            if not shared.users:
                del self._shared[key]

    def __len__(self) -> int:
        return len(self._shared)
