"""Following the event stream over HTTP: across stops, cuts and silence nothing is missed and nothing comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from urllib.parse import urlsplit

import anyio
import pytest

from playhead.client.http import HttpServer
from playhead.client.patience import Patience
from playhead.core import events as ev
from playhead.errors import CursorRefused, LogUnusable, Refused, ServerError, ServerRefused
from playhead.ports.server import EventFilter
from playhead.server.streams import StreamLimits
from tests.client.test_transport import answering, free_port, response
from tests.server.scripted import ScriptedApi, recorded
from tests.server.serving import QUICK, connected, serving, until


async def positions(http: HttpServer, count: int, cursor: str | None = None) -> list[int]:
    """The next `count` positions."""
    seen: list[int] = []
    async with http.events(cursor=cursor) as pages:
        async for page in pages:
            seen += [event.position for event in page.events]
            if len(seen) >= count:
                return seen
    raise AssertionError("the stream ended by itself")


async def test_pages_cross_unchanged() -> None:
    api = ScriptedApi()
    await api.add(*(recorded(position) for position in range(1, 26)))
    async with connected(api) as http, http.events(cursor="3") as pages:
        events = [event for _ in range(3) for event in (await anext(pages)).events]
    assert events == api.log[3:]
    assert api.calls == [("events", ("3", EventFilter()))]


async def test_a_filter_crosses_and_empty_pages_move_the_cursor() -> None:
    api = ScriptedApi()
    await api.add(recorded(1), recorded(2), recorded(3, event=ev.RunCancelling()))
    which = EventFilter(streams=("default/run/",), types=("run.cancelling",))
    async with connected(api) as http, http.events(which=which) as pages:
        first = await anext(pages)
        await api.add(recorded(4))
        second = await anext(pages)
    assert [event.position for event in first.events] == [3]
    assert (second.events, second.cursor) == ((), "4")
    assert api.calls == [("events", (None, which))]


async def test_a_server_that_stops_in_mid_stream_and_starts_again_costs_nothing() -> None:
    api, port = ScriptedApi(), free_port()
    await api.add(recorded(1))
    async with HttpServer(f"http://127.0.0.1:{port}", patience=QUICK) as http, http.events() as pages:
        seen: list[int] = []
        for _ in range(5):
            async with serving(api, port=port):
                while len(seen) < len(api.log):
                    seen += [event.position for event in (await anext(pages)).events]
            await api.add(recorded(len(api.log) + 1))
        async with serving(api, port=port):
            while len(seen) < len(api.log):
                seen += [event.position for event in (await anext(pages)).events]
    assert seen == list(range(1, 7))


async def test_streams_that_end_again_and_again_are_taken_up() -> None:
    api = ScriptedApi()
    limits = StreamLimits(longest_seconds=0.005)
    async with connected(api, limits=limits) as http:
        following = asyncio.create_task(positions(http, 50))
        for position in range(1, 51):
            await api.add(recorded(position))
            await asyncio.sleep(0)
        assert await following == list(range(1, 51))


async def test_a_silent_connection_is_opened_anew() -> None:
    api = ScriptedApi()
    patience = Patience(silence_seconds=0.01, first_delay=0.001, most_delay=0.001)
    async with (
        serving(api, limits=StreamLimits(heartbeat_seconds=30.0)) as url,
        HttpServer(url, patience=patience) as http,
    ):
        following = asyncio.create_task(positions(http, 1))
        await until(lambda: len(api.calls) >= 3)
        await api.add(recorded(1))
        assert await following == [1]


async def test_a_connection_cut_in_mid_message_brings_each_event_once() -> None:
    api = ScriptedApi()
    await api.add(*(recorded(position) for position in range(1, 101)))
    async with serving(api) as url, _cutting(url, every_bytes=3_000) as cut, HttpServer(cut, patience=QUICK) as http:
        assert await positions(http, 100) == list(range(1, 101))
        assert [event.version async for event in http.history("0" * 32)] == list(range(1, 101))
    assert len(api.calls) > 4


@pytest.mark.parametrize(
    "error", [CursorRefused("another log"), Refused("no", code="whatever"), ServerRefused("no", code="x", status=403)]
)
async def test_a_refusal_is_raised_and_not_tried_again(error: CursorRefused | Refused) -> None:
    api = ScriptedApi()
    api.fails = error
    async with connected(api) as http:
        with pytest.raises(type(error)):
            await positions(http, 1)
    assert len(api.calls) == 1


async def test_a_cursor_beyond_the_log_is_refused() -> None:
    async with connected(ScriptedApi()) as http:
        with pytest.raises(CursorRefused):
            await positions(http, 1, cursor="9")


async def test_a_log_that_recovers_is_waited_for() -> None:
    api = ScriptedApi()
    async with connected(api) as http:
        following = asyncio.create_task(positions(http, 1))
        await until(lambda: api.subscriptions)
        await api.break_streams(LogUnusable("the disk is full"))
        await until(lambda: len(api.calls) >= 4)
        assert not following.done()
        api.fails = None
        await api.add(recorded(1))
        assert await following == [1]


@pytest.mark.parametrize(
    "body",
    [b"data: {}\n\n", b"data: hello\n\n", b'data: {"events":[1],"cursor":"1"}\n\n', b"event: error\ndata: ?\n\n"],
)
async def test_a_stream_that_is_not_ours_is_an_error(body: bytes) -> None:
    async with answering(response(200, body)) as (url, _), HttpServer(url, patience=QUICK) as http:
        with pytest.raises(ServerError):
            await positions(http, 1)


async def test_leaving_a_stream_leaves_nothing_behind() -> None:
    api = ScriptedApi()
    await api.add(recorded(1))
    async with serving(api) as url:
        before = asyncio.all_tasks()
        async with HttpServer(url) as http:
            assert await positions(http, 1) == [1]
        await until(lambda: not (api.subscriptions or asyncio.all_tasks() - before))
    assert len(api.calls) == 1


@asynccontextmanager
async def _cutting(url: str, *, every_bytes: int) -> AsyncGenerator[str]:
    """A proxy that cuts each connection after so many bytes of answer, one byte later each time."""
    target = urlsplit(url)
    allowed = every_bytes

    async def upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal allowed
        allowed += 1
        left = allowed
        there, sender = await asyncio.open_connection(target.hostname, target.port)
        with closing(writer), closing(sender):
            async with anyio.create_task_group() as both:
                both.start_soon(upload, reader, sender)
                while left > 0 and (data := await there.read(min(left, 65_536))):
                    writer.write(data)
                    await writer.drain()
                    left -= len(data)
                both.cancel_scope.cancel()

    async with anyio.create_task_group() as connections:
        server = await asyncio.start_server(lambda r, w: connections.start_soon(carry, r, w), "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            yield f"http://{host}:{port}"
        connections.cancel_scope.cancel()
