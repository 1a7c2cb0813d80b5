"""The event stream: everything once and in order, from any cursor, and a cursor that moves where nothing fits."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from playhead.errors import CursorRefused
from playhead.log.memory import MemoryRecords
from playhead.ports.server import EventFilter, EventPage
from playhead.service.broadcast import CURSOR_EVERY
from playhead.testing.clock import VirtualClock
from tests.service.world import ADOPTED, World, agent, flow, open_world, run_id, submitted


async def pages_until(
    world: World, position: int, cursor: str | None, which: EventFilter | None = None
) -> list[EventPage]:
    """Pages until the cursor has come to `position`."""
    found: list[EventPage] = []
    async with world.service.events(cursor=cursor, which=which) as pages:
        async for page in pages:
            found.append(page)
            if int(page.cursor.split(":")[1]) >= position:
                break
    return found


async def test_from_any_cursor_the_rest_comes_once_and_in_order() -> None:
    async with open_world() as world:
        empty = await world.log.head()
        claimed = await world.running()
        for seq in range(20):
            await world.report(claimed, seq, ADOPTED if seq == 0 else submitted(f"k~{seq}"))
        head = await world.log.head()
        everything = [event for page in await pages_until(world, head, None) for event in page.events]
        assert [event.position for event in everything] == list(range(empty + 1, head + 1))
        async with world.service.events() as pages:
            cursor = (await anext(pages)).cursor
        seen = int(cursor.split(":")[1])
        await world.report(claimed, 20, submitted("k~20"))
        rest = [event for page in await pages_until(world, head + 1, cursor) for event in page.events]
        assert [event.position for event in rest] == list(range(seen + 1, head + 2))


async def test_what_is_appended_while_somebody_follows_reaches_them() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        which = EventFilter(types=("run.ready",))
        async with world.service.events(which=which) as pages:
            for number in range(5):
                await world.ask(number)
                page = await anext(pages)
                assert [event.stream for event in page.events] == [f"default/run/{run_id(number)}"]


async def test_filters_are_by_the_beginning_of_streams_and_by_type() -> None:
    async with open_world() as world:
        empty = await world.log.head()
        await world.running()
        head = await world.log.head()
        for which, expected in (
            (EventFilter(streams=("default/flow/", "default/agent/")), ["flow.registered", "agent.joined"]),
            (EventFilter(types=("run.ready", "run.started")), ["run.ready", "run.started"]),
            (EventFilter(streams=("default/run/",), types=("agent.joined", "run.claimed")), ["run.claimed"]),
        ):
            last = (await world.recorded(expected[-1]))[0].position
            pages = await pages_until(world, last, None, which)
            assert [event.type for page in pages for event in page.events] == expected
        assert head == empty + 6


async def test_where_nothing_fits_the_cursor_moves_all_the_same() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED)
        for n in range(3):
            batch = (submitted(f"k-{n}~{i}") for i in range(CURSOR_EVERY))
            await world.report(claimed, 1 + n * CURSOR_EVERY, *batch)
        which = EventFilter(streams=("default/nothing",))
        pages = await pages_until(world, 3 * CURSOR_EVERY - 1, None, which)
        assert all(page.events == () for page in pages)
        assert 2 <= len(pages) <= 4, "one page for so many events, not one for each append"
        resumed = await pages_until(world, await world.log.head(), pages[-2].cursor)
        assert resumed[-1].events[-1].position == await world.log.head()


@pytest.mark.own_store("it makes two logs with one id")
async def test_a_cursor_of_another_log_or_of_a_future_is_refused() -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock) as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        cursor = (await world.service.info()).cursor
    restored = MemoryRecords(log_id=records.log_id)
    for bad_records in (restored, MemoryRecords()):
        async with open_world(bad_records) as world:
            with pytest.raises(CursorRefused):
                async with world.service.events(cursor=cursor):
                    pass
    async with open_world(restored, clock=VirtualClock(seed=1)) as world:
        await world.service.register_flow(flow("other"))
        await world.service.join(agent("stoat"))
        with pytest.raises(CursorRefused):
            async with world.service.events(cursor=cursor):
                pass
        with pytest.raises(CursorRefused, match="is not a cursor"):
            async with world.service.events(cursor="canary"):
                pass


async def test_leaving_a_stream_while_it_waits_leaves_nothing_behind() -> None:
    async with open_world() as world:
        before = len(asyncio.all_tasks())
        for _ in range(5):
            async with world.service.events() as pages:
                waiting = asyncio.ensure_future(anext(pages))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
        with anyio.fail_after(30):
            while len(asyncio.all_tasks()) > before:  # a store's own read goes on to its end
                await anyio.sleep(0.01)
