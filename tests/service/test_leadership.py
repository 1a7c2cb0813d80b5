"""Who leads the servers on one log: one at a time, another soon after it is gone, and nobody has to be asked where there is but one."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from playhead.errors import OutcomeUnknown
from playhead.log import Log
from playhead.log.memory import MemoryBackend
from playhead.ports.store import Leading
from playhead.service import Service, ServiceSettings
from playhead.service.leadership import FORGOTTEN, NOBODY, Leadership
from playhead.testing.clock import VirtualClock
from tests.log.shared import SharedMemory, SharedRecords
from tests.service.replicas import STEP_SECONDS, open_replicas
from tests.service.world import flow

TERMS: Final = ServiceSettings()
TAKEN_OVER: Final = TERMS.takeover_seconds + 2 * TERMS.lead_seconds


async def test_a_server_that_is_alone_leads_from_its_first_moment_on() -> None:
    clock = VirtualClock()
    async with Log.open(MemoryBackend()) as log, Service(log, clock=clock) as service:
        assert log.shared is None
        assert service.leads
        clock.stall(10 * TERMS.lease_seconds)
        assert service.leads


async def test_the_first_of_several_leads_and_goes_on() -> None:
    async with open_replicas() as replicas:
        leader = replicas.leader
        assert leader is replicas.servers[0]
        for _ in range(10):
            await replicas.advance(TERMS.takeover_seconds)
            assert replicas.leader is leader


async def test_another_takes_over_from_a_leader_that_died() -> None:
    async with open_replicas() as replicas:
        dead = replicas.leader
        dead.die()
        await replicas.advance(TERMS.takeover_seconds - 2 * TERMS.lead_seconds)
        assert [server.leads for server in replicas.others] == [False, False], "it may yet be alive"
        await replicas.advance(4 * TERMS.lead_seconds)
        assert replicas.leader is not dead
        second = replicas.leader
        second.die()
        await replicas.advance(TAKEN_OVER)
        assert replicas.leader not in (dead, second)


async def test_from_a_leader_that_ended_in_good_order_another_takes_over_at_once() -> None:
    async with open_replicas() as replicas:
        await replicas.leader.end()
        assert replicas.records.leader is not None
        assert replicas.records.leader.server == NOBODY
        await replicas.advance(2 * TERMS.lead_seconds)
        assert replicas.leader is not replicas.servers[0]


async def test_a_leader_that_stood_still_knows_when_it_comes_back_that_it_leads_no_more() -> None:
    """By its own clock, before it has asked anybody; and so it does when it could have counted on as the first."""
    async with open_replicas() as replicas:
        stopped = replicas.leader
        stopped.stopped = True
        await replicas.advance(3 * TERMS.lease_seconds)
        other = replicas.leader
        stopped.go_on()
        assert not stopped.leads
        await replicas.advance(TAKEN_OVER)
        assert replicas.leader is other


async def test_a_leader_that_is_cut_off_leads_no_more_when_another_may() -> None:
    """`advance` looks at each step that never two lead at once."""
    async with open_replicas() as replicas:
        cut_off = replicas.leader
        cut_off.backend.cut_off = True
        await replicas.advance(TAKEN_OVER)
        other = replicas.leader
        assert other is not cut_off
        cut_off.backend.cut_off = False
        await replicas.advance(TAKEN_OVER)
        assert replicas.leader is other


async def test_a_leader_that_cannot_follow_the_log_leaves_it_to_another() -> None:
    """It counts its term up as ever, and would take nothing back."""
    async with open_replicas() as replicas:
        behind, (one, _) = replicas.leader, replicas.others
        await replicas.of(one.world.running())
        behind.backend.behind = True
        await replicas.of(one.world.service.register_flow(flow("another")))
        await replicas.advance(2 * TAKEN_OVER)
        assert replicas.leader is not behind
        await replicas.advance(TERMS.lease_seconds + 2 * TERMS.sweep_seconds)
        assert await one.world.recorded("run.lost")


async def test_where_there_is_no_other_it_leads_again_when_it_can_follow_the_log() -> None:
    async with open_replicas(2) as replicas:
        behind, (other,) = replicas.leader, replicas.others
        await replicas.of(other.world.running())
        behind.backend.behind = True
        await replicas.of(other.world.service.register_flow(flow("another")))
        other.die()
        await replicas.advance(3 * TAKEN_OVER)
        behind.backend.behind = False
        await replicas.advance(2 * TAKEN_OVER + TERMS.lease_seconds)
        assert replicas.leader is behind
        assert await behind.world.recorded("run.lost")


async def test_a_leader_whose_count_was_taken_and_not_answered_goes_on() -> None:
    async with open_replicas() as replicas:
        leader = replicas.leader
        leader.backend.lose_an_answer = True
        await replicas.advance(TERMS.takeover_seconds)
        assert not leader.backend.lose_an_answer, "it was asked"
        assert replicas.leader is leader


async def test_a_leader_whose_count_was_not_answered_gives_nobody_a_new_term() -> None:
    """It led all the time: whoever was silent is silent, or a store that loses answers would keep every lease alive."""
    gained: list[float] = []
    clock, backend = VirtualClock(), SharedMemory(SharedRecords())
    leadership = Leadership(backend, clock, TERMS, lambda: gained.append(clock.monotonic()))
    for _ in range(3):
        counting = asyncio.ensure_future(leadership.run())
        await clock.advance(TERMS.lead_seconds)
        assert leadership.leads
        backend.lose_an_answer = True
        await clock.advance(TERMS.lead_seconds)
        with pytest.raises(OutcomeUnknown):
            await counting
    assert len(gained) == 1


async def test_somebody_leads_again_when_it_is_forgotten_who_did() -> None:
    async with open_replicas() as replicas:
        for _ in range(3):
            replicas.records.forget_what_is_not_in_the_log()
            await replicas.advance(TAKEN_OVER)
            assert replicas.leader.leads


async def test_nobody_takes_over_while_one_may_lead_of_whom_the_store_has_forgotten() -> None:
    """The leader believes in itself for a while; `advance` looks at each step that never two lead at once."""
    async with open_replicas() as replicas:
        leader = replicas.leader
        leader.backend.cut_off = True
        replicas.records.forget_what_is_not_in_the_log()
        await replicas.others[0].world.service.register_flow(flow())
        await replicas.advance(TERMS.lead_seconds)
        assert replicas.leader is leader
        await replicas.advance(TAKEN_OVER)
        assert replicas.leader is not leader


async def test_a_server_that_begins_on_a_log_that_has_forgotten_its_leader_waits_for_that_one() -> None:
    records = SharedRecords()
    one = SharedMemory(records)
    async with Log.open(one) as log, Service(log, clock=VirtualClock()) as service:
        await service.register_flow(flow())
        assert service.leads, "a new log: nobody did before"
        one.cut_off = True
    records.forget_what_is_not_in_the_log()
    clock = VirtualClock()
    async with Log.open(SharedMemory(records)) as log, Service(log, clock=clock) as service:
        await clock.advance(TERMS.takeover_seconds - TERMS.lead_seconds)
        assert not service.leads
        await clock.advance(2 * TERMS.lead_seconds)
        assert service.leads


async def test_a_number_that_comes_again_behind_a_loss_of_the_table_is_nobodys_own() -> None:
    """Terms are counted from the first again: one that stood still meets its own number, which is another's by now."""
    async with open_replicas() as replicas:
        stopped, records = replicas.leader, replicas.records
        assert records.leader is not None
        number = records.leader.term
        stopped.stopped = True
        records.forget_what_is_not_in_the_log()
        await replicas.others[0].world.service.register_flow(flow())
        while (await replicas.others[0].backend.leading() or FORGOTTEN).term < number:
            await replicas.advance(STEP_SECONDS)
        other = replicas.leader
        stopped.go_on()
        await replicas.advance(TAKEN_OVER)
        assert replicas.leader is other


async def test_a_term_that_is_being_counted_when_it_is_left_to_another_does_not_count() -> None:
    clock, records = VirtualClock(), SharedRecords()
    backend = _Slow(records)
    leadership = Leadership(backend, clock, TERMS, lambda: None)
    counting = asyncio.ensure_future(leadership.run())
    backend.answers.set()
    await clock.advance(0)
    assert leadership.leads
    backend.answers.clear()
    await clock.advance(TERMS.lead_seconds)
    leaving = asyncio.ensure_future(leadership.hand_over())
    await clock.advance(0)
    backend.answers.set()
    await leaving
    assert not leadership.leads
    assert records.leader is not None
    assert records.leader.server == NOBODY
    counting.cancel()


async def test_who_leaves_it_to_another_leads_no_more_before_anybody_hears_of_it() -> None:
    clock = VirtualClock()
    backend = _Slow(SharedRecords())
    leadership = Leadership(backend, clock, TERMS, lambda: None)
    counting = asyncio.ensure_future(leadership.run())
    backend.answers.set()
    await clock.advance(0)
    counting.cancel()
    assert leadership.leads
    backend.answers.clear()
    leaving = asyncio.ensure_future(leadership.resign())
    await clock.advance(0)
    assert not leadership.leads
    backend.answers.set()
    await leaving


async def test_a_term_whose_answer_took_longer_than_the_term_is_no_lead() -> None:
    """Neither told nor acted upon: somebody else may have taken over."""
    gained: list[float] = []
    clock, backend = VirtualClock(), _Slow(SharedRecords())
    leadership = Leadership(backend, clock, TERMS, lambda: gained.append(clock.monotonic()))
    counting = asyncio.ensure_future(leadership.run())
    await clock.advance(2 * TERMS.takeover_seconds)
    backend.answers.set()
    await clock.advance(0)
    assert not leadership.leads
    assert not gained
    await clock.advance(TERMS.lead_seconds)
    assert leadership.leads
    assert len(gained) == 1
    counting.cancel()


class _Slow(SharedMemory):
    """One that answers `lead` when it is told to."""

    def __init__(self, records: SharedRecords) -> None:
        super().__init__(records)
        self.answers = asyncio.Event()

    async def lead(self, server: str, *, after: int) -> int | None:
        led = await super().lead(server, after=after)
        await self.answers.wait()
        return led


async def test_of_those_who_take_over_at_the_same_moment_one_does() -> None:
    async with open_replicas(5) as replicas:
        replicas.leader.die()
        await replicas.advance(TAKEN_OVER)
        assert sum(server.leads for server in replicas.servers if not server.stopped) == 1


async def test_a_term_is_counted_up_by_whoever_saw_it_last_and_by_nobody_else() -> None:
    """What the shared log is asked, as its contract has it."""
    async with open_replicas(1) as replicas:
        records: SharedRecords = replicas.records
        before = records.leader
        assert before is not None
        assert not await replicas.servers[0].backend.lead("stranger", after=before.term - 1)
        assert await replicas.servers[0].backend.lead("stranger", after=before.term)
        assert records.leader == Leading("stranger", before.term + 1)
        await replicas.advance(2 * TERMS.lead_seconds)
        assert not replicas.servers[0].leads
