"""The log's file: made whole or not at all, looked at before it is used, held by one writer. Owns pragmas; no rows.

A new log is built under another name and renamed, so that a file without a log in it is never one of ours: an empty or
short file is reported as what it is, and never filled again as if nothing had been there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from playhead.errors import LogUnusable
from playhead.log.sqlite import statements
from playhead.log.sqlite.faults import damaged, foreign, read_only, told
from playhead.log.sqlite.mark import Mark, file_of

APPLICATION_ID: Final = 0x504C4159  # "PLAY", in the file's header
FORMAT: Final = 2
CACHED_STATEMENTS: Final = 32  # more than there are

_ASIDE: Final = "aside"  # the key in `meta`
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_APPLICATION_ID_AT = slice(68, 72)


class WriterLock:
    """The right to write a log, for as long as this lives. A lock on a file beside it, since closing any descriptor of
    the log itself would drop SQLite's own locks. The descriptor is closed on exec: no child keeps a dead owner's lock.
    """

    def __init__(self, path: Path) -> None:
        """LogUnusable: another program writes this log, or the lock's file cannot be made."""
        self._path = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise LogUnusable(
                f"the folder {path.parent} does not exist", hint="make it, or choose another path"
            ) from error
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise read_only(path) from error
            raise LogUnusable(
                f"the log {path} cannot be opened: {error}", hint="look at its folder and disk"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(self._descriptor, 20, 0).decode("ascii", "replace") or "unknown"
            os.close(self._descriptor)
            raise LogUnusable(
                f"the log {path} is locked by another writer (process {owner})",
                hint="use that one's server, or end it first: one process writes a log",
            ) from error
        with suppress(OSError):  # who holds it is a courtesy to the next reader of the message
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a child between fork and exec has the descriptor for a moment
        os.close(self._descriptor)


def open_writer(
    path: Path, *, busy_seconds: float, max_bytes: int | None, mark: Mark | None = None
) -> sqlite3.Connection:
    """The one connection that writes; makes the log if there is none. The caller holds the `WriterLock`."""
    if not path.exists():
        _create(path, mark)
    _check_header(path)
    with told(path):
        connection = _connect(f"{path.absolute().as_uri()}?mode=rw", busy_seconds)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # an acknowledged event survives a loss of power
            connection.execute(
                "PRAGMA journal_size_limit = 67108864"
            )  # a -wal that a long read made grow shrinks again
            if max_bytes is not None:
                page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
                connection.execute(f"PRAGMA max_page_count = {max(max_bytes // page_bytes, 1)}")
            if _check_contents(path, connection) < FORMAT:
                connection.executescript(f"BEGIN IMMEDIATE; {statements.TO_FORMAT_2} COMMIT")
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path, *, busy_seconds: float) -> sqlite3.Connection:
    """A connection that only reads: it never writes and never checkpoints."""
    with told(path):
        return _connect(f"{path.absolute().as_uri()}?mode=ro", busy_seconds)


def check_readable(path: Path, connection: sqlite3.Connection) -> int:
    """The format of a log that nobody here has opened to write. LogUnusable: there is none, or none that can be read."""
    with told(path):
        return _check_contents(path, connection)


def check_file(path: Path) -> None:
    """LogUnusable: there is no file, or it is no log."""
    if not path.exists():
        raise LogUnusable(f"there is no log {path}", hint="look at the path; a log is made by the first server or run")
    _check_header(path)


def read_log(path: Path, connection: sqlite3.Connection) -> str:
    """The id that the log was created with."""
    row = _meta(path, connection, "log_id")
    if row is None:
        raise damaged(path, "it has no log id")
    return row


def read_history(path: Path, connection: sqlite3.Connection) -> int:
    """Which of its histories the log is in: 1, and one more for each time that an older copy was put in its place."""
    return int(_meta(path, connection, "history") or 1)


def write_history(path: Path, connection: sqlite3.Connection, history: int) -> None:
    """And that the log is set aside no more."""
    with told(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(statements.SET_META, ("history", str(history)))
            connection.execute(statements.DROP_META, (_ASIDE,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def read_aside(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether this file was written as a copy to be kept (a backup, an archive), and not opened as a log since."""
    return _meta(path, connection, _ASIDE) is not None


def write_aside(path: Path, connection: sqlite3.Connection) -> None:
    with told(path):
        connection.execute(statements.SET_META, (_ASIDE, "1"))


def _meta(path: Path, connection: sqlite3.Connection, key: str) -> str | None:
    with told(path):
        row = connection.execute(statements.READ_META, (key,)).fetchone()
    return str(row[0]) if row is not None else None


def _check_never_there(path: Path, mark: Mark | None) -> None:
    """An empty log in the place of one that is gone would hide the loss, and run what was done before once more."""
    if mark is not None and mark.reached.position > 0:
        raise LogUnusable(
            f"the log {path} is gone; it had come to position {mark.reached.position}",
            hint="put it back, or restore it from a backup; to begin with an empty one in its place, remove "
            f"{file_of(path).name} beside it, and know that runs whose journals are in storage are then unknown to it",
        )


def _create(path: Path, mark: Mark | None) -> None:
    """A new log, whole and durable before it has its name."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists():
        raise damaged(path, f"the file is gone, but {wal.name} is still beside it")
    _check_never_there(path, mark)
    new = path.with_name(path.name + ".new")  # the writer's lock is held: a file of that name is from one who died here
    with suppress(FileNotFoundError):
        new.unlink()
    try:
        with told(path), closing(_connect(f"{new.absolute().as_uri()}?mode=rwc", 0)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; {statements.SCHEMA}")
            meta = {"log_id": secrets.token_hex(8), "format": str(FORMAT), "created_at": str(time.time_ns() // 1000)}
            connection.executemany(statements.INSERT_META, meta.items())
            connection.execute("COMMIT")
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_header(path: Path) -> None:
    """Look at the first bytes before SQLite does: it takes an empty file for a new database."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except IsADirectoryError as error:
        raise LogUnusable(f"{path} is a folder, not a Playhead log", hint="name a file in it") from error
    except PermissionError as error:
        raise LogUnusable(f"the log {path} may not be read by this user", hint="give this user the right") from error
    if not header:
        raise damaged(path, "the file is empty")
    if not header.startswith(_MAGIC[: len(header)]):
        raise foreign(path)
    if len(header) < _HEADER_BYTES:
        raise damaged(path, f"only {len(header)} bytes are left")
    if int.from_bytes(header[_APPLICATION_ID_AT], "big") != APPLICATION_ID:
        raise foreign(path)


def _check_contents(path: Path, connection: sqlite3.Connection) -> int:
    """The log's format."""
    row = connection.execute(statements.READ_META, ("format",)).fetchone()
    if row is None:
        raise damaged(path, "it does not tell its format")
    if int(row[0]) > FORMAT:
        raise LogUnusable(
            f"the log {path} was written by a newer version (format {row[0]}, this version reads up to {FORMAT})",
            hint="upgrade Playhead: pip install --upgrade playhead",
        )
    newest = connection.execute("SELECT max(position) FROM appends").fetchone()[0] or 0
    head = connection.execute(statements.HEAD).fetchone()
    if newest > (head[0] if head else 0):
        raise damaged(path, f"it holds position {newest}, but its counter stands at {head[0] if head else 0}")
    return int(row[0])


def _connect(uri: str, busy_seconds: float) -> sqlite3.Connection:
    """In autocommit: transactions begin and end where the code says so. Threads take turns with it, so none is its owner."""
    return sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=busy_seconds,
        cached_statements=CACHED_STATEMENTS,
    )
