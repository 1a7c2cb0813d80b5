"""Files that survive a loss of power. Owns the order of write, flush, link and folder flush; knows nothing of objects.

Everything raises `OSError` as the system raised it; `unavailable` turns one into the error that a reader can act on.
A failed flush is never tried again on the same file: the kernel may have dropped the pages and would then report success.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from playhead.errors import StorageFull, StorageUnavailable

UNFINISHED = "+"  # starts the name of a file that is being made; no object's name can hold it


def create_exclusively(path: str | Path, data: bytes, *, mode: int = 0o666) -> None:
    """Create the file with these bytes, or raise FileExistsError. Nobody ever sees half of it.

    On return, and also when it raises FileExistsError, the bytes and the entry in the folder are durable: who learns that
    another was first may rely on what that one wrote.
    """
    folder = os.path.dirname(path)  # noqa: PTH120 — strings on the hot path
    temporary = os.path.join(folder, UNFINISHED + secrets.token_hex(8))  # noqa: PTH118 — as above
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(fd, data, offset=0)
        flush_file(fd)
        try:
            os.link(temporary, path)
        except FileExistsError:
            # A network file system may have done it, lost the answer and tried again: then the file has our second link.
            if os.fstat(fd).st_nlink != 2:
                flush_folder(folder)
                raise
    finally:
        os.close(fd)
        with suppress(OSError):  # what is left behind has no object's name and is never listed
            os.unlink(temporary)  # noqa: PTH108 — strings on the hot path
    flush_folder(folder)


def replace_durably(path: str | Path, data: bytes, *, mode: int = 0o666) -> None:
    """Put a file with these bytes in the place of the one that is there, if any. Readers, and whoever comes after a loss of power,
    find the old file or the new one whole; on return it is the new one."""
    folder = os.path.dirname(path)  # noqa: PTH120 — as above
    temporary = os.path.join(folder, UNFINISHED + secrets.token_hex(8))  # noqa: PTH118 — as above
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(fd, data, offset=0)
            flush_file(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)  # noqa: PTH105 — as above
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 — as above
        raise
    flush_folder(folder)


def make_folders(path: Path, *, mode: int = 0o777) -> None:
    """Make the folder and those above it that are missing, each durable before the next. `mode` is for the last one."""
    missing: list[Path] = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=mode if folder == missing[0] else 0o777, exist_ok=True)
        flush_folder(folder.parent)


def write_all(fd: int, data: bytes, *, offset: int) -> None:
    """Write all of `data` at `offset`, in as many writes as the system makes of it."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        offset += written
        rest = rest[written:]


def flush_file(fd: int) -> None:
    """Return when the file's bytes and metadata are on the medium."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync there leaves the bytes in the drive's own cache
    else:
        os.fsync(fd)


def flush_data(fd: int) -> None:
    """Return when the file's bytes, and the metadata that is needed to read them, are on the medium."""
    if sys.platform == "darwin":
        flush_file(fd)
    else:
        os.fdatasync(fd)


def flush_existing(path: str | Path) -> None:
    """Return when what can be read of the file is on the medium, whoever wrote it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush_file(fd)
    finally:
        os.close(fd)


def flush_folder(folder: str | Path) -> None:
    """Return when the folder's entries are on the medium."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush_file(fd)
    finally:
        os.close(fd)


def unavailable(error: OSError, doing: str, path: str | Path) -> StorageUnavailable:
    """The reader's error for one of the system's: what could not be done, where, why, and what to do about it."""
    what = error.strerror or type(error).__name__
    kind = StorageFull if error.errno in NO_ROOM else StorageUnavailable
    return kind(f"cannot {doing} {path}: {what}", hint=_HINTS.get(error.errno or 0, _OTHERWISE))


NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})  # passes when somebody makes room

_FULL = "free some space there, or move the storage to a larger disk; what was acknowledged before is kept"
_FORBIDDEN = "give this user the right to read and write there, or choose another place"
_OTHERWISE = "see that the place is mounted, readable and writable, then try again"
_HINTS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: "it is read-only: mount it for writing, or choose another place",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: f"{_FORBIDDEN} (the file system must also allow hard links)",
    errno.EOPNOTSUPP: "this file system has no hard links, which exclusive creation needs: choose another one",
    errno.EIO: "the disk reports an error: check it (dmesg, smartctl) before you go on",
    errno.EMFILE: "this process has too many open files: raise its limit (ulimit -n)",
    errno.ENAMETOOLONG: "the folder's own path is too long for this file system: choose a shorter one",
}
