"""The broadcast: whoever listens, however slowly and from wherever, gets what fits once and in order."""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from playhead.core.names import Micros, Position, StreamName
from playhead.log import Log
from playhead.ports.server import EventFilter, EventPage
from playhead.ports.store import Append, Expect, NewEvent, Recorded
from playhead.service.audiences import Audiences
from playhead.service.broadcast import QUEUED_EVENTS, Broadcast, Listener
from tests.server.scripted import recorded
from tests.server.serving import until
from tests.stores import new_backend


@asynccontextmanager
async def on_air() -> AsyncGenerator[tuple[Log, Broadcast]]:
    async with Log.open(await new_backend()) as log:
        broadcast = Broadcast(log)
        broadcast.begin(await log.head())
        running = asyncio.create_task(broadcast.run())
        yield log, broadcast
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def append(log: Log, stream: str, *types: str) -> Position:
    events = tuple(NewEvent(type=kind, schema=1, data={}) for kind in types)
    new = Append(
        stream=StreamName(stream), events=events, expected=Expect.ANY, append_id=secrets.token_hex(8), actor="test",
        recorded_at=Micros(0),
    )  # fmt: skip
    return (await log.append(new)).last


async def follow(
    broadcast: Broadcast, upto: int, cursor: str | None = None, which: EventFilter | None = None
) -> list[Recorded]:
    """The events until one at this position has come."""
    seen: list[Recorded] = []
    async with broadcast.open(cursor, which or EventFilter()) as pages:
        async for page in pages:
            seen += page.events
            if seen and seen[-1].position >= upto:
                break
    return seen


@pytest.mark.parametrize("level", [True, False])
async def test_each_gets_what_fits_once(level: bool) -> None:
    """Of those who are level, and of those who begin behind."""
    async with on_air() as (log, broadcast):
        empty = await log.head()
        if not level:
            await append(log, "a/1", "x", "y")
        filters = (
            EventFilter(),
            EventFilter(streams=("a/",)),
            EventFilter(streams=("a/", "a/1", "a")),
            EventFilter(streams=("b", "a/1"), types=("x", "z")),
        )
        listeners = [asyncio.create_task(follow(broadcast, empty + 6, which=which)) for which in filters]
        if level:
            await append(log, "a/1", "x", "y")
        await append(log, "a/2", "x")
        await append(log, "b/1", "y", "z")
        await append(log, "a/1", "z")
        every, a, nested, picked = await asyncio.gather(*listeners)
        assert [event.position - empty for event in every] == [1, 2, 3, 4, 5, 6]
        assert [event.position for event in a] == [event.position for event in nested]
        assert [event.position - empty for event in a] == [1, 2, 3, 6]
        assert [event.position - empty for event in picked] == [1, 5, 6]


async def test_those_with_one_filter_are_given_the_same_page() -> None:
    async with on_air() as (log, broadcast):
        which, cursor = EventFilter(types=("x",)), await broadcast.cursor_at(await log.head())
        async with broadcast.open(cursor, which) as one, broadcast.open(cursor, which) as other:
            both = asyncio.gather(anext(one), anext(other))
            await asyncio.sleep(0)
            await append(log, "a", "x")
            first, second = await both
            assert first is second


async def test_one_who_takes_slowly_reads_the_log_and_loses_nothing() -> None:
    async with on_air() as (log, broadcast):
        empty = await log.head()
        async with broadcast.open(await broadcast.cursor_at(empty), EventFilter()) as slow:
            first = asyncio.ensure_future(anext(slow))
            await asyncio.sleep(0)
            last = await append(log, "a", "x")
            pages: list[EventPage] = [await first]
            for _ in range(5):
                last = await append(log, "a", *["x"] * (QUEUED_EVENTS // 2))
            quick = await follow(broadcast, last)
            while pages[-1].events[-1].position < last:
                pages.append(await anext(slow))
            assert [event for page in pages for event in page.events] == quick
            assert [event.position for event in quick] == list(range(empty + 1, last + 1))
            last = await append(log, "a", "y")
            assert [event.position for event in (await anext(slow)).events] == [last], "level again"


async def test_what_is_kept_for_one_who_takes_nothing_is_bounded() -> None:
    async with on_air() as (log, broadcast), broadcast.open(None, EventFilter()) as idle:
        first = asyncio.ensure_future(anext(idle))
        await asyncio.sleep(0)
        last = await append(log, "a", "x")
        await first
        for _ in range(6):
            last = await append(log, "a", *["x"] * (QUEUED_EVENTS // 2))
        await follow(broadcast, last)  # by now all of it was handed out
        kept = [listener.queued for listener in gc.get_objects() if isinstance(listener, Listener)]
        assert max(kept) <= QUEUED_EVENTS


async def test_a_cursor_ahead_of_the_broadcast_is_not_given_what_it_has_seen() -> None:
    """The broadcast has its turn later than whoever appended, and may not have handed out what a reader knows already."""
    async with Log.open(await new_backend()) as log:
        broadcast = Broadcast(log)
        broadcast.begin(Position(0))
        known = await append(log, "a", "x", "y")
        listening = asyncio.create_task(follow(broadcast, known + 1, await broadcast.cursor_at(known)))
        await until(lambda: len(asyncio.all_tasks()) >= 3)
        await asyncio.sleep(0)
        running = asyncio.create_task(broadcast.run())
        last = await append(log, "a", "z")
        assert [event.position for event in await listening] == [last]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_it_ends_with_the_log_and_not_before_all_is_taken() -> None:
    async with Log.open(await new_backend()) as log:
        broadcast = Broadcast(log)
        running = asyncio.create_task(broadcast.run())
        listening = asyncio.create_task(_whole(broadcast))
        await asyncio.sleep(0)
        await append(log, "a", "x")
        await append(log, "a", "y")
    await running
    assert [event.type for event in await listening] == ["x", "y"]


async def _whole(broadcast: Broadcast) -> list[Recorded]:
    async with broadcast.open(None, EventFilter()) as pages:
        return [event async for page in pages for event in page.events]


def test_an_audience_that_nobody_is_left_of_is_forgotten() -> None:
    audiences = Audiences[str]()
    for which in (EventFilter(), EventFilter(streams=("default/run/",)), EventFilter(types=("run.ready",))):
        one, other = audiences.join("one", which), audiences.join("other", which)
        assert one is other
        assert list(audiences.of(recorded(1))) == [one]
        audiences.leave("one", one)
        assert list(audiences.of(recorded(1))) == [one]
        audiences.leave("other", one)
        assert list(audiences.of(recorded(1))) == []
        assert len(audiences) == 0
