"""The log in one SQLite file, the default: one writer in its own thread, readers beside it. No SQL here.

Every commit is flushed to the disk (WAL with `synchronous=FULL`) before it is reported. Cancelling a commit leaves it to
its thread, which ends the transaction; cancelling a read throws its result away.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import UsageError
from playhead.failpoints import reach
from playhead.log.news import News
from playhead.log.onethread import OneThread
from playhead.log.sqlite.file import WriterLock, open_writer, read_history, read_log, write_history
from playhead.log.sqlite.mark import Mark, MarkFile, Reached, log_id
from playhead.log.sqlite.readers import Readers
from playhead.log.sqlite.writer import Writer
from playhead.ports.store import Append, Outcome, Page, Recorded, StoreBackend

BUSY_SECONDS: Final = 5.0  # how long a commit waits for a stranger's transaction; none of ours is ever that long


class SqliteBackend(StoreBackend):
    """Opened by `SqliteBackend.open`."""

    def __init__(self, held: _Held, thread: OneThread) -> None:
        self._held = held
        self._thread = thread
        self._news = News(held.head)

    @classmethod
    async def open(
        cls, path: Path, *, busy_seconds: float = BUSY_SECONDS, max_bytes: int | None = None
    ) -> SqliteBackend:
        """Open the log at `path`; a new one is made if there is no file. It may grow to about `max_bytes`.

        LogUnusable: not a Playhead log, damaged, cut short, of a newer format, read-only, or written by another process.
        """
        thread = OneThread("playhead-log")
        try:
            held = await thread.run(lambda: _Held(path, busy_seconds, max_bytes))
        except BaseException:
            await thread.close()
            raise
        return cls(held, thread)

    @property
    def log_id(self) -> LogId:
        return self._held.log_id

    @property
    def restored(self) -> Position | None:
        return self._held.restored

    async def accept_restored(self) -> None:
        await self._thread.run(self._held.accept_restored)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        work = self._thread.start(partial(self._held.write, batch))
        work.add_done_callback(
            self._tell
        )  # not after the await: the caller may be cancelled, and the commit happens still
        outcomes, _ = await asyncio.shield(work)
        return outcomes

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await self._held.readers.stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        events = tuple(await self._held.readers.all(after=after, limit=limit))
        return Page(events, events[-1].position if events else after)

    async def head(self) -> Position:
        return await self._held.readers.head()

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._news.wait(after, timeout_seconds)

    async def close(self) -> None:
        """Let what is under way end, then give the log to the next writer."""
        await self._held.readers.close()  # before the writer: the last connection that closes checkpoints
        try:
            await self._thread.run(self._held.close_writer)
        finally:
            await self._thread.close()

    def _tell(self, work: asyncio.Future[tuple[list[Outcome], Position]]) -> None:
        if not work.cancelled() and work.exception() is None:
            self._news.tell(work.result()[1])


class _Held:
    """What an open log holds: lock, writing connection, readers. Made and closed in the writer's thread."""

    def __init__(self, path: Path, busy_seconds: float, max_bytes: int | None) -> None:
        self._lock = WriterLock(path)
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._mark_file: MarkFile | None = None
        try:
            mark = Mark.read(path)
            self._connection = open_writer(path, busy_seconds=busy_seconds, max_bytes=max_bytes, mark=mark)
            self._log = read_log(path, self._connection)
            self._history = read_history(path, self._connection)
            self.writer = Writer(path, self._connection)
            self.head = self.writer.head()
            self.restored = self._forgotten(mark)
            self.log_id = log_id(self._log, self._history)
            self._mark_file = MarkFile(path)
            self.readers = Readers(path, busy_seconds=busy_seconds)
        except BaseException:
            self.close_writer()
            raise

    def _forgotten(self, mark: Mark | None) -> Position | None:
        """How far the log had come once, if it is an older copy of itself: then what is written from now on is another history."""
        if mark is None or mark.log != self._log or mark.reached <= Reached(self._history, self.head):
            return None
        self._history = max(mark.reached.history, self._history) + 1
        return mark.reached.position

    def accept_restored(self) -> None:
        """Durable: the next opening finds nothing amiss. Until then it finds the same, and gives the new history the same id."""
        if self.restored is not None:
            assert self._connection is not None
            write_history(self._path, self._connection, self._history)
            self.restored = None
            self._note(self.writer.head())

    def write(self, batch: Sequence[Append]) -> tuple[list[Outcome], Position]:
        """The outcomes, and the head behind them."""
        reach("log.committing")
        outcomes = self.writer.write(batch)
        head = self.writer.head()
        self._note(head)
        reach("log.committed")
        return outcomes, head

    def _note(self, head: Position) -> None:
        if self._mark_file is not None and self.restored is None:
            self._mark_file.write(self._log, Reached(self._history, head))

    def close_writer(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._mark_file is not None:
            self._mark_file.close()
        self._lock.release()


def url_for(path: Path) -> str:
    """The URL of the log at `path`, whatever letters the path has."""
    return f"sqlite://{quote(str(path.absolute()))}"


async def open_url(url: str) -> StoreBackend:
    """`sqlite:///absolute/log.db` or `sqlite:relative/log.db`, with `?max_bytes=N` for a limit on its size."""
    rest, _, query = url.removeprefix("sqlite:").partition("?")
    path = unquote(rest.removeprefix("//"))
    settings = dict(parse_qsl(query, keep_blank_values=True))
    max_bytes = settings.pop("max_bytes", None)
    if not path or settings or (max_bytes is not None and not max_bytes.isdecimal()):
        raise UsageError(
            f"{url!r} is not the URL of a SQLite log",
            hint="write sqlite:///absolute/log.db or sqlite:relative/log.db; ?max_bytes=N limits its size",
        )
    return await SqliteBackend.open(Path(path), max_bytes=None if max_bytes is None else int(max_bytes))
