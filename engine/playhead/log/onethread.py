"""A thread that makes a blocking library's calls one after another. Owns the thread; knows nothing of what it calls.

A cancelled caller leaves its call to run to its end, so that no call is ever cut in the middle of a transaction.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import anyio
import anyio.to_thread

from playhead.errors import LogUnusable

T = TypeVar("T")


class OneThread:
    """Calls in the order in which they were given. Their number is the caller's to bound: a log makes one at a time."""

    def __init__(self, name: str) -> None:
        self._calls = SimpleQueue[Callable[[], None] | None]()
        self._closed = False
        # A daemon: whoever closes it waits for it, and one whose call never ends must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result or exception. Cancelling this does not cancel the call."""
        return await asyncio.shield(self.start(call))

    def start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """The call under way; for callers that must learn of its end even when they are cancelled. LogUnusable: it is closed."""
        if self._closed:
            raise LogUnusable("the log is closed", hint="use it while it is open")
        if self._thread.ident is None:
            self._thread.start()
        done: Future[T] = Future()
        self._calls.put(partial(_make, call, done))
        return asyncio.wrap_future(done)

    async def close(self, last: Callable[[], None] | None = None, *, limit_seconds: float | None = None) -> None:
        """Let the calls under way end, make the `last` one, and end the thread. LogUnusable: one has not ended within the limit."""
        ending = None if last is None or self._closed else self.start(last)
        self._closed = True
        if self._thread.ident is None:
            return
        self._calls.put(None)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join, limit_seconds)
            if self._thread.is_alive():
                raise LogUnusable(
                    f"the log is not closed: a call to its store has not ended for {limit_seconds:g} s; {self._where()}",
                    hint="look at what that waits for; it is left behind, and ends with the program",
                )
            if ending is not None:
                await ending

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # what it gave is the caller's to keep, not the thread's until the next one

    def _where(self) -> str:
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] — documented, for just this
        frame = frames.get(self._thread.ident or 0)
        if frame is None:
            return "it ends just now"
        return f"it stands in {frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


def _make(call: Callable[[], T], done: Future[T]) -> None:
    if not done.set_running_or_notify_cancel():
        return  # cancelled by the one who holds what `start` gave, before its turn came
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 — it is whoever awaits who gets it
        done.set_exception(error)
        del done  # else it and the error's traceback hold each other
    else:
        done.set_result(result)
