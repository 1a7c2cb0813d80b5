"""A server in memory with one flow, the user's side of it, and a machine whose runners do what the test says."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from playhead.agent.base import Agent
from playhead.agent.infrastructure import Exit, Infrastructure, Launched, LostSight
from playhead.agent.pace import Pace
from playhead.agent.user_side import UserSide
from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.core.views import RunView
from playhead.log import Log
from playhead.ports.server import ReportRequest, RunRequest, ServerApi, StartRequest
from playhead.ports.storage import Storage
from playhead.ports.store import Recorded
from playhead.runner.bootstrap import RunnerOrder
from playhead.service.service import Service
from playhead.storage.memory import MemoryStorage
from playhead.trust.keys import KeyRing, MasterKey
from playhead.trust.ticket import AskedTicket, write_asked
from tests.stores import new_backend

FLOW = "census"
SEAL = "5ea1" * 8
URL = "http://127.0.0.1:9"
# Slow where nothing is expected, so that whatever happens was caused by an event; without rest, so that tries follow at once.
PACE = Pace(
    beat_seconds=3600, safety_seconds=3600, rest_first_seconds=0, retry_first_seconds=0.001, retry_most_seconds=0.001
)


@dataclass(frozen=True)
class World:
    api: Service
    storage: Storage
    keys: KeyRing

    async def ask(
        self,
        *,
        labels: tuple[str, ...] = (),
        ticket: bool = True,
        signed_flow: str | None = None,
        flow: str = FLOW,
        seal: str = SEAL,
    ) -> str:
        """A run that somebody asked for; with its ticket, unless nobody with the key did."""
        run = secrets.token_hex(16)
        if ticket:
            signed = AskedTicket(run=run, flow=signed_flow or flow, seal=seal, parameters=b"", labels=labels)
            write_asked(self.storage, signed, self.keys.run_key(run))
        await self.api.ask_run(RunRequest(run=run, flow=flow, seal=seal, labels=labels))
        return run

    async def until(self, run: str, holds: Callable[[RunView], bool]) -> RunView:
        """The run, once this holds; looked at again after whatever the log tells."""
        async with self.api.events() as pages:
            async for page in pages:
                for event in page.events:
                    if event.stream.endswith(run):
                        view = await self.api.run(run, at=event.version)
                        if holds(view):
                            return view
        raise AssertionError("the stream of events never ends")

    async def story(self, run: str) -> list[str]:
        return [event.type async for event in self.api.history(run)]

    async def event(self, run: str, type_name: str) -> Recorded:
        """The newest event of that type."""
        return [event async for event in self.api.history(run) if event.type == type_name][-1]

    async def begins(self, order: RunnerOrder) -> None:
        """The first act of a runner."""
        request = StartRequest(
            epoch=order.epoch, grant=order.grant, storage=order.storage_id, python="3.11", key_scheme=KEY_SCHEME
        )
        await self.api.start(order.run, request)

    async def succeeds(self, order: RunnerOrder) -> None:
        """All that a runner of a flow without tasks reports."""
        events: tuple[ev.Event, ...] = (ev.JournalAdopted(at=1), ev.RunSucceeded(at=2, mac="A" * 22, size=1))
        await self.begins(order)
        request = ReportRequest(
            epoch=order.epoch,
            grant=order.grant,
            origin=order.epoch,
            first_seq=0,
            events=tuple((event.TYPE, event.SCHEMA, ev.encode(event)) for event in events),
        )
        await self.api.report(order.run, request)


@asynccontextmanager
async def a_world(storage: Storage | None = None, keys: KeyRing | None = None) -> AsyncGenerator[World, None]:
    async with Log.open(await new_backend()) as log, Service(log) as api:
        world = World(api, storage or MemoryStorage(), keys or KeyRing(MasterKey.random()))
        registered = ev.FlowRegistered(
            flow=FLOW,
            seal=SEAL,
            sealed_by=ev.SealedBy.MODULE,
            executor="thread",
            run_config="universal",
            storage=world.storage.id,
            key_id=world.keys.current.id,
        )
        await api.register_flow(registered)
        yield world


class MachineRunner(Launched):
    """A runner that ends when it is told to, by the test or by the agent; one that is `deaf` only by a kill."""

    def __init__(self, order: RunnerOrder, machine: Machine) -> None:
        self._machine = machine
        self._ended = anyio.Event()
        self._end: Exit | LostSight = Exit()
        self.order = order
        self.deaf = False

    @property
    def run(self) -> str:
        return self.order.run

    @property
    def epoch(self) -> int:
        return self.order.epoch

    @property
    def output(self) -> str:
        return "nowhere"

    async def wait(self) -> Exit | LostSight:
        await self._ended.wait()
        return self._end

    async def terminate(self) -> None:
        if not self.deaf:
            self.end(Exit(signal=15))

    async def kill(self) -> None:
        self.end(Exit(signal=9))

    async def forget(self, *, keep_output: bool) -> None:
        del self._machine.running[self.run, self.epoch]
        await self._machine.note()

    def end(self, how: Exit | LostSight) -> None:
        if not self._ended.is_set():
            self._end = how
            self._ended.set()


class Machine(Infrastructure):
    """Where runners live, longer than agents do."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, int], MachineRunner] = {}
        self.launches: list[MachineRunner] = []
        self.most_at_once = 0
        self.refusal: Exception | None = None
        self._changed = anyio.Condition()

    @property
    def kind(self) -> str:
        return "local"

    async def launch(self, order: RunnerOrder) -> Launched:
        await anyio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        runner = MachineRunner(order, self)
        assert (order.run, order.epoch) not in self.running
        self.running[order.run, order.epoch] = runner
        self.launches.append(runner)
        self.most_at_once = max(self.most_at_once, len(self.running))
        await self.note()
        return runner

    async def survivors(self) -> Sequence[Launched]:
        return list(self.running.values())

    async def tend(self) -> None:
        return

    async def note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def launched(self, count: int) -> MachineRunner:
        """The newest runner, once so many have been launched since the machine began."""
        await self._until(lambda: len(self.launches) >= count)
        return self.launches[count - 1]

    async def emptied(self) -> None:
        await self._until(lambda: not self.running)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with self._changed:
            while not holds():
                await self._changed.wait()


def an_agent(
    world: World,
    machine: Infrastructure,
    *,
    api: ServerApi | None = None,
    name: str = "brisk-otter-4f2a",
    labels: tuple[str, ...] = (),
    capacity: int = 4,
    pace: Pace = PACE,
    stop_runners: bool = False,
) -> Agent:
    user_side = UserSide([world.storage], world.keys)
    return Agent(
        api or world.api,
        server_url=URL,
        infrastructure=machine,
        user_side=user_side,
        joined=ev.AgentJoined(
            agent=name,
            kind="local",
            labels=labels,
            capacity=capacity,
            storages=user_side.storage_ids,
            key_ids=user_side.key_ids,
            python="3.11",
            version="0.1.0",
        ),
        pace=pace,
        stop_runners=stop_runners,
    )


@asynccontextmanager
async def at_work(*agents: Agent) -> AsyncGenerator[None, None]:
    """Agents that have joined, until the block ends."""
    async with anyio.create_task_group() as tasks:
        for agent in agents:
            await tasks.start(agent.run)
        yield
        tasks.cancel_scope.cancel()
