"""A log in a file of commands that every process replays: small, slow, shared, and durable. And the same with a bug. Only for tests.

Whoever writes holds the file's lock, has replayed it to its end, and flushes its line to the disk. Half a line, which a killed
writer leaves, is cut off by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.log import encode
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import Append, Capability, Counted, Leading, Outcome, Page, Recorded, SharedBackend


class Line(msgspec.Struct, frozen=True):
    """One command. It is taken or refused by whoever replays it, and by each of them alike."""

    batch: list[Append] = []
    server: str | None = None
    after: int = 0
    signs: list[str] = []


class FileStore(MemoryBackend, SharedBackend):
    def __init__(self, path: Path) -> None:
        super().__init__(MemoryRecords(log_id=LogId(hashlib.sha256(str(path).encode()).hexdigest()[:16])))
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._read = 0  # bytes of it that were replayed
        self._leading: Leading | None = None
        self._taken = False  # whether the newest line made somebody the leader
        self._signs: dict[str, int] = {}  # by the number of the newest
        self._counted = 0
        self.catch_up()

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.SHARED, Capability.DENSE})

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        for append in batch:
            encode(append)  # what is not JSON must not come into the file
        return self._write(Line(batch=list(batch)))

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        self.catch_up()
        return await super().read_stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        self.catch_up()
        return await super().read_all(after=after, limit=limit)

    async def head(self) -> Position:
        self.catch_up()
        return await super().head()

    async def leading(self) -> Leading | None:
        self.catch_up()
        return self._leading

    async def lead(self, server: str, *, after: int) -> int | None:
        self._write(Line(server=server, after=after))
        return after + 1 if self._taken else None

    async def hear(self, signs: Collection[str]) -> None:
        self._write(Line(signs=list(signs)))

    async def heard(self, *, after: int) -> Counted:
        self.catch_up()
        return Counted(frozenset(key for key, number in self._signs.items() if number > after), self._counted)

    async def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def catch_up(self) -> None:
        """Replay what others wrote."""
        with self._locked(fcntl.LOCK_SH):
            self._replay()

    def _write(self, line: Line) -> list[Outcome]:
        with self._locked(fcntl.LOCK_EX):
            self._replay()
            os.ftruncate(self._file, self._read)
            written = msgspec.json.encode(line) + b"\n"
            os.write(self._file, written)
            os.fsync(self._file)
            self._read += len(written)
            return self._take(line)

    def _replay(self) -> None:
        end = os.fstat(self._file).st_size
        *lines, torn = os.pread(self._file, end - self._read, self._read).split(b"\n")
        self._read = end - len(torn)
        for line in lines:
            self._take(_LINES.decode(line))

    def _take(self, line: Line) -> list[Outcome]:
        self._taken = line.server is not None and line.after == (self._leading.term if self._leading else 0)
        if line.server is not None and self._taken:
            self._leading = Leading(line.server, line.after + 1)
        self._counted += bool(line.signs)
        self._signs.update(dict.fromkeys(line.signs, self._counted))
        outcomes = [self._append(append, encode(append)) for append in line.batch]
        self._news.tell(self._head())
        return outcomes

    @contextmanager
    def _locked(self, how: int) -> Generator[None]:
        fcntl.flock(self._file, how)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class WritesWhenClosed(FileStore):
    """Acknowledges what only its own memory has."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._unwritten: list[Line] = []

    def _write(self, line: Line) -> list[Outcome]:
        self._unwritten.append(line)
        return self._take(line)

    async def close(self) -> None:
        for line in self._unwritten:
            os.write(self._file, msgspec.json.encode(line) + b"\n")
        await super().close()


class LooksOnce(FileStore):
    """Reads what others wrote when it is opened, and not again."""

    def _replay(self) -> None:
        if not self._read:
            super()._replay()


async def open_url(url: str) -> FileStore:
    return FileStore(_path(url))


async def open_writing_when_closed(url: str) -> FileStore:
    return WritesWhenClosed(_path(url))


async def open_looking_once(url: str) -> FileStore:
    return LooksOnce(_path(url))


def _path(url: str) -> Path:
    """`tests.conformance.file_store:open_url?path=/where/it/is`."""
    return Path(parse_qs(urlsplit(url).query)["path"][0])


_LINES: Final = msgspec.json.Decoder(Line)
