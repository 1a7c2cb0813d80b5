"""A folder as storage, on a local disk or a network file system. Owns the files below its root; caches no content.

What must be durable is flushed before a call returns, the entries of new folders included. Names that start with '+' are
files in the making and are never listed; a crash may leave one behind, which does no harm.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

from playhead.errors import AlreadyExists, NoSuchObject, StorageError, StorageLost, StorageUnavailable, UsageError
from playhead.ports.storage import STORAGE_MARKER
from playhead.storage.durable import (
    NO_ROOM,
    UNFINISHED,
    create_exclusively,
    flush_data,
    flush_existing,
    flush_folder,
    make_folders,
    unavailable,
    write_all,
)
from playhead.storage.paths import check_path, check_prefix

MAX_KNOWN_FOLDERS: Final = 10_000  # remembered as durable; forgetting one costs a flush, never safety

T = TypeVar("T")

_ID = re.compile(r"[0-9a-f]{32}")


def open_url(url: str, *, expect_id: str | None = None) -> FolderStorage:
    """Open `file:///absolute/folder`."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r} names no folder of this machine",
            hint="write file:///absolute/folder, with three slashes and special characters as %xx, or a plain path",
        )
    return FolderStorage(path, expect_id=expect_id)


class FolderStorage:
    """The storage in one folder. Opening it touches nothing, unless `expect_id` says which storage it has to be."""

    def __init__(self, path: str | Path, *, expect_id: str | None = None) -> None:
        self._root = Path(path).expanduser().absolute()
        self._prefix = f"{self._root}/"
        self._marker = self._prefix + STORAGE_MARKER
        self._known_id: str | None = None
        self._durable_folders: set[str] = set()
        self._lock = threading.Lock()
        if expect_id is not None:
            self._known_id = self._expected(expect_id)

    @property
    def id(self) -> str:
        return self._opened()

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def create_if_absent(self, path: str, data: bytes) -> None:
        self._make(path, lambda file: create_exclusively(file, data))

    def open_append(self, path: str) -> FolderAppend:
        return FolderAppend(path, self._make(path, _create_empty))

    def append_loose(self, path: str, data: bytes) -> None:
        self._make(path, lambda file: _append_in_one_write(file, data))

    def read(self, path: str, *, start: int = 0) -> bytes:
        try:
            with open(self._file(path), "rb", buffering=0) as file:  # noqa: PTH123 — the path is a string already
                if start:
                    file.seek(start)
                return file.readall()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise self._lost() or self._no_such(path) from error
        except OSError as error:
            raise self._failed(error, "read", path) from error

    def settle(self, path: str) -> None:
        try:
            flush_existing(self._file(path))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._lost() or self._no_such(path) from error
        except OSError as error:
            raise self._failed(error, "flush", path) from error

    def exists(self, path: str) -> bool:
        file = self._file(path)
        try:
            return stat.S_ISREG(os.stat(file).st_mode)  # noqa: PTH116 — asked after every durable write: no Path is built
        except (FileNotFoundError, NotADirectoryError):
            # A storage that is gone has no fence either: "no" is only an answer while the folder that would hold it is there.
            if not os.path.isdir(os.path.dirname(file)) and (lost := self._lost()):  # noqa: PTH112, PTH120 — as above
                raise lost from None
            return False
        except OSError as error:
            raise self._failed(error, "look for", path) from error

    def list(self, prefix: str) -> Sequence[str]:
        top = self._prefix + check_prefix(prefix)
        try:
            found = [file[len(self._prefix) :] for file in _files_below(top.rstrip("/"))]
        except OSError as error:
            raise self._failed(error, "list", prefix or "the storage") from error
        if not found and (lost := self._lost()):
            raise lost
        return sorted(found)

    def _opened(self) -> str:
        """The storage's id; made on first use, and the root with it."""
        if self._known_id is None:
            self._known_id = self._read_id() or self._make_id()
        return self._known_id

    def _file(self, path: str) -> str:
        return self._prefix + check_path(path)

    def _make(self, path: str, action: Callable[[str], T]) -> T:
        """Run `action` on the object's file, with its folder in place and durable."""
        file = self._file(path)
        folder = path.rpartition("/")[0]
        remembered = folder in self._durable_folders
        try:
            try:
                self._ensure(folder)
                return action(file)
            except FileNotFoundError:
                if not remembered:
                    raise
                self._durable_folders.clear()  # somebody cleaned up since: make the folder once more
                self._ensure(folder)
                return action(file)
        except FileExistsError as error:
            raise AlreadyExists(f"{path} is there already in {self.url}") from error
        except FileNotFoundError as error:
            raise self._lost() or self._failed(error, "write", path) from error
        except OSError as error:
            raise self._failed(error, "write", path) from error

    def _ensure(self, folder: str) -> None:
        """Make the folder and those above it; return when all of their entries are durable.

        An entry that is there may be another process's, which has not flushed it yet: only what this object has itself
        flushed is remembered.
        """
        if folder in self._durable_folders:
            return
        if lost := self._lost():
            raise lost
        self._opened()
        with self._lock:
            if len(self._durable_folders) >= MAX_KNOWN_FOLDERS:
                self._durable_folders.clear()
            above = ""
            for name in folder.split("/") if folder else ():
                below = f"{above}/{name}" if above else name
                if below not in self._durable_folders:
                    Path(self._prefix + below).mkdir(exist_ok=True)
                    flush_folder(self._prefix + above)
                    self._durable_folders.add(below)
                above = below
            self._durable_folders.add(folder)

    def _expected(self, expected: str) -> str:
        actual = self._read_id()
        if actual is None or actual != expected:
            found = f"has the id {actual}" if actual else "is missing or empty"
            raise StorageLost(
                f"the storage {expected} is not at {self._root}: what is there {found}",
                hint="mount or restore the folder that was used before; nothing was created in its place",
            )
        return actual

    def _read_id(self) -> str | None:
        try:
            text = Path(self._marker).read_text("ascii", "replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unavailable(error, "read", self._marker) from error
        if not _ID.fullmatch(text):
            raise StorageUnavailable(
                f"{self._marker} does not hold the id of a storage",
                hint="restore that file from a copy; it is one line of 32 hexadecimal digits",
            )
        return text

    def _make_id(self) -> str:
        fresh = secrets.token_hex(16)
        try:
            make_folders(self._root)
            create_exclusively(self._marker, fresh.encode() + b"\n")
        except OSError as error:
            first = self._read_id() if isinstance(error, FileExistsError) else None
            if first is None:
                raise unavailable(error, "create a storage in", self._root) from error
            return first
        return fresh

    def _lost(self) -> StorageLost | None:
        """An error, if this storage was there and its marker is not any more."""
        if self._known_id is None or os.path.lexists(self._marker):
            return None
        return StorageLost(
            f"the storage {self._known_id} is gone from {self._root}",
            hint="it was deleted, moved or unmounted while in use: put it back, then resume the runs",
        )

    def _no_such(self, path: str) -> NoSuchObject:
        return NoSuchObject(f"there is no {path} in {self.url}")

    def _failed(self, error: OSError, doing: str, path: str) -> StorageError:
        return unavailable(error, doing, f"{path} in {self._root}")


class FolderAppend:
    """One growing file. Writes go to a kept offset and not to the file's end, so that the file may be longer than its data."""

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._offset = 0
        self._sound = True
        self._closed = False

    def append(self, data: bytes) -> None:
        if not self._sound or self._closed:
            why = "is closed" if self._closed else "failed before"
            raise StorageUnavailable(
                f"{self._path} {why} and takes nothing more",
                hint="go on in a new object; a failed flush is not repeatable",
            )
        self._sound = False  # until the flush has returned, whatever interrupts it
        try:
            write_all(self._fd, data, offset=self._offset)
        except OSError as error:
            # What did not fit was never flushed, and lies where the same bytes will be written once more.
            self._sound = error.errno in NO_ROOM
            raise unavailable(error, "append to", self._path) from error
        try:
            flush_data(self._fd)
            links = os.fstat(self._fd).st_nlink
        except OSError as error:
            failed = unavailable(error, "append to", self._path)
            # Of a full disk, too, this is not the error that says "the same again": a flush cannot be repeated.
            raise StorageUnavailable(failed.message, hint=failed.hint) from error
        if links == 0:
            raise StorageLost(
                f"{self._path} was deleted while it was being written",
                hint="put the storage back, then resume the runs",
            )
        self._offset += len(data)
        self._sound = True

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._fd)


def _create_empty(file: str) -> int:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        flush_folder(os.path.dirname(file))  # noqa: PTH120 — the path is a string already
    except BaseException:
        os.close(fd)
        with suppress(OSError):  # so that the same name may be tried again
            os.unlink(file)  # noqa: PTH108 — as above
        raise
    return fd


def _append_in_one_write(file: str, data: bytes) -> None:
    """One write with O_APPEND: the kernel lets no other writer in between. A short one cannot be completed without a gap."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        if os.write(fd, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)


def _files_below(folder: str) -> list[str]:
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(UNFINISHED):
                    continue
                if entry.is_dir():
                    found += _files_below(entry.path)
                else:
                    found.append(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return found  # no such folder, or removed meanwhile: it holds no objects
    return found
