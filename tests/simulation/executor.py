"""A simulated executor: calls are fibers that take virtual time and end out of order. One that shares memory, and one that does not."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from playhead.errors import InfrastructureLost
from playhead.ports.executor import ExecutorFuture, OpenExecutor
from playhead.trust.payload import dump, load
from tests.simulation.fibers import Process, Schedule, current_fiber

WIDTH: Final = 2
LATEST_SECONDS: Final = 0.5  # how long a call may wait for its worker
LOST_WORKERS: Final = 2  # in one simulation, below a call's budget of losses


@dataclass
class Workers:
    """What the executors of all processes of one simulation have in common. A flow names it as its executor."""

    schedule: Schedule
    rng: random.Random
    shares_memory: bool
    losing: float = 0.0  # how likely a worker dies under a call, where memory is not shared
    lost: int = 0
    kind: str = "simulated"
    on_launch: Callable[[Process], None] = lambda _process: None

    def open(self) -> AbstractAsyncContextManager[OpenExecutor]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[OpenExecutor]:
        fiber = current_fiber()
        assert fiber is not None
        executor = SimulatedExecutor(self, fiber.process)
        try:
            yield executor
        finally:
            executor.close()


class SimulatedExecutor:
    """Calls begin in order, as many at a time as `width`; each first waits for a while, and so they end in any order."""

    width = WIDTH
    backlog = 2 * WIDTH

    def __init__(self, workers: Workers, process: Process) -> None:
        self._workers = workers
        self._process = process
        self._queue: deque[tuple[ExecutorFuture[Any], Callable[[], Any]]] = deque()
        self._running = 0

    @property
    def shares_memory(self) -> bool:
        return self._workers.shares_memory

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        self._workers.on_launch(self._process)
        future: ExecutorFuture[Any] = ExecutorFuture()
        if self.shares_memory:
            self._queue.append((future, lambda: _run(fn, args, kwargs)))
        else:
            sent = dump((args, kwargs))
            self._queue.append((future, lambda: self._run_elsewhere(fn, sent)))
        self._admit()
        return future

    def close(self) -> None:
        for future, _ in self._queue:
            future.cancel()
        self._queue.clear()

    def _admit(self) -> None:
        while self._queue and self._running < self.width:
            future, call = self._queue.popleft()
            self._running += 1
            self._workers.schedule.spawn(self._process, "worker", lambda f=future, c=call: self._work(f, c))  # type: ignore[misc]  # mypy cannot infer lambdas with defaults

    def _work(self, future: ExecutorFuture[Any], call: Callable[[], Any]) -> None:
        self._workers.schedule.sleep(self._workers.rng.uniform(0.0, LATEST_SECONDS))
        if future.set_running_or_notify_cancel():
            try:
                value = call()
            except Exception as error:  # the call's outcome, whatever it is
                future.set_exception(error)
            else:
                future.set_result(value)
        self._running -= 1
        self._admit()

    def _run_elsewhere(self, fn: Callable[..., Any], sent: bytes) -> Any:
        workers = self._workers
        dies = workers.lost < LOST_WORKERS and workers.rng.random() < workers.losing
        if dies and workers.rng.random() < 0.5:
            return self._lose()
        args, kwargs = load(sent)
        value = load(dump(_run(fn, args, kwargs)))
        return self._lose() if dies else value

    def _lose(self) -> None:
        self._workers.lost += 1
        raise InfrastructureLost("the simulated worker died", signal=9)


def _run(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return asyncio.run(fn(*args, **kwargs)) if inspect.iscoroutinefunction(fn) else fn(*args, **kwargs)
