"""Agents: joining, draining, leaving, and what is known of them."""

from __future__ import annotations

import pytest

from playhead.errors import NotFound, Refused
from playhead.log.memory import MemoryRecords
from playhead.testing.clock import VirtualClock
from tests.service.world import agent, flow, open_world, run_id


async def test_an_agent_is_shown_with_its_last_contact_and_its_runs() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.ask(2)
        await world.claim(2)
        await world.clock.advance(7)
        await world.seen()
        (view,) = await world.service.agents()
        assert (view.agent, view.state, view.capacity) == ("otter", "joined", 2)
        assert view.runs == (run_id(1), run_id(2))
        assert view.last_contact_seconds == 7
        await world.service.agent_beat("otter")
        assert (await world.service.agents())[0].last_contact_seconds == 0
        await world.report(claimed, 0, ("journal.adopted", 1, {"at": 1}), ("run.cancelled", 1, {"at": 1}))
        (view,) = await world.service.agents(after=await world.log.head())
        assert view.runs == (run_id(2),)


async def test_after_a_restart_an_agent_was_not_heard_of_yet() -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock) as world:
        await world.service.join(agent())
    async with open_world(records, clock=clock) as world:
        assert (await world.service.agents())[0].last_contact_seconds is None
        await world.service.agent_beat("otter")
        assert (await world.service.agents())[0].last_contact_seconds == 0


async def test_joining_again_writes_only_what_changed() -> None:
    async with open_world() as world:
        await world.service.join(agent())
        await world.service.join(agent())
        assert len(await world.recorded()) == 1
        await world.service.join(agent(capacity=5))
        assert [view.capacity for view in await world.service.agents()] == [5]


async def test_an_agent_that_drains_or_has_left_claims_nothing_until_it_joins_again() -> None:
    async with open_world() as world:
        await world.running()
        await world.ask(2)
        for away, state in ((world.service.drain, "draining"), (world.service.leave, "left")):
            await away("otter")
            await away("otter")
            assert (await world.service.agents())[0].state == state
            with pytest.raises(Refused) as refused:
                await world.claim(2)
            assert refused.value.code == state
            with pytest.raises(Refused) as refused:
                await world.service.agent_beat("otter")
            assert refused.value.code == state, "it may have missed that it was told to"
        assert await world.state() == "running", "what it runs goes on"
        await world.service.drain("otter")
        kinds = [event.type for event in await world.recorded("agent.draining", "agent.left")]
        assert kinds == ["agent.draining", "agent.left"], "one who has left does not drain"
        await world.service.join(agent())
        assert (await world.claim(2)).run == run_id(2)


async def test_an_agent_that_never_joined_is_not_known() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        for request in (
            world.claim(agent="ottre"),
            world.service.agent_beat("ottre"),
            world.service.drain("ottre"),
            world.service.leave("ottre"),
        ):
            with pytest.raises(NotFound, match="did you mean 'otter'"):
                await request
        assert len(await world.recorded("agent.joined")) == 1
