"""Snapshots: a state from one is the state from the first event (S8), it is found nearby, and one that lies is never believed."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from playhead.core import events as ev
from playhead.core.folding import fold
from playhead.core.lifecycle import Stamp
from playhead.core.names import Epoch, Micros, Seq, StreamName, Version, run_stream
from playhead.core.replay import Replay, replay, to_append
from playhead.core.state import RunState
from playhead.core.views import run_view
from playhead.log import Log
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import Append, Expect, Recorded
from playhead.service import service as service_module
from playhead.service.read_models import Change, ReadModels
from playhead.service.snapshots import Snapshots
from playhead.testing.clock import VirtualClock
from tests.core.samples import NOW, RUN, RUNNING, task_events
from tests.core.test_folding import ANY_EVENT, Story, legal_story
from tests.service.faulty import FaultyStore
from tests.service.world import ADOPTED, flow, open_world, run_id, submitted

STREAM = run_stream(RUN)
EVERY = 4


class Counted(FaultyStore):
    """Counts the events that are read of streams."""

    read = 0

    async def read_stream(
        self, stream: StreamName, *, after: Version = Version(0), upto: Version | None = None
    ) -> AsyncIterator[Sequence[Recorded]]:
        async for events in self._store.read_stream(stream, after=after, upto=upto):
            self.read += len(events)
            yield events


@dataclass
class Kept:
    """A run in a log, and the snapshots of it."""

    store: Counted
    models: ReadModels
    snapshots: Snapshots

    async def say(self, story: Story) -> None:
        for number, (event, stamp) in enumerate(story):
            await self.store.append(
                Append(
                    stream=STREAM,
                    events=(to_append(event),),
                    expected=Expect.ANY,
                    append_id=f"a.{number}",
                    actor="server",
                    recorded_at=stamp.recorded_at,
                    epoch=stamp.epoch,
                    first_seq=stamp.seq,
                )
            )

    async def events(self) -> list[Recorded]:
        return [recorded async for page in self.store.read_stream(STREAM) for recorded in page]

    async def offer_all(self, where: Callable[[int], bool] = lambda _: True) -> None:
        """Offer the run's state at each version, or at these, as a projector does that sees some of them."""
        events = await self.events()
        for version in filter(where, range(1, len(events) + 1)):
            state = replay(events[:version])
            assert state is not None
            await self.snapshots.offer(STREAM, state, events[version - 1 : version])

    async def versions(self) -> list[int]:
        rows = await self.models.rows("snapshot_upto", stream=STREAM, upto=2**62)
        return [row["version"] for row in rows]


@asynccontextmanager
async def kept(
    story: Story, records: MemoryRecords | None = None, *, every: int = EVERY, path: Path | None = None
) -> AsyncGenerator[Kept]:
    async with Log.open(MemoryBackend(records)) as log:
        store = Counted(log)
        async with ReadModels(path, store, VirtualClock()) as models:
            snapshots = Snapshots(store, models, every=every)
            await snapshots.open()
            run = Kept(store, models, snapshots)
            await run.say(story)
            yield run


def story_of(*events: ev.Event, later: int = 0) -> Story:
    """A runner's events are records of epoch 1."""
    first = len(RUNNING)
    moments = [Micros(NOW + later + n) for n in range(len(events))]
    return [
        (event, Stamp(moment, Epoch(1), Seq(n - first)) if n >= first else Stamp(moment, None, None))
        for n, (event, moment) in enumerate(zip(events, moments, strict=True))
    ]


def another_history(upto: int) -> Story:
    """The ten tasks up to there, and then others."""
    same = [event for event, _ in TEN_TASKS[:upto]]
    return [*TEN_TASKS[:upto], *story_of(*same, *(task_events(f"other~{n}")[0] for n in range(20)), later=1)[upto:]]


TEN_TASKS = story_of(*RUNNING, *(event for n in range(10) for event in task_events(f"parse~{n}")[:3]))


@given(events=st.lists(ANY_EVENT, max_size=40), seen=st.sets(st.integers(1, 44)), every=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
async def test_from_a_snapshot_from_the_first_event_and_one_by_one_it_is_the_same_state(
    events: list[ev.RunEvent], seen: set[int], every: int
) -> None:
    story, lived = legal_story(events)
    begun: Story = [(event, Stamp(NOW, None, None)) for event in RUNNING]
    async with kept([*begun, *story], every=every) as run:
        recorded = await run.events()
        await run.offer_all(lambda version: version in seen)
        for _ in range(2):  # the first time some are made on the way
            for version, state in enumerate(lived, start=len(RUNNING)):
                at = await run.snapshots.at(STREAM, Version(version))
                assert at is not None
                assert at == state == replay(recorded[:version])
                assert run_view(at).model_dump_json() == run_view(state).model_dump_json()
                near = await run.snapshots.latest(STREAM, Version(version))
                if near is not None:
                    assert replay(recorded[near.version :], near) == lived[-1]


async def test_a_version_is_folded_from_nearby_and_a_run_that_is_short_has_none() -> None:
    async with kept(TEN_TASKS) as run:
        await run.offer_all()
        assert await run.versions() == [4, 8, 12, 16, 20, 24, 28, 32]
        assert run.store.read == len(TEN_TASKS) + 1, (
            "what passes is not read again: only the event that the first one is of"
        )
        for version in range(1, len(TEN_TASKS) + 1):
            run.store.read = 0
            await run.snapshots.at(STREAM, Version(version))
            assert run.store.read <= 1 + EVERY
    async with kept(TEN_TASKS, every=len(TEN_TASKS) + 1) as run:
        await run.offer_all()
        await run.snapshots.at(STREAM, Version(len(TEN_TASKS)))
        assert await run.versions() == []


async def test_what_is_missing_on_the_way_is_made_by_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.log.engine.READ_EVENTS", 2)
    async with kept(TEN_TASKS) as run:
        await run.snapshots.at(STREAM, Version(len(TEN_TASKS)))
        assert await run.versions() == [4, 8, 12, 16, 20, 24, 28]
        run.store.read = 0
        await run.snapshots.at(STREAM, Version(27))
        assert run.store.read == 1 + 3


async def test_a_snapshot_holds_what_changed_and_not_all_once_more() -> None:
    story = story_of(*RUNNING, *(event for n in range(300) for event in task_events(f"parse~{n}")[:3]))
    async with kept(story, every=20) as run:
        await run.offer_all(lambda version: version % 20 == 0)
        rows = await run.models.rows("snapshot_upto", stream=STREAM, upto=2**62)
        assert len(rows) == 45
        state = await run.snapshots.at(STREAM, Version(len(story)))
        assert state is not None
        assert sum(len(row["piece"]) for row in rows[1:]) < 45 * (1000 + 10 * 100), "a head and a few tasks each"
        assert rows[-1]["weight"] < 400


async def test_tasks_that_change_again_and_again_are_read_twice_at_most() -> None:
    again = [task_events("parse", attempt)[1] for attempt in range(1, 60)]
    retried = [task_events("parse", attempt)[3] for attempt in range(1, 60)]
    story = story_of(
        *RUNNING, task_events("parse")[0], *(event for pair in zip(again, retried, strict=True) for event in pair)
    )
    async with kept(story) as run:
        await run.offer_all()
        assert len(await run.versions()) <= 2 + 2 * EVERY, "the last whole one, and those that go on from it"
        assert await run.snapshots.at(STREAM, Version(len(story))) == after_all(story)


def after_all(story: Story) -> RunState:
    state = fold(story)
    assert state is not None
    return state


def _a_byte(path: Path) -> None:
    _execute(path, "UPDATE snapshots SET piece = CAST(substr(piece, 1, 40) || x'00' || substr(piece, 42) AS BLOB)")


def _another_task(path: Path) -> None:
    """A piece that can be read, of another state: only the checksum tells."""
    _execute(path, "UPDATE snapshots SET piece = (SELECT piece FROM snapshots WHERE version = 8) WHERE version = 12")


def _a_missing_link(path: Path) -> None:
    _execute(path, "DELETE FROM snapshots WHERE version = 8")


def _another_log(path: Path) -> None:
    _execute(path, "UPDATE snapshots SET event = event || '0'")


def _no_piece(path: Path) -> None:
    """Its checksum is right: it was written so."""
    _execute(path, f"UPDATE snapshots SET piece = x'c1', checksum = {zlib.crc32(bytes([0xC1]))}")


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


@pytest.mark.parametrize("harm", [_a_byte, _another_task, _a_missing_link, _another_log, _no_piece])
async def test_one_that_cannot_be_trusted_is_forgotten_and_made_anew(
    tmp_path: Path, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playhead.log.engine.READ_EVENTS", 2)
    records, path = MemoryRecords(), tmp_path / "views.db"
    async with kept(TEN_TASKS, records, path=path) as run:
        await run.offer_all()
    harm(path)
    async with kept([], records, path=path) as run:
        last = Version(len(TEN_TASKS))
        assert await run.snapshots.at(STREAM, last) == after_all(TEN_TASKS)
        assert await run.versions() == [4, 8, 12, 16, 20, 24, 28], "made anew on the way"
        assert await run.snapshots.latest(STREAM, Version(12)) == after_all(TEN_TASKS[:12])
    harm(path)
    async with kept([], records, path=path) as run:
        assert await run.snapshots.latest(STREAM) is None or harm is _another_task
        await run.offer_all()
        assert await run.snapshots.at(STREAM, last) == after_all(TEN_TASKS)


async def test_a_state_that_goes_on_from_another_history_is_not_kept(tmp_path: Path) -> None:
    """The log was put back, and has gone another way since: to go on from what it has forgotten would join two stories."""
    records, path = MemoryRecords(), tmp_path / "views.db"
    async with kept(TEN_TASKS[:13], records, path=path) as run:
        await run.offer_all()
        assert await run.versions() == [4, 8, 12]
    _execute(path, "UPDATE seen SET position = 0, mark = ''")
    other = MemoryRecords(log_id=records.log_id)
    async with kept(another_history(9), other, path=path) as run:
        assert await run.snapshots.at(STREAM, Version(8)) == after_all(TEN_TASKS[:8])
        assert await run.versions() == [4, 8, 12], "what both have is still good"
        newest = after_all(another_history(9))
        await run.snapshots.offer(STREAM, newest, ())
        assert await run.versions() == []
        await run.snapshots.offer(STREAM, newest, ())
        assert await run.versions() == [newest.version]
        assert await run.snapshots.latest(STREAM) == newest


async def test_a_snapshot_of_another_history_is_not_believed(tmp_path: Path) -> None:
    records, path = MemoryRecords(), tmp_path / "views.db"
    async with kept(TEN_TASKS[:13], records, path=path) as run:
        await run.offer_all()
    _execute(path, "UPDATE seen SET position = 0, mark = ''")
    other = MemoryRecords(log_id=records.log_id)
    elsewhere = another_history(9)
    async with kept(elsewhere, other, path=path) as run:
        for version in range(len(elsewhere), 0, -1):
            at = await run.snapshots.at(STREAM, Version(version))
            assert at is not None
            assert set(at.tasks.items()) == set(after_all(elsewhere[:version]).tasks.items()), (
                "tasks of its own history"
            )
            assert at == after_all(elsewhere[:version])


class Vanishing(FaultyStore):
    """The events behind a first page are forgotten by somebody while it is read."""

    async def read_stream(
        self, stream: StreamName, *, after: Version = Version(0), upto: Version | None = None
    ) -> AsyncIterator[Sequence[Recorded]]:
        async for events in self._store.read_stream(stream, after=after, upto=upto):
            yield events
            return


async def test_a_version_whose_events_go_while_they_are_read_is_no_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.log.engine.READ_EVENTS", 2)
    async with kept(TEN_TASKS, every=100) as run:
        snapshots = Snapshots(Vanishing(run.store), run.models)
        assert await snapshots.at(STREAM, Version(2)) == after_all(TEN_TASKS[:2])
        assert await snapshots.at(STREAM, Version(20)) is None


async def test_those_of_a_run_that_is_gone_go_with_it() -> None:
    records = MemoryRecords()
    async with kept(TEN_TASKS, records) as run:
        await run.offer_all()
        newest = await run.snapshots.latest(STREAM)
        assert newest is not None
        records.streams[STREAM].clear()
        await run.snapshots.offer(STREAM, after_all(TEN_TASKS), ())
        assert await run.snapshots.latest(STREAM) is None
        assert await run.versions() == []
        assert await run.snapshots.at(STREAM, Version(8)) is None


async def test_a_run_that_is_forgotten_takes_its_snapshots_along() -> None:
    async with kept(TEN_TASKS) as run:
        await run.offer_all()
        left = after_all(TEN_TASKS)
        await run.snapshots.offer(STREAM, replace(left, head=replace(left.head, forgotten_at=NOW)), ())
        assert await run.versions() == []
        assert await run.snapshots.latest(STREAM) is None


async def test_one_whose_ground_was_forgotten_meanwhile_is_not_kept() -> None:
    async with kept(TEN_TASKS) as run:
        await run.offer_all(lambda version: version <= 8)
        await run.models.change(Change("forget_snapshots", {"stream": STREAM}))
        await run.snapshots.offer(STREAM, after_all(TEN_TASKS[:12]), ())
        assert await run.versions() == []
        await run.snapshots.offer(STREAM, after_all(TEN_TASKS[:12]), ())
        assert await run.versions() == [12], "whole"


async def test_a_service_begins_with_the_snapshot_of_a_run_that_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "Snapshots", partial(Snapshots, every=10))
    folded: list[int] = []

    class Watched(Replay):
        def add(self, events: Sequence[Recorded], /) -> None:  # type: ignore[override]  # a page is what the service gives
            folded.extend(recorded.version for recorded in events)
            super().add(events)

    records, clock, views = MemoryRecords(), VirtualClock(), tmp_path / "views.db"
    async with open_world(records, clock=clock, views=views) as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED, *(submitted(f"parse~{n}") for n in range(40)))
        await world.report(claimed, 41, submitted("last"))
        await world.seen()
        await world.service.register_flow(flow("another"))
        await world.seen()  # and so what was to be kept of the page before it was kept
        before = await world.service.run(run_id(1))
    monkeypatch.setattr(service_module, "Replay", Watched)
    async with open_world(records, clock=clock, views=views) as world:
        assert len(folded) < 10
        assert await world.service.run(run_id(1)) == before
        assert await world.beat(claimed) > 0, "the lease goes on"
        await world.report(claimed, 42, submitted("more"))
        for version in range(1, before.version + 2):
            at = await world.service.run(run_id(1), at=version)
            assert at.version == version
            assert sum(at.counts.values()) == max(0, version - 5)
