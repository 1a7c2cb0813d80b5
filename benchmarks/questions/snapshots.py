"""How soon is a long run shown as it was: the state of 300,000 events at any version; and what do snapshots cost?"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final
from unittest.mock import patch

from benchmarks.harness import Effort, Limit, Question, Row
from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.core.names import Epoch, Micros, Seq, Version, run_stream
from playhead.core.replay import Replay, to_append
from playhead.log import Log
from playhead.ports.store import Append, EventStore, Expect
from playhead.service import Service, snapshots

TASKS: Final = 100_000  # asked for first, then started and done one after the other: the snapshots' worse case
GOAL_MS: Final = 200
PLACES: Final = (1, 10, 50, 99, 100)  # percent of the run's events
BATCH: Final = 500  # records of a report
RUN: Final = "5a" * 16
STREAM: Final = run_stream(RUN)
NOW: Final = 1_700_000_000_000_000


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    tasks = effort.of(TASKS)
    store, views = f"sqlite://{folder / 'long.db'}", folder / "views.db"
    head = asyncio.run(_made(store, tasks))
    kept, bare = _cpu(store, views), _without_snapshots(lambda: _cpu(store, folder / "bare.db"))
    for percent in PLACES:
        version = max(1, head * percent // 100 - 1)  # none that is kept anyway
        yield Row(
            what=f"a run of {head:,} events at {percent} %", unit="ms", goal=GOAL_MS,
            values=tuple(asyncio.run(_looks(store, views, version, effort.repeats))),
            limit=Limit(what="folded from its first event", values=(asyncio.run(_folded(store, version)),)),
        )  # fmt: skip
    yield Row(
        what=f"the same at 99 %, with the JSON of {tasks:,} tasks", unit="ms",
        values=tuple(asyncio.run(_looks(store, views, head * 99 // 100, 2, tasks=True))),
    )  # fmt: skip
    yield Row(
        what="a service begins that has such a run at work", unit="ms",
        values=tuple(1e3 * asyncio.run(_begun(store, views)) for _ in range(effort.repeats)),
    )  # fmt: skip
    yield Row(
        what="read models of such a run made again, CPU for an event", unit="µs", values=(1e6 * kept / head,),
        limit=Limit(what="without snapshots", values=(1e6 * bare / head,)),
    )  # fmt: skip
    yield Row(what="bytes of its snapshots, for each task", unit="B", values=(_snapshot_bytes(views) / tasks,))


async def _made(store: str, tasks: int) -> int:
    """The run, in a log of its own; how many events it has."""
    story = _story(tasks)
    async with Log.open(store) as log:
        await _append(log, list(islice(story, 4)), None)
        seq = 0
        while batch := list(islice(story, BATCH)):
            await _append(log, batch, seq)
            seq += len(batch)
    return 4 + seq


async def _append(log: EventStore, events: list[ev.Event], seq: int | None) -> None:
    await log.append(
        Append(
            stream=STREAM,
            events=tuple(map(to_append, events)),
            expected=Expect.ANY,
            append_id=f"r.1.{seq}",
            actor="runner/1",
            recorded_at=Micros(NOW),
            epoch=None if seq is None else Epoch(1),
            first_seq=None if seq is None else Seq(seq),
        )
    )


def _story(tasks: int) -> Iterator[ev.Event]:
    yield ev.RunScheduled(
        run=RUN, flow="long", seal="5e" * 8, origin=ev.Origin.ASKED, scheduled_for=NOW, executor="thread", run_config="local",
        storage="57" * 8, key_id="6b" * 8,
    )  # fmt: skip
    yield ev.RunReady()
    yield ev.RunClaimed(agent="benchmark", claim="c1" * 8, epoch=1, grant="97" * 8)
    yield ev.RunStarted(epoch=1, storage="57" * 8, python="3.11", key_scheme=KEY_SCHEME)
    keys = [f"step~{number}" for number in range(2, tasks + 2)]
    for number, key in enumerate(keys):
        yield ev.TaskSubmitted(at=NOW + number, key=key, name="step")
    for number, key in enumerate(keys):
        yield ev.TaskStarted(at=NOW + 1_000 * number, key=key, attempt=1)
        yield ev.TaskSucceeded(at=NOW + 1_000 * number + 500, key=key, attempt=1, mac="m" * 22, size=64)


async def _looks(store: str, views: Path, version: int, repeats: int, *, tasks: bool = False) -> list[float]:
    """ms for each answer of a service that keeps no such state; without tasks it is the state and a small view."""
    took: list[float] = []
    async with Log.open(store) as log, Service(log, read_models=views) as service:
        for _ in range(repeats):
            began = time.perf_counter()
            await service.run_json(RUN, at=version, tasks=tasks)
            took.append(1e3 * (time.perf_counter() - began))
    return took


async def _folded(store: str, version: int) -> float:
    """ms from the run's first event to its state."""
    async with Log.open(store) as log:
        began = time.perf_counter()
        fold = Replay()
        async for events in log.read_stream(STREAM, upto=Version(version)):
            fold.add(events)
        assert fold.state() is not None
        return 1e3 * (time.perf_counter() - began)


async def _begun(store: str, views: Path) -> float:
    """Seconds until a service is there; the read models have seen the log before, but for the first time."""
    async with Log.open(store) as log:
        began = time.perf_counter()
        async with Service(log, read_models=views):
            return time.perf_counter() - began


def _cpu(store: str, views: Path) -> float:
    """Seconds of all threads until the read models have seen the log, from its beginning."""
    began = time.process_time()
    asyncio.run(_begun(store, views))
    return time.process_time() - began


def _without_snapshots(measured: Callable[[], float]) -> float:
    async def none(*_: object) -> None:
        """Keep nothing."""

    offer: Callable[..., Awaitable[None]] = none
    with patch.object(snapshots.Snapshots, "offer", offer):
        return measured()


def _snapshot_bytes(views: Path) -> int:
    with closing(sqlite3.connect(views)) as connection:
        (found,) = connection.execute("SELECT ifnull(sum(length(piece)), 0) FROM snapshots").fetchone()
    return int(found)


QUESTION: Final = Question(name="snapshots", asks="a run of 300,000 events as it was", ask=ask)
