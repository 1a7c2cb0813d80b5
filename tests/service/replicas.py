"""Several services on one log, each with a clock of its own: they go on together, and one can be stopped, cut off or ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from playhead.core.names import Position
from playhead.log import Log
from playhead.service import Service, ServiceSettings
from playhead.testing.clock import START, VirtualClock
from tests.log.shared import SharedMemory, SharedRecords
from tests.service.world import World

STEP_SECONDS: Final = 0.25  # in which the clocks go on by turns: how far two servers may be apart

T = TypeVar("T")


class Replica:
    """One server of several. Its services live in a task of their own, so that any of them may end before the others."""

    def __init__(self, world: World, backend: SharedMemory, ending: asyncio.Event) -> None:
        self.world = world
        self.backend = backend
        self.ending = ending
        self.ended = asyncio.Event()
        self.stopped = False
        self._missed = 0.0
        self._seen = Position(0)

    @property
    def leads(self) -> bool:
        return self.world.service.leads

    def miss(self, seconds: float) -> None:
        """Time passes in which this one stands still."""
        self._missed += seconds

    def go_on(self) -> None:
        """It stood still, and notices nothing but its clocks."""
        self.stopped = False
        self.world.clock.stall(self._missed)
        self._missed = 0.0

    def die(self) -> None:
        """It does nothing any more, and could tell nobody."""
        self.stopped = self.backend.cut_off = True

    async def end(self) -> None:
        """In good order."""
        self.stopped = True
        self.ending.set()
        await self.ended.wait()

    async def see(self) -> None:
        """Its read models see what is in the log."""
        head = await self.world.log.head()
        if head > self._seen:
            await self.world.service.flows(after=head)
            self._seen = head


class Replicas:
    def __init__(self, servers: list[Replica], records: SharedRecords) -> None:
        self.servers = servers
        self.records = records

    def __getitem__(self, index: int) -> World:
        return self.servers[index].world

    @property
    def leader(self) -> Replica:
        (leader,) = (server for server in self.servers if server.leads and not server.stopped)
        return leader

    @property
    def others(self) -> list[Replica]:
        return [server for server in self.servers if not server.leads and not server.stopped]

    async def advance(self, seconds: float) -> None:
        """Let time pass for all of them, and each see what is in the log; never do two lead at once."""
        for _ in range(round(seconds / STEP_SECONDS)):
            for server in self.servers:
                if server.stopped:
                    server.miss(STEP_SECONDS)
                else:
                    await server.world.clock.advance(STEP_SECONDS)
                    if not (server.backend.cut_off or server.backend.behind):
                        await server.see()
            assert sum(server.leads for server in self.servers if not server.stopped) <= 1

    async def of(self, request: Coroutine[Any, Any, T]) -> T:
        """The answer of a request that may take some of the clocks' time."""
        answer = asyncio.ensure_future(request)
        while not answer.done():
            await self.advance(STEP_SECONDS)
        return await answer


@asynccontextmanager
async def open_replicas(number: int = 3, settings: ServiceSettings | None = None) -> AsyncGenerator[Replicas]:
    """They have been together for long enough that one of them leads."""
    records, servers = SharedRecords(), list[Replica]()
    async with asyncio.TaskGroup() as tasks:
        for seed in range(number):
            opened: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
            tasks.create_task(_serve(SharedMemory(records), VirtualClock(START, seed=seed), settings, opened))
            servers.append(await opened)
        replicas = Replicas(servers, records)
        try:
            await replicas.advance(1)
            yield replicas
        finally:
            for server in servers:
                server.ending.set()


async def _serve(
    backend: SharedMemory, clock: VirtualClock, settings: ServiceSettings | None, opened: asyncio.Future[Replica]
) -> None:
    async with Log.open(backend) as log, Service(log, settings=settings, clock=clock) as service:
        replica = Replica(World(service, log, clock), backend, asyncio.Event())
        opened.set_result(replica)
        await replica.ending.wait()
    replica.ended.set()
