"""The flows that the simulation runs, and the ledger outside of them in which their tasks leave their side effects.

Results carry which execution made them, so that the bytes of two executions differ; what the flows give in the end depends on
values alone. Some results are larger than what a journal holds inline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import playhead
from playhead import current_run, flow, task, unmapped
from playhead.flows.flow import Flow
from tests.simulation.fibers import Fiber, current_fiber

PADDING: Final = "x" * 400  # more than INLINE_BYTES, as the simulation sets it
TRIES: Final = 3  # of the flaky task: it succeeds on the last


@dataclass
class Ledger:
    """What happened outside of the engine. `on_execution(fiber, key, attempt)` is told before a task's effect,
    `on_seen(fiber, what, value)` when a flow saw something of the world."""

    on_execution: Callable[[Fiber, str, int], None]
    on_seen: Callable[[Fiber, str, Any], None]
    number: int = 0

    def next_number(self) -> int:
        self.number += 1
        return self.number


@dataclass(frozen=True)
class Made:
    """A task's result: the value, and which execution made it."""

    value: int
    by: int
    padding: str = ""


_ledgers: list[Ledger] = []


@contextmanager
def keeping(ledger: Ledger) -> Generator[None]:
    """Tasks write to this ledger while it lasts."""
    _ledgers.append(ledger)
    try:
        yield
    finally:
        _ledgers.pop()


@task
def increase(made: Made | int, by: int = 1) -> Made:
    number = _happened()
    _fiber().schedule.sleep(0.2)
    return Made(_value(made) + by, number)


@task
def widen(made: Made | int, factor: int) -> Made:
    number = _happened()
    _fiber().schedule.sleep(0.1 * factor)
    return Made(_value(made) * factor, number, PADDING)


@task(retries=TRIES - 1, retry_delay=timedelta(seconds=0.5), retry_jitter=0.5)
def flaky(made: Made) -> Made:
    number = _happened()
    if current_run().attempt < TRIES:
        raise ValueError(f"execution {number} {PADDING}")
    return Made(made.value + 100, number)


@task
def fails() -> None:
    raise LookupError(f"execution {_happened()}")


@task
async def ponder(made: Made | int) -> Made:
    number = _happened()
    await asyncio.sleep(0.3)
    return Made(_value(made) + 7, number, PADDING)


@flow(name="chain")
def chain() -> tuple[int, list[int], int, str]:
    """Not async: a chain, a map, retries, a failure that is caught, and facts."""
    first = increase(1)
    seen("random", playhead.random())
    mapped = widen.map(unmapped(first), range(1, 4))
    tried = flaky.submit(first)
    summed = increase.submit(tried, by=5)
    told = "nothing"
    try:
        fails()
    except LookupError as error:
        told = type(error).__name__
    seen("uuid", playhead.uuid4())
    playhead.sleep_blocking(timedelta(seconds=0.4))
    return first.value, [made.value for made in mapped.result()], summed.result().value, told


@flow(name="crowd")
async def crowd() -> tuple[list[int], list[int], int]:
    """Async: gather over child tasks, facts, timers, a timeout that may or may not fire, and an order of arrival."""
    seen("now", playhead.now())
    results = await asyncio.gather(*(_branch(x) for x in range(3)))
    await playhead.sleep(timedelta(seconds=0.6))
    futures = widen.map([results[0]] * 3, range(1, 4))
    arrived = [made.value async for made in _as_they_come(list(futures))]
    seen("order", arrived)
    late = increase.submit(results[1])
    try:
        async with playhead.timeout(timedelta(seconds=0.3)):
            await late
    except TimeoutError:
        seen("late", True)
    else:
        seen("late", False)
    return [made.value for made in results], sorted(arrived), (await late).value


@flow(name="tick")
def tick() -> int:
    """One task."""
    seen("now", playhead.now())
    return increase(1).value


@flow(name="tock")
def tock() -> int:
    """The flow of a schedule."""
    return increase(2).value


async def _branch(x: int) -> Made:
    seen(f"random {x}", playhead.random())
    first = await ponder(x)
    return await increase.submit(first, by=x)


async def _as_they_come(futures: Sequence[Awaitable[Made]]) -> AsyncGenerator[Made]:
    for future in asyncio.as_completed(futures):
        yield await future


FLOWS: Final[tuple[Flow[..., Any], ...]] = (chain, crowd, tick, tock)
EXPECTED: Final[dict[str, Any]] = {
    "chain": (2, [2, 4, 6], 107, "LookupError"),
    "crowd": ([7, 9, 11], [7, 14, 21], 10),
    "tick": 2,
    "tock": 3,
}


def seen(what: str, value: Any) -> None:
    """The flow's own code learned this from the engine: whoever runs it again must learn the same."""
    _ledgers[-1].on_seen(_fiber(), what, value)


def _happened() -> int:
    """The side effect. A number that no other execution has."""
    key = current_run().task_key
    assert key is not None
    _ledgers[-1].on_execution(_fiber(), key, current_run().attempt)
    return _ledgers[-1].next_number()


def _value(made: Made | int) -> int:
    return made if isinstance(made, int) else made.value


def _fiber() -> Fiber:
    fiber = current_fiber()
    assert fiber is not None
    return fiber
