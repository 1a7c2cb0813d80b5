"""The server's limits as rows of a page, read from where they are kept. Owns their order and their words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from playhead.ports.server import MAX_BATCH_EVENTS, MAX_PAGE
from playhead.server.answers import MAX_REPORTED_PROBLEMS
from playhead.server.boundary import BODY_SECONDS, MAX_BODY_BYTES
from playhead.server.clients import IPV6_PREFIX
from playhead.server.connections import ConnectionLimits
from playhead.server.rates import RateLimits
from playhead.server.routes.events import MAX_CURSOR, MAX_FILTERS
from playhead.server.serve import KEEP_ALIVE_SECONDS
from playhead.server.streams import StreamLimits

HEAD: Final = ("what", "most", "beyond it")

CONNECTIONS: Final = ConnectionLimits()
STREAMS: Final = StreamLimits()
RATES: Final = RateLimits()


def rows() -> Iterator[tuple[str, str, str]]:
    yield "a request's body", _bytes(MAX_BODY_BYTES), "413 `too_large`"
    yield "until it is there", _seconds(BODY_SECONDS), "408 `too_slow`"
    yield "events in one report", f"{MAX_BATCH_EVENTS:,}", "422 `bad_request`"
    yield "rows of one answer", f"{MAX_PAGE:,}", "422 `bad_request`"
    yield "filters of an event stream, of each kind", f"{MAX_FILTERS}", "422 `bad_request`"
    yield "a cursor", f"{MAX_CURSOR} letters", "422 `bad_request`"
    yield "problems that a refusal names", f"{MAX_REPORTED_PROBLEMS}", ""
    yield "path and query", _bytes(CONNECTIONS.target_bytes), "414 `target_too_long`"
    yield "a request's head", f"{_bytes(CONNECTIONS.head_bytes)}, {CONNECTIONS.headers} headers", "431 `head_too_large`"
    yield "until it is there", _seconds(CONNECTIONS.head_seconds), "408 `too_slow`"
    yield "requests behind another on a connection", f"{CONNECTIONS.waiting}", "the connection is cut"
    yield (
        "a client that does not make room for more of an answer",
        _seconds(CONNECTIONS.reading_seconds),
        "the connection is cut",
    )
    yield "a body that goes on after its answer", _seconds(CONNECTIONS.leftover_seconds), "the connection is cut"
    yield "an idle connection", _seconds(KEEP_ALIVE_SECONDS), "it is closed"
    yield "connections", f"{CONNECTIONS.most:,}, or as many as the process may have files", "503 `too_many_connections`"
    yield "of one client", f"{CONNECTIONS.most_of_client:,}", "429 `too_many_connections`"
    yield "event streams", f"{STREAMS.most:,}", "503 `too_many_streams`"
    yield "of one client", f"{STREAMS.most_of_client:,}", "429 `too_many_streams`"
    yield "a stream", _seconds(STREAMS.longest_seconds), "it ends, and the client comes back with its cursor"
    yield (
        "requests of one client",
        f"{RATES.per_second:,.0f} a second, {RATES.burst:,} at once",
        "429 `too_many_requests`",
    )
    yield "one client's addresses by IPv6", f"a network of {IPV6_PREFIX} bits", ""


def _bytes(count: int) -> str:
    return f"{count // 1024**2} MiB" if count >= 1024**2 else f"{count // 1024} KiB"


def _seconds(count: float) -> str:
    return f"{count:g} s"
