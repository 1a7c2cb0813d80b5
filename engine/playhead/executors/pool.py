"""An executor over somebody else's pool of threads: whatever has `submit(fn)`, and gives a future with `result()`.

The pool computes. Order, width, timeouts, cancellation, coroutines and closing are the thread executor's: a thread of its own waits at
the pool for each call. The pool is of this process, since functions and results are passed to it as they are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from playhead.errors import InfrastructureLost
from playhead.executors.calls import Call
from playhead.executors.crew import MAX_ABANDONED, Lane
from playhead.executors.deadlines import Deadlines
from playhead.executors.thread import ThreadCrew, ThreadLane
from playhead.ports.executor import OpenExecutor

__all__ = ["MAX_ABANDONED", "Pool", "open_pool"]


class PoolFuture(Protocol):
    def result(self) -> object: ...


class Pool(Protocol):
    """What `concurrent.futures` calls an executor, or anything like it. `submit` is called from several threads."""

    def submit(self, fn: Callable[[], None], /) -> PoolFuture: ...

    def shutdown(self, wait: bool = True) -> None: ...


@asynccontextmanager
async def open_pool(pool: Pool, *, kind: str, width: int) -> AsyncGenerator[OpenExecutor]:
    """An executor that has the pool compute `width` calls at a time, and shuts it down at the end.

    A call that is stuck beyond its timeout, or is cancelled, keeps a place of the pool's: it needs room for `MAX_ABANDONED` more. The
    pool is not waited for where such a call still runs. InfrastructureLost ends a call that the pool itself fails.
    """
    executor = _PoolCrew(pool, f"playhead-{kind}", width)
    try:
        yield executor
    finally:
        await executor.close()
        pool.shutdown(wait=not executor.is_stuck)


class _PoolCrew(ThreadCrew):
    def __init__(self, pool: Pool, name: str, width: int) -> None:
        super().__init__(name, width)
        self._pool = pool

    @property
    def is_stuck(self) -> bool:
        """Whether a call still runs that cannot be stopped."""
        with self._lock:
            return self._abandoned > 0

    def _open_lane(self) -> Lane:
        return _PoolLane(self._pool, self._deadlines)


class _PoolLane(ThreadLane):
    """Has the pool compute a call, and waits for it."""

    def __init__(self, pool: Pool, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self._pool = pool

    def run(self, call: Call) -> None:
        try:
            self._pool.submit(partial(super().run, call)).result()  # there the call is ended, however it went
        except BaseException as error:  # noqa: BLE001 — foreign code, of which each fault is a loss
            call.fail(InfrastructureLost(f"the pool did not compute {call.name}: {type(error).__name__}: {error}"))
