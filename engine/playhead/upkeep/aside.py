"""A SQLite file that is kept aside: a backup or an archive. Owns it until it is whole and durable; what is in it is its writer's matter."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio

from playhead.errors import UsageError
from playhead.log.sqlite import SqliteBackend

T = TypeVar("T")


async def write_aside(file: Path, write: Callable[[SqliteBackend], Awaitable[T]]) -> T:
    """What `write` gave, once the file has its name. It is marked: opened later as a log it begins another history.

    UsageError: the file is there already, or somebody else is writing it. Whatever fails, nothing is left; what one who was killed
    left (`.part`, `.making`) is removed by the next who writes this file.
    """
    part = file.with_name(file.name + ".part")
    _check_new(file)
    with _alone(file):
        _remove(part)
        try:
            written = await _written(part, write)
            _check_new(file)  # the writing may have taken hours
            part.rename(file)
            _flush(file.absolute().parent)
        finally:
            _remove(part)
    return written


def _check_new(file: Path) -> None:
    if file.exists():
        raise UsageError(f"{file} is there already", hint="name a new file: nothing is ever replaced")


@contextmanager
def _alone(file: Path) -> Generator[None]:
    """Two who write one file would remove each other's part. The lock ends with its process; its file is nobody's then."""
    making = file.with_name(file.name + ".making")
    try:
        descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", hint="name a file in a folder that is there and is yours"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(descriptor), making.stat())  # else its owner removed it as we came
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            raise UsageError(f"another process is writing {file}", hint="wait until it has ended, or name another file")
        try:
            _check_new(file)  # whoever had the lock until now may have made it
            yield
        finally:
            with suppress(FileNotFoundError):
                making.unlink()
    finally:
        os.close(descriptor)


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
