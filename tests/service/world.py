"""A small world to test the service in: a log in memory, a clock that moves when told, and short words for requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.core.names import Position
from playhead.log import Log
from playhead.log.memory import MemoryRecords
from playhead.ports.server import (
    Accepted,
    AgentHello,
    Claimed,
    ClaimRequest,
    EmbeddedRunRequest,
    HeartbeatRequest,
    Reported,
    ReportRequest,
    RunRequest,
    Started,
    StartRequest,
)
from playhead.ports.store import EventStore, Recorded
from playhead.service import Service, ServiceSettings
from playhead.testing.clock import VirtualClock
from tests.stores import backend_of

SEAL, STORAGE, KEY_ID = "5e" * 8, "57" * 8, "6b" * 8
MAC = "m" * 22

ADOPTED = ("journal.adopted", 1, {"at": 1})
SUCCEEDED = ("run.succeeded", 1, {"at": 2, "mac": MAC, "size": 1})


def run_id(number: int) -> str:
    return f"{number:032x}"


def submitted(key: str) -> tuple[str, int, dict[str, Any]]:
    return ("task.submitted", 1, {"at": 1, "key": key, "name": "parse"})


def flow(
    name: str = "census", *, seal: str = SEAL, schedule: ev.Schedule | None = None, labels: tuple[str, ...] = ()
) -> ev.FlowRegistered:
    return ev.FlowRegistered(
        flow=name,
        seal=seal,
        sealed_by=ev.SealedBy.MODULE,
        executor="thread",
        run_config="local",
        labels=labels,
        storage=STORAGE,
        key_id=KEY_ID,
        schedule=schedule,
    )


def agent(name: str = "otter", capacity: int = 2) -> AgentHello:
    joined = ev.AgentJoined(
        agent=name,
        kind="local",
        capacity=capacity,
        storages=(STORAGE,),
        key_ids=(KEY_ID,),
        python="3.11",
        version="0.1",
    )
    return AgentHello(joined=joined)


def embedded(number: int = 1, *, claim: str = "c1" * 8, at: int = 0) -> EmbeddedRunRequest:
    scheduled = ev.RunScheduled(
        run=run_id(number),
        flow="here",
        seal=SEAL,
        origin=ev.Origin.EMBEDDED,
        scheduled_for=at,
        executor="thread",
        run_config="universal",
        storage=STORAGE,
        key_id=KEY_ID,
    )
    return EmbeddedRunRequest(
        scheduled=scheduled, agent="here", claim=claim, grant="97" * 8, python="3.11", key_scheme=KEY_SCHEME
    )


@dataclass(frozen=True)
class World:
    service: Service
    log: EventStore
    clock: VirtualClock

    async def ask(self, number: int = 1, **more: Any) -> Accepted:
        return await self.service.ask_run(RunRequest(run=run_id(number), flow="census", seal=SEAL, **more))

    async def claim(self, number: int = 1, *, agent: str = "otter", claim: str | None = None) -> Claimed:
        request = ClaimRequest(agent=agent, claim=claim or self.clock.new_id())
        return await self.service.claim(run_id(number), request)

    async def start(self, claimed: Claimed) -> Started:
        request = StartRequest(
            epoch=claimed.epoch, grant=claimed.grant, storage=STORAGE, python="3.11", key_scheme=KEY_SCHEME
        )
        return await self.service.start(claimed.run, request)

    async def beat(self, claimed: Claimed) -> float:
        request = HeartbeatRequest(epoch=claimed.epoch, grant=claimed.grant)
        return (await self.service.heartbeat(claimed.run, request)).lease_seconds

    async def report(
        self, claimed: Claimed, first_seq: int, *events: tuple[str, int, dict[str, Any]], origin: int | None = None
    ) -> Reported:
        request = ReportRequest(
            epoch=claimed.epoch,
            grant=claimed.grant,
            origin=origin or claimed.epoch,
            first_seq=first_seq,
            events=events,
        )
        return await self.service.report(claimed.run, request)

    async def running(self, number: int = 1) -> Claimed:
        """A run that an agent has claimed and a runner has begun, from nothing."""
        await self.service.register_flow(flow())
        await self.service.join(agent())
        await self.ask(number)
        claimed = await self.claim(number)
        await self.start(claimed)
        return claimed

    async def state(self, number: int = 1) -> str:
        return (await self.service.run(run_id(number))).state.value

    async def recorded(self, *types: str) -> list[Recorded]:
        """What the log holds now; of these types, if any are named."""
        page = await self.log.read_all(after=Position(0), limit=100_000)
        return [event for event in page.events if not types or event.type in types]

    async def until(self, event_type: str, number: int = 1) -> list[Recorded]:
        """Wait until the log holds this many events of the type; gives them."""
        found: list[Recorded] = []
        async with self.log.subscribe(after=Position(0)) as pages:
            async for page in pages:
                found += [event for event in page.events if event.type == event_type]
                if len(found) >= number:
                    break
        return found

    async def seen(self) -> None:
        """Wait until the read models have seen the whole log."""
        await self.service.flows(after=await self.log.head())


@asynccontextmanager
async def open_world(
    records: MemoryRecords | None = None,
    *,
    views: Path | None = None,
    clock: VirtualClock | None = None,
    settings: ServiceSettings | None = None,
) -> AsyncGenerator[World]:
    """A service over these records. Opened again on the same records and clock, it is the service after a restart."""
    clock = clock or VirtualClock()
    async with (
        Log.open(await backend_of(records if records is not None else MemoryRecords())) as log,
        Service(log, read_models=views, settings=settings, clock=clock) as service,
    ):
        yield World(service, log, clock)
