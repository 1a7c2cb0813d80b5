"""How fast is a long run read back: into its state, and by a subscriber?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Question, Row, in_turns
from benchmarks.stage import open_home
from playhead.core.names import Position, RunId, StreamName, run_stream
from playhead.core.replay import Replay
from playhead.embedded import run_embedded
from playhead.log import Log
from playhead.ports.store import Recorded

FOLDED_TASKS: Final = 15_000
FOLD_FLOOR, FOLD_GOAL = 150_000, 250_000


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    """From SQLite to the state of one run, which really ran; and the same log, read by a subscriber from its beginning."""
    home = open_home(folder / "folded")
    runs: list[RunId] = []
    run_embedded(flows.fan_out, {"n": effort.of(FOLDED_TASKS)}, home=home, on_started=runs.append)
    stream, store = run_stream(runs[0]), home.settings.store_url
    events, _ = asyncio.run(_fold(store, stream))
    bodies = [orjson.dumps(event.data) for event in events]
    folded, caught_up, parsed = in_turns(
        effort.repeats,
        lambda: len(events) / asyncio.run(_fold(store, stream))[1],
        lambda: asyncio.run(_catch_up(store)),
        lambda: limits.parsed_a_second(bodies),
    )
    limit = Limit(what="orjson of the same", values=parsed)
    yield Row(
        what=f"read and fold a run of {len(events):,} events", unit="events/s", values=folded, limit=limit,
        floor=FOLD_FLOOR, goal=FOLD_GOAL,
    )  # fmt: skip
    yield Row(what="a subscriber from the log's beginning", unit="events/s", values=caught_up, limit=limit)


async def _fold(store: str, stream: StreamName) -> tuple[list[Recorded], float]:
    """The stream's events, and the seconds in which an open log read them and they became a state."""
    events: list[Recorded] = []
    async with Log.open(store) as log:
        began = time.perf_counter()
        story = Replay()
        async for page in log.read_stream(stream):
            story.add(page)
            events += page
        state = story.state()
        took = time.perf_counter() - began
    assert state is not None
    assert state.version == len(events)
    return events, took


async def _catch_up(store: str) -> float:
    """Events a second, up to the head."""
    seen = 0
    async with Log.open(store) as log:
        head = await log.head()
        began = time.perf_counter()
        async with log.subscribe(after=Position(0)) as pages:
            async for page in pages:
                seen += len(page.events)
                if page.scanned >= head:
                    break
        return seen / (time.perf_counter() - began)


QUESTION: Final = Question(name="log", asks="reading and folding a long run", ask=ask)
