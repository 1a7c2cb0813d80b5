"""A thread that makes a blocking library's calls one after another. Owns the thread; knows nothing of what it calls.

A cancelled caller leaves its call to run to its end, so that no call is ever cut in the middle of a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio
import anyio.to_thread

from playhead.errors import LogUnusable

T = TypeVar("T")


class OneThread:
    """Calls in the order in which they were given. Their number is the caller's to bound: a log makes one at a time."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result or exception. Cancelling this does not cancel the call."""
        return await asyncio.shield(self.start(call))

    def start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """The call under way; for callers that must learn of its end even when they are cancelled. LogUnusable: it is closed."""
        if self._closed:
            raise LogUnusable("the log is closed", hint="use it while it is open")
        return asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def close(self) -> None:
        """Let the calls under way end, then end the thread."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._executor.shutdown)
