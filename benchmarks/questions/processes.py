"""What does a task cost in worker processes, where arguments and results must travel, beside a bare process pool?

Both sides are timed from before their workers are made until these are gone; both make them by forking a clean process. The pool's
comes warm, since Python starts it once for a whole program; a run's is started with the run, which stands in the row of one task.
What does not depend on that is the row of a task more, and the executor's own without an engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Question, Row, in_turns
from benchmarks.stage import hired, open_home, served
from playhead.executors import ProcessExecutor

WIDTH: Final = 1_000
WIDER: Final = 4_000
FLOOR: Final = 3.0
GOAL: Final = 1.5


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    width, wider = effort.of(WIDTH), effort.of(WIDER)
    home = open_home(folder / "served")
    with served(home.path) as (url, _), hired(home, url) as runner:

        def seconds(count: int) -> float:
            return runner.seconds(flows.fan_out_processes, n=count)

        ours, pool, one, pool_of_one, many, pool_of_many = in_turns(
            effort.repeats,
            lambda: 1e6 * seconds(width) / width, lambda: 1e6 * limits.process_pool_seconds(width),
            lambda: 1e3 * seconds(1), lambda: 1e3 * limits.process_pool_seconds(1),
            lambda: 1e6 * seconds(wider) / wider, lambda: 1e6 * limits.process_pool_seconds(wider),
        )  # fmt: skip
    yield _row(f"a task of {width:,} in 2 processes", "µs", ours, pool)
    ratios = tuple(mine / bare for mine, bare in zip(ours, pool, strict=True))
    yield Row(what=f"a task of {width:,}, beside a bare pool", unit="x", values=ratios, floor=FLOOR, goal=GOAL)
    yield _row("a run of one task, its workers' start included", "ms", one, pool_of_one)
    more = _each_more(width, wider)
    yield _row("a task more", "µs", more(ours, many), more(pool, pool_of_many))
    alone, pool = in_turns(
        effort.repeats,
        lambda: 1e6 * asyncio.run(_executor_seconds(width)) / width,
        lambda: 1e6 * limits.process_pool_seconds(width),
    )
    yield _row(f"without an engine: a call of {width:,}, its workers there", "µs", alone, pool)


def _row(what: str, unit: str, ours: tuple[float, ...], pool: tuple[float, ...]) -> Row:
    return Row(what=what, unit=unit, values=ours, limit=Limit(what="process pool", values=pool))


def _each_more(few: int, many: int) -> Callable[[tuple[float, ...], tuple[float, ...]], tuple[float, ...]]:
    """From the time of each task of few and of many to that of each one more; never less than nothing, however noisy the machine."""

    def more(of_few: tuple[float, ...], of_many: tuple[float, ...]) -> tuple[float, ...]:
        pairs = zip(of_few, of_many, strict=True)
        return tuple(max(0.0, (slow * many - quick * few) / (many - few)) for quick, slow in pairs)

    return more


async def _executor_seconds(count: int) -> float:
    """Calls in order, from the first submission to the last result, in workers that there are."""
    async with ProcessExecutor(workers=limits.WORKERS).open() as executor:
        await asyncio.gather(*[executor.submit(time.sleep, 0.05) for _ in range(limits.WORKERS)])
        began = time.perf_counter()
        for call in [executor.submit(limits.nothing, number) for number in range(count)]:
            await call
        return time.perf_counter() - began


QUESTION: Final = Question(name="processes", asks="a task in worker processes", ask=ask)
