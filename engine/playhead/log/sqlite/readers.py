"""Reads of a SQLite log: a few read-only connections, each read one short transaction. Never writes, never checkpoints."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import LogUnusable
from playhead.log.ranges import Range
from playhead.log.sqlite import statements
from playhead.log.sqlite.faults import told
from playhead.log.sqlite.file import FORMAT, check_file, check_readable, open_reader, read_history, read_log
from playhead.log.sqlite.mark import log_id
from playhead.log.sqlite.names import Names
from playhead.log.sqlite.rows import Rows
from playhead.ports.store import Kept, Recorded

READERS: Final = 4  # reads side by side; each holds a connection with its page cache of 2 MB

T = TypeVar("T")


class Readers:
    """Opened in a thread (it opens files); its reads are awaited on the loop."""

    def __init__(self, path: Path, *, busy_seconds: float, format: int = FORMAT) -> None:  # noqa: A002 — that is its name in the file, too
        self._path = path
        self.format = format
        self._old = format < 2  # format 1 knows no links and forgets nothing
        self._rows = Rows(path)
        self._names: dict[sqlite3.Connection, Names] = {}
        self._idle: SimpleQueue[sqlite3.Connection | None] = SimpleQueue()  # None for ever, once closed
        self._limiter = anyio.CapacityLimiter(READERS)
        for _ in range(READERS):
            connection = open_reader(path, busy_seconds=busy_seconds)
            self._names[connection] = Names(path, connection)
            self._idle.put(connection)

    @classmethod
    def alone(cls, path: Path, *, busy_seconds: float) -> tuple[Readers, LogId]:
        """Readers of a log that nobody here writes, and its id. LogUnusable: it cannot be read."""
        check_file(path)
        with closing(open_reader(path, busy_seconds=busy_seconds)) as connection:
            found = check_readable(path, connection)
            name = log_id(read_log(path, connection), read_history(path, connection))
        return cls(path, busy_seconds=busy_seconds, format=found), name

    async def stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await self._run(lambda db: self._stream(db, stream, after, limit))

    async def all(self, *, after: Position, limit: int) -> list[Recorded]:
        return await self._run(lambda db: self._all(db, after, limit))

    async def head(self) -> Position:
        return await self._run(_head)

    async def kept(self, *, after: Position, limit: int) -> list[Kept]:
        return await self._run(lambda db: self._kept(db, after, limit))

    async def forgotten(self) -> list[Range]:
        return [] if self._old else await self._run(lambda db: db.execute(statements.READ_FORGOTTEN).fetchall())

    async def is_forgotten(self, position: Position) -> bool:
        row = (
            None
            if self._old
            else await self._run(lambda db: db.execute(statements.IS_FORGOTTEN, (position,)).fetchone())
        )
        return row is not None and bool(row[0])

    async def sizes(self) -> dict[str, int]:
        return await self._run(self._sizes)

    async def close(self) -> None:
        """Wait for the reads under way, then close every connection."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close_now)

    def close_now(self) -> None:
        """As `close`, from a thread."""
        for _ in range(READERS):
            if (connection := self._idle.get()) is not None:
                connection.close()
        self._idle.put(None)

    async def _run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with self._connection() as connection, told(self._path):
                return read(connection)

        return await anyio.to_thread.run_sync(run, limiter=self._limiter)

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        """An idle connection. There is one, unless the caller of an earlier read was cancelled and its read still runs."""
        connection = self._idle.get()
        try:
            if connection is None:
                raise LogUnusable(f"the log {self._path} is closed", hint="read it while it is open")
            yield connection
        finally:
            self._idle.put(connection)

    def _stream(self, db: sqlite3.Connection, stream: StreamName, after: Version, limit: int) -> list[Recorded]:
        with closing(db.execute(statements.READ_STREAM, (stream, after, limit))) as rows:
            return self._rows.events(rows, self._names[db], after=after, limit=limit, by="version")

    def _all(self, db: sqlite3.Connection, after: Position, limit: int) -> list[Recorded]:
        with closing(db.execute(statements.READ_ALL, (after, limit))) as rows:
            return self._rows.events(rows, self._names[db], after=after, limit=limit, by="position")

    def _sizes(self, db: sqlite3.Connection) -> dict[str, int]:
        page, free = (int(db.execute(f"PRAGMA {what}").fetchone()[0]) for what in ("page_size", "freelist_count"))
        wal = self._path.with_name(self._path.name + "-wal")
        return {
            "file": self._path.stat().st_size,
            "free in it": page * free,
            "write-ahead log": wal.stat().st_size if wal.exists() else 0,
        }

    def _kept(self, db: sqlite3.Connection, after: Position, limit: int) -> list[Kept]:
        with closing(
            db.execute(statements.READ_KEPT_OLD if self._old else statements.READ_KEPT, (after, limit))
        ) as rows:
            names = self._names[db]
            return [self._rows.kept(row[:-1], row[-1], names) for row in rows]


def _head(db: sqlite3.Connection) -> Position:
    row = db.execute(statements.HEAD).fetchone()
    return Position(row[0] if row else 0)
