"""Server-sent events: carries the pages of one subscription to one client, and keeps the register of open streams.

A stream ends when its client goes away, stops reading, or has had it for its longest time, and when the server closes. Nobody
loses anything by that: each message's id is a cursor, and the client comes back with it. One whose token counts no more ends
within a heartbeat, with that as its last message, and is handed no page in between. A page is asked for only when the one
before it was handed to the transport, so that a slow client costs one page and one socket buffer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from playhead.errors import PlayheadError
from playhead.ports.server import EventPage
from playhead.server.answers import ComeBack, refusal
from playhead.server.clients import client_of
from playhead.wire import EVENT_ERROR, HEARTBEAT_SECONDS, page_to_wire

log = logging.getLogger("playhead.server")

COME_BACK_SECONDS: Final = 5  # after which a place may be free: each stream is ended and opened anew every minute

Pages = AbstractAsyncContextManager[AsyncIterator[EventPage]]


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    send_seconds: float = 20.0  # to hand a message to the transport: a client that reads at all needs far less
    longest_seconds: float = 60.0  # someone else's server waits for open responses when it stops: this bounds its wait
    most: int = 8_000  # open at once: each holds a subscription and up to a page of events
    # Of one address elsewhere: a machine with 200 runs has one for its agent and each who waits
    most_of_client: int = 1_000


class Streams:
    """The open streams of one app. `close` ends them all, and every later one at once."""

    def __init__(self, limits: StreamLimits) -> None:
        self.limits = limits
        self._open: dict[anyio.CancelScope, object] = {}
        self._of_client: Counter[object] = Counter()
        self._closed = False
        self._newest: tuple[EventPage, bytes] | None = None

    def close(self) -> None:
        self._closed = True
        for stream in self._open:
            stream.cancel()

    def add(self, stream: anyio.CancelScope, client: object = None) -> None:
        """ComeBack, code "too_many_streams": the server's (503) or the client's (429) are at their limit. `client` None: not counted."""
        if len(self._open) >= self.limits.most:
            raise _too_many(f"this server carries {len(self._open)} event streams already, its limit", 503)
        if client is not None and self._of_client[client] >= self.limits.most_of_client:
            raise _too_many(f"this client follows {self.limits.most_of_client} event streams already, its limit", 429)
        self._open[stream] = client
        self._of_client[client] += 1
        if self._closed:
            stream.cancel()

    def remove(self, stream: anyio.CancelScope) -> None:
        if stream in self._open:
            client = self._open.pop(stream)
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]

    def message_of(self, page: EventPage) -> bytes:
        """The page as a message. Those with one filter are given the same page one after another: it is written down once."""
        if self._newest is None or self._newest[0] is not page:
            message = b"id: " + page.cursor.encode() + b"\ndata: " + page_to_wire(page) + b"\n\n"
            self._newest = page, message
        return self._newest[1]

    def __len__(self) -> int:
        return len(self._open)


def _too_many(message: str, status: int) -> ComeBack:
    return ComeBack(
        message,
        code="too_many_streams",
        status=status,
        seconds=COME_BACK_SECONDS,
        hint="close some, or ask again after the seconds in Retry-After",
    )


class EventStream(Response):
    """`check` raises what ends the stream, once something does; None: nothing may."""

    media_type = "text/event-stream"

    def __init__(self, pages: Pages, streams: Streams, *, check: Callable[[], object] | None = None) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._pages = pages
        self._streams = streams
        self._check = check or _nothing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Errors before the first byte have their status; later ones are the stream's last message."""
        streams = self._streams
        whole = anyio.CancelScope()
        begun = False
        try:
            streams.add(whole, client_of(scope))
            async with self._pages as pages:
                begun = True
                await self._carry(pages, whole, receive, send)
        except PlayheadError as error:
            if begun:
                raise
            await refusal(error)(scope, receive, send)
        finally:
            streams.remove(whole)

    async def _carry(
        self, pages: AsyncIterator[EventPage], whole: anyio.CancelScope, receive: Receive, send: Send
    ) -> None:
        limits = self._streams.limits
        out = _Outlet(send, limits.send_seconds)
        with whole, anyio.move_on_after(limits.longest_seconds):
            async with anyio.create_task_group() as parts:
                end = parts.cancel_scope
                parts.start_soon(_until_gone, receive, end)
                await out.begin(self.status_code, self.raw_headers)
                parts.start_soon(self._watch, out, end)
                await self._pass_on(pages, out)
                end.cancel()
        await out.end()

    async def _pass_on(self, pages: AsyncIterator[EventPage], out: _Outlet) -> None:
        try:
            async for page in pages:
                self._check()
                await out.write(self._streams.message_of(page))
        except PlayheadError as error:
            await out.write_error(error)

    async def _watch(self, out: _Outlet, end: anyio.CancelScope) -> None:
        """Signs of life, and the end of a stream whose client is stuck, or may not have it any more."""
        limits = self._streams.limits
        looks = max(1, round(limits.heartbeat_seconds / limits.send_seconds))
        while True:
            for _ in range(looks):
                await anyio.sleep(limits.heartbeat_seconds / looks)
                if out.look():
                    log.info("an event stream was ended: its client has not read for %g s", limits.send_seconds)
                    return end.cancel()
            try:
                self._check()
            except PlayheadError as error:
                with anyio.move_on_after(limits.send_seconds):
                    await out.write_error(error)
                return end.cancel()
            await out.beat()


class _Outlet:
    """Writes whole messages, one at a time. A client that takes none for too long is stuck, and gets no more.

    `_watch` looks for that from time to time: a scope of its own for each message would cost as much as the message.
    """

    def __init__(self, send: Send, patience_seconds: float) -> None:
        self._send = send
        self._patience_seconds = patience_seconds
        self._turn = asyncio.Lock()
        self._since: float | None = None  # when the message that is under way was handed to the transport
        self._stuck = False

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self.write(b": open\n\n")

    async def write(self, message: bytes) -> None:
        async with self._turn:
            self._since = anyio.current_time()
            await self._send({"type": "http.response.body", "body": message, "more_body": True})
            self._since = None

    async def write_error(self, error: PlayheadError) -> None:
        await self.write(b"event: " + EVENT_ERROR + b"\ndata: " + bytes(refusal(error).body) + b"\n\n")

    async def beat(self) -> None:
        """A sign of life, unless a message is one already."""
        if self._since is None:
            with anyio.move_on_after(self._patience_seconds):
                await self.write(b": beat\n\n")

    def look(self) -> bool:
        """Whether the client is stuck."""
        if self._since is not None and anyio.current_time() - self._since >= self._patience_seconds:
            self._stuck = True
        return self._stuck

    async def end(self) -> None:
        if not self._stuck:
            with anyio.move_on_after(self._patience_seconds):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, end: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    end.cancel()


def _nothing() -> None:
    """Says that nothing has come in the way."""
