"""What the executors' suite submits: calls that return, raise, die or cannot be pickled. Workers import this module."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any, NoReturn


class Trouble(Exception):
    """An exception with fields."""


class Collapse(BaseException):
    """Not an Exception."""


class AsyncCallable:
    async def __call__(self, value: Any) -> Any:
        return value


class Unreadable:
    """Pickles, and does not unpickle."""

    def __reduce__(self) -> tuple[Callable[[], NoReturn], tuple[()]]:
        return _refuse_to_be_read, ()


def _refuse_to_be_read() -> NoReturn:
    raise Trouble("not readable")


class UnreadableTrouble(Exception):
    """Unpickling calls it with its args, of which there is one too few. Such exceptions are common."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def told(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


async def told_async(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    await asyncio.sleep(0)
    return args, kwargs


def itself(value: Any) -> Any:
    return value


def append_two(values: list[int]) -> list[int]:
    values.append(2)
    return values


def raise_it(error: BaseException) -> NoReturn:
    raise error


async def raise_async(error: BaseException) -> NoReturn:
    await asyncio.sleep(0)
    raise error


def raise_with_a_lock() -> NoReturn:
    error = Trouble("what went wrong")
    error.lock = threading.Lock()  # type: ignore[attr-defined]  # the point: a field that does not pickle
    raise error


def raise_unreadable() -> NoReturn:
    raise UnreadableTrouble("what went wrong", 7)


def exit_now(code: int) -> NoReturn:
    os._exit(code)


async def exit_async(code: int) -> NoReturn:
    os._exit(code)


def kill_own_process(number: int) -> None:
    os.kill(os.getpid(), number)


async def pid_async() -> int:
    return os.getpid()
