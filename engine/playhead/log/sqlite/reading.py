"""Reads of a SQLite log as a backend makes them, and `SqliteReader`: a log that is only read, beside whoever writes it. No SQL here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import LogUnusable
from playhead.log.ranges import Range
from playhead.log.sqlite.readers import Readers
from playhead.ports.store import (
    Append,
    Capability,
    ForgettingBackend,
    Kept,
    Outcome,
    Page,
    Recorded,
    RestoringBackend,
    StoreBackend,
)

CAPABILITIES: Final = frozenset({Capability.DENSE, Capability.CHAINED, Capability.FORGETS, Capability.RESTORES})

BUSY_SECONDS: Final = 5.0  # how long a read waits for one who opens or closes the log


class Reading(StoreBackend):
    """The reads of a log; what `_readers` is, its heirs say."""

    @property
    def _readers(self) -> Readers:
        raise NotImplementedError

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await self._readers.stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        events = tuple(await self._readers.all(after=after, limit=limit))
        return Page(events, events[-1].position if events else after)

    async def head(self) -> Position:
        return await self._readers.head()

    @property
    def format(self) -> int:
        """Of the file: see schema.sql."""
        return self._readers.format

    async def sizes(self) -> Mapping[str, int]:
        """Bytes in the file, free ones among them, and in the write-ahead log beside it."""
        return await self._readers.sizes()

    async def is_forgotten(self, position: Position) -> bool:
        return await self._readers.is_forgotten(position)

    async def read_kept(self, *, after: Position, limit: int) -> Sequence[Kept]:
        return await self._readers.kept(after=after, limit=limit)

    async def forgotten(self) -> Sequence[Range]:
        return await self._readers.forgotten()


class SqliteReader(Reading, ForgettingBackend, RestoringBackend):
    """Opened by `SqliteReader.open`. Needs no lock, and reads logs of older formats as they are. It refuses what would change the log."""

    def __init__(self, path: Path, readers: Readers, log_id: LogId) -> None:
        self._path = path
        self._open = readers
        self._log_id = log_id

    @classmethod
    async def open(cls, path: Path) -> SqliteReader:
        """LogUnusable: there is no log, or none that can be read."""

        def opened() -> SqliteReader:
            return cls(path, *Readers.alone(path, busy_seconds=BUSY_SECONDS))

        return await anyio.to_thread.run_sync(opened)

    @property
    def log_id(self) -> LogId:
        return self._log_id

    @property
    def capabilities(self) -> frozenset[Capability]:
        return CAPABILITIES

    @property
    def _readers(self) -> Readers:
        return self._open

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        raise self._refusal()

    async def forget(self, stream: StreamName, *, upto: Version) -> int:
        raise self._refusal()

    async def restore(self, log_id: LogId, kept: Sequence[Kept], forgotten: Sequence[Range] = ()) -> None:
        raise self._refusal()

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await anyio.sleep(min(timeout_seconds, 0.1))  # nobody tells a reader anything: it looks, or asks again

    async def close(self) -> None:
        await self._open.close()

    def _refusal(self) -> LogUnusable:
        return LogUnusable(f"the log {self._path} was opened to be read only", hint="open it without ?mode=ro")
