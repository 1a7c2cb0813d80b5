"""The store under test: how its log is opened again and again, and what the checks may ask of it. Checks nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from playhead.log import open_backend
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import StoreBackend
from playhead.testing.checks import DoesNotApply, Watcher

StoreFactory = Callable[[], AbstractAsyncContextManager[StoreBackend]]

SEED: Final = 20_240_229  # of the checks that draw, unless another is given: a failure is the same each time
PATIENCE_SECONDS: Final = 10.0  # for what must come at once: far above what a loaded machine needs, far below "never"


class Place:
    """One log, by a URL or by a factory whose every call opens it. Calling this opens it too.

    `second` is another place, with no log in it yet, for stores that can be made a copy of another log.
    """

    def __init__(
        self,
        where: StoreFactory | str,
        *,
        second: StoreFactory | str | None = None,
        quick: bool = False,
        seed: int = SEED,
        patience_seconds: float = PATIENCE_SECONDS,
        watcher: Watcher | None = None,
    ) -> None:
        self._open = factory_at(where) if isinstance(where, str) else where
        self._url = where if isinstance(where, str) else None
        self._second = factory_at(second) if isinstance(second, str) else second
        self._watcher = watcher or Watcher()
        self.quick = quick
        self.seed = seed
        self.patience_seconds = patience_seconds

    def __call__(self) -> AbstractAsyncContextManager[StoreBackend]:
        return self._open()

    def draw(self) -> random.Random:
        """The same draws each time, by the seed."""
        return random.Random(self.seed)

    def progressed(self, done: int, of: int) -> None:
        """Tell whoever watches how far a long check has come."""
        self._watcher.progressed(done, of)

    @property
    def url(self) -> str:
        """By which another process opens the same log. DoesNotApply: it has none."""
        if self._url is None:
            raise DoesNotApply("other processes open a log by its URL, and this one was given as a factory")
        if self._url.startswith("memory:"):
            raise DoesNotApply("no other process can open a log in this one's memory")
        return self._url

    @property
    def second(self) -> StoreFactory:
        if self._second is None:
            raise DoesNotApply("it takes a second, empty place to restore into: none was given")
        return self._second


def factory_at(url: str) -> StoreFactory:
    """Opens the log behind a URL. What is in `memory:` lives as long as what this returns."""
    records = MemoryRecords()

    @asynccontextmanager
    async def factory() -> AsyncGenerator[StoreBackend]:
        backend = MemoryBackend(records) if url == "memory:" else await open_backend(url)
        try:
            yield backend
        finally:
            await backend.close()

    return factory
