"""What the server does for a request: how often it reads its log, commits, and touches its read models."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest

import playhead
from playhead.client.http import HttpServer
from playhead.core.names import Position, StreamName, Version, run_stream
from playhead.core.tokens import SECRET_BYTES, Scope, Token
from playhead.log import Log
from playhead.log.memory import MemoryBackend
from playhead.ports.server import ClaimRequest, EventFilter, EventPage, RunFilter, ServerApi, TokenRequest
from playhead.ports.store import Append, Outcome, Page, Recorded
from playhead.runner.reporter import GATHER_SECONDS
from playhead.server import streams
from playhead.service import Service
from playhead.service.broadcast import Listener
from playhead.service.read_models import ReadModels
from playhead.testing.clock import VirtualClock
from playhead.wire import page_to_wire
from tests.runner.bench import open_bench
from tests.server.serving import QUICK, serving
from tests.service.world import ADOPTED, SUCCEEDED, World, agent, flow, open_world, run_id, submitted

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


async def test_a_token_is_checked_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, client = Token(run_id(2), bytes(SECRET_BYTES), of_runner=True), Token("ci", bytes(SECRET_BYTES))
    async with counted_world(monkeypatch) as (world, counts):
        await world.service.create_token(
            TokenRequest(name="ci", scope=Scope.CLIENT, digest=client.digest, lifetime_seconds=60)
        )
        await world.ask(2)
        await world.service.claim(run_id(2), ClaimRequest(agent="otter", claim="c2" * 8, runner=runner.digest))
        counts.clear()
        for _ in range(100):
            await world.service.admission.admit_runner(runner.name, runner.digest)
            world.service.admission.admit(client.name, client.digest)
        assert counts.total() == 0


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
        assert counts["commits"] == counts["views.apply"] == 0


async def test_an_event_wakes_only_those_whom_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: Counts = Counter()

    def counted(self: Listener) -> None:
        woken["listeners"] += 1
        wake(self)

    wake = Listener.wake
    monkeypatch.setattr(Listener, "wake", counted)
    async with open_world() as world, AsyncExitStack() as stack:
        claimed = await world.running(1)
        cursor = (await world.service.info()).cursor
        waiting: list[asyncio.Future[EventPage]] = []
        for number in range(100):
            which = EventFilter(streams=(run_stream(run_id(number)),))
            pages = await stack.enter_async_context(world.service.events(cursor=cursor, which=which))
            waiting.append(asyncio.ensure_future(anext(pages)))
        await asyncio.sleep(0)
        await world.report(claimed, 0, ADOPTED)
        assert [event.type for event in (await waiting[1]).events] == ["journal.adopted"]
        assert woken["listeners"] == 1
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_page_is_written_down_once_however_many_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[EventPage] = []

    def counted(page: EventPage) -> bytes:
        written.append(page)
        return page_to_wire(page)

    monkeypatch.setattr(streams, "page_to_wire", counted)
    async with open_world() as world, serving(world.service) as url, HttpServer(url, patience=QUICK) as http:
        claimed = await world.running(1)
        cursor = (await world.service.info()).cursor
        opened = asyncio.Semaphore(0)

        async def follow() -> int:
            async with http.events(
                cursor=cursor, which=EventFilter(types=("task.submitted", "journal.adopted"))
            ) as pages:
                first = await anext(pages)
                opened.release()
                second = await anext(pages)
                return len(first.events) + len(second.events)

        following = [asyncio.create_task(follow()) for _ in range(20)]
        await world.report(claimed, 0, ADOPTED)
        for _ in following:
            await opened.acquire()
        written.clear()  # some may have come late, and read the first one by themselves
        await world.report(claimed, 1, submitted("parse"))
        assert await asyncio.gather(*following) == [2] * 20
        assert len(written) == 1


async def test_a_flow_is_shown_from_what_is_kept_until_it_is_registered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with counted_world(monkeypatch) as (world, counts):
        before = await world.service.flow("census")
        counts.clear()
        assert await world.service.flow("census") == before
        assert counts.total() == 0
        again = await world.service.register_flow(flow(labels=("gpu",)))
        assert await world.service.flow("census") == again != before
        (listed,) = [view for view in await world.service.flows() if view.flow == "census"]
        assert listed == again


class CountedApi:
    """Any `ServerApi`, and how often each of its methods was asked."""

    def __init__(self, api: ServerApi) -> None:
        self._api = api
        self.asked: Counts = Counter()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self._api, name)


def test_a_runner_asks_for_its_start_and_reports_in_company() -> None:
    """Five tasks leave seventeen records. Only time that passes may spread them over reports, and none of it is spent on purpose."""
    with open_bench() as bench:
        run = bench.ask(five)
        api = CountedApi(bench.api)
        began = time.monotonic()
        outcome = bench.execution(bench.grant(run), cast("ServerApi", api))(five, {})
        took = time.monotonic() - began
        assert outcome.unwrap(run) == 5
        assert len(bench.history(run)) == 4 + 17
        assert api.asked["start"] == 1
        assert api.asked["report"] <= 2 + took / GATHER_SECONDS
        assert set(api.asked) <= {"start", "report", "heartbeat"}


@playhead.task
def inc(x: int) -> int:
    return x + 1


@playhead.flow
def five() -> int:
    x = 0
    for _ in range(5):
        x = inc(x)
    return x
