"""Answers that are lost and a store that is full: asked again, everything is as if nothing had happened (S11, L8)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log import Log
from playhead.ports.server import ClaimRequest, DiedRequest
from playhead.service import Service
from playhead.service.background import RETRY_SECONDS
from playhead.service.settings import ServiceSettings
from playhead.testing.clock import VirtualClock
from tests.service.faulty import FaultyStore
from tests.service.world import ADOPTED, SUCCEEDED, World, agent, flow, open_world, run_id, submitted
from tests.stores import new_backend

T = TypeVar("T")


@asynccontextmanager
async def faulty_world() -> AsyncGenerator[tuple[World, FaultyStore]]:
    clock = VirtualClock()
    async with Log.open(await new_backend()) as log:
        store = FaultyStore(log)
        async with Service(store, clock=clock) as service:
            yield World(service, log, clock), store


async def whole_story(world: World, ask: Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]) -> list[str]:
    """A run's life, each request made through `ask`; what the log says of it at the end."""
    service = world.service
    await ask(lambda: service.register_flow(flow()))
    await ask(lambda: service.join(agent()))
    await ask(lambda: world.ask())
    await ask(lambda: world.claim(claim="c1" * 8))
    claimed = await service.claim(run_id(1), ClaimRequest(agent="otter", claim="c1" * 8))
    await ask(lambda: world.start(claimed))
    await ask(lambda: world.report(claimed, 0, ADOPTED, submitted("a")))
    await ask(lambda: service.died(run_id(1), DiedRequest(epoch=1, signal=9)))
    await ask(lambda: world.claim(claim="c2" * 8))
    claimed = await service.claim(run_id(1), ClaimRequest(agent="otter", claim="c2" * 8))
    await ask(lambda: world.start(claimed))
    await ask(lambda: world.report(claimed, 2, submitted("b"), origin=1))
    await ask(lambda: world.report(claimed, 0, ADOPTED))
    await ask(lambda: world.service.cancel(run_id(1)))
    await ask(lambda: world.report(claimed, 1, SUCCEEDED))
    await ask(lambda: world.service.drain("otter"))
    return [
        f"{event.stream} {event.version} {event.type} {event.epoch} {event.seq}" for event in await world.recorded()
    ]


async def plainly(request: Callable[[], Awaitable[object]]) -> None:
    await request()


async def test_whichever_answer_is_lost_asking_again_settles_it() -> None:
    async with open_world() as world:
        expected = await whole_story(world, plainly)
    async with faulty_world() as (world, store):

        async def twice(request: Callable[[], Awaitable[object]]) -> None:
            store.lose_answers = True
            with pytest.raises(OutcomeUnknown):
                await request()
            await request()
            store.lose_answers = False
            await request()

        assert await whole_story(world, twice) == expected


async def test_a_full_store_is_a_clear_error_and_work_goes_on_when_it_is_over() -> None:
    async with open_world() as world:
        expected = await whole_story(world, plainly)
    async with faulty_world() as (world, store):

        async def refused_first(request: Callable[[], Awaitable[object]]) -> None:
            store.full = True
            with pytest.raises(LogUnusable, match="full"):
                await request()
            store.full = False
            await request()

        assert await whole_story(world, refused_first) == expected


async def test_the_sweep_and_the_clockwork_outlive_a_full_store() -> None:
    async with faulty_world() as (world, store):
        await world.running(1)
        await world.ask(2, at=world.clock.now() + 5_000_000)
        await world.seen()
        store.full = True
        await world.clock.advance(ServiceSettings().lease_seconds + 5)

        async def refused_often() -> bool:
            return store.refused >= 4

        await _pass_time(world, refused_often)
        assert await world.recorded("run.lost") == []
        store.full = False

        async def both_went_on() -> bool:
            return len(await world.recorded("run.lost")) == 1 and len(await world.recorded("run.ready")) == 2

        await _pass_time(world, both_went_on)


async def _pass_time(world: World, done: Callable[[], Awaitable[bool]]) -> None:
    """Until then, in steps of a retry: on a slow machine what looks at the clock takes its time to go to sleep again."""
    for _ in range(100):
        if await done():
            return
        await world.clock.advance(RETRY_SECONDS)
        await world.seen()
    raise AssertionError("it did not come, in a hundred retries")


async def test_a_report_reads_nothing_of_a_run_that_is_kept() -> None:
    """The hot path costs one append: a run of 100,000 tasks must not be read again for each batch."""
    async with faulty_world() as (world, store):
        claimed = await world.running()
        await world.seen()
        store.stream_reads.clear()
        for seq in range(50):
            await world.report(claimed, seq, ADOPTED if seq == 0 else submitted(f"k~{seq}"))
            await world.beat(claimed)
        await world.seen()
        assert store.stream_reads == []


@pytest.mark.own_store("it is about SQLite")
async def test_on_sqlite_it_is_the_same_story(tmp_path: Path) -> None:
    async with open_world() as world:
        expected = await whole_story(world, plainly)
    clock = VirtualClock()
    url = f"sqlite:///{tmp_path}/log.db"
    async with Log.open(url) as log, Service(log, read_models=tmp_path / "views.db", clock=clock) as service:
        assert await whole_story(World(service, log, clock), plainly) == expected
        shown = await service.run(run_id(1))
    async with Log.open(url) as log, Service(log, read_models=tmp_path / "views.db", clock=clock) as service:
        assert await service.run(run_id(1), after=await log.head()) == shown
