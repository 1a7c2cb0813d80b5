"""A task's future, as a flow's code holds it. Owns nothing but the waiting: outcomes are delivered by the session's pump.

It is an `asyncio.Future`, so `await`, `asyncio.gather`, `wait`, `as_completed` and groups take it as it is; in a flow that is not
async `.result()` waits. What makes no sense before the value is there (truth, comparison, length, iteration, formatting,
pickling) raises with a hint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from contextvars import Context
from typing import Any, Generic, NoReturn, TypeVar, overload

from playhead.core.names import TaskKey
from playhead.errors import MisusedCall
from playhead.flows.context import Session, session_var
from playhead.flows.foreign_time import warn_in_timeout, warn_in_wait

R = TypeVar("R")


class Waiter(asyncio.Future[None]):
    """What a flow's code waits on for something of its run: the outcome of a task, a timer. By its class the pump knows that nobody
    outside the run will wake it."""

    def release(self) -> None:
        """What it waits for is there."""
        if not self.done():
            self.set_result(None)


class TaskFuture(asyncio.Future[R], Generic[R]):
    """The outcome of a task run, now or later. Pass it to other tasks, await it, or, in a flow that is not async, ask `.result()`.

    Cancelling it, as asyncio's helpers do, ends the waiting; the task itself goes on.
    """

    __slots__ = ("_session", "_waiters", "key", "looked_at")

    def __init__(self, session: Session, key: TaskKey, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._session = session
        self.key = key
        self.looked_at = False  # whether anything would notice a failure
        self._waiters: list[Waiter | _InOrder] | None = None

    def result(self) -> R:
        """The task's result, or its exception. Waits in a flow that is not async; in an async flow, `await` it instead."""
        self.looked_at = True
        self._refuse_foreign()
        if not self.done():
            self._session.wait(self)
        return self._value()

    def exception(self) -> BaseException | None:
        """The task's exception, or None. Waits as `result` does."""
        self.looked_at = True
        self._refuse_foreign()
        if not self.done():
            self._session.wait(self)
        return super().exception()

    def __await__(self) -> Generator[Any, None, R]:
        self.looked_at = True
        self._refuse_foreign()
        if not self.done():
            warn_in_timeout(self.key)
            waiter = Waiter(loop=self.get_loop())
            self.release_then(waiter)
            yield from waiter  # cancelling whoever waits here cancels this waiter, and not the future that others wait for
        return self._value()

    def add_done_callback(self, fn: Callable[..., Any], /, *, context: Context | None = None) -> None:
        self.looked_at = True
        warn_in_wait(self.key, TaskFuture)
        super().add_done_callback(fn, context=context)

    def set_result(self, result: R, /) -> None:
        super().set_result(result)
        self._release()

    def set_result_later(self, read: Callable[[], R]) -> None:
        """The result is there, and is read when somebody asks for it. What reading raises, whoever asks gets."""
        unread: Any = _Unread(read)
        self.set_result(unread)

    def _value(self) -> R:
        value: Any = super().result()
        read: R = value.value() if type(value) is _Unread else value
        return read

    def set_exception(self, exception: type | BaseException, /) -> None:
        super().set_exception(exception)
        self._release()

    def cancel(self, msg: Any | None = None) -> bool:
        """End the waiting of everybody who awaits it; the task itself goes on."""
        cancelled = super().cancel(msg)
        self._release()
        return cancelled

    @property
    def succeeded(self) -> bool:
        """Whether its result is there. Asks about the moment: for what waits, and not for a flow's code."""
        return self.done() and not self.cancelled() and self._exception is None

    @property
    def awaited(self) -> bool:
        """Whether any code would run if it were completed now."""
        return bool(self._waiters or self._callbacks)

    def release_then(self, waiter: Waiter | _InOrder) -> None:
        """Release the waiter when it is completed. The engine's own; a flow's code awaits."""
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)

    def _release(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            waiter.release()

    def _refuse_foreign(self) -> None:
        """Also where it is done: whether it is depends on the moment, and what a flow may read must not."""
        if session_var.get() is not self._session:
            raise MisusedCall(
                f"the future of task {self.key} belongs to flow run {self._session.current.id}, and that is not the one running here",
                hint="await a task's future inside the flow run that submitted it, before its flow ends; hand on its value instead",
            )

    def _refuse(self, what: str) -> NoReturn:
        raise MisusedCall(
            f"{what} a future (task {self.key}), not of its value",
            hint="await it first, or call .result() in a flow that is not async; tasks take futures as arguments as they are",
        )

    def __bool__(self) -> NoReturn:
        self._refuse("this asks for the truth of")

    def __eq__(self, other: object) -> bool:
        return True if self is other else self._refuse("this compares")

    def __hash__(self) -> int:
        return id(self)

    def __lt__(self, other: object) -> NoReturn:
        self._refuse("this compares")

    __le__ = __gt__ = __ge__ = __lt__

    def __len__(self) -> NoReturn:
        self._refuse("this asks for the length of")

    def __iter__(self) -> NoReturn:  # asyncio's is for `yield from`, which nobody writes any more
        self._refuse("this iterates over")

    def __getitem__(self, item: object) -> NoReturn:
        self._refuse("this asks for an item of")

    def __format__(self, spec: str) -> NoReturn:
        self._refuse("this formats")

    def __str__(self) -> str:
        self._refuse("this formats")

    def __reduce__(self) -> NoReturn:
        self._refuse("this pickles")

    def __repr__(self) -> str:
        return f"<TaskFuture {self.key} {'done' if self.done() else 'pending'}>"


class _Unread:
    """A result that nobody has asked for yet; read once."""

    __slots__ = ("_read", "_value")

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read: Callable[[], Any] | None = read

    def value(self) -> Any:
        if self._read is not None:
            self._value = self._read()
            self._read = None
        return self._value


class TaskFutures(Sequence[TaskFuture[R]], Generic[R]):
    """The futures of a map, in the order of its elements: a sequence; `await` it for the list of results, or ask `.result()`."""

    def __init__(self, key: TaskKey, futures: Sequence[TaskFuture[R]]) -> None:
        self.key = key
        self._futures = tuple(futures)

    @overload
    def __getitem__(self, index: int) -> TaskFuture[R]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TaskFuture[R]]: ...
    def __getitem__(self, index: int | slice) -> TaskFuture[R] | Sequence[TaskFuture[R]]:
        return self._futures[index]

    def __len__(self) -> int:
        return len(self._futures)

    def __iter__(self) -> Iterator[TaskFuture[R]]:
        return iter(self._futures)

    def __await__(self) -> Generator[Any, None, list[R]]:
        return self._all().__await__()

    def result(self) -> list[R]:
        """The results in order. The first failure in that order is raised."""
        for future in self._futures:
            future.looked_at = True
        return [future.result() for future in self._futures]

    async def _all(self) -> list[R]:
        for future in self._futures:
            future.looked_at = True
        await _InOrder.wait(self._futures)
        return [await future for future in self._futures]

    def __repr__(self) -> str:
        return f"<TaskFutures {self.key} x {len(self)}>"


class _InOrder:
    """Waits for futures in their order: until all have succeeded, or the first failure in that order is there.

    One waiter for all of them: as each is completed it moves on to the next one that is not, without waking anybody.
    """

    __slots__ = ("_at", "_futures", "_waiter")

    def __init__(self, futures: tuple[TaskFuture[Any], ...], at: int) -> None:
        self._futures = futures
        self._at = at
        self._waiter = Waiter(loop=futures[at].get_loop())

    @classmethod
    async def wait(cls, futures: tuple[TaskFuture[Any], ...]) -> None:
        at = next((index for index, future in enumerate(futures) if not future.succeeded), len(futures))
        if at == len(futures) or futures[at].done():
            return
        warn_in_timeout(futures[at].key)
        waiting = cls(futures, at)
        waiting.release()
        await waiting._waiter

    def release(self) -> None:
        """Move on to the next future that is not there yet, if nothing ends the waiting."""
        futures, at = self._futures, self._at
        while at < len(futures) and futures[at].succeeded:
            at += 1
        self._at = at
        if at == len(futures) or futures[at].done():
            self._waiter.release()
        elif not self._waiter.done():
            futures[at].release_then(self)
