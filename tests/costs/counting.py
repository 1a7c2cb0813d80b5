"""Storage and server that count what a runner asks of them, and do it."""

from __future__ import annotations

from typing import Any

from playhead.ports.server import HeartbeatRequest, ReportRequest
from playhead.ports.storage import AppendFile
from playhead.storage.memory import MemoryStorage


class CountingStorage(MemoryStorage):
    """Counts what would be a flush of a disk."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0
        self.objects = 0

    def create_if_absent(self, path: str, data: bytes) -> None:
        self.objects += 1
        super().create_if_absent(path, data)

    def open_append(self, path: str) -> Any:
        return _CountingFile(self, super().open_append(path))


class _CountingFile:
    def __init__(self, storage: CountingStorage, inner: AppendFile) -> None:
        self._storage = storage
        self._inner = inner

    def append(self, data: bytes) -> None:
        self._storage.flushes += 1
        self._inner.append(data)

    def close(self) -> None:
        self._inner.close()


class CountingApi:
    """Counts the requests of a runner."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.reports = 0
        self.events = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def report(self, run: str, request: ReportRequest) -> Any:
        self.reports += 1
        self.events += len(request.events)
        return await self._inner.report(run, request)

    async def heartbeat(self, run: str, request: HeartbeatRequest) -> Any:
        return await self._inner.heartbeat(run, request)
