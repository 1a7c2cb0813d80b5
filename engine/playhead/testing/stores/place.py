"""The store under test: how its log is opened again and again, and what the checks may ask of it. Checks nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Final, Self

from playhead.log import open_backend
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import StoreBackend
from playhead.testing.checks import DoesNotApply, Watcher
from playhead.testing.stores.urls import TMP, in_fresh_folder, leading_nowhere

StoreFactory = Callable[[], AbstractAsyncContextManager[StoreBackend]]

SEED: Final = 20_240_229  # of the checks that draw, unless another is given: a failure is the same each time
PATIENCE_SECONDS: Final = 10.0  # for what must come at once: far above what a loaded machine needs, far below "never"


class Place:
    """One log, by a URL or by a factory whose every call opens it. Calling this opens it too. Used in a `with` block, which owns the
    temporary folders that `{tmp}` in a URL stands for.

    `second` is another place, with no log in it yet, for stores that can be made a copy of another log. A URL with `{tmp}` has one.
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
        self._where = where
        self._given_second = second if second is not None else _second_of(where)
        self._watcher = watcher or Watcher()
        self._held = ExitStack()
        self._url: str | None = None
        self._open: StoreFactory | None = None
        self._open_second: StoreFactory | None = None
        self.quick = quick
        self.seed = seed
        self.patience_seconds = patience_seconds

    def __enter__(self) -> Self:
        if isinstance(self._where, str):
            self._url = self._held.enter_context(in_fresh_folder(self._where))
            self._open = factory_at(self._url)
        else:
            self._open = self._where
        self._open_second = self._factory(self._given_second)
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def __call__(self) -> AbstractAsyncContextManager[StoreBackend]:
        assert self._open is not None, "a place is used inside its `with` block"
        return self._open()

    def draw(self) -> random.Random:
        """The same draws each time, by the seed."""
        return random.Random(self.seed)

    def progressed(self, done: int, of: int) -> None:
        """Tell whoever watches how far a long check has come."""
        self._watcher.progressed(done, of)

    def second(self) -> AbstractAsyncContextManager[StoreBackend]:
        """Opens the second place. DoesNotApply: there is none."""
        if self._open_second is None:
            raise DoesNotApply("it takes a second, empty place: none was given")
        return self._open_second()

    @property
    def url(self) -> str:
        """By which another process opens the same log. DoesNotApply: it has none."""
        if self._url is None:
            raise DoesNotApply("other processes open a log by its URL, and this one was given as a factory")
        if self._url == "memory:":
            raise DoesNotApply("no other process can open a log in this one's memory")
        return self._url

    @contextmanager
    def unusable(self) -> Generator[tuple[str, str]]:
        """A URL like this one that leads nowhere, and what is wrong with it. DoesNotApply: none can be made of this one."""
        with leading_nowhere(self._where if isinstance(self._where, str) else "") as found:
            if found is None:
                raise DoesNotApply("a place that cannot be used is made from a URL with a host or {tmp} in it")
            yield found

    def _factory(self, where: StoreFactory | str | None) -> StoreFactory | None:
        return factory_at(self._held.enter_context(in_fresh_folder(where))) if isinstance(where, str) else where


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


def _second_of(where: StoreFactory | str) -> str | None:
    """The same URL, where it leads somewhere else each time."""
    return where if isinstance(where, str) and (TMP in where or where == "memory:") else None
