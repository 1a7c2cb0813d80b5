"""The read models: what queries are answered from. Owns their file, its thread, and the position they have seen.

They can be thrown away: on a wrong schema, a damaged file, another log, or a log that was restored to an earlier state, they
begin again from nothing. So they are written without waiting for the disk. What goes into them is the projector's work.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from playhead.core.names import LogId, Position
from playhead.core.pieces import FORM
from playhead.errors import LogUnusable, Refused
from playhead.log.cursor import has_seen
from playhead.log.onethread import OneThread
from playhead.ports.clock import Clock
from playhead.ports.store import EventStore
from playhead.service.clock import within
from playhead.service.sql import load

SCHEMA: Final = 3  # of the tables in views.sql; another number in the file means that it is made anew

_SQL: Final = load("views.sql")

T = TypeVar("T")
Row = sqlite3.Row


@dataclass(frozen=True, slots=True)
class Change:
    """One statement of views.sql, and what goes into it."""

    statement: str
    values: dict[str, Any]


class ReadModels:
    """`path` is None for read models in memory. An async context manager; on entry the position is where to go on reading."""

    def __init__(self, path: Path | None, store: EventStore, clock: Clock) -> None:
        self._path = path
        self._store = store
        self._clock = clock
        self._thread = OneThread("playhead-views")
        self._connection: sqlite3.Connection | None = None
        self._moved = asyncio.Event()
        self._wanted = asyncio.Event()  # set while somebody waits for a position
        self._waiting = 0
        self.position = Position(0)

    async def __aenter__(self) -> Self:
        try:
            self.position = await self._open()
        except BaseException:
            await self._thread.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._thread.run(self._close)
        finally:
            await self._thread.close()

    async def apply(self, changes: Sequence[Change], position: Position, mark: str) -> None:
        """Make the changes and move to `position`, in one transaction."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN")
                for change in changes:
                    connection.execute(_SQL[change.statement], change.values)
                connection.execute(_SQL["move"], {"position": position, "mark": mark})

        await self._run(write)
        self.position = position
        self._moved.set()
        self._moved = asyncio.Event()

    async def change(self, change: Change) -> int:
        """Make a change of what goes with no position; how many rows it wrote or removed."""
        return await self._run(lambda connection: connection.execute(_SQL[change.statement], change.values).rowcount)

    async def rows(self, statement: str, **values: object) -> list[Row]:
        """What a query of views.sql finds."""
        return await self._run(lambda connection: connection.execute(_SQL[statement], values).fetchall())

    async def wait_for(self, position: int, seconds: float) -> None:
        """Return when the models have seen `position`. Refused, code "behind": they have not within `seconds`."""
        if self.position < position and not await within(self._clock, seconds, lambda: self.reached(position)):
            raise Refused(
                f"the read models have seen position {self.position}, not yet {position}",
                code="behind",
                hint="ask again; a position beyond the log's end never comes",
            )

    async def reached(self, position: int) -> None:
        """Return when the models have seen `position`, however long that takes."""
        if self.position >= position:
            return
        self._waiting += 1
        self._wanted.set()
        try:
            while self.position < position:
                await self._moved.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._wanted.clear()

    async def wanted(self, seconds: float) -> None:
        """Return when somebody waits for a position that is not reached, but after `seconds` in any case."""
        if not self._waiting:
            await within(self._clock, seconds, self._wanted.wait)

    async def _open(self) -> Position:
        """Open what there is if it fits the log; else make it anew."""
        seen = await self._thread.run(lambda: self._try_open(self._store.log_id))
        if seen is not None:
            position, mark = seen
            if position <= await self._store.head() and await has_seen(self._store, position, mark):
                return position
        await self._thread.run(lambda: self._make_anew(self._store.log_id))
        return Position(0)

    def _try_open(self, log_id: LogId) -> tuple[Position, str] | None:
        """The position and its mark, if the file holds read models of this log that can be trusted."""
        if self._path is None or not self._path.exists():
            return None
        try:
            connection = self._connect()
            row: Row | None = connection.execute(_SQL["seen"]).fetchone()
            fits = row is not None and (row["schema"], row["form"], row["log_id"]) == (SCHEMA, FORM, log_id)
            if row is None or not fits or not _sound(connection, row):
                return None
            connection.execute(_SQL["set_clean"], {"clean": 0})
            return Position(row["position"]), str(row["mark"])
        except sqlite3.Error:
            return None

    def _make_anew(self, log_id: LogId) -> None:
        if self._connection is not None:
            self._connection.close()
        try:
            if self._path is not None:
                for suffix in ("", "-wal", "-shm", "-journal"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            connection = self._connect()
            connection.executescript(_SQL["schema"])
            connection.execute(_SQL["begin"], {"schema": SCHEMA, "form": FORM, "log_id": log_id})
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def _connect(self) -> sqlite3.Connection:
        # The thread is the connection's only user, but it is not the one that collects it.
        connection = sqlite3.connect(self._path or ":memory:", isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.row_factory = sqlite3.Row
        # WAL with synchronous=OFF survives the death of the process; a loss of power may cost a rebuild.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            try:
                self._connection.execute(_SQL["set_clean"], {"clean": 1})
            except sqlite3.Error:
                pass  # then the next one to open the file checks it
            finally:
                self._connection.close()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def call() -> T:
            assert self._connection is not None, "the read models are used while they are open"
            try:
                return work(self._connection)
            except sqlite3.Error as error:
                raise self._unusable(error) from error

        return await self._thread.run(call)

    def _unusable(self, error: Exception) -> LogUnusable:
        return LogUnusable(
            f"the read models in {self._path or 'memory'} cannot be used: {error}",
            hint="make room for the file and make it writable, or delete it: it is made again from the log",
        )


def _sound(connection: sqlite3.Connection, seen: Row) -> bool:
    """Only a loss of power harms a file that is written like this, and then nobody could mark it clean."""
    return bool(seen["clean"]) or [tuple(row) for row in connection.execute("PRAGMA quick_check(1)")] == [("ok",)]
