"""The event stream of all: server-sent events whose ids are cursors."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from playhead.ports.server import EventFilter
from playhead.server.routes.lean import ERRORS, PREFIX, api_of
from playhead.server.streams import EventStream, Streams

MAX_FILTERS: Final = 100  # of each kind in one request; the vocabulary has fewer types

router = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["events"])

Filters = Annotated[tuple[str, ...], Query(max_length=MAX_FILTERS)]
CursorText = Annotated[str | None, Query(max_length=512)]


@router.get("/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
async def events(
    request: Request,
    cursor: CursorText = None,
    stream: Filters = (),
    type: Filters = (),  # noqa: A002 — the name of the query's parameter
    last_event_id: Annotated[str | None, Header(max_length=512)] = None,
) -> Response:
    """The log as it grows, from the cursor on. A client that reconnects sends `Last-Event-ID`, which wins over `cursor`."""
    which = EventFilter(streams=stream, types=type)
    streams: Streams = request.app.state.streams
    return EventStream(api_of(request).events(cursor=last_event_id or cursor, which=which), streams)
