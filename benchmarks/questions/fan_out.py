"""What does a task cost in a wide map, in time and in bytes of the log?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Question, Row, in_turns
from benchmarks.stage import hired, log_bytes, open_home, served
from playhead.embedded import run_embedded
from playhead.home import Home

WIDTHS: Final = (1_000, 10_000)
CHAIN: Final = 200
RUNS_WEIGHED: Final = 5  # so that a file's whole pages count for little
GOAL_US: Final = 120.0
GOAL_BYTES: Final = 250.0


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    home = open_home(folder / "served")
    with served(home.path) as (url, _), hired(home, url) as runner:
        yield from _rows("", effort, lambda width: runner.seconds(flows.fan_out, n=width))
    yield from _bytes(effort, folder)
    home = open_home(folder / "embedded")
    yield from _rows("embedded, ", effort, partial(_embedded_seconds, home))


def _rows(size: str, effort: Effort, seconds: Callable[[int], float]) -> Iterator[Row]:
    for width in map(effort.of, WIDTHS):

        def ours_us(width: int = width) -> float:
            return 1e6 * seconds(width) / width

        def pool_us(width: int = width) -> float:
            return 1e6 * limits.thread_pool_seconds(width)

        ours, pool = in_turns(effort.repeats, ours_us, pool_us)
        limit = Limit(what="thread pool", values=pool)
        yield Row(what=f"{size}a task of {width:,}", unit="µs", values=ours, limit=limit, goal=GOAL_US)


def _embedded_seconds(home: Home, width: int) -> float:
    began = time.perf_counter()
    run_embedded(flows.fan_out, {"n": width}, home=home)
    return time.perf_counter() - began


def _bytes(effort: Effort, folder: Path) -> Iterator[Row]:
    """What the log's file grows by from one clean end of its server to the next."""
    home = open_home(folder / "bytes")
    for form, subject, width in (("a fan-out", flows.fan_out, WIDTHS[0]), ("a chain", flows.chain_submitted, CHAIN)):
        count = effort.of(width)
        sizes: list[int] = []
        for _ in range(effort.repeats + 1):
            with served(home.path) as (url, _), hired(home, url) as runner:
                for _ in range(RUNS_WEIGHED):
                    runner.seconds(subject, n=count)
            sizes.append(log_bytes(home.path))
        grown = tuple((after - before) / (count * RUNS_WEIGHED) for before, after in pairwise(sizes))
        yield Row(what=f"log bytes a task, {form} of {count:,}", unit="B", values=grown, goal=GOAL_BYTES)


QUESTION: Final = Question(name="fan-out", asks="a task in a wide map", ask=ask)
