"""The thread executor: calls in threads of this process, coroutine functions on one event loop. It shares memory.

A thread cannot be stopped. When its call times out or is cancelled, the call gives up its place among the running ones and
the thread is written off: it ends when the call does, and until then the call runs beside the others. (Waiting for it would
let one stuck call stop the whole flow.)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import Context

from playhead.executors.calls import Call, is_async
from playhead.executors.crew import Crew, Lane
from playhead.executors.deadlines import Deadlines
from playhead.executors.loop import LoopThread, without_our_frame
from playhead.executors.specs import ThreadExecutor, default_threads
from playhead.ports.executor import OpenExecutor


@asynccontextmanager
async def open_spec(spec: ThreadExecutor) -> AsyncGenerator[OpenExecutor]:
    """The entry point `thread`."""
    async with open_threads("playhead-thread", spec.workers or default_threads()) as executor:
        yield executor


@asynccontextmanager
async def open_threads(name: str, width: int) -> AsyncGenerator[OpenExecutor]:
    executor = ThreadCrew(name, width)
    try:
        yield executor
    finally:
        await executor.close()


class ThreadCrew(Crew):
    def __init__(self, name: str, width: int) -> None:
        super().__init__(name, width)
        self._deadlines = Deadlines(name)
        self._loop: LoopThread | None = None
        self._on_loop: set[Call] = set()  # the running ones that are coroutines; guarded by the crew's lock

    @property
    def shares_memory(self) -> bool:
        return True

    def stop(self, call: Call) -> None:
        """Take its place from the call. A coroutine is cancelled; a thread goes on for nobody."""
        with self._lock:
            if call not in self._running:
                return
            self._running.discard(call)
            self._abandoned += 1
            if call in self._on_loop:
                assert self._loop is not None, "a coroutine runs on the loop"
                self._loop.cancel(call)
            else:
                self._members -= 1
                self._dismiss_if_empty()
            self._admit()

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            self._deadlines.close()
            if self._loop is not None:
                await self._loop.close()

    def _open_lane(self) -> Lane:
        return ThreadLane(self._deadlines)

    def _begin_elsewhere(self, call: Call) -> bool:
        if not is_async(call.fn):
            return False
        if self._loop is None:
            self._loop = LoopThread(self._name, self._coroutine_ended)
        self._on_loop.add(call)
        self._loop.begin(call)
        self._deadlines.watch(call)
        return True

    def _coroutine_ended(self, call: Call) -> None:
        with self._lock:
            self._on_loop.discard(call)
            if call in self._running:
                self._running.discard(call)
            else:
                self._abandoned -= 1
            self._admit()


class ThreadLane:
    """Computes a call right here."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines

    def run(self, call: Call) -> None:
        if call.ended:
            return
        self._deadlines.watch(call)
        args, kwargs = call.take_arguments()
        try:
            value = Context().run(call.fn, *args, **kwargs)  # an empty context: nothing seeps from call to call
        except BaseException as error:  # noqa: BLE001 — whatever the call raises is its outcome
            call.fail(without_our_frame(error))
        else:
            call.succeed(value)
            del value
        finally:
            del call, args, kwargs  # the exception's frames lead back to this one: it must not close a circle

    def close(self) -> None:
        """It holds nothing."""
