"""Waiting for the ends of many runs: everybody hears of their own, and few streams are open for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import pytest

from playhead.client.ends import STREAMS, Ends
from playhead.errors import NotFound
from playhead.ports.server import EventFilter, EventPage, ServerApi
from tests.server.serving import until
from tests.service.world import World, flow, open_world, run_id

RUNS = range(1, 41)


class Watched:
    """A service, how many event streams are open on it, and how many ever were."""

    def __init__(self, api: ServerApi) -> None:
        self._api = api
        self.open = 0
        self.opened = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def events(
        self, *, cursor: str | None = None, which: EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[EventPage]]:
        return self._events(cursor, which)

    @asynccontextmanager
    async def _events(self, cursor: str | None, which: EventFilter | None) -> AsyncGenerator[AsyncIterator[EventPage]]:
        self.opened += 1
        self.open += 1
        try:
            async with self._api.events(cursor=cursor, which=which) as pages:
                yield pages
        finally:
            self.open -= 1


@asynccontextmanager
async def waiting_for_all() -> AsyncGenerator[tuple[World, Watched, dict[int, asyncio.Task[int | None]]]]:
    """A task for each run that waits for its end."""
    async with open_world() as world:
        await world.service.register_flow(flow())
        for number in RUNS:
            await world.ask(number)
        watched = Watched(world.service)
        ends = Ends(cast("ServerApi", watched))
        waiting = {number: asyncio.create_task(ends.position(run_id(number))) for number in RUNS}
        await until(lambda: watched.open == STREAMS + 1)
        yield world, watched, waiting
        for task in waiting.values():
            task.cancel()
        await asyncio.gather(*waiting.values(), return_exceptions=True)
        assert watched.open == 0


@pytest.mark.parametrize("step", [1, -1, 7])
async def test_all_hear_of_their_own_end_in_whatever_order_they_come(step: int) -> None:
    async with waiting_for_all() as (world, watched, waiting):
        order = [RUNS[(index * step) % len(RUNS)] for index in range(len(RUNS))]
        ended = {number: (await world.service.cancel(run_id(number))).position for number in order}
        async with asyncio.timeout(20):
            assert {number: await task for number, task in waiting.items()} == ended
        assert watched.opened < len(RUNS)


async def test_when_the_one_who_reads_is_cancelled_another_reads_on() -> None:
    async with waiting_for_all() as (world, watched, waiting):
        for number in RUNS[STREAMS:-1]:
            waiting[number].cancel()
            await asyncio.gather(waiting[number], return_exceptions=True)
        await until(lambda: watched.open == STREAMS + 1)
        ended = await world.service.cancel(run_id(RUNS[-1]))
        assert await waiting[RUNS[-1]] == ended.position


async def test_who_joins_late_hears_of_what_ends_later_and_of_what_has_ended() -> None:
    async with waiting_for_all() as (world, watched, waiting):
        number = RUNS[-1] + 1
        await world.ask(number)
        ends = Ends(cast("ServerApi", watched))
        busy = [asyncio.create_task(ends.position(run_id(other))) for other in RUNS[: STREAMS + 1]]
        await until(lambda: watched.open == 2 * (STREAMS + 1))
        late = asyncio.create_task(ends.position(run_id(number)))
        with pytest.raises(NotFound):
            await ends.position("f" * 32)
        ended = await world.service.cancel(run_id(number))
        assert await late in (ended.position, None)
        assert await ends.position(run_id(number)) is None
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        assert not waiting[RUNS[0]].done()
