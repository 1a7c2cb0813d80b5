"""Signs of life with several servers: who is heard of by any keeps the lease, who is heard of by none loses it, and nobody is told a
term that whoever leads may not know of (L1, L2, L4, L9)."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from playhead.core.names import Epoch, RunId, run_stream
from playhead.errors import EpochOver, LogUnusable
from playhead.ports.server import Claimed, DiedRequest
from playhead.service import ServiceSettings
from playhead.service.signs import Heard, Signs
from playhead.testing.clock import VirtualClock
from tests.log.shared import SharedMemory, SharedRecords
from tests.service.replicas import Replica, Replicas, open_replicas
from tests.service.world import ADOPTED, agent, flow, run_id, submitted

TERMS: Final = ServiceSettings()
LEASE, SWEEP = TERMS.lease_seconds, TERMS.sweep_seconds
BEAT: Final = LEASE / 3
TAKEN_OVER: Final = TERMS.takeover_seconds + 2 * TERMS.lead_seconds


async def running_at(replicas: Replicas, server: Replica) -> Claimed:
    """A run whose agent and runner know that server only."""
    return await replicas.of(server.world.running())


def of_runners(replicas: Replicas) -> list[str]:
    return [sign for sign in replicas.records.signs if sign.startswith("run/")]


async def lost(replicas: Replicas) -> bool:
    return bool(await replicas[0].recorded("run.lost"))


async def test_a_runner_that_beats_through_other_servers_only_never_loses_its_lease() -> None:
    async with open_replicas() as replicas:
        one, other = replicas.others
        claimed = await running_at(replicas, one)
        for number in range(20):
            await replicas.advance(BEAT)
            told = await replicas.of((one, other)[number % 2].world.beat(claimed))
            assert told == pytest.approx(LEASE)
        assert not await lost(replicas)


async def test_what_a_runner_tells_another_server_renews_its_lease_and_asks_nobody_more() -> None:
    async with open_replicas() as replicas:
        one, other = replicas.others
        claimed = await running_at(replicas, one)
        for seq in range(10):
            await replicas.advance(LEASE * 0.8)
            news = ADOPTED if seq == 0 else submitted(f"k~{seq}")
            await replicas.of((one, other)[seq % 2].world.report(claimed, seq, news))
        assert not await lost(replicas)
        assert not of_runners(replicas), "it is in the log, where the leader sees it"


async def test_whoever_is_heard_of_by_nobody_loses_the_run_within_a_lease_and_two_sweeps() -> None:
    async with open_replicas() as replicas:
        one, other = replicas.others
        claimed = await running_at(replicas, one)
        for _ in range(4):
            await replicas.advance(BEAT)
            await replicas.of(other.world.beat(claimed))
        await replicas.advance(LEASE - 1)
        assert not await lost(replicas)
        await replicas.advance(1 + 2 * SWEEP)
        assert await lost(replicas)


@pytest.mark.parametrize("dies", ["follower", "leader", "both"])
async def test_a_term_that_was_told_is_held_though_who_told_it_dies_at_once(dies: str) -> None:
    async with open_replicas() as replicas:
        leader, (one, _) = replicas.leader, replicas.others
        claimed = await running_at(replicas, one)
        await replicas.advance(LEASE - 2)
        sent, watch = one.world.clock.monotonic(), replicas.others[1].world
        told = await replicas.of(one.world.beat(claimed))
        if dies in ("follower", "both"):
            one.die()
        if dies in ("leader", "both"):
            leader.die()
        await replicas.advance(sent + told - watch.clock.monotonic() - 0.25)
        assert not await watch.recorded("run.lost"), "the runner may be at work by what it was told"
        await replicas.advance(TAKEN_OVER + LEASE + 2 * SWEEP)
        assert await watch.recorded("run.lost"), "but not for ever"


async def test_a_sign_that_cannot_be_handed_on_is_no_answer() -> None:
    async with open_replicas() as replicas:
        one, _ = replicas.others
        claimed = await running_at(replicas, one)
        one.backend.cut_off = True
        with pytest.raises(LogUnusable):
            await replicas.of(one.world.beat(claimed))


async def test_a_server_that_comes_back_does_not_renew_an_epoch_that_ended_while_it_stood_still() -> None:
    """What it keeps says that the epoch is at work."""
    async with open_replicas() as replicas:
        stopped = replicas.leader
        claimed = await running_at(replicas, stopped)
        stopped.stopped = True
        await replicas.advance(TAKEN_OVER + LEASE + 2 * SWEEP)
        assert await replicas.leader.world.recorded("run.lost")
        stopped.go_on()
        with pytest.raises(EpochOver):
            await replicas.of(stopped.world.beat(claimed))


async def test_a_server_that_is_behind_does_not_renew_an_epoch_that_is_over() -> None:
    """By what it keeps, and has read of the log, the run is at work."""
    async with open_replicas() as replicas:
        one, other = replicas.others
        claimed = await running_at(replicas, one)
        one.backend.behind = True
        await replicas.of(other.world.service.died(run_id(1), DiedRequest(epoch=1, signal=9)))
        with pytest.raises(EpochOver):
            await replicas.of(one.world.beat(claimed))


async def test_a_leader_that_stood_still_for_three_leases_takes_nothing_back_when_it_goes_on() -> None:
    async with open_replicas() as replicas:
        stopped, (one, _) = replicas.leader, replicas.others
        claimed = await running_at(replicas, stopped)
        stopped.stopped = True
        for _ in range(9):
            await replicas.advance(BEAT)
            await replicas.of(one.world.beat(claimed))
        stopped.go_on()
        for _ in range(6):
            await replicas.advance(BEAT)
            await replicas.of(one.world.beat(claimed))
        assert not await lost(replicas)


async def test_whoever_begins_to_lead_gives_everyone_a_full_term() -> None:
    async with open_replicas() as replicas:
        leader, (one, _) = replicas.leader, replicas.others
        claimed = await running_at(replicas, leader)
        for _ in range(5):
            await replicas.advance(BEAT)
            assert await leader.world.beat(claimed) == pytest.approx(LEASE), "the leader asks nobody"
        assert not of_runners(replicas)
        leader.die()
        await replicas.advance(TERMS.takeover_seconds - 2 * TERMS.lead_seconds)
        while not any(server.leads for server in replicas.servers[1:]):
            await replicas.advance(TERMS.lead_seconds)
        await replicas.advance(LEASE - 2 * SWEEP)
        assert not await one.world.recorded("run.lost")
        await replicas.advance(4 * SWEEP)
        assert await one.world.recorded("run.lost")


async def test_signs_that_are_forgotten_cost_no_runner_its_lease() -> None:
    async with open_replicas() as replicas:
        one, _ = replicas.others
        claimed = await running_at(replicas, one)
        for _ in range(10):
            await replicas.advance(BEAT)
            await replicas.of(one.world.beat(claimed))
            replicas.records.forget_what_is_not_in_the_log()
        assert not await lost(replicas)


async def test_a_sign_that_nobody_saw_before_the_counts_were_lost_is_seen_by_those_behind() -> None:
    """The count of a key is the same before and after: what tells them apart is the counting's."""
    async with open_replicas() as replicas:
        one, _ = replicas.others
        claimed = await running_at(replicas, one)
        await replicas.advance(BEAT)
        await replicas.of(one.world.beat(claimed))
        await replicas.advance(2 * SWEEP)
        replicas.records.signs.clear()
        await replicas.advance(2 * BEAT)
        sent = one.world.clock.monotonic()
        told = await replicas.of(one.world.beat(claimed))
        await replicas.advance(sent + told - one.world.clock.monotonic() - 0.25)
        assert not await lost(replicas)


async def test_at_its_first_look_a_server_takes_every_runner_for_heard_of_and_no_agent() -> None:
    """It may lead already, and have begun everyone's term before a sign that came before this look; an agent may be gone for hours."""
    backend = SharedMemory(SharedRecords())
    await backend.hear([f"run/{run_id(1)}/1", "agent/otter"])
    signs = Signs(backend, VirtualClock())
    assert await signs.read() == Heard(((RunId(run_id(1)), Epoch(1)),))
    assert await signs.read() == Heard()


async def test_only_what_was_counted_since_the_last_look_is_read() -> None:
    async with open_replicas() as replicas:
        one, _ = replicas.others
        signs = Signs(one.backend, one.world.clock)
        await one.backend.hear([f"run/{run_id(number)}/1" for number in range(1_000)])
        await signs.read()
        await one.backend.hear([f"run/{run_id(7)}/1", "agent/otter"])
        assert await signs.read() == Heard(((RunId(run_id(7)), Epoch(1)),), ("otter",))
        assert await signs.read() == Heard()


async def test_who_is_heard_of_while_others_are_taken_back_keeps_the_run() -> None:
    """The second was over when the round began; the first took its time."""
    async with open_replicas(1) as replicas:
        server = replicas.leader
        world = server.world
        await world.service.register_flow(flow())
        await world.service.join(agent())
        claims = [await world.running(number) for number in (1, 2)]
        await world.seen()
        assert {await world.beat(claimed) for claimed in claims} == {LEASE}
        await replicas.advance(LEASE - SWEEP)
        server.backend.may_commit.clear()
        server.backend.asked_to_commit.clear()
        await world.clock.advance(2 * SWEEP)
        await server.backend.asked_to_commit.wait()
        assert await world.beat(claims[1]) == LEASE
        server.backend.may_commit.set()
        await world.until("run.lost")
        await replicas.advance(2 * SWEEP)
        (taken,) = await world.recorded("run.lost")
        assert taken.stream == run_stream(run_id(1))


async def test_an_earlier_epochs_sign_renews_nothing() -> None:
    async with open_replicas() as replicas:
        one, _ = replicas.others
        await running_at(replicas, one)
        for epoch in (2, 3):
            for _ in range(3):
                await replicas.advance(LEASE / 2)
                await one.backend.hear([f"run/{run_id(1)}/{epoch}"])
        assert await lost(replicas)


async def test_a_runner_that_never_obeys_a_cancel_ends_within_the_bound_wherever_it_beats() -> None:
    async with open_replicas() as replicas:
        one, _ = replicas.others
        claimed = await running_at(replicas, one)
        await replicas.of(one.world.service.cancel(run_id(1)))
        began = one.world.clock.monotonic()
        with pytest.raises(EpochOver):
            while one.world.clock.monotonic() - began < 2 * TERMS.cancel_grace_seconds + 2 * LEASE:
                await replicas.advance(BEAT)
                await replicas.of(one.world.beat(claimed))
        took = one.world.clock.monotonic() - began
        assert TERMS.cancel_grace_seconds < took <= TERMS.cancel_grace_seconds + LEASE + BEAT + 3 * SWEEP


# --- agents -----------------------------------------------------------------------------------------------------------------


async def last_contacts(replicas: Replicas) -> list[float | None]:
    return [(await server.world.service.agents())[0].last_contact_seconds for server in replicas.servers]


async def test_each_server_tells_when_an_agent_was_last_heard_of_by_any() -> None:
    async with open_replicas() as replicas:
        for server in replicas.servers:
            await replicas.of(server.world.service.join(agent()))
            await replicas.advance(30)
            await server.world.service.agent_beat("otter")
            await replicas.advance(2 * SWEEP + 1)
            for seconds in await last_contacts(replicas):
                assert seconds is not None
                assert 0 <= seconds <= 2 * SWEEP + 1
            await replicas.advance(30)
            for seconds in await last_contacts(replicas):
                assert seconds is not None
                assert seconds >= 30


async def test_who_joins_or_claims_is_heard_of_by_every_server() -> None:
    async with open_replicas() as replicas:
        one, _ = replicas.others
        await replicas.of(one.world.service.register_flow(flow()))
        await replicas.of(one.world.ask())
        for request in (one.world.service.join(agent()), one.world.claim()):
            await replicas.advance(30)
            await replicas.of(request)
            await replicas.advance(2 * SWEEP)
            for seconds in await last_contacts(replicas):
                assert seconds is not None
                assert seconds < 30


async def test_a_claim_is_its_agents_while_any_server_hears_of_that() -> None:
    async with open_replicas() as replicas:
        one, other = replicas.others
        await replicas.of(one.world.service.register_flow(flow()))
        await replicas.of(one.world.service.join(agent()))
        await replicas.of(one.world.ask())
        claimed = await replicas.of(one.world.claim())
        for _ in range(8):
            await replicas.advance(TERMS.agent_silence_seconds * 0.6)
            await other.world.service.agent_beat("otter")
        assert not await one.world.recorded("run.released")
        await replicas.of(other.world.start(claimed))
        assert await one.world.state() == "running"


async def test_the_claim_of_an_agent_that_nobody_hears_of_is_taken_back() -> None:
    async with open_replicas() as replicas:
        one, _ = replicas.others
        await replicas.of(one.world.service.register_flow(flow()))
        await replicas.of(one.world.service.join(agent()))
        await replicas.of(one.world.ask())
        await replicas.of(one.world.claim())
        await replicas.advance(TERMS.agent_silence_seconds + 2 * SWEEP + 1)
        assert await one.world.recorded("run.released")


async def test_who_waits_for_a_sign_to_be_handed_on_is_told_when_the_server_ends() -> None:
    async with open_replicas() as replicas:
        one, _ = replicas.others
        claimed = await running_at(replicas, one)
        beating = asyncio.ensure_future(one.world.beat(claimed))
        for _ in range(10):  # turns of the loop, of which it needs one
            await asyncio.sleep(0)
        await one.end()
        with pytest.raises(LogUnusable, match="ending"):
            await beating


async def test_a_sign_that_comes_when_the_server_has_ended_is_refused_and_keeps_nobody_waiting() -> None:
    signs = Signs(SharedMemory(SharedRecords()), VirtualClock())
    running = asyncio.ensure_future(signs.run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(LogUnusable, match="ending"):
        await signs.of_runner(RunId(run_id(1)), Epoch(1))
