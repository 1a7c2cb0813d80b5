"""How long from asking for a run to the first line of its flow's code, in a process of its own?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Measure, Question, Row, percentile
from benchmarks.stage import open_home, served
from playhead.client.client import Client
from playhead.embedded import run_embedded
from playhead.home import Home

RUNS: Final = 50
EMBEDDED_RUNS: Final = 10


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    runs = effort.of(RUNS)
    home = open_home(folder / "served")
    with served(home.path, "up") as (url, _):
        ours = asyncio.run(_starts(home, url, folder / "mark", runs))
    python = Limit(
        what="python -c pass", values=tuple(1e3 * limits.bare_python_seconds() for _ in range(effort.repeats))
    )
    fork = Limit(what="fork", values=tuple(1e3 * limits.fork_seconds() for _ in range(effort.repeats)))
    yield Row(
        what=f"ask to first line, p50 of {runs}", unit="ms", values=ours, limit=fork, floor=40, goal=25, measure=Measure.START
    )  # fmt: skip
    yield Row(
        what=f"ask to first line, p95 of {runs}", unit="ms", values=(percentile(ours, 95),), limit=python, goal=60,
        measure=Measure.START_LATE,
    )  # fmt: skip
    embedded = open_home(folder / "embedded")
    here = tuple(_embedded_ms(embedded, folder / "mark") for _ in range(effort.of(EMBEDDED_RUNS) + 1))
    yield Row(what="embedded: call to first line, p50", unit="ms", values=here[1:])


async def _starts(home: Home, url: str, mark: Path, runs: int) -> tuple[float, ...]:
    """Milliseconds from just before the client's call, each run alone; the first is a warm-up."""
    took: list[float] = []
    async with Client(url, home=home) as client:
        await client.register(flows.touch)
        for _ in range(runs + 1):
            began = time.time()
            run = await client.start(flows.touch.name, parameters={"path": str(mark)})
            await run.result()
            took.append(1e3 * (float(mark.read_text(encoding="utf-8")) - began))
    return tuple(took[1:])


def _embedded_ms(home: Home, mark: Path) -> float:
    began = time.time()
    run_embedded(flows.touch, {"path": str(mark)}, home=home)
    return 1e3 * (float(mark.read_text(encoding="utf-8")) - began)


QUESTION: Final = Question(name="start", asks="ask to first line of flow code, in a fresh process", ask=ask)
