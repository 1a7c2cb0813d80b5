"""How many small runs a second, each in a process of its own, when all are asked for at once?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Measure, Point, Question, Row, in_turns
from benchmarks.stage import open_home, served
from playhead.client.client import Client
from playhead.core import events as ev
from playhead.core.names import run_stream
from playhead.home import Home
from playhead.ports.server import EventFilter

RUNS: Final = 200
SIZES: Final = (1, 10, 100, RUNS, 1_000)  # of the curve; one that is larger than RUNS is measured once
CAPACITY: Final = 4  # runners at a time: twice the cores, since each waits for its disk and its server now and then
LIMIT_SECONDS: Final = 300.0  # for all of them, so that a run that hangs ends the measurement

_ENDS: Final = tuple(cls.TYPE for cls in (ev.RunSucceeded, ev.RunFailed, ev.RunCancelled, ev.RunCrashed))


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    home = open_home(folder / "served")
    with served(home.path, "up", "--capacity", str(CAPACITY)) as (url, _):
        for runs, size in {effort.of(size, least=1): size for size in SIZES}.items():

            def ours(runs: int = runs) -> float:
                return asyncio.run(asyncio.wait_for(_runs_a_second(home, url, runs), LIMIT_SECONDS))

            if size > RUNS:
                yield _row(runs, (ours(),), (_pythons_a_second(),))
            else:
                row = _row(runs, *in_turns(effort.repeats, ours, _pythons_a_second))
                yield replace(row, floor=60, goal=100, measure=Measure.MANY_RUNS) if size == RUNS else row


def _row(runs: int, ours: tuple[float, ...], pythons: tuple[float, ...]) -> Row:
    return Row(
        what=f"{runs:,} runs of 5 tasks at once" if runs > 1 else "runs of 5 tasks, one at a time",
        unit="runs/s",
        values=ours,
        limit=Limit(what="python -c pass, in turn", values=pythons),
        point=Point(panel="runs of 5 tasks, asked for at once", x="runs at once", at=runs),
    )


def _pythons_a_second() -> float:
    return 1 / limits.bare_python_seconds()


async def _runs_a_second(home: Home, url: str, runs: int) -> float:
    """From the first request to the last acknowledged end."""
    async with Client(url, home=home) as client:
        await client.register(flows.five)
        cursor = (await client.api.info()).cursor
        began = time.perf_counter()
        asked = await asyncio.gather(*(client.start(flows.five.name) for _ in range(runs)))
        open_runs = {run_stream(run.id) for run in asked}
        async with client.events(cursor=cursor, which=EventFilter(types=_ENDS)) as pages:
            async for page in pages:
                for event in page.events:
                    assert event.type == ev.RunSucceeded.TYPE, f"a run ended by {event.type}"
                    open_runs.discard(event.stream)
                if not open_runs:
                    return runs / (time.perf_counter() - began)
    raise AssertionError("a stream of events ended by itself")


QUESTION: Final = Question(name="many-runs", asks="small runs asked for at once", ask=ask)
