"""Server-sent events: carries the pages of one subscription to one client, and keeps the register of open streams.

A stream ends when its client goes away, stops reading, or has had it for its longest time, and when the server closes. Nobody
loses anything by that: each message's id is a cursor, and the client comes back with it. A page is asked for only when the one
before it was handed to the transport, so that a slow client costs one page and one socket buffer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from playhead.errors import PlayheadError, Refused
from playhead.ports.server import EventPage
from playhead.server.answers import refusal
from playhead.wire import EVENT_ERROR, HEARTBEAT_SECONDS, page_to_wire

log = logging.getLogger("playhead.server")

Pages = AbstractAsyncContextManager[AsyncIterator[EventPage]]


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    send_seconds: float = 20.0  # to hand a message to the transport: a client that reads at all needs far less
    longest_seconds: float = 60.0  # someone else's server waits for open responses when it stops: this bounds its wait
    most: int = 1_000  # open at once: each holds a subscription and up to a page of events


@dataclass
class Streams:
    """The open streams of one app. `close` ends them all, and every later one at once."""

    limits: StreamLimits
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    open: int = 0

    def close(self) -> None:
        self.closing.set()


class EventStream(Response):
    media_type = "text/event-stream"

    def __init__(self, pages: Pages, streams: Streams) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._pages = pages
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Errors before the first byte have their status; later ones are the stream's last message."""
        streams = self._streams
        if streams.open >= streams.limits.most:
            full = Refused(
                f"this server carries {streams.open} event streams already, its limit",
                code="too_many_streams",
                hint="close some, or ask again later",
            )
            return await refusal(full)(scope, receive, send)
        streams.open += 1
        begun = False
        try:
            async with self._pages as pages:
                begun = True
                await self._carry(pages, receive, send)
        except PlayheadError as error:
            if begun:
                raise
            await refusal(error)(scope, receive, send)
        finally:
            streams.open -= 1

    async def _carry(self, pages: AsyncIterator[EventPage], receive: Receive, send: Send) -> None:
        limits = self._streams.limits
        out = _Outlet(send, limits.send_seconds)
        with anyio.move_on_after(limits.longest_seconds):
            async with anyio.create_task_group() as parts:
                end = parts.cancel_scope
                out.on_stuck = end.cancel
                parts.start_soon(_until_gone, receive, end)
                parts.start_soon(_until_closing, self._streams.closing, end)
                await out.begin(self.status_code, self.raw_headers)
                parts.start_soon(_beat, out, limits.heartbeat_seconds)
                await _pass_on(pages, out)
                end.cancel()
        await out.end()


class _Outlet:
    """Writes whole messages, one at a time. A client that takes none for too long is stuck, and gets no more."""

    def __init__(self, send: Send, patience_seconds: float) -> None:
        self._send = send
        self._patience_seconds = patience_seconds
        self._turn = asyncio.Lock()
        self._stuck = False
        self.on_stuck: Callable[[], None] = lambda: None

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self.write(b": open\n\n")

    async def write(self, message: bytes) -> None:
        async with self._turn:
            with anyio.move_on_after(self._patience_seconds) as patience:
                await self._send({"type": "http.response.body", "body": message, "more_body": True})
            if patience.cancelled_caught:
                log.info("an event stream was ended: its client has not read for %g s", self._patience_seconds)
                self._stuck = True
                self.on_stuck()

    async def end(self) -> None:
        if not self._stuck:
            with anyio.move_on_after(self._patience_seconds):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pass_on(pages: AsyncIterator[EventPage], out: _Outlet) -> None:
    try:
        async for page in pages:
            await out.write(b"id: " + page.cursor.encode() + b"\ndata: " + page_to_wire(page) + b"\n\n")
    except PlayheadError as error:
        await out.write(b"event: " + EVENT_ERROR + b"\ndata: " + bytes(refusal(error).body) + b"\n\n")


async def _beat(out: _Outlet, every_seconds: float) -> None:
    while True:
        await anyio.sleep(every_seconds)
        await out.write(b": beat\n\n")


async def _until_gone(receive: Receive, end: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    end.cancel()


async def _until_closing(closing: asyncio.Event, end: anyio.CancelScope) -> None:
    await closing.wait()
    end.cancel()
