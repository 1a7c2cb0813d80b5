"""A log in memory, for tests and for runs that nobody will ask about. Nothing survives the process.

It holds to the whole contract of a backend but for durability: "durable" here means while its `MemoryRecords` live.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import UsageError
from playhead.log.appends import decode, encode, fits, recorded, same_body
from playhead.log.chain import FIRST, digest, link
from playhead.log.kept import check_restore, first_of, no_such_end
from playhead.log.news import News
from playhead.log.ranges import Range, merged
from playhead.log.shown import without_secrets
from playhead.ports.store import (
    Append,
    Appended,
    Capability,
    Conflict,
    Duplicate,
    ForgettingBackend,
    Kept,
    NewEvent,
    Outcome,
    Page,
    Recorded,
    RestoringBackend,
    StoreBackend,
)

CAPABILITIES: Final = frozenset({Capability.DENSE, Capability.CHAINED, Capability.FORGETS, Capability.RESTORES})


@dataclass
class MemoryRecords:
    """What a memory log holds. Backends opened one after another on the same records see the same log."""

    log_id: LogId = field(default_factory=lambda: LogId(secrets.token_hex(8)))
    events: list[Recorded] = field(default_factory=list[Recorded])
    streams: dict[StreamName, list[Recorded]] = field(default_factory=dict[StreamName, list[Recorded]])
    appends: dict[tuple[StreamName, str], Kept] = field(default_factory=dict[tuple[StreamName, str], Kept])
    order: list[Kept] = field(default_factory=list[Kept])  # the same appends, by position
    forgotten: list[Range] = field(default_factory=list[Range])
    floors: dict[StreamName, Version] = field(default_factory=dict[StreamName, Version])  # newest version removed


class MemoryBackend(ForgettingBackend, RestoringBackend):
    def __init__(self, records: MemoryRecords | None = None) -> None:
        self._records = records if records is not None else MemoryRecords()
        self._news = News(self._head())

    @property
    def log_id(self) -> LogId:
        return self._records.log_id

    @property
    def capabilities(self) -> frozenset[Capability]:
        return CAPABILITIES

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        bodies = [encode(append) for append in batch]  # all of them first: a bad one must leave nothing behind
        outcomes = [self._append(append, body) for append, body in zip(batch, bodies, strict=True)]
        self._news.tell(self._head())
        return outcomes

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        events = self._records.streams.get(stream, [])
        start = bisect_right(events, after, key=attrgetter("version"))
        return events[start : start + limit]

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

    # --- forgetting -------------------------------------------------------------------------------------------------------

    async def forget(self, stream: StreamName, *, upto: Version) -> int:
        records, events = self._records, self._records.streams.get(stream, [])
        if upto <= records.floors.get(stream, 0):
            return 0
        gone = [kept for kept in records.order if kept.append.stream == stream and kept.version <= upto]
        if not gone or gone[-1].version != upto:
            raise no_such_end(stream, upto)
        count = sum(len(kept.append.events) for kept in gone)
        records.streams[stream] = events[count:]
        records.events = [event for event in records.events if event.stream != stream or event.version > upto]
        records.order = [kept for kept in records.order if kept.append.stream != stream or kept.version > upto]
        for kept in gone:
            del records.appends[stream, kept.append.append_id]
        records.floors[stream] = upto
        records.forgotten = merged([*records.forgotten, *((first_of(kept), kept.last, kept.link) for kept in gone)])
        return count

    async def is_forgotten(self, position: Position) -> bool:
        return any(first <= position <= last for first, last, _ in self._records.forgotten)

    # --- copies -----------------------------------------------------------------------------------------------------------

    async def read_kept(self, *, after: Position, limit: int) -> Sequence[Kept]:
        start = bisect_right(self._records.order, after, key=attrgetter("last"))
        return self._records.order[start : start + limit]

    async def forgotten(self) -> Sequence[Range]:
        return list(self._records.forgotten)

    async def restore(self, log_id: LogId, kept: Sequence[Kept], forgotten: Sequence[Range] = ()) -> None:
        records, head = self._records, self._head()
        check_restore(records.log_id, head, log_id, kept, forgotten)
        records.log_id = log_id
        records.forgotten = merged([*records.forgotten, *forgotten])
        for each in kept:
            body = encode(each.append)
            self._keep(each.append, body, first_of(each), each.version, each.link)
        self._news.tell(self._head())

    # --- below --------------------------------------------------------------------------------------------------------------

    def _append(self, append: Append, body: bytes) -> Outcome:
        records = self._records
        kept = records.appends.get((append.stream, append.append_id))
        if kept is not None:
            numbers_agree = (kept.append.epoch, kept.append.first_seq) == (append.epoch, append.first_seq)
            same = numbers_agree and same_body(encode(kept.append), body)
            return Duplicate(first_of(kept), kept.last, kept.version, same)
        events = records.streams.get(append.stream)
        actual = events[-1].version if events else records.floors.get(append.stream, Version(0))
        if not fits(append.expected, actual):
            return Conflict(actual)
        first, version = Position(self._head() + 1), Version(actual + len(append.events))
        last = Position(first + len(append.events) - 1)
        chained = link(self._link(), digest(append, body), last=last, version=version)
        self._keep(append, body, first, version, chained)
        return Appended(first, last, version)

    def _keep(self, append: Append, body: bytes, first: Position, version: Version, chained: bytes | None) -> None:
        records = self._records
        # Kept as it reads back from its bytes, so that whoever still holds the caller's objects cannot change the log.
        copied = tuple(NewEvent(type=kind, schema=schema, data=data) for kind, schema, data in decode(body))
        append = replace(append, events=copied, expected=Version(version - len(copied)))
        events = recorded(append, first=first, version=version)
        records.events += events
        records.streams.setdefault(append.stream, []).extend(events)
        kept = Kept(append=append, last=events[-1].position, version=version, link=chained)
        records.appends[append.stream, append.append_id] = kept
        records.order.append(kept)

    def _link(self) -> bytes:
        """Of the newest append, which may be forgotten."""
        newest = [(kept.last, kept.link) for kept in self._records.order[-1:]]
        newest += [(last, chained) for _, last, chained in self._records.forgotten[-1:]]
        return max(newest, key=lambda each: each[0], default=(0, None))[1] or FIRST

    def _head(self) -> Position:
        events, forgotten = self._records.events, self._records.forgotten
        return max(events[-1].position if events else Position(0), forgotten[-1][1] if forgotten else Position(0))


async def open_url(url: str) -> StoreBackend:
    """`memory:` is a log of its own for each opening."""
    if url not in {"memory:", "memory://"}:
        raise UsageError(
            f"{without_secrets(url)!r} is not the URL of a memory log",
            hint="it is written 'memory:', with nothing behind it",
        )
    return MemoryBackend()
