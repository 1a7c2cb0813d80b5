"""A service over a log from which runs were removed: it says so, begins nothing anew, and its read models can be made again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from playhead.core import events as ev
from playhead.core.names import Micros, Position, StreamName, Version
from playhead.core.state import RunState
from playhead.errors import EpochOver, NotFound, Refused
from playhead.log.memory import MemoryRecords
from playhead.ports.server import RunFilter
from playhead.ports.store import Capability, Recorded, StoreBackend
from playhead.service.snapshots import Snapshots
from playhead.testing.clock import VirtualClock
from playhead.upkeep import Retention, compact, plan
from tests.service.test_read_models import busy_day, dump
from tests.service.world import ADOPTED, SUCCEEDED, agent, flow, open_world, run_id, submitted
from tests.stores import backend_of


async def forget_all(records: MemoryRecords, clock: VirtualClock) -> int:
    """Remove what has ended, as another process would; how many runs that were."""
    async with backend_at(records) as backend:
        if Capability.FORGETS not in backend.capabilities:
            pytest.skip("this store forgets nothing")
        later = Micros(clock.now() + 1)
        return (await compact(backend, await plan(backend, Retention(ended_before=later)), now=later)).runs


@asynccontextmanager
async def backend_at(records: MemoryRecords) -> AsyncGenerator[StoreBackend]:
    backend = await backend_of(records)
    try:
        yield backend
    finally:
        await backend.close()


async def test_read_models_are_the_same_lived_and_made_again(tmp_path: Path) -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock, views=tmp_path / "live.db") as world:
        await busy_day(world)
    assert await forget_all(records, clock) > 0
    for views in ("live.db", "again.db"):
        async with open_world(records, clock=clock, views=tmp_path / views) as world:
            await world.seen()
    live, again = dump(tmp_path / "live.db"), dump(tmp_path / "again.db")
    assert live == again
    assert len(live["forgotten"]) > 0


async def test_a_service_at_work_hears_of_it(tmp_path: Path) -> None:
    """As where several processes may write one log: its own states are of before, and it follows."""
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock, views=tmp_path / "live.db") as world:
        await busy_day(world)
        forgotten = await forget_all(records, clock)
        await world.seen()
        left = len((await world.service.runs(RunFilter())).runs)
    live = dump(tmp_path / "live.db")
    assert len(live["forgotten"]) == forgotten
    async with open_world(records, clock=clock, views=tmp_path / "again.db") as world:
        await world.seen()
        assert len((await world.service.runs(RunFilter())).runs) == left
    assert dump(tmp_path / "again.db") == live


async def test_a_version_that_is_forgotten_while_it_is_looked_for_is_told_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records, clock, look = MemoryRecords(), VirtualClock(), Snapshots.at

    async def too_late(snapshots: Snapshots, stream: StreamName, version: Version) -> RunState | None:
        assert await forget_all(records, clock) == 1
        return await look(snapshots, stream, version)

    monkeypatch.setattr(Snapshots, "at", too_late)
    async with open_world(records, clock=clock) as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED, submitted("a"), SUCCEEDED)
        with pytest.raises(NotFound) as gone:
            await world.service.run(run_id(1), at=3)
        assert "were forgotten" in str(gone.value.hint)


async def test_a_forgotten_run_is_shown_as_what_is_left_of_it_and_nothing_of_it_begins_again() -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock) as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED, submitted("a"), SUCCEEDED)
        at = (await world.service.run(run_id(1))).scheduled_for
    assert await forget_all(records, clock) == 1
    async with open_world(records, clock=clock) as world:
        view = await world.service.run(run_id(1))
        assert (view.state, view.flow, view.scheduled_for, view.tasks) == ("succeeded", "census", at, ())
        assert view.forgotten_at is not None
        assert [event.type async for event in world.service.history(run_id(1))] == ["run.forgotten"]
        assert (await world.service.runs(RunFilter())).runs == ()
        head = await world.log.head()
        await world.ask(1)
        await world.service.cancel(run_id(1))
        with pytest.raises(EpochOver):
            await world.report(claimed, 0, ADOPTED, submitted("a"), SUCCEEDED)
        with pytest.raises(EpochOver):
            await world.start(claimed)
        with pytest.raises(EpochOver):
            await world.beat(claimed)
        with pytest.raises(Refused):
            await world.claim(1)
        assert await world.log.head() == head, "nothing was appended"


async def test_a_scheduled_run_that_was_forgotten_is_not_asked_for_again(tmp_path: Path) -> None:
    """Even where the read models are made again, and know of no run of the schedule (S18)."""
    records, clock = MemoryRecords(), VirtualClock()
    schedule = ev.Schedule(id="5c" * 8, every_seconds=60, anchor=0)
    async with open_world(records, clock=clock) as world:
        await world.service.join(agent())
        await world.service.register_flow(flow("timed", schedule=schedule))
        await clock.advance(150)
        fired = await world.until("run.ready", 2)
        for event in fired:
            await world.service.cancel(event.stream.rpartition("/")[2])
    due = {event.data["scheduled_for"] for event in await everything(records) if event.type == "run.scheduled"}
    assert await forget_all(records, clock) == 2
    async with open_world(records, clock=clock, views=tmp_path / "new.db") as world:
        head = await world.log.head()
        await clock.advance(60)
        await world.until("run.ready")
        (asked,) = await world.recorded("run.scheduled")
        assert asked.data["scheduled_for"] > max(due), "the next time, and none of those before"
        assert asked.position > head


async def everything(records: MemoryRecords) -> Sequence[Recorded]:
    async with backend_at(records) as backend:
        return (await backend.read_all(after=Position(0), limit=100_000)).events
