"""Flows that do what they should not, one thing each. Each is run by a row of a table; `good` is how it is meant."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import threading
from typing import Any

from playhead import (
    Cron,
    DaskExecutor,
    LocalExecutor,
    ProcessExecutor,
    TaskFuture,
    ThreadExecutor,
    flow,
    get_logger,
    task,
)

kept: list[TaskFuture[int]] = []  # by a flow, for whoever should not have them


class OneWay:
    """Pickles, and does not read back."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _never, ()


def _never() -> None:
    raise RuntimeError("there is no way back")


class TwoParts(Exception):
    """Pickles as an exception of one argument, and needs two to be made."""

    def __init__(self, table: str, row: int) -> None:
        super().__init__(f"{table} has a bad row {row}")


class Held(Exception):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("the door is locked")
        self.lock = threading.Lock()


class Unusual(BaseException):
    """Not an Exception: `except Exception` lets it through."""


@task
def double(number: int) -> int:
    get_logger().info("doubling %d", number)
    return 2 * number


@flow
def good(n: int = 3, note: str = "") -> list[int]:
    return double.map(range(n)).result()


@task
def a_lock() -> Any:
    return {"rows": [1], "lock": threading.Lock()}


@flow
def task_gives_a_lock() -> None:
    a_lock()


@task
def one_way() -> OneWay:
    return OneWay()


@flow
def task_gives_one_way() -> None:
    one_way()


@flow
def gives_a_lock() -> Any:
    return threading.Lock()


@flow
def gives_one_way() -> OneWay:
    return OneWay()


@flow
def gives_a_future() -> Any:
    return double.submit(1)


@task
def raise_held() -> None:
    raise Held


@flow
def task_raises_unpicklable() -> None:
    raise_held()


@task
def raise_two_parts() -> None:
    raise TwoParts("orders", 7)


@flow
def task_raises_one_way() -> None:
    raise_two_parts()


@flow
def exits() -> None:
    sys.exit(5)


@flow
def exits_with_words() -> None:
    sys.exit("nothing to do today")


@flow
def exits_hard() -> None:
    double(1)
    os._exit(17)


@flow
def raises_base() -> None:
    raise Unusual("very unusual")


@flow
def interrupts() -> None:
    raise KeyboardInterrupt


@task
def exit_in_task() -> None:
    sys.exit(3)


@flow
def task_exits() -> None:
    exit_in_task()


@task
def raise_base_in_task() -> None:
    raise Unusual("in a task")


@flow
def task_raises_base() -> None:
    raise_base_in_task()


@task
def crash() -> None:
    ctypes.string_at(0)


@flow(executor=ThreadExecutor())
def segfault_in_thread() -> None:
    double(1)
    crash()


@flow(executor=LocalExecutor())
def segfault_here() -> None:
    double(1)
    crash()


@flow(executor=ProcessExecutor(workers=1))
def segfault_in_worker() -> None:
    crash()


@flow
def keeps_a_future() -> None:
    kept[:] = [double.submit(1)]


@flow
def reads_a_kept_future() -> int:
    return kept[0].result()


@flow
def passes_a_kept_future() -> int:
    return double(kept[0])  # type: ignore[arg-type]  # what is tried: tasks do take futures, of their own run


@flow
async def awaits_a_kept_future() -> int:
    return await kept[0]


def _in_a_thread(work: Any) -> Any:
    """What it gives, or raises, in a plain thread."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="stranger")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


@flow
def submits_in_a_thread() -> Any:
    return _in_a_thread(lambda: double.submit(4))


@flow
def calls_in_a_thread() -> int:
    value: int = _in_a_thread(lambda: double(4))
    return value


@flow
async def submits_in_a_loop_thread() -> int:
    return await (await asyncio.to_thread(double.submit, 4))


@task
def submit_inside() -> Any:
    return double.submit(4)


@flow
def task_submits() -> None:
    submit_inside()


@flow(executor=DaskExecutor(address="tcp://127.0.0.1:1", connect_seconds=0.3))
def on_a_missing_scheduler() -> None:
    double(1)


@flow(schedule=Cron("61 6 * * *"))
def on_a_bad_cron() -> None: ...


@flow(schedule=Cron("every morning"))
def on_no_cron() -> None: ...


@flow(schedule=Cron("0 6 30 2 *"))
def on_a_day_that_never_comes() -> None: ...


@flow(schedule=Cron("0 6 * * *", tz="Europe/Atlantis"))
def in_no_time_zone() -> None: ...
