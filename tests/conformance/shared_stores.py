"""A log in memory that several backends of one process have open, with every capability; and the same with one bug each. Only for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.log.chain import FIRST
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.log.ranges import Range
from playhead.ports.store import (
    Append,
    Appended,
    Capability,
    Conflict,
    Counted,
    Expect,
    Kept,
    Leading,
    Outcome,
    Page,
    Recorded,
    SharedBackend,
)


@dataclass
class Common(MemoryRecords):
    """What all backends of a log share, and what some of the planted bugs remember."""

    leading: Leading | None = None
    signs: dict[str, int] = field(default_factory=dict[str, int])  # by the number of the newest
    counted: int = 0
    backends: list[SharedMemory] = field(default_factory=list["SharedMemory"])
    burned: Position = Position(0)
    hidden: set[Position] = field(default_factory=set[Position])


class SharedMemory(MemoryBackend, SharedBackend):
    """The healthy one."""

    def __init__(self, records: Common) -> None:
        self._common = records
        super().__init__(records)
        records.backends.append(self)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.SHARED, Capability.WAKES}

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        for backend in self._common.backends:
            backend.tell(self._head())
        return outcomes

    def tell(self, head: Position) -> None:
        self._news.tell(head)

    async def leading(self) -> Leading | None:
        return self._common.leading

    async def lead(self, server: str, *, after: int) -> int | None:
        term = self._common.leading.term if self._common.leading is not None else 0
        if term != after:
            return None
        self._common.leading = Leading(server, after + 1)
        return after + 1

    async def hear(self, signs: Collection[str]) -> None:
        self._common.counted += 1
        self._common.signs.update(dict.fromkeys(signs, self._common.counted))

    async def heard(self, *, after: int) -> Counted:
        return Counted(frozenset(k for k, n in self._common.signs.items() if n > after), self._common.counted)

    async def close(self) -> None:
        self._common.backends.remove(self)


# --- DENSE and CHAINED ------------------------------------------------------------------------------------------------


class BurnsPositions(SharedMemory):
    """A conflict uses up a position, as it does with a sequence of a database."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        if any(isinstance(outcome, Conflict) for outcome in outcomes):
            self._common.burned = Position(self._head() + 1)
        return outcomes

    async def head(self) -> Position:
        return super()._head()

    def _head(self) -> Position:
        return max(super()._head(), self._common.burned)


class ChainsNothing(SharedMemory):
    """Each link covers its own append only."""

    def _link(self) -> bytes:
        return FIRST


# --- SHARED and WAKES -------------------------------------------------------------------------------------------------


class ShowsLate(SharedMemory):
    """Positions are given when a commit begins, and its events seen when it ends: the longer it is the later."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        taken = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
        mine = {Position(at) for outcome in taken for at in range(outcome.first, outcome.last + 1)}
        self._common.hidden |= mine
        for _ in mine:
            await asyncio.sleep(0)
        self._common.hidden -= mine
        return outcomes

    async def read_all(self, *, after: Position, limit: int) -> Page:
        page = await super().read_all(after=after, limit=limit)
        events = tuple(event for event in page.events if event.position not in self._common.hidden)
        return Page(events, events[-1].position if events else after)


class LooksAtItsOwnVersions(SharedMemory):
    """Checks what is expected against what it wrote itself."""

    def __init__(self, records: Common) -> None:
        super().__init__(records)
        self._versions: dict[StreamName, Version] = {}

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        believed = [append.expected == self._versions.get(append.stream, 0) for append in batch]
        batch = [replace(a, expected=Expect.ANY) if fits else a for a, fits in zip(batch, believed, strict=True)]
        outcomes = await super().commit(batch)
        for append, outcome in zip(batch, outcomes, strict=True):
            self._versions[append.stream] = outcome.actual if isinstance(outcome, Conflict) else outcome.version
        return outcomes


class KnowsItsOwnAppends(SharedMemory):
    """Knows an append again if it was this backend that wrote it."""

    def __init__(self, records: Common) -> None:
        super().__init__(records)
        self._own: set[str] = set()

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        for append in batch:
            if append.append_id not in self._own:
                self._common.appends.pop((append.stream, append.append_id), None)
        self._own |= {append.append_id for append in batch}
        return await super().commit(batch)


class ReadsItsOwnCopy(SharedMemory):
    """Sees what others write once it was told of it."""

    def __init__(self, records: Common) -> None:
        super().__init__(records)
        self._seen = self._head()

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        self._seen = self._head()
        return outcomes

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await super().wait_for_news(after, timeout_seconds)
        self._seen = self._head()

    async def head(self) -> Position:
        return self._seen


class TellsItselfOnly(SharedMemory):
    """Others' commits are no news."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        return await MemoryBackend.commit(self, batch)


class LetsEveryoneLead(SharedMemory):
    """Whoever asks leads."""

    async def lead(self, server: str, *, after: int) -> int | None:
        self._common.leading = Leading(server, after + 1)
        return after + 1


class CountsOnce(SharedMemory):
    """A sign that is known already is not counted again."""

    async def hear(self, signs: Collection[str]) -> None:
        await super().hear([sign for sign in signs if sign not in self._common.signs])


class NumbersAreDrawnBefore(SharedMemory):
    """A sign's number is drawn when it is asked to count, and may come to be seen below one that was read."""

    async def hear(self, signs: Collection[str]) -> None:
        self._common.counted += 1
        number = self._common.counted
        for _ in range(number % 3):
            await asyncio.sleep(0)
        self._common.signs.update(dict.fromkeys(signs, number))


# --- FORGETS ----------------------------------------------------------------------------------------------------------


class ForgetsAllOfIt(SharedMemory):
    """Removes the whole stream, however far was asked."""

    async def forget(self, stream: StreamName, *, upto: Version) -> int:
        events = self._common.streams.get(stream, [])
        return await super().forget(stream, upto=events[-1].version if events else upto)


class BeginsAgain(SharedMemory):
    """A stream that was forgotten is a new one."""

    async def forget(self, stream: StreamName, *, upto: Version) -> int:
        count = await super().forget(stream, upto=upto)
        if not self._common.streams[stream]:
            self._common.floors.pop(stream, None)
        return count


class GivesPositionsAgain(SharedMemory):
    """The next position is the one behind the newest event that is left."""

    def _head(self) -> Position:
        return self._common.events[-1].position if self._common.events else Position(0)


class DeniesWhatItForgot(SharedMemory):
    """Keeps no record of what was removed."""

    async def is_forgotten(self, position: Position) -> bool:
        return False


class StopsAtAHole(SharedMemory):
    """Reads up to where something was forgotten, and no further."""

    async def read_all(self, *, after: Position, limit: int) -> Page:
        page = await super().read_all(after=after, limit=limit)
        events: list[Recorded] = []
        for wanted, event in enumerate(page.events, after + 1):
            if event.position != wanted and any(first <= wanted <= last for first, last, _ in self._common.forgotten):
                break
            events.append(event)
        return Page(tuple(events), events[-1].position if events else after)


# --- RESTORES ---------------------------------------------------------------------------------------------------------


class KeepsNoJournal(SharedMemory):
    """A copy does not say which record of which journal an event was."""

    async def read_kept(self, *, after: Position, limit: int) -> Sequence[Kept]:
        kept = await super().read_kept(after=after, limit=limit)
        return [replace(each, append=replace(each.append, epoch=None, first_seq=None)) for each in kept]


class RestoresUnderItsOwnId(SharedMemory):
    """A copy is a log of its own."""

    async def restore(self, log_id: LogId, kept: Sequence[Kept], forgotten: Sequence[Range] = ()) -> None:
        await super().restore(self.log_id, kept, forgotten)


class TakesOverAnything(SharedMemory):
    """Whatever is there, and whatever is given."""

    async def restore(self, log_id: LogId, kept: Sequence[Kept], forgotten: Sequence[Range] = ()) -> None:
        await self.commit([replace(each.append, expected=Expect.ANY) for each in kept])
        self._common.log_id = log_id
