"""An engine inside somebody else's program: its order of opening and closing, mounting, and that it keeps to itself."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from fastapi import FastAPI

from playhead.client.client import Client
from playhead.client.http import HttpServer
from playhead.core.names import Position
from playhead.engine import Engine
from playhead.errors import LogUnusable, NotFound, ServerError, UsageError
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.server import ServerApi
from playhead.ports.store import StoreBackend
from playhead.server.serve import serve
from playhead.server.streams import StreamLimits, Streams
from tests.server.scripted import REGISTERED, RUN
from tests.stores import chosen_url, new_url


def reopened(folder: Path) -> str:
    """The URL of a log that can be opened a second time."""
    return chosen_url() or f"sqlite:///{folder}/log.db"


async def test_an_engine_has_a_client_without_http(tmp_path: Path) -> None:
    log = reopened(tmp_path)
    async with Engine(log) as engine:
        await engine.api.register_flow(REGISTERED)
        assert [flow.flow for flow in await engine.client.flows()] == ["crawl"]
    async with Engine(log, home=tmp_path / "home") as engine:
        assert [flow.flow for flow in await engine.client.flows()] == ["crawl"]


class Watched(MemoryBackend):
    """A program's own store, which it opened itself."""

    closed = False

    async def close(self) -> None:
        await super().close()
        self.closed = True


async def open_watched(url: str) -> StoreBackend:
    return Watched()


@pytest.mark.own_store("it names its stores")
@pytest.mark.parametrize("url", ["memory:", "eventsourcing:eventsourcing.popo", f"{__name__}:open_watched"])
async def test_it_takes_any_store_by_its_url(url: str) -> None:
    async with Engine(url) as engine:
        await engine.api.register_flow(REGISTERED)
        assert [flow.flow for flow in await engine.client.flows()] == ["crawl"]


@pytest.mark.own_store("it opens its backend itself")
async def test_it_takes_an_open_backend_and_closes_it() -> None:
    records = MemoryRecords()
    for _ in range(2):
        backend = Watched(records)
        async with Engine(backend) as engine:
            await engine.api.register_flow(REGISTERED)
            assert [flow.flow for flow in await engine.client.flows()] == ["crawl"]
        assert backend.closed
    assert len(records.events) == 1, "the second engine knows what the first one wrote"


@pytest.mark.own_store("it opens its backend itself")
async def test_a_backend_is_closed_also_where_the_engine_does_not_start() -> None:
    class Unreadable(Watched):
        async def head(self) -> Position:
            raise LogUnusable("not today")

    backend = Unreadable()
    with pytest.raises(LogUnusable, match="not today"):
        async with Engine(backend):
            pass
    assert backend.closed


async def test_it_lives_in_somebody_elses_app() -> None:
    engine = Engine(new_url())
    app = FastAPI(lifespan=engine.lifespan)
    app.mount("/playhead", engine.asgi())

    async def hello() -> dict[str, Any]:
        return {"flows": len(await engine.client.flows())}

    app.add_api_route("/hello", hello)
    async with _somebodys_server(app) as url, aiohttp.ClientSession(url) as session:
        async with Client(f"{url}/playhead") as client:
            await client.api.register_flow(REGISTERED)
            assert [flow.flow for flow in await client.flows()] == ["crawl"]
            with pytest.raises(NotFound):
                await client.run(RUN)
            async with client.events() as pages:
                assert (await anext(pages)).events[0].type == "flow.registered"
        async with session.get("/hello") as response:
            assert orjson.loads(await response.read()) == {"flows": 1}
        async with session.get("/api/info") as response:
            assert response.status == 404
        async with session.get("/playhead/openapi.json") as response:
            assert "/api/runs/{run}/report" in orjson.loads(await response.read())["paths"]


async def test_an_app_of_an_engine_that_does_not_run_says_so() -> None:
    engine = Engine(new_url())
    async with serve(engine.asgi(), port=0) as url, HttpServer(url) as http:
        with pytest.raises(ServerError, match="not running"):
            await http.info()
        async with engine:
            assert (await http.info()).log_id
        with pytest.raises(ServerError, match="not running"):
            await http.info()
    with pytest.raises(ServerError, match="not running"):
        _ = engine.client


async def test_it_serves_while_asked_to() -> None:
    async with Engine(new_url()) as engine:
        async with engine.serve(port=0) as url, Client(url) as client:
            await client.api.register_flow(REGISTERED)
        assert len(await engine.client.flows()) == 1


async def test_an_agent_gets_the_api_and_an_address_that_works_and_ends_first(tmp_path: Path) -> None:
    told: list[str] = []

    class Agent:
        @asynccontextmanager
        async def attach(
            self, api: ServerApi, url: str | None, *, home: Path | None = None, storage: str | None = None
        ) -> AsyncGenerator[object]:
            assert url is not None
            async with HttpServer(url) as http:
                told.append(url)
                assert (await http.info()).log_id == (await api.info()).log_id
                yield self
                told.append((await http.info()).log_id)  # the server is still there

    for home in (None, tmp_path / "home", tmp_path / ("deep" * 40)):
        async with Engine(new_url(), agent=Agent(), home=home) as engine:
            log_id = (await engine.api.info()).log_id
        assert told[-1] == log_id
    assert told[2] == f"unix://{tmp_path}/home/engine.sock"
    assert not Path(told[0].removeprefix("unix://")).parent.exists()


async def test_an_agent_that_cannot_start_closes_what_was_open(tmp_path: Path) -> None:
    class Broken:
        @asynccontextmanager
        async def attach(
            self, api: ServerApi, url: str | None, *, home: Path | None = None, storage: str | None = None
        ) -> AsyncGenerator[object]:
            raise UsageError("no key")
            yield

    log, before = reopened(tmp_path), asyncio.all_tasks()
    with pytest.raises(UsageError, match="no key"):
        async with Engine(log, agent=Broken()):
            pass
    assert asyncio.all_tasks() == before
    async with Engine(log) as engine:  # the log's lock is free
        assert await engine.client.flows() == ()


async def test_an_error_in_the_block_comes_out_as_it_is_and_nothing_runs_on() -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    policy: object = asyncio.get_event_loop_policy()  # pyright: ignore[reportDeprecated]  # what we promise not to set
    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        async with Engine(new_url()) as engine, engine.serve(port=0):
            assert {number: signal.getsignal(number) for number in handlers} == handlers
            raise ZeroDivisionError
    assert asyncio.all_tasks() == before
    assert asyncio.get_event_loop_policy() is policy  # pyright: ignore[reportDeprecated]  # as above


async def test_an_engine_is_entered_once() -> None:
    async with Engine(new_url()) as engine:
        with pytest.raises(UsageError, match="running already"):
            await engine.__aenter__()


def test_the_web_server_is_imported_only_to_serve() -> None:
    script = "import sys, playhead.engine, playhead.client.client; print({'fastapi', 'uvicorn', 'starlette'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "set()"


@asynccontextmanager
async def _somebodys_server(app: FastAPI) -> AsyncGenerator[str]:
    """The app with its lifespan, as another program would serve it; our `serve` leaves lifespans to others."""
    app.state.streams = Streams(StreamLimits())
    async with app.router.lifespan_context(app), serve(app, port=0) as url:
        yield url


async def test_an_engines_client_seals_with_the_engines_own_home_and_storage(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    async with Engine(new_url(), home=tmp_path / "home", storage=str(storage)) as engine:
        home = engine.client.home
    assert home.path == tmp_path / "home"
    assert home.storage.url == f"file://{storage}"
