"""Why a run waits, asked of the service: by what it knows of agents, of what became of the run, and of its tasks."""

from __future__ import annotations

import pytest

from playhead.core import events as ev
from playhead.core.standings import Standing
from playhead.core.state import RunStatus
from playhead.core.task_waits import TaskWaitsFor
from playhead.core.waiting import RunWaiting, WaitsFor
from playhead.errors import NotFound
from playhead.ports.server import DiedRequest, ReleaseRequest
from playhead.service.read_models import ReadModels, Row
from tests.service.world import ADOPTED, World, agent, flow, open_world, run_id, submitted


async def why(world: World, number: int = 1) -> RunWaiting:
    return await world.service.why(run_id(number), after=await world.log.head())


async def give_back(world: World, reason: ev.ReleaseReason, *, by: str = "otter") -> None:
    claim = world.clock.new_id()
    claimed = await world.claim(agent=by, claim=claim)
    await world.service.release(run_id(1), ReleaseRequest(claim=claim, epoch=claimed.epoch, reason=reason))


async def test_from_no_agent_to_the_end() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.ask()
        assert (await why(world)).because == "no agent has ever joined"
        await world.service.join(agent(capacity=1))
        assert (await why(world)).waits_for is WaitsFor.CLAIM
        claimed = await world.claim()
        await world.ask(2)
        assert (await why(world)).waits_for is WaitsFor.RUNNER
        assert (await why(world, 2)).waits_for is WaitsFor.ROOM
        await world.start(claimed)
        await world.report(claimed, 0, ADOPTED, submitted("parse"))
        (task,) = (await why(world)).tasks
        assert (task.key, task.waits_for) == ("parse", TaskWaitsFor.EXECUTOR)
        await world.report(claimed, 2, ("run.cancelled", 1, {"at": 1}))
        assert (await why(world)).waits_for is WaitsFor.NOTHING
        assert (await why(world, 2)).waits_for is WaitsFor.CLAIM


async def test_an_agent_that_falls_silent_is_not_counted_on() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        await world.clock.advance(16)
        told = await why(world)
        assert (told.agents[0].standing, told.agents[0].last_contact_seconds) == (Standing.SILENT, 16)
        await world.service.agent_beat("otter")
        assert (await why(world)).waits_for is WaitsFor.CLAIM


async def test_why_each_agent_gave_it_back_is_remembered() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        for name in ("otter", "badger"):
            await world.service.join(agent(name))
        await world.ask()
        await give_back(world, ev.ReleaseReason.LAUNCH_FAILED)
        await give_back(world, ev.ReleaseReason.NOT_ALLOWED, by="badger")
        told = await why(world)
        assert [(one.agent, one.standing, one.gave_back) for one in told.agents] == [
            ("otter", Standing.FITS, ev.ReleaseReason.LAUNCH_FAILED),
            ("badger", Standing.REFUSES, ev.ReleaseReason.NOT_ALLOWED),
        ]


async def test_a_runner_that_ended_well_without_an_outcome_is_told_until_the_next_begins_and_when_it_crashed() -> None:
    async with open_world() as world:
        claimed = await world.running()
        for tries in range(1, 4):
            await world.service.died(run_id(1), DiedRequest(epoch=claimed.epoch, exit_code=0))
            if tries < 3:
                times = "once," if tries == 1 else f"{tries} times, the last time"
                how = f"its runner was lost {times} when its process ended with exit code 0"
                assert (await why(world)).lost == how
                claimed = await world.claim(claim=world.clock.new_id())
                assert (await why(world)).lost == how
                await world.start(claimed)
        told = await why(world)
        assert (told.state, told.waits_for) == (RunStatus.CRASHED, WaitsFor.NOTHING)
        assert "its runner was lost 3 times" in told.because
        assert told.because.endswith("the last one when its process ended with exit code 0")


async def test_one_task_may_be_asked_for_and_an_unknown_one_is_refused() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED, submitted("parse"), submitted("parse~2"))
        told = await world.service.why(run_id(1), task="parse~2", after=await world.log.head())
        assert [task.key for task in told.tasks] == ["parse~2"]
        with pytest.raises(NotFound, match="no task named 'nothing'"):
            await world.service.why(run_id(1), task="nothing")
        with pytest.raises(NotFound, match="no run"):
            await world.service.why(run_id(9))


async def test_it_costs_the_same_however_many_runs_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the read models for the agents and for what is active, and reads nothing of who else waits."""
    read: list[tuple[str, int]] = []
    rows = ReadModels.rows

    async def counted(models: ReadModels, statement: str, **values: object) -> list[Row]:
        found = await rows(models, statement, **values)
        read.append((statement, len(found)))
        return found

    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        for number in range(1, 101):
            await world.ask(number)
        await world.seen()
        monkeypatch.setattr(ReadModels, "rows", counted)
        assert (await world.service.why(run_id(77))).waits_for is WaitsFor.CLAIM
        assert read == [("active", 0), ("agents", 1)]
