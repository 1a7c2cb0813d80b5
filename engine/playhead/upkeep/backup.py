"""A backup: a log copied into a SQLite file, while it is served. Owns that file until it is whole, and nothing of the log."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import anyio

from playhead.errors import UsageError
from playhead.log.sqlite import SqliteBackend
from playhead.ports.store import StoreBackend
from playhead.upkeep.copying import Copied, copy
from playhead.upkeep.progress import Progress, unheard


async def back_up(source: StoreBackend, file: Path, *, progress: Progress = unheard) -> Copied:
    """What the log holds now, as a file that is whole and durable before it has its name.

    It is set aside: opened later as a log it begins another history, as any log that is put back. UsageError: the file is there.
    """
    if file.exists():
        raise UsageError(f"{file} is there already", hint="name a new file: a backup never replaces another")
    part = file.with_name(file.name + ".part")
    _remove(part)
    try:
        copied = await _written(source, part, progress)
        part.rename(file)
        _flush(file.absolute().parent)
    finally:
        _remove(part)
    return copied


async def _written(source: StoreBackend, part: Path, progress: Progress) -> Copied:
    target = await SqliteBackend.open(part)
    try:
        copied = await copy(source, target, progress=progress)
        await target.set_aside()
    finally:
        with anyio.CancelScope(shield=True):
            await target.close()
    return copied


def _remove(part: Path) -> None:
    """What a backup leaves beside its file, and all of one that was interrupted."""
    for suffix in ("", "-wal", "-shm", ".lock", ".mark", ".new"):
        with suppress(FileNotFoundError):
            part.with_name(part.name + suffix).unlink()


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
