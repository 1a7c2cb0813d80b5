"""Backends with one bug each, for showing that the suite of store backends finds it by name. Only for tests."""

from __future__ import annotations

import asyncio
import copy
import secrets
from collections.abc import Sequence
from dataclasses import fields
from itertools import accumulate

import orjson
from msgspec.structs import replace

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.log import fits
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import (
    Append,
    Appended,
    Capability,
    Conflict,
    Duplicate,
    Expect,
    NewEvent,
    Outcome,
    Page,
    Recorded,
)


class SkipsOnConflict(MemoryBackend):
    """Reports an append that it did not write, as `ON CONFLICT DO NOTHING` does."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        head = await self.head()
        outcomes = await super().commit(batch)
        return [Appended(head, head, o.actual) if isinstance(o, Conflict) else o for o in outcomes]


class LosesTheBatch(MemoryBackend):
    """One conflict fails its neighbours, as one constraint over a whole transaction does."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await MemoryBackend(_copy(self._records)).commit(batch)
        if any(isinstance(outcome, Conflict) for outcome in outcomes):
            return [Conflict(Version(0)) for _ in batch]
        return await super().commit(batch)


class WritesEventByEvent(MemoryBackend):
    """An append's events become visible one after another."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        whole = _copy(self._records)
        outcomes = await MemoryBackend(whole).commit(batch)
        for event in whole.events[len(self._records.events) :]:
            self._records.events.append(event)
            self._records.streams.setdefault(event.stream, []).append(event)
            self._news.tell(event.position)
            await asyncio.sleep(0)
        self._records.appends = whole.appends
        return outcomes


class ForgetsTheBatch(MemoryBackend):
    """Each append of a batch is checked against what was there before the batch."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        before = {append.stream: Version(len(self._records.streams.get(append.stream, []))) for append in batch}
        outcomes: list[Outcome] = []
        for append in batch:
            if isinstance(append.expected, int) and append.expected != before[append.stream]:
                outcomes.append(Conflict(before[append.stream]))
            else:
                outcomes += await super().commit([append])
        return outcomes


class ForgetsDuplicates(MemoryBackend):
    """Knows no append ids."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for append in batch:
            self._records.appends.clear()
            outcomes += await super().commit([append])
        return outcomes


class ForgetsDuplicatesWhenClosed(MemoryBackend):
    """Keeps the append ids in memory only."""

    async def close(self) -> None:
        self._records.appends.clear()


class TakesAnyBody(MemoryBackend):
    """Believes the append id alone."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        return [replace(o, same=True) if isinstance(o, Duplicate) else o for o in outcomes]


class ChecksTheVersionFirst(MemoryBackend):
    """A known append that no longer fits is a conflict."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for append in batch:
            actual = Version(len(self._records.streams.get(append.stream, [])))
            outcomes += await super().commit([append]) if fits(append.expected, actual) else [Conflict(actual)]
        return outcomes


class SharesAppendIds(MemoryBackend):
    """Takes append ids to be unique in the whole log."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        known = {append_id for _, append_id in self._records.appends}
        outcomes = await super().commit([a for a in batch if a.append_id not in known])
        fresh = iter(outcomes)
        return [
            next(fresh) if a.append_id not in known else Duplicate(Position(1), Position(1), Version(1), True)
            for a in batch
        ]


class TakesAnyForNone(MemoryBackend):
    """An append that expects nothing in particular is refused where the stream exists."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        strict = [replace(a, expected=Expect.NO_STREAM) if a.expected is Expect.ANY else a for a in batch]
        return await super().commit(strict)


class DropsTheJournal(MemoryBackend):
    """Does not keep which record of which journal an event was."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await super().commit([replace(append, first_seq=None) for append in batch])


class NumbersWithGaps(MemoryBackend):
    """Versions are not contiguous."""

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        found = await super().read_stream(stream, after=Version(after // 2), limit=limit)
        return [replace(event, version=Version(event.version * 2 - 1)) for event in found]


class IncludesAfter(MemoryBackend):
    """`after` counts as wanted, in a stream."""

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await super().read_stream(stream, after=Version(max(after - 1, 0)), limit=limit)


class ReadsPastTheLimit(MemoryBackend):
    """A page holds one event more than asked for."""

    async def read_all(self, *, after: Position, limit: int) -> Page:
        return await super().read_all(after=after, limit=limit + 1)


class FiltersAfterTheLimit(MemoryBackend):
    """Reads as much of the log as the limit says, and picks the stream's events from that."""

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        whole = self._records.streams.get(stream, [])
        start = whole[0].position - 1 if whole else 0
        page = await super().read_all(after=Position(start), limit=limit)
        return [event for event in page.events if event.stream == stream and event.version > after]


class ShowsOutOfOrder(MemoryBackend):
    """The newest append is visible at once, the one before it one read later, as with numbers drawn before the commit."""

    _late = False

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self._late = len(batch) > 1
        return await super().commit(batch)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        page = await super().read_all(after=after, limit=limit)
        late, self._late = self._late, False
        events = tuple(event for event in page.events[:-1] if event.index != 0) + page.events[-1:]
        return Page(events, page.scanned) if late else page


class StaysBehind(MemoryBackend):
    """The head is one behind the newest event."""

    async def head(self) -> Position:
        return Position(max(await super().head() - 1, 0))


class NewIdWhenOpened(MemoryBackend):
    """The log's id is drawn anew each time."""

    def __init__(self, records: MemoryRecords | None = None) -> None:
        super().__init__(records)
        self._drawn = LogId(secrets.token_hex(8))

    @property
    def log_id(self) -> LogId:
        return self._drawn


class LosesTheLastOnClosing(MemoryBackend):
    """The newest event is not durable."""

    async def close(self) -> None:
        if self._records.events:
            lost = self._records.events.pop()
            self._records.streams[lost.stream].pop()


class SpoilsText(MemoryBackend):
    """Keeps only ASCII."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await super().commit([replace(a, actor=a.actor.encode("ascii", "replace").decode()) for a in batch])


class CutsLargeAppends(MemoryBackend):
    """Drops what is beyond a hundred events of an append."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await super().commit([replace(append, events=append.events[:100]) for append in batch])


class NeverTells(MemoryBackend):
    """News arrive never, not even when there are some already."""

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await asyncio.get_running_loop().create_future()


class HalfWhenCancelled(MemoryBackend):
    """A commit that is cancelled has written a part of it."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        before = len(self._records.events)
        outcomes = await super().commit(batch)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if len(self._records.events) > before:
                lost = self._records.events.pop()
                self._records.streams[lost.stream].pop()
            raise
        return outcomes


class ChangesTheActor(MemoryBackend):
    """The last reporter of an append is taken for its author."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        for append in batch:
            kept = self._records.streams.get(append.stream, [])
            kept[:] = [replace(e, actor=append.actor) if e.append_id == append.append_id else e for e in kept]
        return outcomes


class ChecksTheFirstOnly(MemoryBackend):
    """Of a batch, the first append's expectation is checked, and the others go in with it."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await super().commit([*batch[:1], *(replace(append, expected=Expect.ANY) for append in batch[1:])])


class AcceptsVersionGaps(MemoryBackend):
    """Whoever expects a version that is not there yet is believed, as where versions only have to be unique."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await super().commit([replace(a, expected=Expect.ANY) if self._is_ahead(a) else a for a in batch])

    def _is_ahead(self, append: Append) -> bool:
        actual = len(self._records.streams.get(append.stream, []))
        return isinstance(append.expected, int) and append.expected > actual


class WritesBeforeAnError(MemoryBackend):
    """A batch is written append by append: what came before the one that fails stays."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for append in batch:
            outcomes += await super().commit([append])
        return outcomes


class TellsTheBatchesPlace(MemoryBackend):
    """Every append of a batch is told where the whole batch lies."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        taken = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
        return [
            replace(o, first=taken[0].first, last=taken[-1].last) if isinstance(o, Appended) else o for o in outcomes
        ]


class SortsTheBatch(MemoryBackend):
    """Writes a batch stream by stream, and tells the positions in the order that was asked."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        head = await self.head()
        ordered = sorted(batch, key=lambda append: append.stream)
        outcomes = dict(zip(map(id, ordered), await super().commit(ordered), strict=True))
        ends = accumulate((len(append.events) for append in batch), initial=head)
        return [_moved(outcomes[id(append)], Position(end + 1)) for append, end in zip(batch, ends, strict=False)]


class DeclaresWhatItHasNot(MemoryBackend):
    """Says that others may have its log open too, and has no way to say who leads."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.SHARED})


class DeliversByWakeUpOnly(MemoryBackend):
    """What is committed is read once somebody was woken for it: what nobody waited for is not delivered."""

    _told = Position(0)

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await super().wait_for_news(after, timeout_seconds)
        self._told = await self.head()

    async def read_all(self, *, after: Position, limit: int) -> Page:
        page = await super().read_all(after=after, limit=limit)
        events = tuple(event for event in page.events if event.position <= self._told)
        return Page(events, events[-1].position if events else after)


class WakesForTheNextOnly(MemoryBackend):
    """Waits for the next commit, although there is something already."""

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await super().wait_for_news(await self.head(), timeout_seconds)


class WaitsForEver(MemoryBackend):
    """Knows no timeout."""

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await super().wait_for_news(after, 3600.0)


class MixesUpReads(MemoryBackend):
    """Keeps a read's bounds where the next one overwrites them."""

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        self._asked = (stream, after, limit)
        await asyncio.sleep(0)
        stream, after, limit = self._asked
        return await super().read_stream(stream, after=after, limit=limit)


class FoldsCase(MemoryBackend):
    """Streams that differ in upper and lower case are one, as by a collation of a database."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await super().commit([replace(a, stream=StreamName(a.stream.lower())) for a in batch])

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await super().read_stream(StreamName(stream.lower()), after=after, limit=limit)


class TakesAnyObject(MemoryBackend):
    """What is not JSON is kept as its text."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await super().commit([replace(a, events=tuple(map(_as_text, a.events))) for a in batch])


class CutsLargeEvents(MemoryBackend):
    """Keeps four megabytes of a text."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await super().commit([replace(a, events=tuple(map(_cut, a.events))) for a in batch])


class KeepsWhatItReads(MemoryBackend):
    """Remembers every event that was ever read."""

    def __init__(self, records: MemoryRecords | None = None) -> None:
        super().__init__(records)
        self._read: list[str] = []

    async def read_all(self, *, after: Position, limit: int) -> Page:
        page = await super().read_all(after=after, limit=limit)
        self._read += [f"{event.position}: {event.data}" for event in page.events]
        return page


class HasAnIdWithSpaces(MemoryBackend):
    """The log's id does not fit a cursor."""

    @property
    def log_id(self) -> LogId:
        return LogId(f"my log {super().log_id}")


class BreaksWhenClosed(MemoryBackend):
    """What is used after closing fails by accident."""

    _open = True

    async def head(self) -> Position:
        if not self._open:
            raise AttributeError("'NoneType' object has no attribute 'execute'")
        return await super().head()

    async def close(self) -> None:
        self._open = False


class ClosesUnderReads(MemoryBackend):
    """A read that is under way finds its connection gone."""

    _open = True

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        was_open = self._open
        await asyncio.sleep(0)
        if was_open and not self._open:
            raise RuntimeError("cannot operate on a closed database")
        return await super().read_stream(stream, after=after, limit=limit)

    async def close(self) -> None:
        self._open = False


class LocksWhenCancelled(MemoryBackend):
    """A read that is cancelled never gives its connection back."""

    def __init__(self, records: MemoryRecords | None = None) -> None:
        super().__init__(records)
        self._free = 1

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        while not self._free:
            await asyncio.sleep(0)
        self._free -= 1
        await asyncio.sleep(0)
        self._free += 1
        return await super().read_stream(stream, after=after, limit=limit)


class HoldsReadsBack(MemoryBackend):
    """Reading in the middle of an append begins with the next one."""

    async def read_all(self, *, after: Position, limit: int) -> Page:
        inside = [e for e in self._records.events if e.position == after + 1 and e.index != 0]
        rest = [e.position for e in self._records.events if inside and e.append_id == inside[0].append_id]
        return await super().read_all(after=max([after, *rest]), limit=limit)


async def open_skipping_on_conflict(_: str) -> MemoryBackend:
    """The first of the planted, by a URL."""
    return SkipsOnConflict()


async def open_anywhere(_: str) -> MemoryBackend:
    """Opens, whatever its URL says, a log in memory."""
    return MemoryBackend()


def _moved(outcome: Outcome, first: Position) -> Outcome:
    if not isinstance(outcome, Appended):
        return outcome
    return replace(outcome, first=first, last=Position(first + outcome.last - outcome.first))


def _as_text(event: NewEvent) -> NewEvent:
    return replace(event, data=orjson.loads(orjson.dumps(event.data, default=str)))


def _cut(event: NewEvent) -> NewEvent:
    return replace(
        event, data={key: value[:4_000_000] if isinstance(value, str) else value for key, value in event.data.items()}
    )


def _copy(records: MemoryRecords) -> MemoryRecords:
    """Of what it holds, each container is another one; their items are the same."""
    copied = copy.copy(records)
    for each in fields(records):
        setattr(copied, each.name, copy.copy(getattr(records, each.name)))
    copied.streams = {name: list(events) for name, events in records.streams.items()}
    return copied
