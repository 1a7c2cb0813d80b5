"""The port's side of the bridge: from the engine's event loop to a recorder's blocking calls. Owns the threads; decides nothing.

Commits are made by one thread, reads by whichever is free, and it is closed when they have ended. Its own commits wake who waits; what
others write is found by the engine's poll, or at once by the recorder's subscription, if that was asked for: it reads every event a
second time.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import anyio.to_thread
from eventsourcing.persistence import ApplicationRecorder, DataError, InterfaceError, OperationalError, ProgrammingError

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import LogUnusable
from playhead.log import News, OneThread
from playhead.ports.store import Append, Appended, Capability, Outcome, Page, Recorded, StoreBackend
from playhead_adapters.stores.eventsourcing.gate import Gate
from playhead_adapters.stores.eventsourcing.reader import Reader, told
from playhead_adapters.stores.eventsourcing.rows import Originators, naming_event
from playhead_adapters.stores.eventsourcing.waking import Waking
from playhead_adapters.stores.eventsourcing.writer import Writer

READS_SECONDS: Final = 40.0  # for the reads under way at the end; a server that is silent has been given up by then
# For them, the commit under way and the recorder's own end; what hangs longer is named, and left behind
CLOSE_SECONDS: Final = 60.0

T = TypeVar("T")


class EventSourcingBackend(StoreBackend):
    """Opened by `open_recorder`, or by the URL `eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME=/path/log.db`.

    Not SHARED: the library has no place where several servers could tell each other who leads. What another process writes is
    seen, and met in a commit it is a conflict for the append concerned alone.
    """

    def __init__(self, opened: _Opened, thread: OneThread, close: Callable[[], None]) -> None:
        self._opened = opened
        self._thread = thread
        self._close = close
        self._gate = Gate()
        self._news = News(opened.head)
        self._waking: Waking | None = None

    @property
    def log_id(self) -> LogId:
        return self._opened.log_id

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset() if self._waking is None else frozenset({Capability.WAKES})

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await self._thread.run(partial(self._opened.writer.commit, batch))
        for outcome in outcomes:
            if isinstance(outcome, Appended):
                self._news.tell(outcome.last)
        return outcomes

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await self._read(partial(self._opened.reader.stream, stream, after, limit))

    async def read_all(self, *, after: Position, limit: int) -> Page:
        return await self._read(partial(self._opened.reader.all, after, limit))

    async def head(self) -> Position:
        return await self._read(self._opened.reader.head)

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._news.wait(after, timeout_seconds)

    async def subscribe(self) -> None:
        """From now on follow the recorder's subscription too, which gives Capability.WAKES. UsageError: it has none."""
        waking = Waking(self._opened.recorder, self._opened.head, _Newest(self._news).tell)
        await anyio.to_thread.run_sync(waking.start)
        self._waking = waking

    async def close(self) -> None:
        """When what is under way has ended. LogUnusable: it does not."""
        try:
            if self._waking is not None:
                await anyio.to_thread.run_sync(self._waking.stop)
        finally:
            await self._thread.close(self._end, limit_seconds=CLOSE_SECONDS)

    async def _read(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(self._gate.through, call)

    def _end(self) -> None:
        self._gate.close(READS_SECONDS)
        self._close()


async def open_recorder(
    recorder: ApplicationRecorder,
    *,
    uuids: bool = False,
    subscribe: bool = False,
    close: Callable[[], None] = lambda: None,
) -> EventSourcingBackend:
    """A backend over an open recorder; `close` is called, in a thread, when the backend is closed.

    `uuids`: name the streams by UUIDs, as is done anyway where a recorder refuses text. `subscribe`: as `EventSourcingBackend.subscribe`.
    """
    thread = OneThread("playhead-log")
    try:
        backend = EventSourcingBackend(await thread.run(lambda: _open(recorder, uuids=uuids)), thread, close)
        if subscribe:
            await backend.subscribe()
    except BaseException:
        await thread.close(limit_seconds=CLOSE_SECONDS)
        raise
    return backend


def attend(owner: object) -> None:
    """See that no connection of this factory's or recorder's hangs, where it is the library's for PostgreSQL."""
    if "eventsourcing.postgres" in sys.modules:  # only then psycopg is there
        from playhead_adapters.stores.eventsourcing import postgres

        postgres.attend(getattr(owner, "datastore", None))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A recorder whose log is known."""

    recorder: ApplicationRecorder
    reader: Reader
    writer: Writer
    log_id: LogId
    head: Position  # when it was opened


def _open(recorder: ApplicationRecorder, *, uuids: bool) -> _Opened:
    with told("opened"):
        attend(recorder)
        if not uuids:
            try:
                return _open_as(recorder, Originators(uuids=False))
            except Exception as error:
                if not _is_about_text(error):
                    raise
                try:
                    return _open_as(recorder, Originators(uuids=True))
                except Exception:  # noqa: BLE001 — then it was not the text, and the first error tells more
                    raise error from None
        return _open_as(recorder, Originators(uuids=True))


# What recorders, their drivers and what lies between them raise for an originator that is no UUID.
_NOT_TEXT = (TypeError, ValueError, AttributeError, DataError, ProgrammingError)


def _is_about_text(error: BaseException | None) -> bool:
    """Not so for what may be gone with the next try: a log that was begun under text would be begun once more."""
    about = False
    while error is not None:
        if isinstance(error, (OperationalError, InterfaceError, OSError)):
            return False
        about = about or isinstance(error, _NOT_TEXT)
        error = error.__cause__
    return about


def _open_as(recorder: ApplicationRecorder, originators: Originators) -> _Opened:
    reader = Reader(recorder, originators)
    log_id = reader.log_id()
    if log_id is None:
        log_id = LogId(secrets.token_hex(8))
        recorder.insert_events([naming_event(log_id, originators)])
        if reader.log_id() != log_id:
            raise LogUnusable("the recorder does not give back what it was given", hint="use another recorder")
    return _Opened(recorder, reader, Writer(recorder, originators, reader), log_id, reader.head())


class _Newest:
    """Positions on their way from a thread to the event loop: of many that come at once, the newest alone is handed over."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._position = Position(0)
        self._on_its_way = False

    def tell(self, position: Position) -> None:
        self._position = position
        if self._on_its_way:
            return
        self._on_its_way = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        self._on_its_way = False  # first: what is told from here on comes once more
        self._news.tell(self._position)
