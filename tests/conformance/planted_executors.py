"""Executors with one bug each. Each is a real executor that breaks one promise; the suite must say which."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar, Protocol

from playhead.errors import InfrastructureLost, TaskTimedOut, UnloadableOutcome
from playhead.executors.calls import Call
from playhead.executors.process import ProcessPool
from playhead.executors.thread import ThreadCrew
from playhead.executors.workforce import Workforce
from playhead.ports.executor import ExecutorFuture, OpenExecutor


class ClosableExecutor(OpenExecutor, Protocol):
    async def close(self) -> None: ...


class PlantedSpec:
    """A spec that opens what `make` makes."""

    def __init__(self, make: Callable[[], ClosableExecutor]) -> None:
        self._make = make

    @property
    def kind(self) -> str:
        return "planted"

    def open(self) -> AbstractAsyncContextManager[OpenExecutor]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[OpenExecutor]:
        executor = self._make()
        try:
            yield executor
        finally:
            await executor.close()


class Threads(ThreadCrew):
    """A sound executor, to plant a bug in."""

    def __init__(self, width: int = 2) -> None:
        super().__init__("planted", width)


class Processes(ProcessPool):
    """A sound executor in processes, to plant a bug in."""

    def __init__(self, workforce: Workforce | None = None) -> None:
        super().__init__("planted", 2, workforce or Workforce("forkserver"))


class LosesKeywords(Threads):
    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        kwargs.pop("timeout", None)
        return super().submit(fn, *args, _timeout=_timeout, **kwargs)


class WrapsExceptions(Threads):
    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return fn(*args, **kwargs)
            except Exception as error:
                raise RuntimeError("a task failed") from error

        return super().submit(fn if inspect.iscoroutinefunction(fn) else wrapped, *args, _timeout=_timeout, **kwargs)


class SaysMemoryIsSeparate(Threads):
    @property
    def shares_memory(self) -> bool:
        return False


class BeginsLastFirst(Threads):
    def _admit(self, *, here: bool = False) -> Call | None:
        self._waiting.reverse()
        mine = super()._admit(here=here)
        self._waiting.reverse()
        return mine


class SaysItIsNarrower(Threads):
    @property
    def width(self) -> int:
        return super().width - 1


class SaysItIsWider(Threads):
    @property
    def width(self) -> int:
        return super().width + 1


class ForgetsCoroutinesInTheWidth(Threads):
    def _admit(self, *, here: bool = False) -> Call | None:
        on_loop = self._running & self._on_loop
        self._running -= on_loop
        mine = super()._admit(here=here)
        self._running |= on_loop
        return mine


class TakesCoroutinesForFunctions(Threads):
    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            result = fn(*args, **kwargs)
            if asyncio.iscoroutine(result):
                result.close()  # nobody else will
            return result

        return super().submit(called, *args, _timeout=_timeout, **kwargs)


class IgnoresTimeouts(Threads):
    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        return super().submit(fn, *args, **kwargs)


class StuckCallsKeepTheirPlace(Threads):
    def stop(self, call: Call) -> None:
        if call in self._on_loop:
            super().stop(call)


class LeavesCoroutinesRunning(Threads):
    def stop(self, call: Call) -> None:
        if call not in self._on_loop:
            super().stop(call)


class RunsCancelledCalls(Threads):
    def _admit(self, *, here: bool = False) -> Call | None:
        for call in self._waiting:
            if call.cancelled():
                args, _ = call.take_arguments()
                threading.Thread(target=call.fn, args=args, daemon=True).start()
        return super()._admit(here=here)


class RefusesToCancel(Threads):
    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        future = super().submit(fn, *args, _timeout=_timeout, **kwargs)
        cancel = future.cancel
        future.cancel = lambda: not future.running() and cancel()  # type: ignore[method-assign]  # the bug
        return future


class AwaitsOnlyItsOwnLoop(Threads):
    def __init__(self) -> None:
        super().__init__()
        self._home = asyncio.get_running_loop()

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        future = super().submit(fn, *args, _timeout=_timeout, **kwargs)
        return _HomeFuture(future, self._home)


class _HomeFuture(ExecutorFuture[Any]):
    """Awaits like a future of the loop that it was made on."""

    def __init__(self, inner: ExecutorFuture[Any], home: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._at_home = asyncio.wrap_future(inner, loop=home)

    def __await__(self) -> Any:
        return self._at_home.__await__()

    def result(self, timeout: float | None = None) -> Any:
        return self._inner.result(timeout)

    def cancel(self) -> bool:
        return self._inner.cancel()

    def cancelled(self) -> bool:
        return self._inner.cancelled()

    def done(self) -> bool:
        return self._inner.done()


class LeavesCallsWithoutAnEnd(Threads):
    async def close(self) -> None:
        self._waiting.clear()
        for call in list(self._running):
            call.cancel()
        await super().close()


class LeavesAThread(Threads):
    def __init__(self) -> None:
        super().__init__()
        self._extra = threading.Thread(target=threading.Event().wait, args=(20,), name="left over", daemon=True)
        self._extra.start()


class TakesCallsWhenClosed(Threads):
    async def close(self) -> None:
        await super().close()
        self._closed = False


class RaisesPicklingErrorsAsTheyAre(Processes):
    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        return _translated(
            super().submit(fn, *args, _timeout=_timeout, **kwargs), UnloadableOutcome, TypeError("cannot pickle")
        )


class DeathsAreTimeouts(Processes):
    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        return _translated(
            super().submit(fn, *args, _timeout=_timeout, **kwargs), InfrastructureLost, TaskTimedOut("no answer")
        )


class HidesHowAWorkerDied(Processes):
    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        return _translated(
            super().submit(fn, *args, _timeout=_timeout, **kwargs), InfrastructureLost, InfrastructureLost("it died")
        )


class OneDeathHitsAll(Processes):
    """As a pool does that shares one queue between its workers: it cannot tell who died with what."""

    def __init__(self) -> None:
        super().__init__()
        self._submitted: list[Call] = []

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        future = super().submit(fn, *args, _timeout=_timeout, **kwargs)
        assert isinstance(future, Call)
        self._submitted.append(future)
        future.add_done_callback(self._spread)
        return future

    def _spread(self, future: Any) -> None:
        if not future.cancelled() and isinstance(future.exception(), InfrastructureLost):
            for call in self._submitted:
                if call.running() and call.fail(InfrastructureLost("a worker died")):
                    self.stop(call)


class LeavesAProcess(Processes):
    """Its nursery stays, which it gives out as a worker."""

    left: ClassVar[list[_Staying]] = []

    def __init__(self) -> None:
        workforce = _Staying("forkserver")
        self.left.append(workforce)
        super().__init__(workforce)

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        return super().submit(os.getppid if fn is os.getpid else fn, *args, _timeout=_timeout, **kwargs)

    @classmethod
    def sweep(cls) -> None:
        while cls.left:
            cls.left.pop().really_close()


class _Staying(Workforce):
    def close(self) -> None:
        """Not when it is told to."""

    def really_close(self) -> None:
        super().close()


def _translated(future: ExecutorFuture[Any], kind: type[Exception], error: Exception) -> ExecutorFuture[Any]:
    """A future that ends as that one does, but with `error` in place of any error of this kind."""
    translated: ExecutorFuture[Any] = ExecutorFuture()

    def copy(ended: Any) -> None:
        if ended.cancelled():
            translated.cancel()
        elif ended.exception() is None:
            translated.set_result(ended.result())
        else:
            translated.set_exception(error if isinstance(ended.exception(), kind) else ended.exception())

    future.add_done_callback(copy)
    return translated
