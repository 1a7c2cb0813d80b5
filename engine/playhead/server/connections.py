"""Connections: what one may hold and how long it may take, and how many there may be. Owns the limits below a request.

uvicorn reads HTTP and asks the app; it waits for ever for the rest of a request's head, for a client that does not read, and for
the last bytes of a connection that it closes. Here each of these ends, found by one look at all connections now and then, so that
a request pays for no timer. How long a body may take is the boundary's, and how often a client may ask, the gate's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from playhead.errors import ServerRefused
from playhead.server.answers import ComeBack, refusal
from playhead.server.clients import address_of
from playhead.server.descriptors import room_for

log = logging.getLogger("playhead.server")

SPARE: Final = 64  # connections beyond the most, each open until it has read that it is one too many
COME_BACK_SECONDS: Final = 5  # after which a place may be free: a stream lasts a minute, a request far less


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    most: int = 10_000  # open at once: 5,000 that follow the log, with as many again beside them
    # Of one address elsewhere: 200 runs have two each, and a fifth of all is left to the others
    most_of_client: int = 2_000
    head_seconds: float = 10.0  # for a request's head, from the connection's or the head's first byte on
    leftover_seconds: float = 30.0  # for the rest of a body that was answered already: as long as a body may take
    reading_seconds: float = 20.0  # for a client to make room for more: 48 KB, less than 20 kbit/s
    closing_seconds: float = 10.0  # for the last bytes of a connection that is closed
    head_bytes: int = 32 * 1024  # a token and a proxy's headers; our client's heads have 200
    target_bytes: int = 16 * 1024  # path and query: a stream's filter of 100 runs has 7,000
    headers: int = 100
    waiting: int = 8  # requests on one connection behind the one that is answered: our client sends none, proxies few


class Connections:
    """All open connections of one server. `sweep` is to be called about once a second."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._most = room_for(limits.most)
        self._open: set[Connection] = set()
        self._of_client: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self) -> type[Connection]:
        """For uvicorn, which makes one for each connection."""
        return type("BoundConnection", (Connection,), {"all": self})

    def add(self, one: Connection) -> ServerRefused | None:
        """Why this one is too many, if it is."""
        self._open.add(one)
        client = one.address
        if client is not None:
            self._of_client[client] += 1
            if self._of_client[client] > self.limits.most_of_client:
                return _too_many(f"this client has {self.limits.most_of_client} connections already, its limit", 429)
        if len(self._open) > self._most:
            return _too_many(f"this server has {self._most} connections already, its limit", 503)
        return None

    def remove(self, one: Connection) -> None:
        self._open.discard(one)
        if one.address is not None:
            self._of_client[one.address] -= 1
            if not self._of_client[one.address]:
                del self._of_client[one.address]

    def none_left(self) -> bool:
        """Whether not even one that only reads its refusal has room."""
        return len(self._open) > self._most + SPARE

    def sweep(self, now: float) -> None:
        """End what has taken too long; `now` is the loop's time."""
        for one in list(self._open):
            one.look(now)


class Connection(HttpToolsProtocol):
    """One connection. While it waits for its client, `_since` says since when, and `_patience` how long it may."""

    all: ClassVar[Connections]

    address: str | None = None
    _since: float | None = None
    _patience = 0.0
    _paused_since: float | None = None  # the client has not read, and there is more than a buffer for it
    _closing_since: float | None = None
    _in_body = False
    _bytes = 0  # received since a head was whole, or a piece of a body came: what the parser gathers
    url = b""  # uvicorn's, which sets it where a request begins
    _why: ServerRefused | None = None  # it gets no answer but this

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.address = address_of(self.client)
        self._wait(self.all.limits.head_seconds)
        self._why = self.all.add(self)
        if self.all.none_left():
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing_since is not None:
            return  # read and thrown away, so that the client reads our refusal and not a reset
        if self._why is not None:
            self.refuse(self._why)
            return
        limits = self.all.limits
        if self._since is None and self._answered():
            self._wait(limits.leftover_seconds if self._in_body else limits.head_seconds)
        self._bytes += len(data)
        super().data_received(data)
        if self._bytes > limits.head_bytes and self._closing_since is None:
            if self._in_body:
                self.transport.abort()  # all of it stands around the body: sizes of its chunks, trailers
            else:
                self.refuse(self._too_large())

    # --- what uvicorn's parser finds ----------------------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        limits = self.all.limits
        if len(self.url) > limits.target_bytes or len(self.headers) > limits.headers:
            self._stop(self._too_large())
        if self._bytes > limits.head_bytes and _size(self.headers) > limits.head_bytes:  # a body may have come with it
            self._stop(self._too_large())
        self._in_body, self._bytes, self._since = True, 0, None
        super().on_headers_complete()
        if len(self.pipeline) > limits.waiting:
            self._stop(_too_many_waiting(limits))

    def on_body(self, body: bytes) -> None:
        self._bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body, self._bytes = False, 0
        if self._answered():
            self._since = None
        super().on_message_complete()

    def _too_large(self) -> ServerRefused:
        """Its target is too long, or it has too much besides."""
        limits = self.all.limits
        return _target_too_long(limits) if len(self.url) > limits.target_bytes else _head_too_large(limits)

    def _stop(self, why: ServerRefused) -> None:
        """Out of the parser, whose errors uvicorn answers by `send_400_response`."""
        self._why = why
        raise why

    def send_400_response(self, msg: str) -> None:
        self.refuse(self._why or _not_http())

    # --- what the transport says --------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self._paused_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._paused_since = None
        super().resume_writing()

    # --- the end ------------------------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """End it if it has taken too long."""
        limits = self.all.limits
        if self.transport.is_closing() and self._closing_since is None:
            self._closing_since = now
        if self._closing_since is not None:
            if now - self._closing_since > limits.closing_seconds:
                self.transport.abort()
        elif self._paused_since is not None and now - self._paused_since > limits.reading_seconds:
            log.info("a connection was ended: its client has not read for %g s", limits.reading_seconds)
            self.transport.abort()
        elif self._since is not None and now - self._since > self._patience:
            if self._bytes and not self._in_body:
                self.refuse(_head_too_slow(limits))
            else:  # nothing was asked, or all that was has its answer
                self.transport.abort()

    def refuse(self, why: ServerRefused) -> None:
        """Answer this, and nothing any more. In the middle of another answer the connection is cut instead."""
        self._unset_keepalive_if_required()
        if not self._answered():
            self.transport.abort()
            return
        self._closing_since = self.loop.time()
        self.transport.write(_written(why, self.server_state.default_headers))
        self.transport.write_eof()

    def _wait(self, seconds: float) -> None:
        self._since, self._patience = self.loop.time(), seconds

    def _answered(self) -> bool:
        """Whether each request so far has its answer."""
        cycle: Any = self.cycle  # uvicorn declares it without the None that it begins with
        return cycle is None or cycle.response_complete


def _written(why: ServerRefused, headers: list[tuple[bytes, bytes]]) -> bytes:
    answer = refusal(why)
    first = b"HTTP/1.1 %d %s\r\n" % (answer.status_code, HTTPStatus(answer.status_code).phrase.encode())
    lines = [
        name + b": " + value + b"\r\n" for name, value in [*headers, *answer.raw_headers, (b"connection", b"close")]
    ]
    return b"".join([first, *lines, b"\r\n", bytes(answer.body)])


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in headers)


def _too_many(message: str, status: int) -> ServerRefused:
    return ComeBack(
        message,
        code="too_many_connections",
        status=status,
        seconds=COME_BACK_SECONDS,
        hint="use one client for many requests, and close those that are done",
    )


def _target_too_long(limits: ConnectionLimits) -> ServerRefused:
    return ServerRefused(
        f"path and query are longer than {limits.target_bytes} bytes",
        code="target_too_long",
        status=414,
        hint="ask for fewer things in one request",
    )


def _head_too_large(limits: ConnectionLimits) -> ServerRefused:
    return ServerRefused(
        f"the request has more than {limits.headers} headers, or more than {limits.head_bytes} bytes before its body",
        code="head_too_large",
        status=431,
        hint="send no cookies and no headers of other services",
    )


def _head_too_slow(limits: ConnectionLimits) -> ServerRefused:
    return ServerRefused(
        f"the request's head did not come within {limits.head_seconds:g} s",
        code="too_slow",
        status=408,
        hint="send a request's head in one piece",
    )


def _too_many_waiting(limits: ConnectionLimits) -> ServerRefused:
    return ServerRefused(
        f"more than {limits.waiting} requests wait on this connection behind the one that is answered",
        code="too_many_waiting",
        status=429,
        hint="wait for an answer before the next request, or use more connections",
    )


def _not_http() -> ServerRefused:
    return ServerRefused(
        "this is not an HTTP request", code="not_http", status=400, hint="speak HTTP/1.1, without TLS, to this port"
    )
