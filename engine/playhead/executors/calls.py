"""One call under way, as the built-in executors see it. Owns how a call ends, exactly once; runs nothing and starts nothing.

Several hands may want to end a call: the thread that computed it, its deadline, its canceller, the end of the executor.
The first one wins, and only it touches the future. A loser learns that it lost, and throws its outcome away.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Generator
from datetime import timedelta
from types import FunctionType, MethodType
from typing import Any, Protocol

from playhead.errors import TaskTimedOut
from playhead.ports.executor import ExecutorFuture


class CallOwner(Protocol):
    """Who runs the call, and can stop it."""

    def stop(self, call: Call) -> None:
        """The call was ended by another hand: stop the work, or leave it behind. It may not have begun. Must not block."""
        ...


class Call(ExecutorFuture[Any]):
    """A call and its future. It has begun once its owner has taken its arguments."""

    def __init__(
        self,
        owner: CallOwner,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout: timedelta | None,
    ) -> None:
        super().__init__()
        self.fn = fn
        self.timeout = timeout
        self._owner = owner
        self._arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = (args, kwargs)
        self._fate = threading.Lock()  # taken once, by the hand that ends the call, and never released

    @property
    def name(self) -> str:
        """What the call is called in messages."""
        return getattr(self.fn, "__qualname__", None) or repr(self.fn)

    @property
    def ended(self) -> bool:
        """Somebody has decided how the call ends; `done()` follows at once."""
        return self._fate.locked()

    def take_arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, for the one who begins the call. The call lets go of them: futures outlive what they computed."""
        arguments, self._arguments = self._arguments, None
        assert arguments is not None, "a call begins once"
        return arguments

    def succeed(self, value: Any) -> bool:
        """End with fn's result. False if the call had ended already."""
        if not self._fate.acquire(blocking=False):
            return False
        self.set_result(value)
        return True

    def fail(self, error: BaseException) -> bool:
        """End with an exception. False if the call had ended already."""
        if not self._fate.acquire(blocking=False):
            return False
        self.set_exception(error)
        return True

    def expire(self) -> bool:
        """End with TaskTimedOut, and have the work stopped. False if the call had ended already."""
        if not self._fate.acquire(blocking=False):
            return False
        self._owner.stop(self)
        self.set_exception(TaskTimedOut(f"{self.name} ran longer than its timeout of {self.timeout}"))
        return True

    def cancel(self) -> bool:
        if not self._fate.acquire(blocking=False):
            return self.cancelled()
        self._owner.stop(self)
        super().cancel()
        self.set_running_or_notify_cancel()  # tells concurrent.futures.wait and as_completed too
        return True

    def running(self) -> bool:
        return self._arguments is None and not self.ended

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait here for the end. Differs from the port's in that a StopIteration does not leave the waiter hanging."""
        if not self.done():
            yield from self._end_on_this_loop()
        if self.cancelled():
            raise asyncio.CancelledError
        return self.result()

    def _end_on_this_loop(self) -> Generator[Any, None, None]:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()

        def wake(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, end)

        self.add_done_callback(wake)
        try:
            yield from end
        except asyncio.CancelledError:
            self.cancel()
            raise


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling fn gives a coroutine: an `async def`, a partial of one, or an object whose `__call__` is one."""
    if inspect.iscoroutinefunction(fn):
        return True
    return not isinstance(fn, FunctionType | MethodType) and inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004 — asks what calling gives, not whether it can


def _resolve(end: asyncio.Future[None]) -> None:
    if not end.done():
        end.set_result(None)
