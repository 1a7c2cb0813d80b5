"""Connections by hand: each that holds too much, takes too long or is one too many ends, with an answer wherever one can be given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from msgspec import structs

from playhead.server import descriptors, serve
from playhead.server.connections import SPARE, ConnectionLimits
from playhead.server.serve import ServeLimits
from playhead.server.streams import StreamLimits
from tests.server.raw import Answer, Raw, connected
from tests.server.scripted import HEX, RUN, ScriptedApi, recorded
from tests.server.serving import as_if_elsewhere, serving, until

GET = b"GET /api/info HTTP/1.1\r\nhost: localhost\r\n\r\n"
SHORT = ConnectionLimits(head_seconds=0.05, leftover_seconds=0.05, reading_seconds=0.05, closing_seconds=0.05)
WHOLE = ConnectionLimits()


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "TICK_SECONDS", 0.01)


@asynccontextmanager
async def one(limits: ConnectionLimits, api: ScriptedApi | None = None) -> AsyncGenerator[Raw]:
    """A connection to a server with these limits."""
    async with serving(api or ScriptedApi(), bears=ServeLimits(connections=limits)) as url, connected(url) as raw:
        yield raw


def code(answer: Answer) -> tuple[int, str]:
    error = orjson.loads(answer.body)["error"]
    assert error["hint"], "says what to do"
    assert answer.headers["connection"] == "close"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    return answer.status, error["code"]


# --- too much ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_target_beyond_the_limit_is_refused(pieces: int) -> None:
    target = b"/api/runs?page=" + b"x" * WHOLE.target_bytes
    head = b"GET " + target + b" HTTP/1.1\r\nhost: localhost\r\n\r\n"
    async with one(WHOLE) as raw:
        for part in _cut(head, pieces):
            raw.send(part)
            await raw.drain()
        assert code(await raw.answer()) == (414, "target_too_long")
        assert await raw.ended() == b""


async def test_a_target_within_the_limit_is_read() -> None:
    async with one(WHOLE) as raw:
        raw.send(b"GET /api/info?" + b"x" * (WHOLE.target_bytes - 100) + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await raw.answer()).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        b"x: y\r\n" * WHOLE.headers,
        b"x: " + b"y" * WHOLE.head_bytes + b"\r\n",
        b"x" * WHOLE.head_bytes + b": y\r\n",
        (b"x: " + b"y" * 1_000 + b"\r\n") * 40,
    ],
)
async def test_headers_beyond_the_limit_are_refused(headers: bytes) -> None:
    async with one(WHOLE) as raw:
        raw.send(b"GET /api/info HTTP/1.1\r\nhost: localhost\r\n" + headers + b"\r\n")
        assert code(await raw.answer()) == (431, "head_too_large")
        assert await raw.ended() == b""


@pytest.mark.parametrize("endless", [b"x" * 1_000, b"x: " + b"y" * 1_000, b"\r\n" * 500])
async def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(endless: bytes) -> None:
    async with one(WHOLE) as raw:
        raw.send(b"GET /api/info HTTP/1.1\r\nhost: localhost\r\nx:" if not endless.startswith(b"\r\n") else b"")
        for _ in range(2 * WHOLE.head_bytes // 1_000):
            raw.send(endless)
        assert code(await raw.answer())[0] in (400, 431)


async def test_trailers_are_bounded_too() -> None:
    api = ScriptedApi()
    async with one(WHOLE, api) as raw:
        raw.send(b"POST /api/agents/x/beat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
        await _sent_until_cut(raw, b"x: y\r\n" * 200)
    assert not api.calls


async def test_chunks_without_a_body_are_bounded() -> None:
    async with one(WHOLE) as raw:
        raw.send(b"POST /api/agents/x/beat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1;")
        await _sent_until_cut(raw, b"x" * 1_000)


async def test_a_body_in_tiny_chunks_is_read_whole() -> None:
    """What stands around the body may be more than it is, as long as the body goes on."""
    body = b'{"epoch":1,"grant":"%s"}' % HEX.encode() + b" " * 20_000
    chunks = b"".join(b"1\r\n%c\r\n" % letter for letter in body)
    async with one(WHOLE) as raw:
        raw.send(b"POST /api/runs/%s/heartbeat HTTP/1.1\r\nhost: localhost\r\n" % RUN.encode())
        raw.send(b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert (await raw.answer()).status == 200


async def test_requests_that_wait_behind_another_are_bounded() -> None:
    api = ScriptedApi()
    async with one(replace(WHOLE, waiting=3), api) as raw:
        raw.send(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n" + GET * 3)
        assert (await raw.answer()).status == 200
        raw.send(GET)
        await raw.ended()
    await until(lambda: not api.subscriptions)
    assert [method for method, _ in api.calls] == ["events"]


async def test_requests_on_one_connection_are_answered_in_their_order() -> None:
    async with one(replace(WHOLE, waiting=3)) as raw:
        raw.send(GET * 4)
        for _ in range(4):
            assert (await raw.answer()).status == 200


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET /%zz\x00 HTTP/1.1\r\n\r\n"],
)
async def test_what_is_not_http_is_told_so(sent: bytes) -> None:
    async with one(WHOLE) as raw:
        raw.send(sent)
        assert code(await raw.answer()) == (400, "not_http")
        assert await raw.ended() == b""


# --- too slow ------------------------------------------------------------------------------------------------------------


async def test_a_connection_that_asks_nothing_ends() -> None:
    async with one(SHORT) as raw:
        assert await raw.ended() == b""


@pytest.mark.parametrize("before", [b"", GET])
@pytest.mark.parametrize("begun", [b"GET /", b"GET /api/info HTTP/1.1\r\nho", b"\r\n"])
async def test_a_head_that_comes_byte_by_byte_ends(before: bytes, begun: bytes) -> None:
    """Each byte is progress to a timer that begins anew with it; the time for a head does not."""
    async with one(replace(WHOLE, head_seconds=0.05)) as raw:
        raw.send(before)
        if before:
            assert (await raw.answer()).status == 200
        trickling = asyncio.create_task(_trickle(raw, begun, b"x" if begun != b"\r\n" else b"\r\n"))
        try:
            assert code(await raw.answer()) == (408, "too_slow")
        finally:
            trickling.cancel()


async def test_a_body_that_goes_on_after_its_answer_ends() -> None:
    """The answer came early, since no such path is there: what still comes is thrown away, for a while."""
    async with one(SHORT) as raw:
        raw.send(b"POST /api/nothing/here HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 1000000\r\n\r\n")
        assert (await raw.answer()).status == 421
        trickling = asyncio.create_task(_trickle(raw, b"", b"x"))
        try:
            assert await raw.ended() == b""
        finally:
            trickling.cancel()


async def test_the_rest_of_a_body_whose_answer_came_early_does_not_disturb_what_follows() -> None:
    async with one(WHOLE) as raw:
        raw.send(b"POST /api/nothing HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 100000\r\n\r\n")
        assert (await raw.answer()).status == 421
        raw.send(b"x" * 100_000 + GET)
        assert (await raw.answer()).status == 200


@pytest.mark.parametrize("path", [f"/api/runs/{RUN}/history", "/api/events"])
async def test_a_client_that_does_not_read_is_ended(path: str, caplog: pytest.LogCaptureFixture) -> None:
    api = ScriptedApi()
    await api.add(*(structs.replace(recorded(n), data={"filler": "x" * 100_000}) for n in range(1, 201)))  # 20 MB
    bears = ServeLimits(connections=replace(WHOLE, reading_seconds=0.05))
    with caplog.at_level(logging.INFO):
        async with serving(api, bears=bears, limits=StreamLimits()) as url, connected(url, small=True) as raw:
            raw.pause()
            raw.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            await until(lambda: "has not read" in caplog.text)
            await until(lambda: not api.subscriptions)


# --- too many ------------------------------------------------------------------------------------------------------------


async def test_a_connection_too_many_is_told_so_and_one_that_ends_makes_room() -> None:
    bears = ServeLimits(connections=replace(WHOLE, most=2))
    async with serving(ScriptedApi(), bears=bears) as url, AsyncExitStack() as stack:
        for _ in range(2):
            await asked(await stack.enter_async_context(connected(url)))
        async with connected(url) as extra:
            extra.send(GET)
            answer = await extra.answer()
            assert code(answer) == (503, "too_many_connections")
            assert answer.headers["retry-after"] == "5"
            assert await extra.ended() == b""
        await stack.aclose()
        await _eventually_served(url)


async def test_those_that_only_read_their_refusal_are_bounded_too() -> None:
    bears = ServeLimits(connections=replace(WHOLE, most=1))
    async with serving(ScriptedApi(), bears=bears) as url, AsyncExitStack() as stack:
        await asked(await stack.enter_async_context(connected(url)))
        for _ in range(SPARE):
            await stack.enter_async_context(connected(url))
        last = await stack.enter_async_context(connected(url))
        assert await last.ended() == b""  # it has not even asked


async def test_one_client_may_not_have_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_elsewhere(monkeypatch)
    bears = ServeLimits(connections=replace(WHOLE, most_of_client=2))
    async with serving(ScriptedApi(), bears=bears) as url, AsyncExitStack() as stack:
        for _ in range(2):
            await asked(await stack.enter_async_context(connected(url)))
        async with connected(url) as extra:
            extra.send(GET)
            assert code(await extra.answer()) == (429, "too_many_connections")
        await stack.aclose()
        await _eventually_served(url)


async def test_a_client_on_this_machine_is_not_counted(tmp_path: Path) -> None:
    bears = ServeLimits(connections=replace(WHOLE, most_of_client=1))
    for road in ("tcp", "unix"):
        async with serving(ScriptedApi(), road=road, folder=tmp_path, bears=bears) as url, AsyncExitStack() as stack:
            for _ in range(3):
                await asked(await stack.enter_async_context(connected(url)))


def test_no_more_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in [(1_024, 1_024 - descriptors.RESERVED), (10, 1), (1_000_000, 10_000), (-1, 10_000)]:
        _allowed(monkeypatch, soft, soft)
        assert descriptors.room_for(10_000) == most


def test_a_server_asks_for_as_many_descriptors_as_are_allowed_and_no_fewer_than_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []

    def setrlimit(_: int, given: tuple[int, int]) -> None:
        asked.append(given)

    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    for soft, hard in [(1_024, 4_096), (1_024, 1_000_000), (1_024, -1), (100_000, 1_000_000), (4_096, 4_096), (-1, -1)]:
        _allowed(monkeypatch, soft, hard)
        descriptors.ask_for_more()
    assert asked == [(4_096, 4_096), (descriptors.MOST, 1_000_000), (descriptors.MOST, -1)]


def _allowed(patch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
    def getrlimit(_: int) -> tuple[int, int]:
        return soft, hard

    patch.setattr(resource, "getrlimit", getrlimit)


# --- helpers ---------------------------------------------------------------------------------------------------------------


async def asked(raw: Raw) -> None:
    raw.send(GET)
    assert (await raw.answer()).status == 200


async def _eventually_served(url: str) -> None:
    """The server hears of an end a moment after its client."""
    async with asyncio.timeout(20.0):
        while True:
            async with connected(url) as raw:
                raw.send(GET)
                if (await raw.answer()).status == 200:
                    return


async def _sent_until_cut(raw: Raw, more: bytes) -> None:
    """Send until the server ends the connection, without an answer. It may read as much as a socket's buffer holds before it looks."""
    cut = asyncio.create_task(raw.ended())
    with contextlib.suppress(ConnectionError):
        while not cut.done():
            raw.send(more)
            await raw.drain()
            await asyncio.sleep(0)
    assert await cut == b""


async def _trickle(raw: Raw, begun: bytes, more: bytes) -> None:
    raw.send(begun)
    while True:
        await asyncio.sleep(0.001)
        raw.send(more)


def _cut(data: bytes, pieces: int) -> Iterator[bytes]:
    size = -(-len(data) // pieces)
    return (data[start : start + size] for start in range(0, len(data), size))
