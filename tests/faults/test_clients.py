"""Clients that are many, that do not read, or that send a byte a second: a real server bears them, within bounds, and serves the others."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import psutil
import pytest

from playhead.client.http import HttpServer
from playhead.core.names import run_stream
from playhead.ports.server import EventFilter
from playhead.server.boundary import BODY_SECONDS
from playhead.server.connections import ConnectionLimits
from playhead.server.descriptors import ask_for_more
from tests.server.raw import Raw, connected
from tests.server.scripted import RUN
from tests.service.world import flow, run_id
from tests.system.machine import Machine

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

SUBSCRIBERS: Final = 5_000
AT_ONCE: Final = 200  # opened at a time
STREAM_BYTES: Final = 96 * 1024  # of the server's memory for an idle stream, at most
FILES_BESIDE: Final = 500  # that this process has open beside its streams
SLACK_SECONDS: Final = 30.0  # a machine that does other things, too; without a limit nothing would end at all
LARGE_EVENTS: Final = 150
FEW_BYTES: Final = 64 * 1024**2  # that a server's memory may grow by for one client that does not read
LIMITS: Final = ConnectionLimits()


async def test_five_thousand_idle_subscribers(host: Machine) -> None:
    ask_for_more()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < SUBSCRIBERS + FILES_BESIDE:
        pytest.skip(f"a process may not have {SUBSCRIBERS} files open here: raise `ulimit -Hn`")
    server = psutil.Process(host.server().pid)
    before, files = server.memory_info().rss, server.num_fds()
    turn = asyncio.Semaphore(AT_ONCE)
    async with HttpServer(host.url()) as http, AsyncExitStack() as stack:

        async def follow(number: int) -> None:
            async with turn:
                raw = await stack.enter_async_context(connected(host.url()))
                raw.send(
                    b"GET /api/events?stream=%s HTTP/1.1\r\nhost: localhost\r\n\r\n"
                    % run_stream(run_id(number)).encode()
                )
                assert (await raw.answer()).status == 200

        await asyncio.gather(*(follow(number) for number in range(SUBSCRIBERS)))
        assert (server.memory_info().rss - before) / SUBSCRIBERS < STREAM_BYTES
        cursor = (await http.info()).cursor
        async with http.events(cursor=cursor, which=EventFilter(types=("flow.registered",))) as pages:
            await http.register_flow(flow())
            assert [event.type for event in (await anext(pages)).events] == ["flow.registered"]
    await asyncio.to_thread(host.wait_for, lambda: server.num_fds() <= files + 5, "the server to let go of all streams")


async def test_a_subscriber_that_never_reads_costs_little_and_is_ended(host: Machine) -> None:
    """What the server remembers of the newest events is there whoever follows; beside it, one who does not read costs a page."""
    server = psutil.Process(host.server().pid)
    async with HttpServer(host.url()) as http:
        await _registered(http, 0)
        async with connected(host.url(), small=True) as silent:
            silent.send(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await silent.answer()).status == 200
            silent.pause()
            files, before = server.num_fds(), server.memory_info().rss
            await _registered(http, 1)
            assert server.memory_info().rss - before < FEW_BYTES
            await asyncio.to_thread(host.wait_for, lambda: server.num_fds() < files, "the stream to be ended")
            assert (await http.info()).position >= 2 * LARGE_EVENTS


async def _registered(http: HttpServer, which: int) -> None:
    """Events of 60 KB each, 9 MB in all: more than the buffers of two sockets hold."""
    for number in range(LARGE_EVENTS):
        tasks = tuple(f"{number:04}-{task:04}-{'x' * 48}" for task in range(1_000))
        await http.register_flow(flow(seal=f"{which:08x}{number:08x}").model_copy(update={"tasks": tasks}))


async def test_clients_that_send_a_byte_a_second_are_ended(host: Machine) -> None:
    """The head's time and the body's begin with their first byte, and a byte a second does not prolong them."""
    host.server()
    head = b"GET /api/info HTTP/1.1\r\nhost: localhost\r\nx: "
    body = f"POST /api/runs/{RUN}/heartbeat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n".encode()

    async def status(raw: Raw) -> int:
        return (await raw.answer(LIMITS.head_seconds + BODY_SECONDS + SLACK_SECONDS)).status

    async def nothing(raw: Raw) -> int:
        assert await raw.ended(LIMITS.head_seconds + SLACK_SECONDS) == b""
        return 0

    took = await asyncio.gather(
        _slowly(host.url(), head, status, 408, LIMITS.head_seconds),
        _slowly(host.url(), body, status, 408, BODY_SECONDS),
        _slowly(host.url(), b"", nothing, 0, LIMITS.head_seconds),
    )
    assert all(took)
    async with HttpServer(host.url()) as http:
        await http.info()


async def _slowly(
    url: str, begun: bytes, end: Callable[[Raw], Awaitable[int]], status: int, limit_seconds: float
) -> bool:
    """Begin a request, go on with a byte a second; whether it ended as it should, not before its time and not long after."""
    async with connected(url) as raw:
        began = time.monotonic()
        raw.send(begun)

        async def drip() -> None:
            while True:
                await asyncio.sleep(1.0)
                raw.send(b"x" if begun else b"")

        dripping = asyncio.create_task(drip())
        try:
            assert await end(raw) == status
        finally:
            dripping.cancel()
        return limit_seconds - 1.0 <= time.monotonic() - began <= limit_seconds + SLACK_SECONDS
