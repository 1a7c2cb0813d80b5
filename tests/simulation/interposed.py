"""The standard library as the simulated processes see it: locks, threads, clocks, selectors and futures that give up the turn.

The runner's real code runs on these, unchanged: within its modules `threading`, `time` and `random` are exchanged, and in asyncio
only what waits and what tells the time. Outside of fibers everything behaves as it always does.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import itertools
import logging
import random
import secrets
import selectors
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, Final, TypeVar

import pytest
from anyio import to_thread

from playhead.service import read_models
from tests.simulation.fibers import Fiber, Schedule, current_fiber

T = TypeVar("T")

WALL_START: Final = 1_700_000_000  # seconds since 1970 when the world begins
# Packages whose modules get the exchanged library.
SIMULATED: Final = ("playhead.runner.", "playhead.journal.", "playhead.agent.", "playhead.client.", "playhead.server.")


@contextmanager
def interposed(schedule: Schedule, rng: random.Random) -> Generator[pytest.MonkeyPatch]:
    """While this lasts, fibers wait cooperatively and see virtual time. The patch may be used for more; all of it is undone."""
    with pytest.MonkeyPatch.context() as patch:
        library: dict[ModuleType, Any] = {
            threading: _threading(schedule),
            time: _time(schedule),
            random: _random(rng),
            secrets: _secrets(rng),
            to_thread: SimpleNamespace(run_sync=_run_sync),
        }
        for name, module in sorted(sys.modules.items()):
            if name.startswith(SIMULATED):
                for real, simulated in library.items():
                    attribute = real.__name__.rpartition(".")[2]
                    if getattr(module, attribute, None) is real:
                        patch.setattr(module, attribute, simulated)
        patch.setattr(threading.Thread, "start", _only_fibers(threading.Thread.start))
        _patch_asyncio(patch, schedule)
        patch.setattr(read_models, "OneThread", _Inline)
        loggers = [logging.getLogger("asyncio"), logging.getLogger("playhead")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)  # what the dead leave behind is no news, nor what the faults cause
        patch.setattr(sys, "unraisablehook", _overhear)  # nor what their coroutines say when they are collected
        try:
            yield patch
            gc.collect()
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _overhear(_: object) -> None:
    """Say nothing."""


def _only_fibers(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def begin(thread: threading.Thread) -> None:
        known = current_fiber() is None or isinstance(thread, Fiber)
        assert known, f"{thread.name} is started by a simulated process, and has no turn: its module must be interposed"
        start(thread)

    return begin


# --- threading ------------------------------------------------------------------------------------------------------------------


class Lock:
    """`threading.Lock` and `RLock`. Every acquisition is a place where others may come first."""

    def __init__(self, schedule: Schedule, *, reentrant: bool = False) -> None:
        self._schedule = schedule
        self._reentrant = reentrant
        self._owner: Fiber | None = None
        self._depth = 0

    def acquire(self) -> bool:
        fiber = current_fiber()
        assert fiber is not None, "the runner's code runs in fibers"
        if self._reentrant and self._owner is fiber:
            self._depth += 1
            return True
        self._schedule.yield_turn()
        while self._owner is not None:
            self._schedule.wait(lambda: self._owner is None)
        self._owner, self._depth = fiber, 1
        return True

    def release(self) -> None:
        if self._owner is not current_fiber():
            return  # a dying fiber leaves a condition that it never got back
        self._depth -= 1
        if self._depth == 0:
            self._owner = None

    def release_wholly(self) -> int:
        depth, self._depth, self._owner = self._depth, 0, None
        return depth

    def take_back(self, depth: int) -> None:
        self.acquire()
        self._depth = depth

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    """`threading.Condition`."""

    def __init__(self, schedule: Schedule, lock: Lock | None = None) -> None:
        self._schedule = schedule
        self._lock = lock or Lock(schedule, reentrant=True)
        self._waiters: list[list[bool]] = []

    def wait(self, timeout: float | None = None) -> bool:
        told = [False]
        self._waiters.append(told)
        depth = self._lock.release_wholly()
        try:
            self._schedule.wait(lambda: told[0], timeout)
        finally:
            if told in self._waiters:
                self._waiters.remove(told)
        self._lock.take_back(depth)
        return told[0]

    def wait_for(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        assert timeout is None
        while not ready():
            self.wait()
        return True

    def notify(self, count: int = 1) -> None:
        for told in self._waiters[:count]:
            told[0] = True
        del self._waiters[:count]

    def notify_all(self) -> None:
        self.notify(len(self._waiters))

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Event:
    """`threading.Event`."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def wait(self, timeout: float | None = None) -> bool:
        return self._schedule.wait(self.is_set, timeout)


def _threading(schedule: Schedule) -> SimpleNamespace:
    def thread(*, target: Callable[[], object], name: str, daemon: bool) -> Fiber:
        fiber = current_fiber()
        assert fiber is not None
        return Fiber(schedule, fiber.process, name, target, daemon=daemon)

    def condition(lock: Lock | None = None) -> Condition:
        return Condition(schedule, lock)

    return SimpleNamespace(
        Lock=lambda: Lock(schedule),
        RLock=lambda: Lock(schedule, reentrant=True),
        Condition=condition,
        Event=lambda: Event(schedule),
        Thread=thread,
        current_thread=threading.current_thread,
        main_thread=threading.main_thread,
    )


# --- time and chance -----------------------------------------------------------------------------------------------------------


def _time(schedule: Schedule) -> SimpleNamespace:
    def wall() -> float:
        fiber = current_fiber()
        return WALL_START + schedule.now + (fiber.process.skew if fiber is not None else 0.0)

    def boot_time(_clock: int) -> float:
        return schedule.now

    return SimpleNamespace(
        time_ns=lambda: round(wall() * 1e6) * 1000,
        time=wall,
        monotonic=lambda: schedule.now,
        clock_gettime=boot_time,
        CLOCK_BOOTTIME=7,
        sleep=schedule.sleep,
    )


def _random(rng: random.Random) -> SimpleNamespace:
    return SimpleNamespace(Random=lambda: random.Random(rng.random()), random=rng.random, uniform=rng.uniform)


def _secrets(rng: random.Random) -> SimpleNamespace:
    def token_hex(length: int) -> str:
        return rng.randbytes(length).hex()

    return SimpleNamespace(token_hex=token_hex, token_bytes=rng.randbytes)


# --- asyncio and futures -------------------------------------------------------------------------------------------------------


def _patch_asyncio(patch: pytest.MonkeyPatch, schedule: Schedule) -> None:
    real_time, real_to_thread = asyncio.BaseEventLoop.time, asyncio.to_thread
    future_class: Any = concurrent.futures.Future
    real_result, real_exception = future_class.result, future_class.exception

    def virtual_time(loop: asyncio.BaseEventLoop) -> float:
        return real_time(loop) if current_fiber() is None else schedule.now

    def result(future: concurrent.futures.Future[Any], timeout: float | None = None) -> Any:
        if current_fiber() is not None and not future.done():
            schedule.wait(future.done, timeout)
            timeout = 0
        return real_result(future, timeout)

    def exception(future: concurrent.futures.Future[Any], timeout: float | None = None) -> BaseException | None:
        if current_fiber() is not None and not future.done():
            schedule.wait(future.done, timeout)
            timeout = 0
        raised: BaseException | None = real_exception(future, timeout)
        return raised

    async def to_thread(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        fiber = current_fiber()
        if fiber is None:
            return await real_to_thread(fn, *args, **kwargs)
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        context = contextvars.copy_context()
        schedule.spawn(fiber.process, "to-thread", lambda: _settle(done, lambda: context.run(fn, *args, **kwargs)))
        return await asyncio.wrap_future(done)

    patch.setattr(asyncio.tasks, "Task", _numbered_task())
    patch.setattr(asyncio.BaseEventLoop, "time", virtual_time)
    patch.setattr(future_class, "result", result)
    patch.setattr(future_class, "exception", exception)
    patch.setattr(asyncio, "to_thread", to_thread)
    patch.setattr(selectors, "DefaultSelector", _selector(schedule))
    _patch_wake_ups(patch)


def _numbered_task() -> type[asyncio.Task[Any]]:
    numbers = itertools.count()

    class NumberedTask(asyncio.Task[Any]):
        """Hashes to its number and not to its address, so that the order of a set of tasks is the same in every life of a seed."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._number = next(numbers)
            super().__init__(*args, **kwargs)

        def __hash__(self) -> int:
            return self._number

    return NumberedTask


def _selector(schedule: Schedule) -> type[selectors.DefaultSelector]:
    class TurnSelector(selectors.DefaultSelector):
        """Waits by giving up the turn. All that ever wakes a simulated loop is another thread's call into it, which needs no socket."""

        woken = False

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if current_fiber() is None:
                return super().select(timeout)
            if not self.woken and (timeout is None or timeout > 0):
                schedule.wait(lambda: self.woken, timeout)
                schedule.yield_turn()
            woken, self.woken = self.woken, False
            return [(key, selectors.EVENT_READ) for key in self.get_map().values()] if woken else []

    return TurnSelector


def _patch_wake_ups(patch: pytest.MonkeyPatch) -> None:
    """A loop that waits is woken by a mark in its selector."""
    loops: Any = asyncio.SelectorEventLoop
    write, read = loops._write_to_self, loops._read_from_self

    def wake(loop: Any) -> None:
        selector = getattr(loop._selector, "_inner", loop._selector)  # a flow's loop has its pump's around it
        if hasattr(selector, "woken"):
            selector.woken = True
        else:
            write(loop)

    def woken(loop: Any) -> None:
        if current_fiber() is None:
            read(loop)

    patch.setattr(loops, "_write_to_self", wake)
    patch.setattr(loops, "_read_from_self", woken)


async def _run_sync(fn: Callable[..., T], *args: Any, abandon_on_cancel: bool = False) -> T:
    """anyio's way into a thread is asyncio's here. What is abandoned goes on by itself, and nobody waits for it either way."""
    del abandon_on_cancel
    return await asyncio.to_thread(fn, *args)


def _settle(done: concurrent.futures.Future[Any], call: Callable[[], Any]) -> None:
    try:
        done.set_result(call())
    except Exception as error:  # it is whoever awaits who gets it
        done.set_exception(error)


class _Inline:
    """`OneThread` without the thread: the read models' short statements are made by the server's own fiber."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, call: Callable[[], T]) -> T:
        return call()

    async def close(self) -> None:
        """There is nothing to end."""
