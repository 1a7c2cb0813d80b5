"""The process executor: calls in worker processes of this machine. It shares no memory.

So a death names the one call that it hit, a timeout or a cancellation kills the one worker that is meant, and the next call finds a
fresh one. Arguments and results cross by pickle, and by cloudpickle where they must.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from playhead.errors import UsageError
from playhead.executors.calls import Call
from playhead.executors.crew import AHEAD
from playhead.executors.deadlines import Deadlines
from playhead.executors.specs import ProcessExecutor, usable_cores
from playhead.executors.switchboard import Switchboard
from playhead.executors.workforce import StartMethod, Workforce
from playhead.ports.executor import ExecutorFuture, OpenExecutor

CLOSE_SECONDS = 30.0  # for the workers to leave: far above what one gets to end; then they are left to the nursery


@asynccontextmanager
async def open_spec(spec: ProcessExecutor) -> AsyncGenerator[OpenExecutor]:
    """The entry point `process`."""
    if sys.platform == "win32":
        raise UsageError("the process executor needs Linux or macOS", hint="on Windows, run Playhead under WSL")
    method: StartMethod = spec.start_method or ("forkserver" if sys.platform == "linux" else "spawn")
    executor = ProcessPool("playhead-process", spec.workers or usable_cores(), Workforce(method))
    try:
        yield executor
    finally:
        await executor.close()


class ProcessPool:
    """A switchboard with deadlines: what it stops, its switchboard kills."""

    def __init__(self, name: str, width: int, workforce: Workforce) -> None:
        self._width = width
        self._deadlines = Deadlines(name)
        self._switchboard = Switchboard(name, width, workforce, self._deadlines.watch)

    @property
    def width(self) -> int:
        return self._width

    @property
    def backlog(self) -> int:
        return AHEAD * self._width

    @property
    def shares_memory(self) -> bool:
        return False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        call = Call(self, fn, args, kwargs, _timeout)
        self._switchboard.put(call)
        return call

    def stop(self, call: Call) -> None:
        """Kill its worker, if it has one."""
        self._switchboard.stop(call)

    async def close(self) -> None:
        """Cancel every call and wait until the workers have left."""
        try:
            gone = asyncio.wrap_future(self._switchboard.close())
            await asyncio.wait({gone}, timeout=CLOSE_SECONDS)
            if gone.done():
                self._switchboard.join()
            gone.cancel()
        finally:
            self._deadlines.close()
