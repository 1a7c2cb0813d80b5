"""The file of a SQLite log over time: a log of format 1 is brought forward, read as it is where nobody may write, and set aside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import LogUnusable, UsageError
from playhead.log import open_backend
from playhead.log.appends import encode
from playhead.log.chain import FIRST, digest, link
from playhead.log.sqlite import SqliteBackend, url_for
from playhead.log.sqlite.file import open_writer
from playhead.log.sqlite.reading import SqliteReader
from playhead.ports.store import Appended
from tests.log.samples import new

FORMAT_1 = """
PRAGMA application_id = 1347174745;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE appends (
    position INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, version INTEGER NOT NULL, count INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL, actor INTEGER NOT NULL, epoch INTEGER, first_seq INTEGER, append_id NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX appends_by_version ON appends (stream, version);
CREATE UNIQUE INDEX appends_by_id ON appends (stream, append_id);
INSERT INTO meta VALUES ('log_id', '0123456789abcdef'), ('format', '1'), ('created_at', '1700000000000000');
INSERT INTO names VALUES (1, 'default/run/a'), (2, 'server');
INSERT INTO appends VALUES (2, 1, 2, 2, 1700000000000000, 2, NULL, NULL, 'first', '[["run.ready",1,{}],["run.ready",1,{}]]');
"""
A = StreamName("default/run/a")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FORMAT_1)
    return path


def layout(path: Path) -> list[tuple[str, list[tuple[object, ...]]]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        return [(table, connection.execute(f"PRAGMA table_info({table})").fetchall()) for table in tables]


async def test_a_log_of_format_1_is_brought_forward_and_goes_on(old: Path) -> None:
    backend = await SqliteBackend.open(old)
    try:
        assert (backend.log_id, await backend.head()) == (LogId("0123456789abcdef"), 2)
        append = new(A, expected=Version(2))
        assert await backend.commit([append]) == [Appended(Position(3), Position(3), Version(3))]
        first, second = await backend.read_kept(after=Position(0), limit=10)
        assert first.link is None, "what was appended before has no link"
        assert second.link == link(FIRST, digest(second.append, encode(second.append)), last=3, version=3)
    finally:
        await backend.close()
    again = await SqliteBackend.open(old)
    assert [event.version for event in await again.read_stream(A, after=Version(0), limit=10)] == [1, 2, 3]
    await again.close()


def test_what_was_brought_forward_is_laid_out_like_what_is_made_today(old: Path, tmp_path: Path) -> None:
    for path in (old, tmp_path / "new.db"):
        open_writer(path, busy_seconds=0, max_bytes=None).close()
    assert layout(old) == layout(tmp_path / "new.db")


async def test_a_log_of_format_1_is_read_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    reader = await open_backend(f"{url_for(old)}?mode=ro")
    assert isinstance(reader, SqliteReader)
    try:
        assert (reader.log_id, await reader.head()) == (LogId("0123456789abcdef"), 2)
        (kept,) = await reader.read_kept(after=Position(0), limit=10)
        assert (kept.last, kept.version, kept.link) == (2, 2, None)
        assert list(await reader.forgotten()) == []
        assert not await reader.is_forgotten(Position(1))
    finally:
        await reader.close()
    assert old.read_bytes() == before


async def test_a_log_is_read_beside_its_writer_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    writer = await SqliteBackend.open(path)
    reader = await SqliteReader.open(path)
    try:
        await writer.commit([new(A, 3)])
        assert reader.log_id == writer.log_id
        assert len(await reader.read_stream(A, after=Version(0), limit=10)) == 3
        assert await reader.read_kept(after=Position(0), limit=10) == await writer.read_kept(
            after=Position(0), limit=10
        )
        for refused in (reader.commit([new(A)]), reader.restore(reader.log_id, []), reader.forget(A, upto=Version(3))):
            with pytest.raises(LogUnusable, match="opened to be read only"):
                await refused
    finally:
        await reader.close()
        await writer.close()


async def test_a_log_that_nobody_made_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(LogUnusable, match="there is no log"):
        await open_backend(f"{url_for(tmp_path / 'none.db')}?mode=ro")
    with pytest.raises(UsageError, match="mode=ro reads only"):
        await open_backend(f"{url_for(tmp_path / 'none.db')}?mode=quick")
    assert list(tmp_path.iterdir()) == []


async def test_a_copy_that_was_set_aside_begins_another_history_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    backend = await SqliteBackend.open(path)
    await backend.commit([new(A, 2)])
    first = backend.log_id
    await backend.set_aside()
    await backend.close()

    reader = await SqliteReader.open(path)
    assert (reader.log_id, reader.restored) == (first, None), "to look at it changes nothing"
    await reader.close()

    for _ in range(2):  # until somebody has done what a restore asks for
        opened = await SqliteBackend.open(path)
        assert (opened.restored, opened.log_id) == (2, f"{first}.2")
        await opened.close()
    opened = await SqliteBackend.open(path)
    await opened.accept_restored()
    await opened.close()
    opened = await SqliteBackend.open(path)
    assert (opened.restored, opened.log_id) == (None, f"{first}.2")
    await opened.close()


async def test_a_later_history_is_restored_as_one(tmp_path: Path) -> None:
    """Else an older copy of the restored log would not be known as one."""
    path = tmp_path / "log.db"
    source = await SqliteBackend.open(tmp_path / "source.db")
    await source.commit([new(A)])
    kept = await source.read_kept(after=Position(0), limit=10)
    await source.close()
    backend = await SqliteBackend.open(path)
    await backend.restore(LogId("cafe.3"), kept)
    assert backend.log_id == "cafe.3"
    await backend.close()
    older = path.read_bytes()
    backend = await SqliteBackend.open(path)
    assert backend.log_id == "cafe.3"
    await backend.commit([new(A)])
    await backend.close()
    path.write_bytes(older)
    backend = await SqliteBackend.open(path)
    assert (backend.log_id, backend.restored) == ("cafe.4", 2)
    await backend.close()


async def test_a_log_that_was_shrunk_gives_its_room_back_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    backend = await SqliteBackend.open(path)
    try:
        await backend.commit([new(A, append_id=str(number), data={"text": "x" * 2000}) for number in range(200)])
        await backend.commit([new("default/run/b")])
        await backend.forget(A, upto=Version(200))
        await backend.shrink()
        assert path.stat().st_size < 100_000
        assert await backend.commit([new(A)]) == [Appended(Position(202), Position(202), Version(201))]
    finally:
        await backend.close()
