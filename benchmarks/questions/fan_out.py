"""What does a task cost in a wide map: in time, in memory, and in bytes of the log? And does it stay so when the map grows?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Measure, Point, Question, Row, in_turns
from benchmarks.stage import hired, log_bytes, open_home, served, started
from benchmarks.wide import peak_bytes
from playhead.embedded import run_embedded
from playhead.home import Home

WIDTHS: Final = (100, 1_000, 10_000)
WIDEST: Final = 100_000
EMBEDDED_WIDTHS: Final = (1_000, 10_000)
EMBEDDED_REPEATS: Final = 3
PEERS_WIDTH: Final = 1_000
CHAIN: Final = 200
RUNS_WEIGHED: Final = 5  # so that a file's whole pages count for little

FLOOR_MS: Final = 0.2
GOAL_MS: Final = 0.12


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    yield from _served(effort, folder)
    yield from _fresh(effort, folder)
    yield from _bytes(effort, folder)
    home = open_home(folder / "embedded")
    fewer = Effort(repeats=min(effort.repeats, EMBEDDED_REPEATS), scale=effort.scale)
    for width in map(effort.of, EMBEDDED_WIDTHS):
        yield replace(_row(width, fewer, partial(_embedded_seconds, home)), what=f"embedded: a task of {width:,}")


def _served(effort: Effort, folder: Path) -> Iterator[Row]:
    """By a runner that is warm."""
    home = open_home(folder / "served")
    with served(home.path) as (url, _), hired(home, url) as runner:
        for size in WIDTHS:
            width = effort.of(size)
            row = _on_the_curve(_row(width, effort, lambda width: runner.seconds(flows.fan_out, n=width)), width)
            if size >= PEERS_WIDTH:
                row = replace(row, floor=FLOOR_MS, goal=GOAL_MS)
            yield replace(row, measure=Measure.FAN_OUT_TASK) if size == PEERS_WIDTH else row


def _row(width: int, effort: Effort, seconds: Callable[[int], float]) -> Row:
    ours, pool = in_turns(
        effort.repeats, lambda: 1e3 * seconds(width) / width, lambda: 1e3 * limits.thread_pool_seconds(width)
    )
    return Row(what=f"a task of {width:,}", unit="ms", values=ours, limit=Limit(what="thread pool", values=pool))


def _embedded_seconds(home: Home, width: int) -> float:
    began = time.perf_counter()
    run_embedded(flows.fan_out, {"n": width}, home=home)
    return time.perf_counter() - began


def _fresh(effort: Effort, folder: Path) -> Iterator[Row]:
    """Each width once, runner and server new, so that the peaks of their memory are of this width alone; the widest is timed here, too."""
    costs = {width: _costs(folder / f"fresh-{width}", width) for width in map(effort.of, (*WIDTHS, WIDEST))}
    least, *_, widest = costs
    pool = Limit(what="thread pool", values=(1e3 * limits.thread_pool_seconds(widest),))
    timed = Row(
        what=f"a task of {widest:,}", unit="ms", values=(1e3 * costs[widest].seconds / widest,), limit=pool,
        floor=FLOOR_MS, goal=GOAL_MS,
    )  # fmt: skip
    yield _on_the_curve(timed, widest)
    for process in ("runner", "server"):
        peaks = {width: getattr(cost, process) for width, cost in costs.items()}
        for width, peak in peaks.items():
            yield Row(
                what=f"memory of the {process} at its peak, {width:,} tasks", unit="MiB", values=(peak / 2**20,),
                point=Point(panel="memory at its peak in a fan-out", line=process, x="tasks", at=width),
            )  # fmt: skip
        each = (peaks[widest] - peaks[least]) / (widest - least)
        yield Row(what=f"memory of the {process} for a task more", unit="B", values=(each,))


class _Costs(NamedTuple):
    """Of one fan-out: the run's seconds, and bytes of memory."""

    seconds: float
    runner: int
    server: int


def _costs(folder: Path, width: int) -> _Costs:
    home = open_home(folder)
    with (
        served(home.path) as (url, server),
        started(["-m", "benchmarks.wide", str(home.path), url, str(width)]) as runner,
    ):
        told = json.loads(runner.communicate()[0])
        return _Costs(told["seconds"], told["peak_bytes"], peak_bytes(server))


def _on_the_curve(row: Row, width: int) -> Row:
    return replace(row, point=Point(panel="a task of a fan-out", x="tasks", at=width))


def _bytes(effort: Effort, folder: Path) -> Iterator[Row]:
    """What the log's file grows by from one clean end of its server to the next."""
    home = open_home(folder / "bytes")
    for form, subject, width, floor, goal, measure in (
        ("fan-out", flows.fan_out, PEERS_WIDTH, 500, 250, Measure.LOG_BYTES),
        ("chain", flows.chain_submitted, CHAIN, 700, 400, None),
    ):
        count = effort.of(width)
        sizes: list[int] = []
        for _ in range(effort.repeats + 1):
            with served(home.path) as (url, _), hired(home, url) as runner:
                for _ in range(RUNS_WEIGHED):
                    runner.seconds(subject, n=count)
            sizes.append(log_bytes(home.path))
        grown = tuple((after - before) / (count * RUNS_WEIGHED) for before, after in pairwise(sizes))
        yield Row(
            what=f"log bytes a task, {form} of {count:,}",
            unit="B",
            values=grown,
            floor=floor,
            goal=goal,
            measure=measure,
        )


QUESTION: Final = Question(name="fan-out", asks="a task in a wide map", ask=ask)
