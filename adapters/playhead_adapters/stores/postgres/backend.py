"""The log in PostgreSQL: one writer's connection, a few readers', and one that listens. No SQL here.

A commit is one call of a function in the database, and a transaction of its own, under way in its own task: a caller that is
cancelled leaves it to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.log import News
from playhead.log.ranges import Range
from playhead.ports.store import (
    Append,
    Capability,
    Counted,
    ForgettingBackend,
    Kept,
    Leading,
    Outcome,
    Page,
    Recorded,
    RestoringBackend,
    SharedBackend,
)
from playhead_adapters.stores.postgres import keeping
from playhead_adapters.stores.postgres.address import Address, parse
from playhead_adapters.stores.postgres.connections import PREPARE_AT_ONCE, Connection, check_sessions, connect, run
from playhead_adapters.stores.postgres.listening import listen
from playhead_adapters.stores.postgres.migrations import FORMAT, open_log
from playhead_adapters.stores.postgres.readers import Readers
from playhead_adapters.stores.postgres.rows import events_of
from playhead_adapters.stores.postgres.witness import Witness
from playhead_adapters.stores.postgres.writer import Writer

CAPABILITIES: Final = frozenset(Capability)  # all there are


class PostgresBackend(SharedBackend, ForgettingBackend, RestoringBackend):
    """Opened by `PostgresBackend.open`. Lives on the event loop that opened it."""

    def __init__(self, address: Address, log_id: LogId, writing: Connection, reading: Connection) -> None:
        self._address = address
        self._news = News(Position(0))
        self._witness = Witness(address, log_id)
        self._writer = Writer(address, self._witness, writing)
        self._readers = Readers(address, self._witness, reading)
        self._listening = asyncio.create_task(listen(self._witness.connect, address.channel, self._news))
        self._commits: set[asyncio.Task[list[Outcome]]] = set()

    @classmethod
    async def open(cls, address: Address) -> PostgresBackend:
        """Open the log at `address`; a new one is made where there is none, and one of an older format is brought forward.

        LogUnusable: it cannot be reached, is of a newer format, or its server must not be trusted with a log.
        """
        async with AsyncExitStack() as opened:
            writing = await connect(address)
            opened.push_async_callback(writing.close)
            log_id = await open_log(writing, address)
            reading = await connect(address)
            opened.push_async_callback(reading.close)
            await check_sessions(address, writing, reading)
            writing.prepare_threshold = reading.prepare_threshold = PREPARE_AT_ONCE
            opened.pop_all()
        return cls(address, log_id, writing, reading)

    @property
    def log_id(self) -> LogId:
        return self._witness.log_id

    @property
    def capabilities(self) -> frozenset[Capability]:
        return CAPABILITIES

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        work = asyncio.create_task(self._commit(batch))
        self._commits.add(work)
        work.add_done_callback(self._ended)
        return await asyncio.shield(work)

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        if "\0" in stream:  # which no stream here can have in its name, and no statement takes
            return []
        found, names = await self._readers.appends("read_stream", {"stream": stream, "after": after, "limit": limit})
        return events_of(self._address, found, names, by_version=True, after=after, limit=limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        found, names = await self._readers.appends("read_all", {"after": after, "limit": limit})
        events = tuple(events_of(self._address, found, names, by_version=False, after=after, limit=limit))
        return Page(events, events[-1].position if events else after)

    async def head(self) -> Position:
        ((head,),) = await self._readers.rows("head")
        return Position(head)

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._news.wait(after, timeout_seconds)

    @property
    def format(self) -> int:
        return FORMAT

    async def sizes(self) -> Mapping[str, int]:
        """Bytes on the database's disk, without its write-ahead log."""
        ((tables, indexes),) = await self._readers.rows("sizes")
        return {"tables": tables, "indexes": indexes}

    async def leading(self) -> Leading | None:
        found = await self._readers.rows("leading")
        return Leading(*found[0]) if found else None

    async def lead(self, server: str, *, after: int) -> int | None:
        name = "lead" if after == 0 else "lead_on"
        found = await self._readers.rows(name, {"server": server, "after": after})
        return found[0][0] if found else None

    async def hear(self, signs: Collection[str]) -> None:
        if signs:
            await self._readers.use(partial(_hear, signs=signs))

    async def heard(self, *, after: int) -> Counted:
        numbers: dict[str, int] = dict(await self._readers.rows("heard", {"after": after}))
        upto = numbers.pop("", 0)
        if upto < after:  # the table was lost, and the database's clock was put back
            return await self.heard(after=0)
        return Counted(frozenset(numbers), upto)

    async def forget(self, stream: StreamName, *, upto: Version) -> int:
        return await self._readers.use(partial(keeping.forget, stream=stream, upto=upto))

    async def is_forgotten(self, position: Position) -> bool:
        ((forgotten,),) = await self._readers.rows("is_forgotten", {"position": position})
        return bool(forgotten)

    async def read_kept(self, *, after: Position, limit: int) -> Sequence[Kept]:
        return await self._readers.use(partial(keeping.read_kept, address=self._address, after=after, limit=limit))

    async def forgotten(self) -> Sequence[Range]:
        return await self._readers.use(keeping.forgotten)

    async def restore(self, log_id: LogId, kept: Sequence[Kept], forgotten: Sequence[Range] = ()) -> None:
        call = partial(keeping.restore, address=self._address, log_id=log_id, kept=kept, ranges=forgotten)
        self._news.tell(await self._readers.use(call))
        self._witness.log_id = log_id

    async def close(self) -> None:
        """Let what is under way end, then close every connection."""
        self._listening.cancel()
        await asyncio.wait([self._listening])
        if self._commits:
            await asyncio.wait(self._commits)
        await self._writer.close()
        await self._readers.close()

    async def _commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes, head = await self._writer.write(batch)
        self._news.tell(head)
        return outcomes

    def _ended(self, work: asyncio.Task[Any]) -> None:
        self._commits.discard(work)
        if not work.cancelled():
            work.exception()  # looked at: the caller may have left


async def _hear(connection: Connection, *, signs: Collection[str]) -> None:
    await run(connection, "hear", {"keys": sorted(set(signs))})
    await run(connection, "forget_signs")


async def open_url(url: str) -> PostgresBackend:
    """`postgresql://user@host:port/database`, with libpq's own parameters, and `schema` for where the log's tables are."""
    return await PostgresBackend.open(parse(url))
