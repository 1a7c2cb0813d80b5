"""One pass of an agent: what it takes, what it does not try again, and that it ends."""

from __future__ import annotations

import anyio
import pytest

from playhead.agent.infrastructure import Exit
from playhead.agent.once import Pass
from playhead.core.kinds import ReleaseReason
from playhead.errors import LaunchFailed
from tests.agent.world import Machine, a_world, an_agent, at_work


async def test_a_pass_takes_all_that_is_ready_also_what_was_lost_meanwhile_and_leaves() -> None:
    machine = Machine()
    async with a_world() as world:
        agent = an_agent(world, machine, capacity=1)
        asked = [await world.ask() for _ in range(2)]
        elsewhere = await world.ask(labels=("gpu",))
        noted: list[Pass] = []

        async def one_pass() -> None:
            noted.append(await agent.once())

        async with at_work(agent), anyio.create_task_group() as tasks:
            tasks.start_soon(one_pass)
            lost = await machine.launched(1)
            await world.begins(lost.order)
            lost.end(Exit(signal=9))
            for number in (2, 3):
                runner = await machine.launched(number)
                await world.succeeds(runner.order)
                runner.end(Exit(exit_code=0))
        assert list(noted[0].had) == asked
        assert not noted[0].gave_back
        assert [view.state for view in await world.api.agents(after=(await world.api.info()).position)] == ["left"]
        assert await world.story(elsewhere) == ["run.scheduled", "run.ready"]


@pytest.mark.parametrize("offers", [0, 1])
async def test_a_pass_does_not_try_again_what_it_could_not_launch_and_waits_for_nothing(offers: int) -> None:
    machine = Machine()
    machine.refusal = LaunchFailed("no", reason="image_missing")
    async with a_world() as world:
        agent = an_agent(world, machine)
        asked = [await world.ask() for _ in range(offers)]
        done = Pass()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.run)
            done = await agent.once()
        assert done.gave_back == dict.fromkeys(asked, ReleaseReason.IMAGE_MISSING)
        assert not done.had
        for run in asked:
            assert (await world.story(run)).count("run.claimed") == 1


async def test_a_pass_leaves_alone_a_run_of_which_storage_knows_more_than_the_log() -> None:
    async with a_world() as world:
        forgotten = await world.ask()
        world.storage.create_if_absent(f"runs/{forgotten}/1-{'f0' * 8}/segments/000001", b"what a runner wrote")
        agent = an_agent(world, Machine())
        async with at_work(agent):
            assert await agent.once() == Pass()
        assert await world.story(forgotten) == ["run.scheduled", "run.ready"]
