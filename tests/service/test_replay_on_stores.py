"""Replay equals live on every store (S8): from the first event, from a snapshot and one by one, and read models made again."""

from __future__ import annotations

import random
import sqlite3
from itertools import groupby
from pathlib import Path
from typing import Final

import pytest

from playhead.core import events as ev
from playhead.core.folding import evolve
from playhead.core.lifecycle import Stamp
from playhead.core.names import Epoch, Seq, StreamName, Version, run_stream
from playhead.core.replay import event_of, replay, stamp_of, to_append
from playhead.core.state import RunState
from playhead.core.views import run_view
from playhead.log import Log
from playhead.ports.store import Append, EventStore, Expect, NewEvent, Recorded
from playhead.service import Service
from playhead.service.read_models import ReadModels
from playhead.service.snapshots import Snapshots
from playhead.testing.clock import VirtualClock
from playhead.wire import recorded_from_wire
from tests.core.samples import NOW, RUN_EVENTS, RUNNING, scheduled, task_events
from tests.core.test_folding import legal_story
from tests.core.test_pieces import GOLDEN
from tests.postgres.cluster import Cluster

Lived = dict[StreamName, list[bytes]]  # what each run looked like after each of its events

EVERY: Final = 5
RANDOM_RUNS: Final = 3


@pytest.fixture(params=["memory", "sqlite", "popo", "eventsourcing", pytest.param("postgres", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return "memory:"
        case "sqlite":
            return f"sqlite://{tmp_path / 'log.db'}"
        case "popo":
            return "eventsourcing:eventsourcing.popo"
        case "eventsourcing":
            return f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={tmp_path / 'bridge.db'}"
        case _:
            cluster: Cluster = request.getfixturevalue("postgres")
            return cluster.new_log()


@pytest.mark.own_store("it names its stores")
async def test_however_it_is_folded_it_is_what_was_lived(url: str, tmp_path: Path) -> None:
    async with Log.open(url) as log:
        lived = await live(log)
        async with ReadModels(None, log, VirtualClock()) as models:
            snapshots = Snapshots(log, models, every=EVERY)
            for stream, views in lived.items():
                recorded = [event async for page in log.read_stream(stream) for event in page]
                assert [shown(replay(recorded[:n])) for n in range(1, len(views) + 1)] == views
                assert one_by_one(recorded) == views
                for version, event in enumerate(recorded, start=1):
                    state = replay(recorded[:version])
                    assert state is not None
                    await snapshots.offer(stream, state, [event])
                assert await snapshots.latest(stream) is not None
                from_there = [shown(await snapshots.at(stream, Version(n))) for n in range(1, len(views) + 1)]
                assert from_there == views
        made = [await rows(log, tmp_path / name) for name in ("first.db", "again.db")]
        assert made[0] == made[1]
        assert len(made[0]) == 1 + RANDOM_RUNS


async def live(log: EventStore) -> Lived:
    """The golden run and some at random, told to the log as runners tell them, and folded here as they are told."""
    lived: Lived = {}
    golden = list(map(recorded_from_wire, GOLDEN.read_bytes().splitlines()))
    for append_id, same in groupby(golden, lambda recorded: recorded.append_id):
        events = list(same)
        new = tuple(NewEvent(type=e.type, schema=e.schema, data=e.data) for e in events)
        await append(log, events[0].stream, new, append_id, stamp_of(events[0]))
    lived[golden[0].stream] = one_by_one(golden)
    for seed in range(RANDOM_RUNS):
        run = f"{seed + 1:032x}"
        begun: list[ev.Event] = [scheduled().model_copy(update={"run": run}), *RUNNING[1:]]
        state: RunState | None = None
        views: list[bytes] = []
        story = [*((event, Stamp(NOW, None, None)) for event in begun), *legal_story(drawn(seed))[0]]
        for number, (event, stamp) in enumerate(story):
            await append(log, run_stream(run), (to_append(event),), f"a.{number}", stamp)
            state = evolve(state, event, stamp)
            views.append(shown(state))
        lived[run_stream(run)] = views
    return lived


def drawn(seed: int) -> list[ev.RunEvent]:
    """Events of which many are allowed where they come; the same for each store."""
    chance = random.Random(seed)
    keys = [f"parse~{number}" for number in range(8)]
    tasks = [event for _ in range(120) for event in task_events(chance.choice(keys), chance.choice((1, 1, 2)))]
    chance.shuffle(tasks)
    mapped = ev.TaskMapped(at=1, key="page", name="page", width=3)
    return [mapped, *tasks[:150], *RUN_EVENTS[5:6], *tasks[150:160], RUN_EVENTS[9]]


async def append(
    log: EventStore, stream: StreamName, events: tuple[NewEvent, ...], append_id: str, stamp: Stamp
) -> None:
    epoch, seq = stamp.epoch, stamp.seq
    await log.append(
        Append(
            stream=stream,
            events=events,
            expected=Expect.ANY,
            append_id=append_id,
            actor="server",
            recorded_at=stamp.recorded_at,
            epoch=None if epoch is None else Epoch(epoch),
            first_seq=None if seq is None else Seq(seq),
        )
    )


def one_by_one(recorded: list[Recorded]) -> list[bytes]:
    state: RunState | None = None
    views: list[bytes] = []
    for each in recorded:
        state = evolve(state, event_of(each), stamp_of(each))
        views.append(shown(state))
    return views


def shown(state: RunState | None) -> bytes:
    assert state is not None
    return run_view(state).model_dump_json().encode()


async def rows(log: EventStore, path: Path) -> list[tuple[object, ...]]:
    """The read models of the runs, made from the log's beginning."""
    async with Service(log, read_models=path, clock=VirtualClock()):
        pass
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT * FROM runs ORDER BY run").fetchall()
    finally:
        connection.close()
