"""Storage in this process's memory, for tests and for embedded runs that leave nothing behind. Owns its objects' bytes.

`memory:NAME` is the same storage wherever it is opened in one process, and lives as long as the process; `memory:` is a
new one each time. It survives nothing, so "durable" means no more than "visible" here, and it never fails.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence

from playhead.errors import AlreadyExists, NoSuchObject, StorageLost, StorageUnavailable, UsageError
from playhead.ports.storage import STORAGE_MARKER
from playhead.storage.paths import check_path, check_prefix

_named: dict[str, MemoryStorage] = {}
_naming = threading.Lock()


def open_url(url: str, *, expect_id: str | None = None) -> MemoryStorage:
    """Open `memory:NAME`, or `memory:` for a new one."""
    name = url.partition(":")[2] or secrets.token_hex(8)
    if name.startswith("/"):
        raise UsageError(f"{url!r} is no name of a storage in memory", hint="write memory:NAME, without slashes")
    with _naming:
        storage = _named.get(name) if expect_id else _named.setdefault(name, MemoryStorage(name))
    if storage is None or expect_id not in (None, storage.id):
        raise StorageLost(
            f"the storage {expect_id} is not in this process as {url!r}",
            hint="a storage in memory ends with its process: use a folder for what must outlive it",
        )
    return storage


class MemoryStorage:
    """One storage. Made directly it is private to whoever holds it; `open_url` shares it by name."""

    def __init__(self, name: str | None = None) -> None:
        self._id = secrets.token_hex(16)
        self._url = f"memory:{name or self._id}"
        self._lock = threading.Lock()
        self._objects: dict[str, bytearray] = {STORAGE_MARKER: bytearray(self._id.encode() + b"\n")}

    @property
    def id(self) -> str:
        return self._id

    @property
    def url(self) -> str:
        return self._url

    def create_if_absent(self, path: str, data: bytes) -> None:
        self._create(path, bytearray(data))

    def open_append(self, path: str) -> MemoryAppend:
        content = bytearray()
        self._create(path, content)
        return MemoryAppend(path, content, self._lock)

    def append_loose(self, path: str, data: bytes) -> None:
        with self._lock:
            self._objects.setdefault(check_path(path), bytearray()).extend(data)

    def read(self, path: str, *, start: int = 0) -> bytes:
        with self._lock:
            content = self._objects.get(check_path(path))
            if content is None:
                raise NoSuchObject(f"there is no {path} in {self._url}")
            return bytes(memoryview(content)[start:])

    def settle(self, path: str) -> None:
        self.read(path)  # what can be seen is as durable as it gets

    def exists(self, path: str) -> bool:
        with self._lock:
            return check_path(path) in self._objects

    def list(self, prefix: str) -> Sequence[str]:
        below = f"{check_prefix(prefix)}/" if prefix else ""
        with self._lock:
            return sorted(path for path in self._objects if path.startswith(below))

    def _create(self, path: str, content: bytearray) -> None:
        with self._lock:
            if self._objects.setdefault(check_path(path), content) is not content:
                raise AlreadyExists(f"{path} is there already in {self._url}")


class MemoryAppend:
    """One growing object."""

    def __init__(self, path: str, content: bytearray, lock: threading.Lock) -> None:
        self._path = path
        self._content = content
        self._lock = lock
        self._closed = False

    def append(self, data: bytes) -> None:
        with self._lock:
            if self._closed:
                raise StorageUnavailable(f"{self._path} is closed and takes nothing more", hint="go on in a new object")
            self._content.extend(data)

    def close(self) -> None:
        self._closed = True
