"""Reads of the log: a few connections, each read a transaction of its own. Owns them, and that a lost one is made anew; never appends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

import psycopg
from psycopg.rows import TupleRow

from playhead.errors import LogUnusable
from playhead_adapters.stores.postgres import faults
from playhead_adapters.stores.postgres.address import Address
from playhead_adapters.stores.postgres.arrays import Int8s
from playhead_adapters.stores.postgres.connections import Connection, answered_in_time, rows
from playhead_adapters.stores.postgres.rows import Row, nameless
from playhead_adapters.stores.postgres.witness import Witness

READERS: Final = 4  # reads side by side; each is a process of the server's
KNOWN_NAMES: Final = 50_000  # that are remembered of each connection's; then from scratch

T = TypeVar("T")


class Readers:
    """Connections that lie idle, and the right to use them. What is asked of them may be asked twice: a lost connection is no error."""

    def __init__(self, address: Address, witness: Witness, connection: Connection) -> None:
        self._address = address
        self._witness = witness
        # A number stands for its name for ever, but in another history it may stand for another: what a connection told holds with it.
        self._names: WeakKeyDictionary[Connection, dict[int, str]] = WeakKeyDictionary()
        self._idle: deque[Connection] = deque([connection])
        self._room = asyncio.Semaphore(READERS)
        self._work: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def rows(self, name: str, values: Mapping[str, Any] | None = None) -> list[TupleRow]:
        """The rows of a named statement. Cancelling this throws them away."""
        return await self.use(lambda connection: rows(connection, name, values))

    async def appends(self, name: str, values: Mapping[str, Any]) -> tuple[list[Row], Mapping[int, str]]:
        """The rows of a named statement that reads appends, and the names that their numbers stand for."""
        return await self.use(lambda connection: self._appends(connection, name, values))

    async def use(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `call` on a connection; a second time, if the first was lost under it. LogUnusable: no answer, or an error for one."""
        task = asyncio.create_task(self._use(call))
        self._work.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Let what is under way end, then close what is open."""
        self._closed = True
        if self._work:
            await asyncio.wait(self._work)
        while self._idle:
            await self._idle.popleft().close()

    async def _appends(
        self, connection: Connection, name: str, values: Mapping[str, Any]
    ) -> tuple[list[Row], Mapping[int, str]]:
        found = cast("list[Row]", await rows(connection, name, values))
        names = self._names.setdefault(connection, {})
        numbers = {row[1] for row in found} | {row[5] for row in found}  # streams and actors
        missing = numbers.difference(names)
        if missing and len(names) > KNOWN_NAMES:
            names = self._names[connection] = {}
            missing = numbers
        if missing:
            names.update(await rows(connection, "read_names", {"numbers": Int8s(list(missing))}))
            if not names.keys() >= missing:
                raise nameless(self._address)
        return found, names

    async def _use(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._room:
            if self._closed:
                raise LogUnusable(f"the log at {self._address} is closed", hint="read it while it is open")
            while True:
                connection, used = (self._idle.pop(), True) if self._idle else (await self._witness.connect(), False)
                try:
                    with answered_in_time(connection):
                        answer = await call(connection)
                except faults.TRY_AGAIN:  # a change of the log's format went by
                    self._idle.append(connection)
                    continue
                except psycopg.Error as error:
                    if connection.closed or faults.lost(connection, error):
                        await connection.close()
                        if used:
                            continue  # it was lost while it lay idle, perhaps with all others: those are thrown away one by one
                    else:
                        self._idle.append(connection)
                    raise faults.unusable(self._address, error) from error
                except BaseException:
                    await connection.close()
                    raise
                self._idle.append(connection)
                return answer

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: the caller may have left
