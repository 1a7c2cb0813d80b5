"""A thread with an asyncio loop: where the runner's HTTP, heartbeats and reports live, away from the flow's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Generator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Self, TypeVar

T = TypeVar("T")


class LoopThread:
    """A daemon thread that runs a loop between `start` and `stop`."""

    def __init__(self, name: str) -> None:
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: OSError | None = None  # that kept the loop from beginning
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)

    def start(self) -> None:
        """Start the loop. OSError: the system gives it no descriptors."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Cancel what still runs there, and end the thread."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def spawn(self, coro: Coroutine[Any, Any, T]) -> Future[T]:
        """Run the coroutine there; the caller may wait for the future."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coro, self._loop)

    def call(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine there, and wait for its result."""
        future = self.spawn(coro)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @contextmanager
    def entered(self, manager: AbstractAsyncContextManager[T]) -> Generator[T]:
        """Enter an async context manager there, in a task of its own that stays for as long as this one does."""
        opened: Future[T] = Future()
        leave = asyncio.Event()

        async def hold() -> None:
            try:
                async with manager as value:
                    opened.set_result(value)
                    await leave.wait()
            except BaseException as error:
                if not opened.done():
                    opened.set_exception(error)
                    return
                raise

        held = self.spawn(hold())
        try:
            value = opened.result()
        except BaseException:
            held.cancel()  # where it was Ctrl-C that ended the waiting
            raise
        try:
            yield value
        finally:
            assert self._loop is not None
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(leave.set)
                with contextlib.suppress(asyncio.CancelledError):
                    held.result()

    def _live(self) -> None:
        try:
            asyncio.run(self._run())
        except OSError as error:
            if self._ready.is_set():
                raise
            self._failure = error
            self._ready.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()


async def collected(items: AsyncIterator[T]) -> list[T]:
    """All items."""
    return [item async for item in items]
