"""Storage that dies with its process: a wrapper that lets a number of durable steps happen and then none."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from playhead.errors import StorageUnavailable
from playhead.ports.storage import AppendFile, Storage


class Dead(StorageUnavailable):
    """The process that used this storage has died."""


class MortalStorage:
    """Passes `lives` durable steps (appends and creations) on to `inner`; the next, and all after it, never happen."""

    def __init__(self, inner: Storage, lives: int) -> None:
        self._inner = inner
        self._lives = lives
        self._lock = threading.Lock()
        self.steps = 0

    @property
    def id(self) -> str:
        return self._inner.id

    @property
    def url(self) -> str:
        return self._inner.url

    def die(self) -> None:
        """From here on nothing happens."""
        self._lives = 0

    def step(self) -> None:
        with self._lock:
            if self.steps >= self._lives:
                raise Dead("this process is dead")
            self.steps += 1

    def create_if_absent(self, path: str, data: bytes) -> None:
        self.step()
        self._inner.create_if_absent(path, data)

    def open_append(self, path: str) -> AppendFile:
        return _MortalFile(self, self._inner.open_append(path))

    def append_loose(self, path: str, data: bytes) -> None:
        self._inner.append_loose(path, data)

    def read(self, path: str, *, start: int = 0) -> bytes:
        return self._inner.read(path, start=start)

    def settle(self, path: str) -> None:
        self._inner.settle(path)

    def exists(self, path: str) -> bool:
        return self._inner.exists(path)

    def list(self, prefix: str) -> Sequence[str]:
        return self._inner.list(prefix)


class _MortalFile:
    def __init__(self, storage: MortalStorage, inner: AppendFile) -> None:
        self._storage = storage
        self._inner = inner

    def append(self, data: bytes) -> None:
        self._storage.step()
        self._inner.append(data)

    def close(self) -> None:
        self._inner.close()
