"""Backends around another, for tests of the log in front of them: one that counts and can be held, one whose answers fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import OutcomeUnknown
from playhead.ports.store import Append, Outcome, Page, Recorded, StoreBackend


class Around(StoreBackend):
    """Passes everything on. Counts commits and reads; `gate`, while it is clear, holds commits back."""

    def __init__(self, inner: StoreBackend) -> None:
        self.inner = inner
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = asyncio.Event()  # a commit has arrived at the gate
        self.batches: list[int] = []
        self.reads = 0
        self.events_read = 0
        self.closed = 0

    @property
    def log_id(self) -> LogId:
        return self.inner.log_id

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self.batches.append(len(batch))
        self.held.set()
        await self.gate.wait()
        return await self.inner.commit(batch)

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await self.inner.read_stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        self.reads += 1
        page = await self.inner.read_all(after=after, limit=limit)
        self.events_read += len(page.events)
        return page

    async def head(self) -> Position:
        return await self.inner.head()

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self.inner.wait_for_news(after, timeout_seconds)

    async def close(self) -> None:
        self.closed += 1
        await self.inner.close()


class Failing(Around):
    """The first commits end with these errors, one each; `after_commit`: though they were written."""

    def __init__(self, inner: StoreBackend, errors: Sequence[Exception], *, after_commit: bool = False) -> None:
        super().__init__(inner)
        self._errors = list(errors)
        self._after_commit = after_commit

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        if not self._errors:
            return await super().commit(batch)
        error = self._errors.pop(0)
        if self._after_commit:
            await super().commit(batch)
        else:
            self.batches.append(len(batch))
        raise error


class AlwaysUnknown(Around):
    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self.batches.append(len(batch))
        raise OutcomeUnknown("the connection is gone")
