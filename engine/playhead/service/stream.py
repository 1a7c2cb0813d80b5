"""The event stream: the log as it grows, filtered, each page with the cursor behind it. Reads only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from playhead.core.names import Position
from playhead.log.cursor import Cursor, check_cursor, cursor_at
from playhead.ports.server import EventFilter, EventPage
from playhead.ports.store import EventStore, Page, Recorded

CURSOR_EVERY: Final = 1_000  # positions without an event that fits, after which an empty page moves the cursor


@asynccontextmanager
async def open_stream(
    store: EventStore, cursor: str | None, which: EventFilter
) -> AsyncGenerator[AsyncIterator[EventPage]]:
    """Pages behind the cursor (None: from the beginning). CursorRefused: it is not a cursor of this log."""
    after = Position(0) if cursor is None else await check_cursor(store, Cursor.parse(cursor))
    async with (
        store.subscribe(after=after) as pages,
        aclosing(_filtered(store, aiter(pages), which, after)) as filtered,
    ):
        yield filtered


async def _filtered(
    store: EventStore, pages: AsyncIterator[Page], which: EventFilter, told: Position
) -> AsyncGenerator[EventPage]:
    """`told` is the position of the newest cursor that the reader has."""
    async for page in pages:
        events = tuple(recorded for recorded in page.events if _fits(recorded, which))
        if not events and page.scanned - told < CURSOR_EVERY:
            continue
        told = page.scanned
        yield EventPage(events=events, cursor=str(await _cursor(store, page)))


async def _cursor(store: EventStore, page: Page) -> Cursor:
    if page.events and page.events[-1].position == page.scanned:
        return Cursor.at(store.log_id, page.events[-1])
    return await cursor_at(store, page.scanned)


def _fits(recorded: Recorded, which: EventFilter) -> bool:
    in_stream = not which.streams or recorded.stream.startswith(which.streams)
    return in_stream and (not which.types or recorded.type in which.types)
