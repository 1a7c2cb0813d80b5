"""A log in memory, for tests and for runs that nobody will ask about. Nothing survives the process.

It holds to the whole contract of a backend but for durability: "durable" here means while its `MemoryRecords` live.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from msgspec.structs import replace

from playhead.core.names import Epoch, LogId, Position, Seq, StreamName, Version
from playhead.errors import UsageError
from playhead.log.appends import decode, encode, fits, recorded, same_body
from playhead.log.news import News
from playhead.ports.store import Append, Appended, Conflict, Duplicate, NewEvent, Outcome, Page, Recorded, StoreBackend


@dataclass
class MemoryRecords:
    """What a memory log holds. Backends opened one after another on the same records see the same log."""

    log_id: LogId = field(default_factory=lambda: LogId(secrets.token_hex(8)))
    events: list[Recorded] = field(default_factory=list[Recorded])
    streams: dict[StreamName, list[Recorded]] = field(default_factory=dict[StreamName, list[Recorded]])
    appends: dict[tuple[StreamName, str], _Kept] = field(default_factory=dict[tuple[StreamName, str], "_Kept"])


@dataclass(frozen=True, slots=True)
class _Kept:
    """An append that is in the log, for those that come again under its id."""

    where: Appended
    body: bytes
    epoch: Epoch | None
    first_seq: Seq | None


class MemoryBackend(StoreBackend):
    def __init__(self, records: MemoryRecords | None = None) -> None:
        self._records = records if records is not None else MemoryRecords()
        self._news = News(self._head())

    @property
    def log_id(self) -> LogId:
        return self._records.log_id

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        bodies = [encode(append) for append in batch]  # all of them first: a bad one must leave nothing behind
        outcomes = [self._append(append, body) for append, body in zip(batch, bodies, strict=True)]
        self._news.tell(self._head())
        return outcomes

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return self._records.streams.get(stream, [])[after : after + limit]

    async def read_all(self, *, after: Position, limit: int) -> Page:
        start = bisect_right(self._records.events, after, key=attrgetter("position"))
        events = tuple(self._records.events[start : start + limit])
        return Page(events, events[-1].position if events else after)

    async def head(self) -> Position:
        return self._head()

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._news.wait(after, timeout_seconds)

    async def close(self) -> None:
        """Nothing is held open."""

    def _append(self, append: Append, body: bytes) -> Outcome:
        records = self._records
        kept = records.appends.get((append.stream, append.append_id))
        if kept is not None:
            numbers_agree = (kept.epoch, kept.first_seq) == (append.epoch, append.first_seq)
            same = numbers_agree and same_body(kept.body, body)
            return Duplicate(kept.where.first, kept.where.last, kept.where.version, same)
        stream = records.streams.get(append.stream, [])
        actual = Version(len(stream))
        if not fits(append.expected, actual):
            return Conflict(actual)
        first, version = Position(self._head() + 1), Version(actual + len(append.events))
        # Kept as it reads back from its bytes, so that whoever still holds the caller's objects cannot change the log.
        copied = tuple(NewEvent(type=kind, schema=schema, data=data) for kind, schema, data in decode(body))
        positions = range(first, first + len(copied))
        events = recorded(replace(append, events=copied), positions=positions, version=version)
        records.events += events
        records.streams.setdefault(append.stream, stream).extend(events)
        where = Appended(first, events[-1].position, version)
        records.appends[append.stream, append.append_id] = _Kept(where, body, append.epoch, append.first_seq)
        return where

    def _head(self) -> Position:
        return self._records.events[-1].position if self._records.events else Position(0)


async def open_url(url: str) -> StoreBackend:
    """`memory:` is a log of its own for each opening."""
    if url not in {"memory:", "memory://"}:
        raise UsageError(
            f"{url!r} is not the URL of a memory log", hint="it is written 'memory:', with nothing behind it"
        )
    return MemoryBackend()
