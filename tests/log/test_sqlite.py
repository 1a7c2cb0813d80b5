"""The file of a SQLite log: what makes it durable, which files are refused and how, and what its rows cost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from playhead.core.names import Position, StreamName, Version
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log import Log
from playhead.log.sqlite import SqliteBackend, names, url_for
from playhead.log.sqlite import backend as sqlite_backend
from playhead.log.sqlite.faults import unusable
from playhead.log.sqlite.file import WriterLock, open_writer
from playhead.log.sqlite.held import Held
from playhead.log.sqlite.writer import Writer
from playhead.ports.store import Appended, Conflict, Duplicate
from tests.log.samples import new


@asynccontextmanager
async def opened(
    path: Path, *, busy_seconds: float = 5.0, max_bytes: int | None = None
) -> AsyncGenerator[SqliteBackend]:
    backend = await SqliteBackend.open(path, busy_seconds=busy_seconds, max_bytes=max_bytes)
    try:
        yield backend
    finally:
        await backend.close()


async def filled(path: Path, appends: int = 300) -> Path:
    async with opened(path) as backend:
        await backend.commit([new(f"default/run/{index % 7}", 2) for index in range(appends)])
    return path


# --- durable ----------------------------------------------------------------------------------------------------------


def test_a_commit_is_flushed_before_it_is_reported(tmp_path: Path) -> None:
    with closing(open_writer(tmp_path / "log.db", busy_seconds=0, max_bytes=None)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: the log is flushed at every commit


async def test_a_batch_is_one_transaction(tmp_path: Path) -> None:
    statements: list[str] = []
    with closing(open_writer(tmp_path / "log.db", busy_seconds=0, max_bytes=None)) as connection:
        connection.set_trace_callback(statements.append)
        Writer(tmp_path / "log.db", connection).write([new(f"default/run/{index}") for index in range(50)])
    assert [s for s in statements if s.startswith(("BEGIN", "COMMIT", "ROLLBACK"))] == ["BEGIN IMMEDIATE", "COMMIT"]


async def test_a_batch_on_warm_streams_costs_a_statement_for_many_rows(tmp_path: Path) -> None:
    """Heads and names are remembered, and the index on ids tells of an append that is there already; a conflict costs a look."""
    statements: list[str] = []
    with closing(open_writer(tmp_path / "log.db", busy_seconds=0, max_bytes=None)) as connection:
        writer = Writer(tmp_path / "log.db", connection)
        writer.write([new()])
        connection.set_trace_callback(statements.append)
        writer.write([new() for _ in range(61)])
        assert [s.split()[0] for s in statements if s.startswith(("SELECT", "INSERT"))] == ["INSERT"] * 3
        statements.clear()
        writer.write([new(expected=Version(7)), *[new() for _ in range(10)]])
        assert [s.split()[0] for s in statements if s.startswith(("SELECT", "INSERT"))] == ["INSERT", "SELECT"]


async def test_a_known_append_in_a_batch_is_found_and_costs_the_others_nothing(tmp_path: Path) -> None:
    """The batch is refused as a whole by the index on ids, and told apart one append at a time, as if it had never been tried."""
    with closing(open_writer(tmp_path / "log.db", busy_seconds=0, max_bytes=None)) as connection:
        writer = Writer(tmp_path / "log.db", connection)
        known = new("default/run/known")
        writer.write([known])
        first, again, wrong, twice, second = (new("default/run/new"), known, new(expected=Version(3)), new(), new())
        outcomes = writer.write([first, again, wrong, twice, twice, second])
        assert outcomes == [
            Appended(Position(2), Position(2), Version(1)),
            Duplicate(Position(1), Position(1), Version(1), same=True),
            Conflict(Version(0)),
            Appended(Position(3), Position(3), Version(1)),
            Duplicate(Position(3), Position(3), Version(1), same=True),
            Appended(Position(4), Position(4), Version(2)),
        ]
        assert connection.execute("SELECT count(*), max(position) FROM appends").fetchone() == (4, 4)


async def test_an_append_that_fits_later_in_the_batch_is_a_conflict_before_that(tmp_path: Path) -> None:
    with closing(open_writer(tmp_path / "log.db", busy_seconds=0, max_bytes=None)) as connection:
        writer = Writer(tmp_path / "log.db", connection)
        early = new(expected=Version(1))
        assert writer.write([early, new(), early, early]) == [
            Conflict(Version(0)),
            Appended(Position(1), Position(1), Version(1)),
            Appended(Position(2), Position(2), Version(2)),
            Duplicate(Position(2), Position(2), Version(2), same=True),
        ]


@pytest.mark.parametrize("append_id", ["0f" * 16, "0F" * 16, " 0" * 16, "0f 0f " + "0f" * 13, "ø" * 32, "0f" * 15])
async def test_ids_of_any_form_are_kept_as_they_are(tmp_path: Path, append_id: str) -> None:
    async with opened(tmp_path / "log.db") as backend:
        first, again = new(append_id=append_id), new(append_id=append_id)
        await backend.commit([first])
        assert await backend.commit([again]) == [Duplicate(Position(1), Position(1), Version(1), same=True)]
        page = await backend.read_all(after=Position(0), limit=10)
        assert [event.append_id for event in page.events] == [append_id]


KILLED = """
import asyncio, sys
from playhead.log import Log
from tests.log.samples import new

async def main():
    async with Log.open(sys.argv[1]) as log:
        while True:
            ack = await log.append(new(count=3))
            print(ack.last, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 25])
async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "log.db"
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, url_for(path)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        try:
            assert process.stdout is not None
            last = [int(process.stdout.readline()) for _ in range(acknowledged)][-1]
        finally:
            process.send_signal(signal.SIGKILL)
    async with opened(path) as backend:
        head = await backend.head()
        events = (await backend.read_all(after=Position(0), limit=100_000)).events
        assert head >= last
        assert head % 3 == 0
        assert [event.position for event in events] == list(range(1, head + 1))


async def test_cancelled_commits_are_finished_by_their_thread(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as backend:
        tasks = [asyncio.create_task(backend.commit([new(count=2)])) for _ in range(10)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        await backend.wait_for_news(Position(19), 20.0)
        assert await backend.head() == 20


# --- refused ----------------------------------------------------------------------------------------------------------


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 100)


def _stump(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _other_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE appends (x)")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = '3' WHERE key = 'format'")


def _no_format(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key = 'format'")


def _no_id(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key = 'log_id'")


def _counter_back(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE sqlite_sequence SET seq = 5")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _only_wal(path: Path) -> None:
    path.unlink()
    path.with_name(path.name + "-wal").write_bytes(b"what is left")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (_empty, "damaged or was cut short: the file is empty"),
        (_text, "is not a Playhead log"),
        (_stump, "damaged or was cut short: only 50 bytes are left"),
        (_cut, "damaged or was cut short"),
        (_other_database, "is not a Playhead log"),
        (_newer, r"written by a newer version \(format 3, this version reads up to 2\)"),
        (_no_format, "does not tell its format"),
        (_no_id, "it has no log id"),
        (_counter_back, "holds position 600, but its counter stands at 5"),
        (_folder, "is a folder"),
        (_only_wal, "the file is gone, but log.db-wal is still beside it"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused_and_left_alone(
    spoil: Callable[[Path], None], what: str, tmp_path: Path
) -> None:
    path = await filled(tmp_path / "log.db")
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LogUnusable, match=what) as caught:
        await SqliteBackend.open(path)
    assert caught.value.hint
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_a_spoilt_row_is_named(tmp_path: Path) -> None:
    path = await filled(tmp_path / "log.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE appends SET body = '[]' WHERE position = 4")
        connection.execute("UPDATE appends SET body = 'nonsense' WHERE position = 8")
    async with opened(path) as backend:
        assert len((await backend.read_all(after=Position(0), limit=2)).events) == 2
        with pytest.raises(LogUnusable, match="position 4 holds 0 events and not 2"):
            await backend.read_all(after=Position(0), limit=100)
        with pytest.raises(LogUnusable, match="position 8 cannot be read"):
            await backend.read_all(after=Position(6), limit=100)


@contextmanager
def as_nobody() -> Generator[None]:
    """Without the rights of root, to whom nothing is read-only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_read_only_log_is_refused() -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own are closed to nobody
    try:
        path = await filled(folder / "log.db")
        path.chmod(0o444)
        (folder / "log.db.lock").chmod(0o444)
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(LogUnusable, match="read-only") as caught:
            await SqliteBackend.open(path)
        assert caught.value.hint == "give this user the right to write the file and its folder"
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


async def test_a_second_writer_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with opened(path):
        with pytest.raises(LogUnusable, match=rf"locked by another writer \(process {os.getpid()}\)"):
            await SqliteBackend.open(path)
    async with opened(path):
        pass


OWNER = """
import subprocess, sys, time
from pathlib import Path
from playhead.log.sqlite.file import WriterLock

lock = WriterLock(Path(sys.argv[1]))
child = "import sys; print('up', flush=True); sys.stdin.read()"  # ends when the test lets go of its input
subprocess.run([sys.executable, "-c", child], close_fds=False)
"""


def test_the_lock_of_a_dead_owner_is_not_kept_by_its_child(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    command = [sys.executable, "-c", OWNER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        with pytest.raises(LogUnusable, match=rf"process {owner.pid}"):
            WriterLock(path)
        owner.kill()
        owner.wait()
        WriterLock(path).release()


async def test_a_stranger_in_the_middle_of_a_transaction(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with Log.open(await SqliteBackend.open(path, busy_seconds=0)) as log:
        await log.append(new())
        with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnusable, match="locked by another writer"):
                await log.append(new())
            stranger.execute("ROLLBACK")
        assert (await log.append(new())).version == 2


async def test_what_a_stranger_wrote_is_seen(tmp_path: Path) -> None:
    """Heads are remembered only as long as nobody else has changed the file."""
    path = tmp_path / "log.db"
    async with opened(path) as backend:
        await backend.commit([new(count=2)])
        with closing(open_writer(path, busy_seconds=0, max_bytes=None)) as connection:
            Writer(path, connection).write([new(count=3)])
        assert await backend.commit([new(expected=Version(5))]) == [Appended(Position(6), Position(6), Version(6))]


async def test_a_full_disk_is_told_and_overcome(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with Log.open(await SqliteBackend.open(path, max_bytes=200_000)) as log:
        await log.append(new("default/run/small"))
        with pytest.raises(LogUnusable, match="is full"):
            await log.append(new("default/run/large", data={"text": "x" * 1_000_000}))
        assert [page async for page in log.read_stream(StreamName("default/run/large"))] == []
        assert (
            await log.append(new("default/run/small"))
        ).version == 2  # what fits is taken, and nothing was forgotten


async def test_a_failed_commit_forgets_what_it_touched(tmp_path: Path) -> None:
    """The heads that a rolled back transaction moved are not believed afterwards."""
    path = tmp_path / "log.db"
    async with opened(path, max_bytes=200_000) as backend:
        await backend.commit([new("default/run/a")])
        with pytest.raises(LogUnusable, match="is full"):
            await backend.commit([new("default/run/a"), new("default/run/b"), new("c", data={"text": "x" * 1_000_000})])
        outcomes = await backend.commit(
            [new("default/run/a", expected=Version(1)), new("default/run/b", expected=Version(0))]
        )
        assert outcomes == [
            Appended(Position(2), Position(2), Version(2)),
            Appended(Position(3), Position(3), Version(1)),
        ]


class FailingCommit(sqlite3.Connection):
    """The disk fails, as SQLite tells it, when the transaction is to be flushed."""

    failures = 0

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.failures:
            self.failures -= 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(sql, *args)


async def test_a_flush_that_failed_is_an_unknown_outcome_and_settled(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    open_writer(path, busy_seconds=0, max_bytes=None).close()
    with closing(sqlite3.connect(path, isolation_level=None, factory=FailingCommit)) as connection:
        connection.failures = 1
        writer, append = Writer(path, connection), new()
        with pytest.raises(OutcomeUnknown, match="disk failed under a commit"):
            writer.write([append])
        assert not connection.in_transaction
        assert writer.write([append]) == [Appended(Position(1), Position(1), Version(1))]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (sqlite3.SQLITE_READONLY_DBMOVED, "read-only"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged"),
        (sqlite3.SQLITE_NOTADB, "not a Playhead log"),
        (sqlite3.SQLITE_IOERR_READ, "cannot be used"),
    ],
)
def test_sqlites_errors_in_words(code: int, what: str) -> None:
    error = sqlite3.OperationalError("its words")
    error.sqlite_errorcode = code
    told = unusable(Path("/log.db"), error)
    assert what in told.message
    assert told.hint


# --- what it costs ----------------------------------------------------------------------------------------------------


async def test_a_row_costs_little_beside_its_body(tmp_path: Path) -> None:
    """Position, stream, version, time, actor, journal, id, link and two indexes: all of it in less than 150 bytes."""
    path = tmp_path / "log.db"
    async with opened(path) as backend:
        for number in range(10):
            await backend.commit(
                [
                    new(f"default/run/{number:032x}", append_id=f"{number * 500 + i:032x}", epoch=1, data={})
                    for i in range(500)
                ]
            )
    body = len('[["task.succeeded",1,{}]]')
    assert path.stat().st_size / 5000 - body < 150


async def test_a_closed_log_is_one_file_with_its_lock_and_its_mark(tmp_path: Path) -> None:
    await filled(tmp_path / "log.db")
    assert {path.name for path in tmp_path.iterdir()} == {"log.db", "log.db.lock", "log.db.mark"}


async def test_reading_a_closed_log_is_an_error(tmp_path: Path) -> None:
    backend = await SqliteBackend.open(tmp_path / "log.db")
    await backend.close()
    with pytest.raises(LogUnusable, match="is closed"):
        await backend.read_all(after=Position(0), limit=1)


@pytest.mark.parametrize("whose", ["default/run/a", "runner/1"])
async def test_an_append_whose_stream_or_actor_has_lost_its_name_is_not_left_out(tmp_path: Path, whose: str) -> None:
    path = tmp_path / "log.db"
    async with opened(path) as backend:
        await backend.commit([new("default/run/a")])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("DELETE FROM names WHERE name = ?", (whose,)).rowcount == 1
        connection.commit()
    async with opened(path) as backend:
        with pytest.raises(LogUnusable, match=r"a row says [12] for a name that is not there"):
            await backend.read_all(after=Position(0), limit=10)


async def test_more_names_than_are_remembered_are_read_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "KNOWN_NAMES", 3)
    streams = [f"default/run/{number % 7}" for number in range(30)]
    async with opened(tmp_path / "log.db") as backend:
        await backend.commit([new(stream) for stream in streams])
        page = await backend.read_all(after=Position(0), limit=100)
    assert [event.stream for event in page.events] == streams
    assert {event.actor for event in page.events} == {"runner/1"}


async def test_an_opening_that_is_cancelled_leaves_no_lock_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, begun, go_on = tmp_path / "log.db", threading.Event(), threading.Event()

    def slow(*given: Any) -> Held:
        begun.set()
        go_on.wait(60)
        return Held(*given)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_backend, "Held", slow)
        opening = asyncio.create_task(SqliteBackend.open(path))
        await asyncio.to_thread(begun.wait, 60)
        opening.cancel()
        await asyncio.sleep(0)  # it hears of that while its thread is at work
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
    async with opened(path) as backend:
        assert await backend.head() == 0
