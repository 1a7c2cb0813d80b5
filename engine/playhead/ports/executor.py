"""The port of executors. An executor knows calls, not flows, runs or retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

R = TypeVar("R")


class ExecutorFuture(Future[R], Generic[R]):
    """A call under way: a `concurrent.futures.Future` that can also be awaited, on any loop.

    `cancel()` is a request: a call that has not begun is withdrawn; one that runs is stopped where the executor can stop
    it (a coroutine is cancelled, a process is killed), and goes on, with its result thrown away, where it cannot (a thread).
    Done callbacks are called in a thread of the executor's choosing and must be short.
    """

    # Which one computed it, as the executor names its workers; where it says so, and once it is done
    worker: str | None = None

    def __await__(self) -> Generator[Any, None, R]:
        return asyncio.wrap_future(self).__await__()


class OpenExecutor(Protocol):
    """A running executor.

    * `submit` never blocks and may be called from any thread while the executor is open. A coroutine function is run to
      its end on an event loop of the executor's. The future ends with fn's result, or fn's exception as it was raised,
      or `InfrastructureLost` when the worker died under the call (with its exit code or signal), or `TaskTimedOut` when
      `timeout` ran out, or `CancelledError`. Calls begin in the order of submission, as many at a time as `width` allows.
    * With `shares_memory` arguments and results are passed as they are; otherwise by cloudpickle, and what cannot be
      pickled ends the future with `UnloadableOutcome` that names the argument or the result.
    * A call that calls sys.exit or raises another BaseException ends its own future with that exception, not the worker.
    * Closing the executor withdraws what has not begun, stops what can be stopped, and leaves no process or thread behind
      but threads whose call cannot be stopped (those are daemons).
    """

    @property
    def width(self) -> int:
        """How many calls run at a time."""
        ...

    @property
    def backlog(self) -> int:
        """How many calls are worth handing over at a time, those that run included: with fewer a worker may wait for the next.

        It may change; what asks has few microseconds for it.
        """
        ...

    @property
    def shares_memory(self) -> bool: ...

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]: ...


Persist = Literal["auto", "worker", "runner"]


@runtime_checkable
class ClusterExecutor(OpenExecutor, Protocol):
    """An executor over workers of which some, or all, may see the run's storage themselves.

    There a worker writes a large result down, and another reads it as its argument: it passes through neither runner nor scheduler.
    """

    @property
    def persist(self) -> Persist:
        """Who writes large results down. "worker": the worker, and where it cannot the call fails. "auto": the worker where it can,
        else the runner. "runner": always the runner, through which results and arguments pass then."""
        ...

    def submit_placed(
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        _resources: Mapping[str, float],
        _priority: int,
        _timeout: timedelta | None = None,
        **kwargs: Any,
    ) -> ExecutorFuture[Any]:
        """As `submit`, for a call that takes so much of its worker's resources, beside what every call does, and begins before those of
        a lower priority that wait with it; without it that is 0. It waits as long as no worker has what it takes, and holds up no others.
        """
        ...


@runtime_checkable
class ReportingExecutor(OpenExecutor, Protocol):
    """An executor that can say how the run fared on it, in a page for people. Optional: others need not have it."""

    async def report(self) -> str | None:
        """The page, as HTML that needs nothing else to be read. Asked for once, when no call is under way any more and before the
        executor closes; on any loop. None: nobody asked for one. Raises what keeps it from being made."""
        ...


class ExecutorSpec(Protocol):
    """What a flow names: a frozen description that is sealed with the flow. `kind` is the entry point that opens it."""

    @property
    def kind(self) -> str: ...

    def open(self) -> AbstractAsyncContextManager[OpenExecutor]: ...
