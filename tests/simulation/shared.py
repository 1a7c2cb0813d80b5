"""A store that several servers share, as a database has it: commits are durable or did not happen, and what is beside the log is lost when
it crashes. Owns the way to it and back, which takes time and may break; and who led since when.

An answer that is lost may be that of a commit that happens later: the database has it, and goes on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from playhead.core.names import Position, StreamName, Version
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log.appends import encode
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.log.news import News
from playhead.ports.store import Append, Capability, Counted, Leading, Outcome, Page, Recorded, SharedBackend
from tests.simulation.backend import LOG_ID
from tests.simulation.fibers import Process, Schedule

BACK_AND_FORTH_SECONDS: Final = (0.0005, 0.005)  # one way to the database
LATEST_NEWS_SECONDS: Final = 2.0  # of those that are late
LATE_NEWS: Final = 0.1  # how likely they are

T = TypeVar("T")


@dataclass
class SharedDisk:
    """`on_commit` is told of events once they are durable, `on_lead` of each who takes the lead or keeps it.

    `unknown` is how likely a call that changes something ends without word, `deaf` that a server is not told of a commit of another.
    """

    schedule: Schedule
    rng: random.Random
    on_commit: Callable[[Sequence[Recorded]], None]
    unknown: float = 0.0
    deaf: float = 0.0
    on_lead: Callable[[Process], None] = lambda _process: None
    records: MemoryRecords = field(default_factory=lambda: MemoryRecords(log_id=LOG_ID))
    leader: Leading | None = None
    signs: dict[str, int] = field(default_factory=dict[str, int])  # by the number of the newest
    counted: int = 0
    away_until: float = 0.0
    cut_until: dict[str, float] = field(default_factory=dict[str, float])  # by the server's host
    listeners: list[DatabaseBackend] = field(default_factory=list["DatabaseBackend"])
    _told: int = 0

    def open(self, process: Process, /) -> DatabaseBackend:
        return DatabaseBackend(self, process)

    def crash(self, seconds: float) -> None:
        """It is away for so long, and what is not in the log is gone. Its numbers go on: they begin at its clock."""
        self.schedule.trace.append((self.schedule.now, "store", f"crashes, and is away for {seconds:.2f} s"))
        self.away_until = max(self.away_until, self.schedule.now + seconds)
        self.leader = None
        self.signs.clear()

    def cut_off(self, host: str, seconds: float) -> None:
        self.schedule.trace.append((self.schedule.now, "store", f"{host} cut off for {seconds:.2f} s"))
        self.cut_until[host] = max(self.cut_until.get(host, 0.0), self.schedule.now + seconds)

    def heal(self) -> None:
        self.unknown = self.deaf = self.away_until = 0.0
        self.cut_until.clear()

    def is_away(self, host: str) -> bool:
        return max(self.away_until, self.cut_until.get(host, 0.0)) > self.schedule.now

    def write(self, backend: DatabaseBackend, batch: Sequence[Append]) -> list[Outcome]:
        """At once, whole and durable; then those who listen are told."""
        outcomes = backend.carry_out(batch)
        news, self._told = self.records.events[self._told :], len(self.records.events)
        if news:
            self.on_commit(news)
            self.listeners = [each for each in self.listeners if not each.process.dead]
            for listener in self.listeners:
                self._tell(listener, news[-1].position, at_once=listener is backend)
        return outcomes

    def _tell(self, listener: DatabaseBackend, head: Position, *, at_once: bool) -> None:
        if not at_once and (self.is_away(listener.process.host) or self.rng.random() < self.deaf):
            return
        latest = LATEST_NEWS_SECONDS if self.rng.random() < LATE_NEWS and not at_once else BACK_AND_FORTH_SECONDS[1]
        self.schedule.at(self.schedule.now + self.rng.uniform(0.0, latest), partial(listener.hear_news, head))


class DatabaseBackend(MemoryBackend, SharedBackend):
    """One server's connections to it. Each call may be its last act, before or behind what the database does."""

    def __init__(self, disk: SharedDisk, process: Process) -> None:
        super().__init__(disk.records)
        self._disk = disk
        self._loop = asyncio.get_running_loop()
        self._heard = News(Position(len(disk.records.events)))
        self.process = process
        disk.listeners.append(self)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.SHARED, Capability.WAKES, Capability.DENSE})

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        told = ", ".join(event.type for append in batch for event in append.events)
        return await self._change(f"commit {told}", lambda: self._disk.write(self, batch))

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        await self._go("read a stream")
        events = await super().read_stream(stream, after=after, limit=limit)
        return await self._come(events)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        await self._go("read")
        return await self._come(await super().read_all(after=after, limit=limit))

    async def head(self) -> Position:
        await self._go("head")
        return await self._come(await super().head())

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._heard.wait(after, timeout_seconds)

    # --- beside the log ---------------------------------------------------------------------------------------------------

    async def leading(self) -> Leading | None:
        await self._go("leading")
        return await self._come(self._disk.leader)

    async def lead(self, server: str, *, after: int) -> int | None:
        return await self._change("lead", lambda: self._lead(server, after))

    async def hear(self, signs: Collection[str]) -> None:
        await self._change("hear", lambda: self._count(signs))

    async def heard(self, *, after: int) -> Counted:
        await self._go("heard")
        disk = self._disk
        keys = frozenset(key for key, number in disk.signs.items() if number > after)
        return await self._come(Counted(keys, disk.counted if disk.signs else 0))

    async def close(self) -> None:
        self._disk.listeners.remove(self)

    def hear_news(self, head: Position) -> None:
        if not self.process.dead and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._heard.tell, head)

    def carry_out(self, batch: Sequence[Append]) -> list[Outcome]:
        """What the database does with a batch, in no time."""
        bodies = [encode(append) for append in batch]
        return [self._append(append, body) for append, body in zip(batch, bodies, strict=True)]

    def _lead(self, server: str, after: int) -> int | None:
        leader = self._disk.leader
        if after != (leader.term if leader is not None else 0):
            return None
        term = after + 1 if leader is not None else round(self._disk.schedule.now * 1e6) + 1
        self._disk.leader = Leading(server, term)
        if server:
            self._disk.on_lead(self.process)
        return term

    def _count(self, signs: Collection[str]) -> None:
        self._disk.counted += 1
        self._disk.signs.update(dict.fromkeys(signs, self._disk.counted))

    # --- the way ----------------------------------------------------------------------------------------------------------

    async def _change(self, what: str, change: Callable[[], T]) -> T:
        """Carry it out once, or not; without word it may also be carried out later."""
        await self._go(what)
        disk = self._disk
        if disk.rng.random() < disk.unknown:
            match disk.rng.choice(("never", "now", "later")):
                case "now":
                    change()
                case "later":
                    disk.schedule.at(
                        disk.schedule.now + disk.rng.uniform(0.0, LATEST_NEWS_SECONDS), partial(_do, change)
                    )
                case _:
                    pass
            raise OutcomeUnknown("the connection to the database broke", hint="this is simulated")
        done = change()
        disk.schedule.pause(f"did {what}")
        await asyncio.sleep(disk.rng.uniform(*BACK_AND_FORTH_SECONDS))
        if disk.is_away(self.process.host):
            raise OutcomeUnknown("the connection to the database broke", hint="this is simulated")
        return done

    async def _go(self, what: str) -> None:
        disk = self._disk
        disk.schedule.pause(what)
        await asyncio.sleep(disk.rng.uniform(*BACK_AND_FORTH_SECONDS))
        if disk.is_away(self.process.host):
            raise LogUnusable("the database cannot be reached", hint="this is simulated")

    async def _come(self, answer: T) -> T:
        disk = self._disk
        await asyncio.sleep(disk.rng.uniform(*BACK_AND_FORTH_SECONDS))
        if disk.is_away(self.process.host):
            raise LogUnusable("the connection to the database broke", hint="this is simulated")
        return answer


def _do(change: Callable[[], object]) -> None:
    change()
