"""A thread with an event loop, for calls of coroutine functions. Owns their tasks; admits whatever it is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context

from playhead.executors.calls import Call

GRACE_SECONDS = 5.0  # for cancelled coroutines to clean up when the executor closes; after that they are left behind


class LoopThread:
    """All coroutines of one executor share one loop, so that what is bound to a loop (a connection pool) can be shared.

    `on_end` is called in the loop's thread with each call whose coroutine has really ended.
    """

    def __init__(self, name: str, on_end: Callable[[Call], None]) -> None:
        self._on_end = on_end
        self._tasks: dict[Call, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=f"{name}-loop", daemon=True)
        self._thread.start()

    def begin(self, call: Call) -> None:
        """Start the call's coroutine soon. From any thread."""
        if threading.current_thread() is self._thread:
            self._begin(call)
        else:
            self._loop.call_soon_threadsafe(self._begin, call)

    def cancel(self, call: Call) -> None:
        """Cancel the call's coroutine soon, if it runs. From any thread."""
        self._loop.call_soon_threadsafe(self._cancel, call)

    async def close(self) -> None:
        """Cancel what runs and end the thread; a coroutine that will not end is left behind with it."""
        self._loop.call_soon_threadsafe(self._closing.set)
        ended = asyncio.wrap_future(self._ended)
        await asyncio.wait({ended}, timeout=2 * GRACE_SECONDS)
        if self._ended.done():
            self._thread.join()
        ended.cancel()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._live())
        finally:
            if self._ended.set_running_or_notify_cancel():  # not when nobody waits any longer
                self._ended.set_result(None)

    async def _live(self) -> None:
        await self._closing.wait()
        tasks = set(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)

    def _begin(self, call: Call) -> None:
        # An empty context: a call sees the same whether it runs here, in a thread or in another process.
        task = self._loop.create_task(_run_coroutine(call), context=Context())
        self._tasks[call] = task
        task.add_done_callback(lambda _: self._forget(call))

    def _forget(self, call: Call) -> None:
        del self._tasks[call]
        self._on_end(call)

    def _cancel(self, call: Call) -> None:
        task = self._tasks.get(call)
        if task is not None:
            task.cancel()


async def _run_coroutine(call: Call) -> None:
    """Run the coroutine to its end. Its task never raises: SystemExit and KeyboardInterrupt would end the loop."""
    if call.ended:
        return
    args, kwargs = call.take_arguments()
    try:
        value = await call.fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 — whatever the call raises is its outcome
        call.fail(without_our_frame(error))
    else:
        call.succeed(value)
    finally:
        del call, args, kwargs  # the exception's frames lead back to this one: it must not close a circle


def without_our_frame(error: BaseException) -> BaseException:
    """The exception with a traceback that begins in the caller's code. Our frame would also keep the call alive."""
    trace = error.__traceback__
    return error.with_traceback(trace.tb_next if trace is not None else None)
