"""What the server does for a request: how often it reads its log, commits, and touches its read models."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from playhead.core.names import Position, StreamName, Version
from playhead.log import Log
from playhead.log.memory import MemoryBackend
from playhead.ports.server import RunFilter
from playhead.ports.store import Append, Outcome, Page, Recorded
from playhead.service import Service
from playhead.service.read_models import ReadModels
from playhead.testing.clock import VirtualClock
from tests.service.world import ADOPTED, SUCCEEDED, World, agent, flow, run_id, submitted

EVERY_RUN = RunFilter()

Counts = Counter[str]


class CountingBackend(MemoryBackend):
    """Each call is a trip to another thread where the log is a file."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self._counts["commits"] += 1
        return await super().commit(batch)

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        self._counts["reads"] += 1
        return await super().read_stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        self._counts["reads"] += 1
        return await super().read_all(after=after, limit=limit)

    async def head(self) -> Position:
        self._counts["reads"] += 1
        return await super().head()


@asynccontextmanager
async def counted_world(patch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[World, Counts]]:
    """A service that is used already: a flow, an agent, and one run that was asked for and claimed."""
    counts: Counts = Counter()
    for method in ("apply", "rows"):
        _count_calls(patch, method, counts)
    clock = VirtualClock()
    async with Log.open(CountingBackend(counts)) as log, Service(log, clock=clock) as service:
        world = World(service, log, clock)
        await world.running(1)
        await world.seen()
        counts.clear()
        yield world, counts


def _count_calls(patch: pytest.MonkeyPatch, method: str, counts: Counts) -> None:
    of_old = getattr(ReadModels, method)

    def counted(self: ReadModels, *args: Any, **values: Any) -> Awaitable[object]:
        counts[f"views.{method}"] += 1
        return of_old(self, *args, **values)  # type: ignore[no-any-return]  # a coroutine, whichever method it is

    patch.setattr(ReadModels, method, counted)


async def test_a_run_from_asked_to_succeeded_is_one_commit_a_request_and_no_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with counted_world(monkeypatch) as (world, counts):
        await world.ask(2)
        claimed = await world.claim(2)
        await world.start(claimed)
        await world.beat(claimed)
        await world.report(claimed, 0, ADOPTED, submitted("parse"))
        await world.beat(claimed)
        await world.report(claimed, 2, SUCCEEDED)
        await world.service.agent_beat("otter")
        assert (counts["commits"], counts["reads"], counts["views.rows"]) == (5, 0, 0)
        assert counts["views.apply"] <= 1


async def test_the_rows_of_busy_runs_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async with counted_world(monkeypatch) as (world, counts):
        for number in range(2, 12):
            await world.ask(number)
            claimed = await world.claim(number)
            await world.start(claimed)
            await world.report(claimed, 0, ADOPTED, SUCCEEDED)
        assert counts["views.apply"] <= 1
        await world.seen()
        assert counts["views.apply"] <= 2
        assert (await world.service.runs(EVERY_RUN)).runs[0].run_id == run_id(11)


async def test_whoever_waits_for_a_position_does_not_wait_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    async with counted_world(monkeypatch) as (world, _):
        for number in range(2, 5):
            accepted = await world.ask(number)
            page = await world.service.runs(EVERY_RUN, after=accepted.position)
            assert page.runs[0].run_id == run_id(number)


async def test_a_flow_that_is_registered_and_an_agent_that_joins_cost_the_same_the_hundredth_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with counted_world(monkeypatch) as (world, counts):
        await world.service.register_flow(flow("other"))
        await world.service.join(agent("stoat"))
        first = dict(counts)
        for _ in range(10):
            counts.clear()
            await world.service.register_flow(flow("other"))
            await world.service.join(agent("stoat"))
        assert counts.total() <= sum(first.values())
        assert counts["commits"] == 0
