"""What SQLite's errors mean to the reader of a message: what is wrong with the log, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from playhead.errors import LogUnusable

_PRIMARY = 0xFF  # the low byte of an extended code is its primary code


def primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY


@contextmanager
def told(path: Path) -> Generator[None]:
    """Errors of SQLite inside become LogUnusable, with the cause chained."""
    try:
        yield
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: sqlite3.Error) -> LogUnusable:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return full(path)  # the file beside the log that its readers share could not grow
    match primary_code(error):
        case sqlite3.SQLITE_FULL:
            return full(path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return read_only(path)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LogUnusable(
                f"the log {path} is locked by another writer", hint="end the program that has it open, then try again"
            )
        case sqlite3.SQLITE_NOTADB:
            return foreign(path)
        case sqlite3.SQLITE_CORRUPT:
            return damaged(path, str(error))
        case _:
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            return LogUnusable(
                f"the log {path} cannot be used: {error} ({name})",
                hint="look at the disk and at the file's permissions; what was acknowledged stays in the file",
            )


def full(path: Path) -> LogUnusable:
    return LogUnusable(
        f"the log {path} is full: no space left, or its limit is reached",
        hint="make room; what was acknowledged is safe, and appends work again by themselves",
    )


def read_only(path: Path) -> LogUnusable:
    return LogUnusable(
        f"the log {path} cannot be written: it, or its folder, is read-only for this user",
        hint="give this user the right to write the file and its folder",
    )


def foreign(path: Path) -> LogUnusable:
    return LogUnusable(f"{path} is not a Playhead log", hint="choose another path: this file was left untouched")


def damaged(path: Path, what: str) -> LogUnusable:
    return LogUnusable(
        f"the log {path} is damaged or was cut short: {what}",
        hint="stop everything that uses it, keep a copy of the file with its -wal, and restore it from a backup",
    )
