"""Server-sent events through raw HTTP: what is written, and that no stream outlives its client or its server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from msgspec import structs

from playhead.core import events as ev
from playhead.errors import LogUnusable
from playhead.ports.server import EventFilter
from playhead.server.app import create_app
from playhead.server.serve import serve
from playhead.server.streams import StreamLimits
from tests.server.scripted import RUN, ScriptedApi, recorded
from tests.server.serving import as_if_elsewhere, serving, until

CALM = StreamLimits(heartbeat_seconds=30.0)


@asynccontextmanager
async def reading(url: str, **headers: str) -> AsyncGenerator[asyncio.StreamReader]:
    """The messages of a stream, for `message`."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        yield response.content  # type: ignore[misc]  # aiohttp's reader has the same readuntil


async def message(reader: asyncio.StreamReader) -> str:
    """The next message that is not a comment."""
    while True:
        text = (await reader.readuntil(b"\n\n")).decode()
        if not text.startswith(":"):
            return text


async def none_open(api: ScriptedApi) -> None:
    """Return when no subscription is open."""
    await until(lambda: not api.subscriptions)


async def test_a_page_is_a_message_whose_id_is_its_cursor() -> None:
    api = ScriptedApi()
    await api.add(recorded(1), recorded(2))
    async with serving(api, limits=CALM) as url, reading(f"{url}/api/events") as reader:
        first = (await message(reader)).splitlines()
        await api.add(recorded(3))
        second = (await message(reader)).splitlines()
    assert first[0] == "id: 2"
    page = orjson.loads(first[1].removeprefix("data: "))
    assert page["cursor"] == "2"
    assert page["events"][0] == {
        "position": 1, "stream": f"default/run/{RUN}", "version": 1, "recorded_at": 1_000_001, "type": "run.ready",
        "schema": 1, "actor": "server", "data": {}, "append_id": "a1", "index": 0, "epoch": None, "seq": None,
    }  # fmt: skip
    assert [event["position"] for event in page["events"]] == [1, 2]
    assert second[0] == "id: 3"


async def test_cursor_and_filter_reach_the_log_and_last_event_id_wins() -> None:
    api = ScriptedApi()
    await api.add(*(recorded(position) for position in range(1, 6)))
    async with serving(api, limits=CALM) as url:
        query = "cursor=2&stream=default/run/&stream=default/flow/&type=run.ready&type=run.lost"
        async with reading(f"{url}/api/events?{query}") as reader:
            assert (await message(reader)).startswith("id: 5\n")
        async with reading(f"{url}/api/events?cursor=2", **{"Last-Event-ID": "4"}) as reader:
            assert orjson.loads((await message(reader)).splitlines()[1][6:])["events"][0]["position"] == 5
    which = EventFilter(streams=("default/run/", "default/flow/"), types=("run.ready", "run.lost"))
    assert api.calls == [("events", ("2", which)), ("events", ("4", EventFilter()))]


async def test_an_empty_page_still_moves_the_cursor() -> None:
    api = ScriptedApi()
    await api.add(recorded(1, event=ev.RunReady()))
    async with serving(api, limits=CALM) as url, reading(f"{url}/api/events?type=run.lost") as reader:
        assert (await message(reader)).splitlines() == ["id: 1", 'data: {"events":[],"cursor":"1"}', ""]


async def test_a_refused_cursor_is_an_answer_and_not_a_stream() -> None:
    api = ScriptedApi()
    async with (
        serving(api) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/events?cursor=7") as response,
    ):
        assert response.status == 409
        assert orjson.loads(await response.read())["error"]["type"] == "CursorRefused"
    assert api.subscriptions == 0


async def test_a_log_that_breaks_is_the_last_message() -> None:
    api = ScriptedApi()
    async with serving(api, limits=CALM) as url, reading(f"{url}/api/events") as reader:
        assert await reader.readuntil(b"\n\n") == b": open\n\n"
        await api.break_streams(LogUnusable("the disk went away"))
        name, data, _ = (await message(reader)).split("\n", 2)
        assert name == "event: error"
        assert orjson.loads(data.removeprefix("data: "))["error"]["message"] == "the disk went away"
        assert await reader.read() == b""
    assert api.subscriptions == 0


async def test_silence_is_filled_with_signs_of_life() -> None:
    limits = StreamLimits(heartbeat_seconds=0.001)
    async with serving(ScriptedApi(), limits=limits) as url, reading(f"{url}/api/events") as reader:
        assert [await reader.readuntil(b"\n\n") for _ in range(3)] == [b": open\n\n", b": beat\n\n", b": beat\n\n"]


async def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    api = ScriptedApi()
    async with serving(api, limits=CALM) as url:
        before = asyncio.all_tasks()
        for _ in range(5):
            async with reading(f"{url}/api/events") as reader:
                await reader.readuntil(b"\n\n")
        await none_open(api)
        await until(lambda: not (asyncio.all_tasks() - before))
    assert len(api.calls) == 5


async def test_a_client_that_does_not_read_costs_a_bounded_number_of_pages() -> None:
    api = ScriptedApi()
    big = "x" * 100_000
    await api.add(
        *(structs.replace(recorded(position), data={"filler": big}) for position in range(1, 2_001))
    )  # 200 MB
    async with serving(api, limits=replace(CALM, send_seconds=0.05)) as url:
        where = urlsplit(url)
        with socket.create_connection((where.hostname, where.port)) as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            silent.sendall(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await until(lambda: api.pages_taken)
            await none_open(api)
            taken = api.pages_taken
    assert 0 < taken < 50  # of 200: what the two sockets' buffers hold


async def test_streams_beyond_the_limit_are_refused() -> None:
    api = ScriptedApi()
    async with serving(api, limits=replace(CALM, most=1)) as url, aiohttp.ClientSession() as session:
        async with reading(f"{url}/api/events") as reader:
            await reader.readuntil(b"\n\n")
            async with session.get(f"{url}/api/events") as response:
                assert (response.status, response.headers["retry-after"]) == (503, "5")
                assert orjson.loads(await response.read())["error"]["code"] == "too_many_streams"
        await none_open(api)
        async with reading(f"{url}/api/events") as reader:
            assert await reader.readuntil(b"\n\n") == b": open\n\n"


async def test_one_client_may_not_have_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_elsewhere(monkeypatch)
    api = ScriptedApi()
    async with serving(api, limits=replace(CALM, most_of_client=1)) as url, aiohttp.ClientSession() as session:
        async with reading(f"{url}/api/events") as reader:
            await reader.readuntil(b"\n\n")
            async with session.get(f"{url}/api/events") as response:
                assert (response.status, response.headers["retry-after"]) == (429, "5")
                assert orjson.loads(await response.read())["error"]["code"] == "too_many_streams"
        await none_open(api)
        async with reading(f"{url}/api/events") as reader:
            assert await reader.readuntil(b"\n\n") == b": open\n\n"


async def test_a_stream_ends_by_itself_after_its_longest_time() -> None:
    api = ScriptedApi()
    async with serving(api, limits=replace(CALM, longest_seconds=0.01)) as url, reading(f"{url}/api/events") as reader:
        assert await reader.read() == b": open\n\n"
    assert api.subscriptions == 0


async def test_a_server_that_stops_ends_its_streams_whole() -> None:
    api = ScriptedApi()
    app = create_app(api, limits=CALM)
    async with aiohttp.ClientSession() as session:
        async with serve(app, port=0) as url:
            response = await session.get(f"{url}/api/events")
            await response.content.readuntil(b"\n\n")
        assert await response.read() == b""  # an end, and not a broken connection
        response.close()
    assert api.subscriptions == 0


@pytest.mark.parametrize("count", [20])
async def test_many_streams_see_the_same(count: int) -> None:
    api = ScriptedApi()
    async with serving(api, limits=CALM) as url:

        async def follow() -> list[str]:
            async with reading(f"{url}/api/events") as reader:
                await reader.readuntil(b"\n\n")
                opened.release()
                return [await message(reader) for _ in range(3)]

        opened = asyncio.Semaphore(0)
        followers = [asyncio.create_task(follow()) for _ in range(count)]
        for _ in range(count):
            await opened.acquire()
        for position in (1, 2, 3):
            await api.add(recorded(position))
            await until(lambda: api.pages_taken >= count * position)
        seen = await asyncio.gather(*followers)
    assert len({tuple(messages) for messages in seen}) == 1
