"""What the leader does for all: once while there is one, and to no harm where two do it at the same time (S18, L1)."""

from __future__ import annotations

import asyncio
from typing import Final

from playhead.core import events as ev
from playhead.log.memory import MemoryRecords
from playhead.ports.server import ClaimRequest
from playhead.service import ServiceSettings
from playhead.testing.clock import VirtualClock
from tests.service.replicas import Replicas, open_replicas
from tests.service.world import World, flow, open_world, run_id

TERMS: Final = ServiceSettings()
TAKEN_OVER: Final = TERMS.takeover_seconds + 2 * TERMS.lead_seconds
EVERY: Final = ev.Schedule(id="5c" * 8, every_seconds=60, anchor=0)


async def due_times(world: World) -> list[int]:
    scheduled = await world.recorded("run.scheduled")
    return [int(event.data["scheduled_for"]) for event in scheduled if event.data["origin"] == "schedule"]


def minutes(times: list[int]) -> list[int]:
    return [(each - times[0]) // 60_000_000 for each in times]


async def scheduled(replicas: Replicas) -> None:
    await replicas.of(replicas.others[0].world.service.register_flow(flow(schedule=EVERY)))


async def test_a_schedule_registered_at_any_server_is_followed_by_the_one_that_leads() -> None:
    async with open_replicas() as replicas:
        await scheduled(replicas)
        await replicas.advance(300)
        await replicas[0].until("run.ready", 5)  # read models answer from a thread, which no virtual clock waits for
        assert minutes(await due_times(replicas[0])) == list(range(5))
        assert len(await replicas[0].recorded("run.ready")) == 5


async def test_no_time_of_a_schedule_is_missed_or_doubled_whoever_leads() -> None:
    async with open_replicas() as replicas:
        await scheduled(replicas)
        await replicas.advance(150)
        replicas.leader.die()
        await replicas.advance(TAKEN_OVER)
        stopped = replicas.leader
        await replicas.advance(120)
        stopped.stopped = True
        await replicas.advance(180)
        stopped.go_on()
        await replicas.advance(120)
        watch = replicas.leader.world
        await watch.until("run.ready", len(await due_times(watch)))
        assert minutes(await due_times(watch)) == list(range(len(await due_times(watch))))
        assert len(await due_times(watch)) >= 9
        assert len(await watch.recorded("run.ready")) == len(await due_times(watch))


async def test_a_run_of_a_later_time_that_was_asked_for_elsewhere_becomes_ready_then() -> None:
    async with open_replicas() as replicas:
        world = replicas.others[0].world
        await replicas.of(world.service.register_flow(flow()))
        await replicas.of(world.ask(at=world.clock.now() + 30_000_000))
        await replicas.advance(29)
        assert not await world.recorded("run.ready")
        await replicas.advance(2)
        assert len(await world.until("run.ready")) == 1


async def test_two_that_both_lead_write_each_thing_once() -> None:
    """Backends that do not say that they are shared: each server takes itself for alone."""
    records = MemoryRecords()
    one_clock, other_clock = VirtualClock(seed=1), VirtualClock(seed=2)
    async with open_world(records, clock=one_clock) as one, open_world(records, clock=other_clock) as other:
        await one.service.register_flow(flow("tick", schedule=EVERY))
        await one.running()
        for _ in range(4):
            await asyncio.gather(one.clock.advance(30), other.clock.advance(30))
            await asyncio.gather(one.seen(), other.seen())
        await one.until("run.ready", 3)  # the one that was asked for, and two of the schedule
        await one.until("run.lost")
        await asyncio.gather(one.clock.advance(5), other.clock.advance(5))
        await asyncio.gather(one.seen(), other.seen())
        assert len(await one.recorded("run.lost")) == 1
        assert minutes(await due_times(one)) == [0, 1]
        assert len(await one.recorded("run.ready")) == 3


async def test_a_claim_asked_for_at_two_servers_is_granted_once() -> None:
    async with open_replicas() as replicas:
        one, other = (server.world for server in replicas.others)
        await replicas.of(one.service.register_flow(flow()))
        await replicas.of(one.running())
        again = ClaimRequest(agent="otter", claim="cc" * 8)
        await replicas.advance(TERMS.lease_seconds + 3)
        first, second = await asyncio.gather(
            replicas.of(one.service.claim(run_id(1), again)), other.service.claim(run_id(1), again)
        )
        assert (first.epoch, first.grant) == (second.epoch, second.grant) == (2, first.grant)
