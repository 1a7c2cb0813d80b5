"""How fast is the log: appended to by many, read back into a state, and followed?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import orjson

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Point, Question, Row, in_turns, percentile
from benchmarks.stage import open_home
from playhead.core.names import Micros, Position, RunId, StreamName, Version, run_stream
from playhead.core.replay import Replay
from playhead.embedded import run_embedded
from playhead.errors import WrongVersion
from playhead.log import Log
from playhead.ports.store import Append, NewEvent, Recorded

FOLDED_TASKS: Final = 15_000
FOLD_FLOOR, FOLD_GOAL = 150_000, 250_000
WRITERS: Final = 100
CONFLICTS: Final[Mapping[float, float]] = {0.0: 40_000, 0.1: 32_000}  # share of them -> goal, appends a second
APPENDS_FLOOR: Final = 20_000
LATE_GOAL_MS: Final = 20
CURVE: Final = (1, 10, 1_000)  # writers, beside those above
APPENDS: Final[Mapping[int, int]] = {1: 1_000, 10: 5_000, 100: 10_000, 1_000: 20_000}  # in one repeat, by writers


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    yield from fold(effort, folder)
    for conflicts in CONFLICTS:
        yield from _appends(effort, folder, WRITERS, conflicts)
    for writers in CURVE:
        yield from _appends(effort, folder, writers, 0.0)


def fold(effort: Effort, folder: Path) -> Iterator[Row]:
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


def _appends(effort: Effort, folder: Path, writers: int, conflicts: float) -> Iterator[Row]:
    each = effort.of(APPENDS[writers] // writers)
    halves: list[float] = []
    tails: list[float] = []

    def ours() -> float:
        watched = asyncio.run(_append(folder / f"appends-{time.monotonic_ns()}.db", writers, each, conflicts))
        halves.append(1e3 * percentile(tuple(watched.late), 50))
        tails.append(1e3 * percentile(tuple(watched.late), 99))
        return watched.acknowledged / watched.seconds

    rates, commits = in_turns(effort.repeats, ours, lambda: limits.commits_a_second(folder, writers, each))
    share = f"{writers:,} writer{'s' * (writers > 1)}, {conflicts:.0%} conflicts"
    asked = writers == WRITERS
    on_curve = not conflicts
    yield Row(
        what=f"appends, {share}", unit="appends/s", values=rates,
        limit=Limit(what=f"SQLite, {writers:,} row{'s' * (writers > 1)} a commit", values=commits),
        floor=APPENDS_FLOOR if asked else None, goal=CONFLICTS[conflicts] if asked else None,
        point=Point(panel="appends", x="writers", at=writers) if on_curve else None,
    )  # fmt: skip
    yield Row(what=f"append to subscriber, p50, {share}", unit="ms", values=tuple(halves[1:]))
    yield Row(
        what=f"append to subscriber, p99, {share}", unit="ms", values=tuple(tails[1:]), goal=LATE_GOAL_MS if asked else None,
        point=Point(panel="append to subscriber, p99", x="writers", at=writers) if on_curve else None,
    )  # fmt: skip


@dataclass(slots=True)
class _Watched:
    acknowledged: int = 0
    seconds: float = 0.0
    asked: dict[str, float] = field(default_factory=dict[str, float])  # append id -> when it was handed over
    late: list[float] = field(default_factory=list[float])  # seconds until the subscriber had it


async def _append(path: Path, count: int, each: int, conflicts: float) -> _Watched:
    """Writers on streams of their own, each append acknowledged before its next; one subscriber sees them all."""
    watched = _Watched()
    async with Log.open(f"sqlite://{path}") as log, anyio.create_task_group() as tasks:
        tasks.start_soon(_follow, log, watched)
        await anyio.lowlevel.checkpoint()
        began = time.perf_counter()
        async with anyio.create_task_group() as writers:
            for number in range(count):
                writers.start_soon(_write, log, watched, number, each, conflicts)
        watched.seconds = time.perf_counter() - began
        while len(watched.late) < watched.acknowledged:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    return watched


async def _write(log: Log, watched: _Watched, number: int, each: int, conflicts: float) -> None:
    stream, version = StreamName(f"bench/{number}"), 0
    every = round(1 / conflicts) if conflicts else each + 1
    for turn in range(each):
        misses = turn % every == every - 1
        name = f"{number}.{turn}"
        watched.asked[name] = time.perf_counter()
        try:
            await log.append(_append_of(stream, name, version + 1 if misses else version))
        except WrongVersion:
            assert misses
        else:
            assert not misses
            version += 1
            watched.acknowledged += 1


async def _follow(log: Log, watched: _Watched) -> None:
    async with log.subscribe(after=Position(0)) as pages:
        async for page in pages:
            now = time.perf_counter()
            watched.late.extend(now - watched.asked[event.append_id] for event in page.events)


def _append_of(stream: StreamName, name: str, expected: int) -> Append:
    event = NewEvent(type="bench.happened", schema=1, data={"key": name, "at": 1_700_000_000_000_000})
    return Append(
        stream=stream, events=(event,), expected=Version(expected), append_id=name, actor="benchmark", recorded_at=Micros(0)
    )  # fmt: skip


QUESTION: Final = Question(name="log", asks="appends, folds and subscriptions of the log", ask=ask)
