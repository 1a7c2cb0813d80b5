"""The event stream of all: server-sent events whose ids are cursors."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from playhead.ports.server import EventFilter
from playhead.server.access import bearer_of
from playhead.server.routes.lean import Query, Routes, api_of
from playhead.server.streams import EventStream, Streams

MAX_FILTERS: Final = 100  # of each kind in one request; the vocabulary has fewer types
MAX_CURSOR: Final = 512  # letters; a cursor has about a hundred

routes = Routes("events")

Filters = Annotated[tuple[str, ...], Field(max_length=MAX_FILTERS)]


class Following(Query):
    HEADERS: ClassVar = {"last-event-id": "cursor"}  # as a browser's EventSource resumes by itself

    cursor: Annotated[str | None, Field(max_length=MAX_CURSOR, description="follow from behind it")] = None
    stream: Annotated[Filters, Field(description="only of streams that begin with one of these")] = ()
    type: Annotated[Filters, Field(description="only of one of these types")] = ()


@routes.get("/events", media_type=EventStream.media_type)
async def events(request: Request, query: Following) -> Response:
    """The log as it grows, from the cursor on. A client that reconnects sends `Last-Event-ID`, which wins over `cursor`."""
    which = EventFilter(streams=query.stream, types=query.type)
    streams: Streams = request.app.state.streams
    bearer = bearer_of(request.scope)
    pages = api_of(request).events(cursor=query.cursor, which=which)
    return EventStream(pages, streams, check=bearer.check if bearer is not None else None)
