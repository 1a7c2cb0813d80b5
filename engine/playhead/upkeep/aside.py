"""A SQLite file that is kept aside: a backup or an archive. Owns it until it is whole and durable; what is in it is its writer's matter."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio

from playhead.errors import UsageError
from playhead.log.sqlite import SqliteBackend

T = TypeVar("T")


async def write_aside(file: Path, write: Callable[[SqliteBackend], Awaitable[T]]) -> T:
    """What `write` gave, once the file has its name. It is marked: opened later as a log it begins another history.

    UsageError: the file is there already. Whatever fails, nothing is left.
    """
    if file.exists():
        raise UsageError(f"{file} is there already", hint="name a new file: nothing is ever replaced")
    part = file.with_name(file.name + ".part")
    _remove(part)
    try:
        written = await _written(part, write)
        part.rename(file)
        _flush(file.absolute().parent)
    finally:
        _remove(part)
    return written


async def _written(part: Path, write: Callable[[SqliteBackend], Awaitable[T]]) -> T:
    target = await SqliteBackend.open(part)
    try:
        written = await write(target)
        await target.set_aside()
    finally:
        with anyio.CancelScope(shield=True):
            await target.close()
    return written


def _remove(part: Path) -> None:
    """What is left beside a file that has its name, and all of one that was interrupted."""
    for suffix in ("", "-wal", "-shm", ".lock", ".mark", ".new"):
        with suppress(FileNotFoundError):
            part.with_name(part.name + suffix).unlink()


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
