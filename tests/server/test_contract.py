"""One suite over the real service in this process and over HTTP, by TCP and by a unix socket: nobody can tell which one he has."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
import orjson
import pytest

from playhead.client.client import Client
from playhead.client.http import HttpServer
from playhead.core import events as ev
from playhead.core.state import RunStatus
from playhead.errors import CursorRefused, EpochOver, NotFound, PlayheadError, Refused
from playhead.log import Log
from playhead.ports import server as port
from playhead.ports.server import ServerApi
from playhead.service import Service, ServiceSettings
from playhead.wire import error_to_wire
from tests.client.test_transport import free_port
from tests.server.scripted import HEX, JOINED, REGISTERED
from tests.server.serving import QUICK, serving
from tests.server.test_app import CANARY
from tests.stores import chosen_url, new_backend

Road = Literal["in process", "tcp", "unix"]
ROADS: list[Road] = ["in process", "tcp", "unix"]
MAC = "A" * 22
CALM = ServiceSettings(lease_seconds=600.0, launch_timeout_seconds=600.0)


@asynccontextmanager
async def server(road: Road, folder: Path) -> AsyncGenerator[ServerApi]:
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(Log.open(await new_backend()))
        service = await stack.enter_async_context(Service(log, settings=CALM))
        api: ServerApi = service
        if road != "in process":
            url = await stack.enter_async_context(serving(service, road=road, folder=folder))
            api = await stack.enter_async_context(HttpServer(url, patience=QUICK))
        yield api


@dataclass(frozen=True)
class Running:
    """A run that a runner has begun."""

    run: str
    claimed: port.Claimed

    def batch(self, first_seq: int, *events: ev.Event) -> port.ReportRequest:
        return port.ReportRequest(
            epoch=self.claimed.epoch, grant=self.claimed.grant, origin=self.claimed.epoch, first_seq=first_seq,
            events=tuple((event.TYPE, event.SCHEMA, ev.encode(event)) for event in events),
        )  # fmt: skip


async def asked(api: ServerApi) -> str:
    """A run that is ready."""
    await api.register_flow(REGISTERED)
    run = secrets.token_hex(16)
    accepted = await api.ask_run(port.RunRequest(run=run, flow="crawl", seal=HEX))
    assert accepted.state is RunStatus.READY
    return run


async def begun(api: ServerApi) -> Running:
    run = await asked(api)
    await api.join(port.AgentHello(joined=JOINED))
    claimed = await api.claim(run, port.ClaimRequest(agent=JOINED.agent, claim=secrets.token_hex(8)))
    started = await api.start(
        run, port.StartRequest(epoch=1, grant=claimed.grant, storage=HEX, python="3.11", key_scheme=1)
    )
    assert started.reported == (0,)
    return Running(run, claimed)


async def finish(api: ServerApi, running: Running) -> port.Reported:
    adopted, succeeded = ev.JournalAdopted(at=1), ev.RunSucceeded(at=2, mac=MAC, size=3)
    return await api.report(running.run, running.batch(0, adopted, succeeded))


@pytest.mark.parametrize("road", ROADS)
async def test_a_run_goes_from_asked_to_succeeded(road: Road, tmp_path: Path) -> None:
    async with server(road, tmp_path) as api, Client(api) as client:
        running = await begun(api)
        waiting = asyncio.create_task(client.wait(running.run))
        beat = await api.heartbeat(running.run, port.HeartbeatRequest(epoch=1, grant=running.claimed.grant))
        assert not beat.cancelling
        batch = running.batch(
            0,
            ev.JournalAdopted(at=1),
            ev.TaskSubmitted(at=2, key="fetch", name="fetch"),
            ev.TaskMapped(at=2, key="parse", name="parse", width=3, after=("fetch",)),
            ev.TaskStarted(at=3, key="fetch"),
            ev.TaskSucceeded(at=4, key="fetch", mac=MAC, size=2),
        )
        first = await api.report(running.run, batch)
        assert await api.report(running.run, batch) == first
        await api.report(running.run, running.batch(5, ev.RunSucceeded(at=9, mac=MAC, size=3)))
        view = await waiting
        assert (view.state, view.counts) == (RunStatus.SUCCEEDED, {"submitted": 3, "succeeded": 1})
        assert [task.key for task in view.tasks] == ["fetch", "parse.0", "parse.1", "parse.2"]
        history = [event async for event in client.history(running.run)]
        assert [event.version for event in history] == list(range(1, view.version + 1))
        assert [event async for event in client.history(running.run, after_version=4)] == history[4:]
        early = await client.run(running.run, at=2)
        assert (early.state, early.version) == (RunStatus.READY, 2)
        assert (await client.run(running.run, tasks=False)).tasks == ()
        assert await client.find_run("@last") == running.run
        assert await client.find_run(running.run[:12]) == running.run


@pytest.mark.parametrize("road", ROADS)
async def test_refusals_are_the_same(road: Road, tmp_path: Path) -> None:
    async with server(road, tmp_path) as api:
        nothing = "f" * 32
        for ask in (api.run(nothing), api.cancel(nothing), api.flow("none"), anext(aiter(api.history(nothing)))):
            with pytest.raises(NotFound):
                await ask
        run = await asked(api)
        with pytest.raises(NotFound):
            await api.claim(run, port.ClaimRequest(agent="nobody", claim=HEX))
        with pytest.raises(NotFound):
            await api.run(run, at=99)
        with pytest.raises(Refused) as other:
            await api.ask_run(port.RunRequest(run=run, flow="crawl", seal=HEX, labels=("other",)))
        assert other.value.code == "other_run"
        running = await begun(api)
        with pytest.raises(Refused) as gap:
            await api.report(running.run, running.batch(7, ev.JournalAdopted(at=1)))
        assert gap.value.code == "sequence_gap"
        with pytest.raises(EpochOver):
            await api.heartbeat(running.run, port.HeartbeatRequest(epoch=1, grant="0" * 32))
        with pytest.raises(CursorRefused):
            async with api.events(cursor="another log:1:abcd") as pages:
                await anext(pages)


@pytest.mark.parametrize("road", ROADS)
async def test_what_a_run_waits_for(road: Road, tmp_path: Path) -> None:
    async with server(road, tmp_path) as api:
        await api.register_flow(REGISTERED)
        run = secrets.token_hex(16)
        accepted = await api.ask_run(port.RunRequest(run=run, flow=REGISTERED.flow, seal=REGISTERED.seal))
        told = await api.why(run, after=accepted.position)
        assert (told.run_id, told.because) == (run, "no agent has ever joined")
        with pytest.raises(NotFound) as raised:
            await api.why(run, task="parse")
        assert (raised.value.kind, raised.value.name) == ("task", "parse")


@pytest.mark.parametrize("road", ROADS)
async def test_cancelling_reaches_the_runner(road: Road, tmp_path: Path) -> None:
    async with server(road, tmp_path) as api:
        ready = await asked(api)
        assert (await api.cancel(ready)).state is RunStatus.CANCELLED
        running = await begun(api)
        assert (await api.cancel(running.run)).state is RunStatus.CANCELLING
        assert (
            await api.heartbeat(running.run, port.HeartbeatRequest(epoch=1, grant=running.claimed.grant))
        ).cancelling
        reported = await api.report(running.run, running.batch(0, ev.JournalAdopted(at=1), ev.RunCancelled(at=2)))
        assert reported.state is RunStatus.CANCELLED
        page = await api.runs(port.RunFilter(state=(RunStatus.CANCELLED,)), limit=1, after=reported.position)
        assert [run.run_id for run in page.runs] == [running.run]
        assert page.next is not None
        page = await api.runs(port.RunFilter(state=(RunStatus.CANCELLED,)), limit=1, page=page.next)
        assert [run.run_id for run in page.runs] == [ready]
        [agent] = await api.agents()
        assert agent.agent == JOINED.agent


@pytest.mark.parametrize("road", ROADS)
async def test_a_claim_is_one_agents_however_many_ask(road: Road, tmp_path: Path) -> None:
    async with server(road, tmp_path) as api:
        run = await asked(api)
        await api.join(port.AgentHello(joined=JOINED))

        async def claim() -> port.Claimed | PlayheadError:
            try:
                return await api.claim(run, port.ClaimRequest(agent=JOINED.agent, claim=secrets.token_hex(8)))
            except Refused as error:
                return error

        answers = await asyncio.gather(*(claim() for _ in range(20)))
        assert len([answer for answer in answers if isinstance(answer, port.Claimed)]) == 1
        assert {answer.code for answer in answers if isinstance(answer, PlayheadError)} == {"not_ready"}


@pytest.mark.parametrize("road", ROADS)
async def test_every_event_is_seen_once_from_any_cursor(road: Road, tmp_path: Path) -> None:
    async with server(road, tmp_path) as api:
        for _ in range(3):
            await finish(api, await begun(api))
        head = (await api.info()).position
        whole, cursors = await _read(api, head)
        assert [event.position for event in whole] == sorted({event.position for event in whole})
        for cursor in cursors[:-1]:
            rest, _ = await _read(api, head, cursor)
            assert rest == [event for event in whole if event.position > int(cursor.split(":")[1])]
        which = port.EventFilter(streams=("default/run/",), types=("run.succeeded",))
        chosen, _ = await _read(api, head, which=which)
        assert chosen == [event for event in whole if event.type == "run.succeeded"]
        async with api.events(cursor=(await api.info()).cursor) as pages:
            await asked(api)
            assert (await anext(pages)).events[0].position > head


async def test_a_server_that_restarts_on_its_log_costs_a_follower_nothing(tmp_path: Path) -> None:
    listening, store = free_port(), chosen_url() or f"sqlite:///{tmp_path}/log.db"
    seen: list[int] = []
    whole: list[Any] = []
    async with HttpServer(f"http://127.0.0.1:{listening}", patience=QUICK) as http, http.events() as pages:
        for _ in range(3):
            async with (
                Log.open(store) as log,
                Service(log, settings=CALM) as api,
                serving(api, port=listening),
            ):
                await finish(api, await begun(api))
                head = (await api.info()).position
                while not seen or seen[-1] < head:
                    seen += [event.position for event in (await anext(pages)).events]
                whole, _ = await _read(api, head)
    assert seen == [event.position for event in whole]


async def test_no_answer_to_a_bad_report_echoes_it(tmp_path: Path) -> None:
    async with Log.open(await new_backend()) as log, Service(log, settings=CALM) as api, serving(api) as url:
        running = await begun(api)
        bad: list[list[Any]] = [
            [CANARY, 1, {}],
            ["task.submitted", 1, {"at": 1, "key": "k", "name": CANARY + " with data"}],
            ["task.submitted", 1, {"at": 1, "key": "k", "name": "n", CANARY: CANARY}],
            ["task.failed", 1, {"at": 1, "key": "k", "category": CANARY, "mac": MAC}],
            ["run.scheduled", 1, {"run": CANARY}],
        ]
        async with aiohttp.ClientSession(url) as session:
            for event in bad:
                body = running.batch(0, ev.JournalAdopted(at=1)).model_dump(mode="json") | {"events": [event]}
                async with session.post(f"/api/runs/{running.run}/report", data=orjson.dumps(body)) as response:
                    assert response.status in (409, 422)
                    assert CANARY not in await response.text()


def test_an_error_of_the_service_is_plain_json() -> None:
    orjson.dumps(error_to_wire(NotFound("run", "x", hint="y")))


async def _read(
    api: ServerApi, upto: int, cursor: str | None = None, which: port.EventFilter | None = None
) -> tuple[list[Any], list[str]]:
    """Events up to a position, and the cursors on the way."""
    events: list[Any] = []
    cursors: list[str] = []
    async with api.events(cursor=cursor, which=which) as pages:
        async for page in pages:
            events += page.events
            cursors.append(page.cursor)
            if int(page.cursor.split(":")[1]) >= upto:
                return events, cursors
    raise AssertionError("the stream ended by itself")
