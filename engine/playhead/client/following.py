"""Following the event stream over HTTP: server-sent messages into pages, for ever, across broken connections.

The cursor of the last page is all that is remembered; each connection begins behind it, so nothing is missed and nothing
comes twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from playhead.client.transport import Query, Splitter, Transport, error_of
from playhead.errors import (
    LogUnusable,
    OutcomeUnknown,
    PlayheadError,
    Refused,
    ServerError,
    ServerRefused,
    ServerUnreachable,
    Unauthenticated,
)
from playhead.ports.server import EventFilter, EventPage
from playhead.wire import EVENT_ERROR, page_from_wire

log = logging.getLogger("playhead.client")


async def follow(transport: Transport, cursor: str | None, which: EventFilter) -> AsyncGenerator[EventPage]:
    """Pages from behind the cursor on. Never ends by itself; raises what the server refuses, CursorRefused above all."""
    failures = 0
    while True:
        broke: PlayheadError | None = None
        presented = transport.presented
        try:
            async with transport.stream("/events", query=_query(cursor, which)) as chunks:
                messages = Splitter(b"\n\n")
                async for chunk in chunks:
                    failures = 0
                    for page in filter(None, map(_page_of, messages.feed(chunk))):
                        cursor = page.cursor
                        yield page
        except PlayheadError as error:
            if not _passes(error) and not (isinstance(error, Unauthenticated) and await transport.renewed(presented)):
                raise
            log.info("the event stream of %s broke: %s", transport.url, error.message)
            broke = error
        failures += 1
        await asyncio.sleep(transport.pause_after(broke, failures))


def _query(cursor: str | None, which: EventFilter) -> Query:
    query = [("stream", stream) for stream in which.streams] + [("type", name) for name in which.types]
    return [*query, ("cursor", cursor)] if cursor is not None else query


def _page_of(message: bytes) -> EventPage | None:
    """The page of a message; None for a sign of life. Raises the error that the server ended its stream with."""
    name, data = b"", b""
    for line in message.split(b"\n"):
        field, _, value = line.partition(b": ")
        if field == b"event":
            name = value
        elif field == b"data":
            data = value
    if name == EVENT_ERROR:
        raise error_of(data, status=500) or ServerError("the server ended its event stream with an error of its own")
    return page_from_wire(data) if data else None


def _passes(error: PlayheadError) -> bool:
    """Whether the same request may succeed later: the server is away, stopping, full, or its log is."""
    match error:
        case ServerUnreachable() | LogUnusable() | OutcomeUnknown():
            return True
        case Refused(code="behind"):
            return True
        case ServerRefused(status=status):
            return status >= 500
        case _:
            return False
