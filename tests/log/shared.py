"""A shared log in memory: what several servers on one log ask of a backend, for tests of them in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from playhead.core.names import Position, StreamName, Version
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.log.news import News
from playhead.ports.store import Append, Capability, Counted, Leading, Outcome, Page, Recorded, SharedBackend


@dataclass
class SharedRecords(MemoryRecords):
    """What the servers have in common."""

    leader: Leading | None = None
    term: int = 0
    signs: dict[str, int] = field(default_factory=dict[str, int])  # by the number of the newest
    counted: int = 0
    news: list[News] = field(default_factory=list[News])

    def forget_what_is_not_in_the_log(self) -> None:
        self.leader = None
        self.signs.clear()


class SharedMemory(MemoryBackend, SharedBackend):
    """One server's. While it is `cut_off` every call is an error, while it is `behind` it cannot follow the log;
    `lose_an_answer`: the next `lead` is carried out, and its answer lost. A commit waits until it `may_commit`."""

    def __init__(self, records: SharedRecords) -> None:
        super().__init__(records)
        self._shared = records
        self._own_news = News(records.events[-1].position if records.events else Position(0))
        records.news.append(self._own_news)
        self.cut_off = False
        self.behind = False
        self.lose_an_answer = False
        self.may_commit, self.asked_to_commit = asyncio.Event(), asyncio.Event()
        self.may_commit.set()

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.SHARED, Capability.WAKES, Capability.DENSE})

    async def leading(self) -> Leading | None:
        self._check()
        return self._shared.leader

    async def lead(self, server: str, *, after: int) -> int | None:
        self._check()
        leader = self._shared.leader
        if after != (leader.term if leader is not None else 0):
            return None
        self._shared.term += 1  # also where the leader was forgotten
        self._shared.leader = Leading(server, self._shared.term)
        if self.lose_an_answer:
            self.lose_an_answer = False
            raise OutcomeUnknown("the connection was lost")
        return self._shared.term

    async def hear(self, signs: Collection[str]) -> None:
        self._check()
        self._shared.counted += 1
        self._shared.signs.update(dict.fromkeys(signs, self._shared.counted))

    async def heard(self, *, after: int) -> Counted:
        self._check()
        return Counted(frozenset(k for k, n in self._shared.signs.items() if n > after), self._shared.counted)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self._check()
        self.asked_to_commit.set()
        await self.may_commit.wait()
        outcomes = await super().commit(batch)
        for news in self._shared.news:
            news.tell(await super().head())
        return outcomes

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        self._check()
        return await super().read_stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        self._check()
        if self.behind:
            raise LogUnusable("the read was given up")
        return await super().read_all(after=after, limit=limit)

    async def head(self) -> Position:
        self._check()
        return await super().head()

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._own_news.wait(after, timeout_seconds)

    async def close(self) -> None:
        self._shared.news.remove(self._own_news)

    def _check(self) -> None:
        if self.cut_off:
            raise LogUnusable("the connection was lost")
