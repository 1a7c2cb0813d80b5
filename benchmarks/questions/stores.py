"""How fast is each event store: appended to by few and many, with none and some of them in conflict, followed, and read from its
beginning?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel

from benchmarks.harness import Effort, Limit, Point, Question, Row, percentile
from benchmarks.stores import Store, stores
from playhead.core.names import Micros, Position, StreamName, Version
from playhead.errors import WrongVersion
from playhead.log import Log
from playhead.ports.store import Append, NewEvent

APPENDS: Final[Mapping[int, int]] = {1: 1_000, 10: 5_000, 100: 10_000, 1_000: 20_000}  # in one repeat, by writers
CONFLICTS: Final = (0.0, 0.01, 0.1)  # share of the appends that expect another version
CAUGHT_UP: Final = 30_000  # events in the log that is read from its beginning

MANY: Final = 100  # writers, of whom figures are asked
RATES: Final[Mapping[tuple[str, float], float]] = {
    ("SQLite", 0.0): 40_000, ("SQLite", 0.1): 32_000, ("PostgreSQL", 0.0): 20_000, ("PostgreSQL", 0.1): 16_000,
}  # fmt: skip
LATE_MS: Final = 20.0
READ: Final[Mapping[str, float]] = {"SQLite": 300_000, "PostgreSQL": 150_000}


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    with stores(folder) as found:
        for store in found:
            for writers in APPENDS:
                for conflicts in CONFLICTS:
                    yield from appends(effort, store, writers, conflicts)
            yield catch_up(effort, store)


def appends(effort: Effort, store: Store, writers: int, conflicts: float) -> Iterator[Row]:
    """One event an append, and one append of each writer at a time."""
    each = effort.of(round(APPENDS[writers] * store.share) // writers)
    rates: list[float] = []
    late: list[_Watched] = []
    limit: list[float] = []
    what = ""
    for turn in range(effort.repeats + 1):
        watched = asyncio.run(_append(store.fresh(), writers, each, conflicts))
        beside = store.limit(writers, each) if store.limit is not None else None
        if turn:  # the first one warms up
            rates.append(watched.acknowledged / watched.seconds)
            late.append(watched)
            if beside is not None:
                what = beside.what
                limit += beside.values
    share = f"{store.name}, {writers:,} writer{'s' * (writers > 1)}, {conflicts:.0%} conflicts"
    asked = store.asked and writers == MANY
    yield Row(
        what=f"events, {share}", unit="events/s", values=tuple(rates),
        limit=Limit(what=what, values=tuple(limit)) if limit else None,
        goal=RATES.get((store.name, conflicts)) if asked else None,
        point=Point(panel="events appended", line=store.name, x="writers", at=writers) if not conflicts else None,
    )  # fmt: skip
    yield Row(
        what=f"append to subscriber, p50, {share}", unit="ms", values=tuple(watched.late_ms(50) for watched in late)
    )
    yield Row(
        what=f"append to subscriber, p99, {share}", unit="ms", values=tuple(watched.late_ms(99) for watched in late),
        goal=LATE_MS if asked and store.name == "SQLite" and not conflicts else None,
        point=Point(panel="append to subscriber, p99", line=store.name, x="writers", at=writers) if not conflicts else None,
    )  # fmt: skip


def catch_up(effort: Effort, store: Store) -> Row:
    """A subscriber from the log's beginning up to its head."""
    count = effort.of(round(CAUGHT_UP * store.share), least=MANY)
    values = asyncio.run(_catch_up(store.fresh(), count, effort.repeats))
    return Row(
        what=f"a subscriber from the beginning, {store.name}, {count:,} events", unit="events/s", values=values,
        goal=READ.get(store.name),
    )  # fmt: skip


@dataclass(slots=True)
class _Watched:
    acknowledged: int = 0
    seconds: float = 0.0
    asked: dict[str, float] = field(default_factory=dict[str, float])  # append id -> when it was handed over
    late: list[float] = field(default_factory=list[float])  # seconds until the subscriber had it

    def late_ms(self, percent: float) -> float:
        return 1e3 * percentile(tuple(self.late), percent)


async def _append(url: str, count: int, each: int, conflicts: float) -> _Watched:
    """Writers on streams of their own, each append acknowledged before its next; one subscriber sees them all."""
    watched = _Watched()
    async with Log.open(url) as log, anyio.create_task_group() as tasks:
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
    every = round(1 / conflicts) if conflicts else 0
    for turn in range(each):
        misses = every > 0 and (number + turn) % every == every - 1  # of all writers in each round as many
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


async def _catch_up(url: str, count: int, repeats: int) -> tuple[float, ...]:
    async with Log.open(url) as log:
        async with anyio.create_task_group() as writers:
            for number in range(MANY):
                writers.start_soon(_write, log, _Watched(), number, -(-count // MANY), 0.0)
        head = await log.head()
        return tuple([await _read(log, head) for _ in range(repeats + 1)][1:])


async def _read(log: Log, head: Position) -> float:
    """Events a second, up to the head."""
    seen = 0
    began = time.perf_counter()
    async with log.subscribe(after=Position(0)) as pages:
        async for page in pages:
            seen += len(page.events)
            if page.scanned >= head:
                break
    return seen / (time.perf_counter() - began)


def _append_of(stream: StreamName, name: str, expected: int) -> Append:
    event = NewEvent(type="bench.happened", schema=1, data={"key": name, "at": 1_700_000_000_000_000})
    return Append(
        stream=stream, events=(event,), expected=Version(expected), append_id=name, actor="benchmark", recorded_at=Micros(0)
    )  # fmt: skip


QUESTION: Final = Question(name="stores", asks="appends, conflicts and subscribers of every event store", ask=ask)
