"""The broadcast: one reader of the log's end for all event streams. Owns who listens, for what, and what each has yet to take.

Each page of the log is looked through once, and wakes only those for whom it holds something; those with one filter share one page,
so that whoever writes it down can do so once. A listener that is behind, or that takes too slowly, reads the log by itself until it
is level with the broadcast again: nobody loses an event, and nobody makes this grow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Final

from playhead.core.names import Position
from playhead.log.cursor import Cursor, check_cursor, cursor_at
from playhead.ports.server import EventFilter, EventPage
from playhead.ports.store import EventStore, Page, Recorded
from playhead.service.audiences import Audience, Audiences

CURSOR_EVERY: Final = 1_000  # positions without an event that fits, after which an empty page moves the cursor
QUEUED_EVENTS: Final = 1_000  # that a listener may leave untaken: two pages of the log


class Broadcast:
    """`begin` first; then `run` is one task for as long as there are listeners, and `open` may be called by any number of them."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._position = Position(0)  # up to here, included, everything was handed out
        self._cursor: str | None = None  # of that position, once something was
        self._moved = Position(0)  # where the cursors of all listeners were last moved
        self._closed = False
        self._audiences = Audiences[Listener]()

    def begin(self, position: Position) -> None:
        """Hand out what comes after `position`, which the log has."""
        self._position = self._moved = position

    async def run(self) -> None:
        """Hand out what comes, until the log is closed. Raises the log's errors; called again, it goes on where it was."""
        async with self._store.subscribe(after=self._position) as pages:
            async for page in pages:
                self._hand_out(page, str(await self._cursor_behind(page)))
        self.close()

    def close(self) -> None:
        """All listeners get what is queued for them, and then the end."""
        self._closed = True
        for listener in self._audiences.listeners():
            listener.wake()

    @asynccontextmanager
    async def open(self, cursor: str | None, which: EventFilter) -> AsyncGenerator[AsyncIterator[EventPage]]:
        """Pages behind the cursor (None: from the beginning) as they come, until the log is closed. CursorRefused: it is not a
        cursor of this log."""
        async with aclosing(self._pages(which, await self._checked(cursor))) as pages:
            yield pages

    async def cursor_at(self, position: Position) -> str:
        """The cursor of a reader that has scanned up to `position`."""
        if position == self._position and self._cursor is not None:
            return self._cursor
        return str(await cursor_at(self._store, position))

    async def _checked(self, cursor: str | None) -> Position:
        """The position to read on from."""
        if cursor is None:
            return Position(0)
        if cursor == self._cursor:
            return self._position
        return await check_cursor(self._store, Cursor.parse(cursor))

    async def _pages(self, which: EventFilter, after: Position) -> AsyncGenerator[EventPage]:
        with self._listening(after, which) as (audience, listener):
            while True:
                if listener.queue:
                    yield listener.take()
                elif self._closed:
                    return
                elif listener.level or listener.after >= self._position:
                    listener.level = True
                    await listener.news()
                else:
                    async with aclosing(self._catch_up(audience, listener)) as behind:
                        async for page in behind:
                            yield page

    async def _catch_up(self, audience: Audience[Listener], listener: Listener) -> AsyncGenerator[EventPage]:
        """Pages from the log, until the listener is level with the broadcast."""
        async with self._store.subscribe(after=listener.after) as pages:
            async for page in pages:
                events = tuple(event for event in page.events if audience.wants(event))
                tell = bool(events) or page.scanned - listener.told >= CURSOR_EVERY
                cursor = str(await self._cursor_behind(page)) if tell else ""
                listener.after = page.scanned
                listener.level = page.scanned >= self._position  # from here to the next `await` nothing is handed out
                if tell:
                    listener.told = page.scanned
                    yield _page(events, cursor)
                if listener.level:
                    return

    def _hand_out(self, page: Page, cursor: str) -> None:
        wanted: dict[Audience[Listener], list[Recorded]] = {}
        for event in page.events:
            for audience in self._audiences.of(event):
                wanted.setdefault(audience, []).append(event)
        for audience, events in wanted.items():
            shared = _page(tuple(events), cursor)
            for listener in audience.listeners:
                self._hand_to(listener, shared, page.scanned)
        if page.scanned - self._moved >= CURSOR_EVERY:
            self._move_cursors(page.scanned, cursor)
        self._position, self._cursor = page.scanned, cursor

    def _hand_to(self, listener: Listener, shared: EventPage, scanned: Position) -> None:
        if not listener.level:
            return
        if listener.after > self._position:  # it has read ahead of the broadcast
            rest = tuple(event for event in shared.events if event.position > listener.after)
            if not rest:
                return
            shared = _page(rest, shared.cursor)
        if listener.queued + len(shared.events) > QUEUED_EVENTS and listener.queue:
            listener.level = False
            listener.after = max(listener.after, self._position)
            return
        listener.told = scanned
        listener.put(shared)

    def _move_cursors(self, scanned: Position, cursor: str) -> None:
        """An empty page for each listener that was told of no position for long: it comes back with its cursor."""
        empty = _page((), cursor)
        for listener in self._audiences.listeners():
            if scanned - listener.told >= CURSOR_EVERY:
                self._hand_to(listener, empty, scanned)
        self._moved = scanned

    @contextmanager
    def _listening(self, after: Position, which: EventFilter) -> Generator[tuple[Audience[Listener], Listener]]:
        listener = Listener(after)
        audience = self._audiences.join(listener, which)
        try:
            yield audience, listener
        finally:
            self._audiences.leave(listener, audience)

    async def _cursor_behind(self, page: Page) -> Cursor:
        if page.events and page.events[-1].position == page.scanned:
            return Cursor.at(self._store.log_id, page.events[-1])
        return await cursor_at(self._store, page.scanned)


class Listener:
    """One stream: up to where it has read, and what it has not taken yet."""

    def __init__(self, after: Position) -> None:
        self.after = after  # where to read on; of one that is level, the broadcast knows
        self.told = after  # position of the newest cursor that it was given
        self.level = False  # it gets what is handed out
        self.queue: deque[EventPage] = deque()
        self.queued = 0  # events
        self._news: asyncio.Future[None] | None = None

    def put(self, page: EventPage) -> None:
        self.queue.append(page)
        self.queued += len(page.events)
        self.wake()

    def take(self) -> EventPage:
        page = self.queue.popleft()
        self.queued -= len(page.events)
        return page

    async def news(self) -> None:
        """Return when there may be something to take."""
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _page(events: Iterable[Recorded], cursor: str) -> EventPage:
    return EventPage.model_construct(events=tuple(events), cursor=cursor)
