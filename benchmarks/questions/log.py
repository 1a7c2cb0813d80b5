"""How fast is the log: appended to by many, read back into a state, and followed?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import orjson

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Question, Row, in_turns, percentile
from benchmarks.stage import open_home
from playhead.core.names import Micros, Position, RunId, StreamName, Version, run_stream
from playhead.core.replay import replay
from playhead.embedded import run_embedded
from playhead.errors import WrongVersion
from playhead.log import Log
from playhead.ports.store import Append, NewEvent, Recorded

FOLDED_TASKS: Final = 10_000
WRITERS: Final = 100
APPENDS_EACH: Final = 50
CONFLICTS: Final = (0.0, 0.1)


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    yield fold(effort, folder)
    for conflicts in CONFLICTS:
        yield from _appends(effort, folder, conflicts)


def fold(effort: Effort, folder: Path) -> Row:
    """From SQLite to the state of one run, which really ran."""
    home = open_home(folder / "folded")
    runs: list[RunId] = []
    run_embedded(flows.fan_out, {"n": effort.of(FOLDED_TASKS)}, home=home, on_started=runs.append)
    stream = run_stream(runs[0])
    store = home.settings.store_url
    events = asyncio.run(_read(store, stream))
    bodies = [orjson.dumps(event.data) for event in events]

    def ours() -> float:
        began = time.perf_counter()
        state = replay(asyncio.run(_read(store, stream)))
        took = time.perf_counter() - began
        assert state is not None
        assert state.version == len(events)
        return len(events) / took

    folded, parsed = in_turns(effort.repeats, ours, lambda: limits.parsed_a_second(bodies))
    limit = Limit(what="orjson of the same", values=parsed)
    return Row(what=f"read and fold a run of {len(events):,} events", unit="events/s", values=folded, limit=limit)


async def _read(store: str, stream: StreamName) -> list[Recorded]:
    async with Log.open(store) as log:
        return [event async for page in log.read_stream(stream) for event in page]


def _appends(effort: Effort, folder: Path, conflicts: float) -> Iterator[Row]:
    each = effort.of(APPENDS_EACH)
    late: list[float] = []

    def ours() -> float:
        watched = asyncio.run(_append(folder / f"appends-{time.monotonic_ns()}.db", each, conflicts))
        late.append(1e3 * percentile(tuple(watched.late), 99))
        return watched.acknowledged / watched.seconds

    rates, commits = in_turns(effort.repeats, ours, lambda: limits.commits_a_second(folder, 1, 10 * each))
    share = f"{WRITERS} writers, {conflicts:.0%} conflicts"
    limit = Limit(what="one row a commit", values=commits)
    yield Row(what=f"appends, {share}", unit="appends/s", values=rates, limit=limit)
    yield Row(what=f"append to subscriber, p99, {share}", unit="ms", values=tuple(late[1:]))


@dataclass(slots=True)
class _Watched:
    acknowledged: int = 0
    seconds: float = 0.0
    asked: dict[str, float] = field(default_factory=dict[str, float])  # append id -> when it was handed over
    late: list[float] = field(default_factory=list[float])  # seconds until the subscriber had it


async def _append(path: Path, each: int, conflicts: float) -> _Watched:
    """Writers on streams of their own, each append acknowledged before its next; one subscriber sees them all."""
    watched = _Watched()
    async with Log.open(f"sqlite://{path}") as log, anyio.create_task_group() as tasks:
        tasks.start_soon(_follow, log, watched)
        await anyio.lowlevel.checkpoint()
        began = time.perf_counter()
        async with anyio.create_task_group() as writers:
            for number in range(WRITERS):
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
