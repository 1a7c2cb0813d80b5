"""The log that the engine uses: one queue, one fan-out and one safety poll in front of any backend. Owns no storage.

async with Log.open("sqlite:///var/lib/playhead/log.db") as log:
    await log.append(...)
    async with log.subscribe(after=Position(0)) as pages:
        async for page in pages: ...
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

import anyio

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import AppendMismatch, CursorRefused, LogError, WrongVersion
from playhead.log.commits import Commits
from playhead.log.cursor import mark_of
from playhead.log.shape import checked
from playhead.log.tail import Tail
from playhead.log.urls import open_backend
from playhead.ports.store import (
    Ack,
    Append,
    Appended,
    Capability,
    Conflict,
    Duplicate,
    EventStore,
    Expect,
    ForgettingBackend,
    Page,
    Recorded,
    SharedBackend,
    StoreBackend,
    Subscription,
)

# Of a stream in one read, and then folded at once: milliseconds in which the loop does nothing else
READ_EVENTS: Final = 2_000
PAGE_EVENTS: Final = 500  # in one page to a subscriber: what a slow one may hold at a time
POLL_SECONDS: Final = 1.0  # between looks for what others wrote, where the backend does not tell
DRAIN_SECONDS: Final = 10.0  # for the appends that wait when the log is closed; their fate is unknown after that


class Log(EventStore):
    """Opened by `Log.open`. Lives on the event loop that opened it."""

    def __init__(self, backend: StoreBackend, head: Position) -> None:
        self._backend = backend
        self._tail = Tail(head)
        self._commits = Commits(backend, self._tail.add_committed)

    @classmethod
    @asynccontextmanager
    async def open(cls, where: str | StoreBackend) -> AsyncGenerator[Log]:
        """Open the log behind a URL, or take over an open backend. On leaving, appends drain and the backend is closed.

        UsageError: no such store, or an object that is none. LogUnusable: the store's log cannot be used.
        """
        backend = await open_backend(where) if isinstance(where, str) else checked(where, "the program")
        failure: Exception | None = None
        try:
            log = cls(backend, await backend.head())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(log._commits.run)
                tasks.start_soon(log._follow)
                tasks.start_soon(log._fill)
                try:
                    yield log
                except Exception as error:  # noqa: BLE001 — raised again below: a task group would wrap it in a group
                    failure = error
                finally:
                    await log.close()
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await backend.close()
        if failure is not None:
            raise failure

    @property
    def log_id(self) -> LogId:
        return self._backend.log_id

    @property
    def shared(self) -> SharedBackend | None:
        return cast(SharedBackend, self._backend) if Capability.SHARED in self._backend.capabilities else None

    @property
    def restored(self) -> Position | None:
        return self._backend.restored

    async def accept_restored(self) -> None:
        await self._backend.accept_restored()

    async def append(self, append: Append) -> Ack:
        outcome = await self._commits.append(append)
        if isinstance(outcome, Appended):  # nearly always; a pattern takes four times as long
            return Ack(outcome.first, outcome.last, outcome.version)
        match outcome:
            case Duplicate(first, last, version, same=True):
                return Ack(first, last, version, duplicate=True)
            case Duplicate():
                raise AppendMismatch(append.stream, append.append_id)
            case Conflict(actual):
                expected = append.expected.value if isinstance(append.expected, Expect) else append.expected
                raise WrongVersion(append.stream, expected, actual)

    async def read_stream(
        self, stream: StreamName, *, after: Version = Version(0), upto: Version | None = None
    ) -> AsyncIterator[Sequence[Recorded]]:
        while upto is None or after < upto:
            limit = READ_EVENTS if upto is None else min(READ_EVENTS, upto - after)
            events = await self._backend.read_stream(stream, after=after, limit=limit)
            if events:
                yield events
            if len(events) < limit:
                return
            after = events[-1].version

    async def read_all(self, *, after: Position, limit: int = 1000) -> Page:
        return await self._backend.read_all(after=after, limit=limit)

    async def head(self) -> Position:
        return await self._backend.head()

    async def first_bytes(self, position: Position) -> str:
        if position <= 0:
            return ""
        page = await self._backend.read_all(after=Position(position - 1), limit=1)
        return mark_of(page.events[0].append_id) if page.events and page.events[0].position == position else ""

    async def is_forgotten(self, position: Position) -> bool:
        if Capability.FORGETS not in self._backend.capabilities:
            return False
        return await cast(ForgettingBackend, self._backend).is_forgotten(position)

    @asynccontextmanager
    async def subscribe(self, *, after: Position) -> AsyncGenerator[Subscription]:
        """Pages behind `after`, first from the store, then as they are committed; they end when the log is closed.

        CursorRefused: the log does not reach that far.
        """
        head = await self._backend.head()
        if after > head:
            raise CursorRefused(
                f"the log ends at position {head}, before {after}", hint="follow from a position it has"
            )
        with self._tail.subscriber(head):
            yield _Pages(self._backend, self._tail, after)

    async def close(self) -> None:
        """Commit what waits, take no more, and end the subscriptions. The backend is closed by leaving `Log.open`."""
        await self._commits.close(limit_seconds=DRAIN_SECONDS)
        self._tail.close()

    async def _follow(self) -> None:
        """Keep the tail going where others write to the same store too: their events come by its news, or by the poll."""
        while not self._tail.closed:
            await self._tail.watched()
            scanned = self._tail.scanned
            try:
                await self._backend.wait_for_news(scanned, POLL_SECONDS)
                await self._commits.settle()
                if self._tail.lags:
                    await self._tail.moved(scanned)  # it is being read; until then the same news would come at once
                elif self._tail.scanned == scanned:  # else it was our own commit, which is there already
                    await self._read_on()
            except LogError:  # a full disk or a lost connection: whoever appends or reads is told; here only time helps
                await anyio.sleep(POLL_SECONDS)

    async def _fill(self) -> None:
        """Read what others wrote between commits of our own: once, and not once for each subscriber."""
        while await self._tail.lagging():
            scanned = self._tail.scanned
            try:
                await self._read_on()
                if self._tail.scanned == scanned:
                    await anyio.sleep(POLL_SECONDS)  # a store that does not show what it has reported
            except LogError:
                await anyio.sleep(POLL_SECONDS)

    async def _read_on(self) -> None:
        page = await self._backend.read_all(after=self._tail.scanned, limit=PAGE_EVENTS)
        self._tail.extend(page.events, page.scanned)


class _Pages(Subscription):
    """One subscriber: a position, and where to read on."""

    def __init__(self, backend: StoreBackend, tail: Tail, after: Position) -> None:
        self._backend = backend
        self._tail = tail
        self._after = after

    async def __aiter__(self) -> AsyncIterator[Page]:
        while await self._tail.moved(self._after):
            page = self._tail.page(self._after, PAGE_EVENTS)
            if page is None and self._tail.closed:
                return
            page = page or await self._from_store()
            self._after = page.scanned
            yield page

    async def _from_store(self) -> Page:
        """All that lies before the tail is in the store; where it holds nothing there, go straight to the tail."""
        start = self._tail.start
        page = await self._backend.read_all(after=self._after, limit=PAGE_EVENTS)
        return page if page.scanned > self._after else Page((), start)
