"""The clockwork: one run for each scheduled time, none twice and none lost, whatever stops and however clocks move (S18)."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import pytest

from playhead.core import events as ev
from playhead.core.decide import Command
from playhead.core.names import Micros, Version, flow_stream
from playhead.core.replay import Replay, to_append
from playhead.core.run_ids import scheduled_run_id
from playhead.core.schedules import MICROS
from playhead.core.state import RunState
from playhead.errors import BadSchedule
from playhead.log import Log
from playhead.log.memory import MemoryRecords
from playhead.ports.server import ClaimRequest, RunFilter
from playhead.ports.store import Append
from playhead.service import Service, ServiceSettings
from playhead.service.clockwork import MAX_FIRED, Clockwork
from playhead.service.commands import Done, RunCommands
from playhead.service.flows import Flows
from playhead.service.folds import Folds
from playhead.service.leadership import Leadership
from playhead.service.projector import Projector
from playhead.service.read_models import ReadModels
from playhead.service.snapshots import Snapshots
from playhead.testing.clock import VirtualClock
from tests.service.world import World, agent, flow, open_world, run_id
from tests.stores import backend_of, new_backend

ID, OTHER = "5c" * 8, "5d" * 8
HOUR = 3600
PARIS = ZoneInfo("Europe/Paris")
NO_SWEEP = ServiceSettings(sweep_seconds=10**9)  # days pass quickly when nobody wakes every second


def every(seconds: int, schedule_id: str = ID) -> ev.Schedule:
    return ev.Schedule(id=schedule_id, every_seconds=seconds, anchor=0)


def cron(expression: str) -> ev.Schedule:
    return ev.Schedule(id=ID, cron=expression, tz="Europe/Paris")


def at(text: str) -> VirtualClock:
    return VirtualClock(Micros(int(datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp()) * MICROS))


async def due_times(world: World) -> list[int]:
    """The times of the scheduled runs so far, in the order in which they came."""
    return [int(event.data["scheduled_for"]) for event in await world.recorded("run.scheduled")]


async def test_a_run_that_was_asked_for_at_a_time_is_ready_then() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.ask(1, at=world.clock.now() + 90 * MICROS)
        await world.ask(2, at=world.clock.now() + 30 * MICROS)
        await world.seen()
        assert [await world.state(number) for number in (1, 2)] == ["scheduled", "scheduled"]
        await world.clock.advance(30)
        (ready,) = await world.until("run.ready")
        assert ready.stream.endswith(run_id(2))
        await world.clock.advance(60)
        await world.until("run.ready", 2)


async def test_a_schedule_asks_for_a_run_at_each_of_its_times() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow(schedule=every(60), labels=("gpu",)))
        start = world.clock.now()
        for number in range(1, 6):
            await world.clock.advance(60)
            await world.until("run.ready", number)
        times = await due_times(world)
        assert times == [start - start % (60 * MICROS) + n * 60 * MICROS for n in range(1, 6)]
        event = (await world.recorded("run.scheduled"))[0]
        assert event.data["run"] == scheduled_run_id("census", ID, times[0])
        assert (event.data["origin"], event.data["schedule_id"], event.data["labels"]) == ("schedule", ID, ["gpu"])
        assert event.actor == "server"


async def test_nothing_is_done_while_nothing_is_due() -> None:
    """It sleeps: with a schedule of a day, an hour holds no round but those after the longest nap."""
    async with open_world() as world:
        await world.service.register_flow(flow(schedule=every(24 * HOUR)))
        await world.seen()
        rounds = 0
        asked = world.service._clockwork._round  # pyright: ignore[reportPrivateUsage]  # counted, not called

        async def counted() -> Micros | None:
            nonlocal rounds
            rounds += 1
            return await asked()

        world.service._clockwork._round = counted  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
        await world.clock.advance(600)
        assert rounds <= 10


@pytest.mark.parametrize("kept", [True, False])
async def test_times_that_passed_while_the_service_was_down_are_made_up_for(tmp_path: Path, kept: bool) -> None:
    records, clock = MemoryRecords(), VirtualClock()
    views = tmp_path / "views.db" if kept else None
    async with open_world(records, clock=clock, views=views) as world:
        await world.service.register_flow(flow(schedule=every(60)))
        await clock.advance(120)
        await world.until("run.ready", 2)
        await world.seen()
    await clock.advance(180)
    async with open_world(records, clock=clock, views=views) as world:
        await world.until("run.ready", 5)
        await clock.advance(60)
        await world.until("run.ready", 6)
        times = await due_times(world)
        assert [later - earlier for earlier, later in pairwise(times)] == [60 * MICROS] * 5


async def test_a_service_that_died_before_its_first_time_fires_it_later() -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock) as world:
        await world.service.register_flow(flow(schedule=every(60)))
    await clock.advance(130)
    async with open_world(records, clock=clock) as world:
        await world.until("run.ready", 2)


async def test_a_long_backlog_comes_in_pages_and_keeps_no_other_waiting() -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock) as world:
        await world.service.register_flow(flow(schedule=every(1)))
        await world.service.register_flow(flow("other", schedule=every(600, OTHER)))
    await clock.advance(600)
    async with open_world(records, clock=clock) as world:
        await world.until("run.ready", 601)
        flows = [event.data["flow"] for event in await world.recorded("run.scheduled")]
        assert flows.count("census") == 600
        assert flows.index("other") <= MAX_FIRED
        assert len(set(await due_times(world))) == 600


async def test_two_services_on_one_log_ask_once_for_each_time() -> None:
    clock = VirtualClock()
    async with Log.open(await new_backend()) as log, Service(log, clock=clock) as one, Service(log, clock=clock):
        world = World(one, log, clock)
        await one.register_flow(flow(schedule=every(60)))
        for number in range(1, 11):
            await clock.advance(60)
            await world.until("run.ready", number)
            await world.seen()
        assert len(set(await due_times(world))) == len(await due_times(world)) == 10


async def test_a_wall_clock_that_is_set_back_asks_for_nothing_again() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow(schedule=every(60)))
        await world.clock.advance(180)
        await world.until("run.ready", 3)
        await world.seen()
        world.clock.jump(-150)
        await world.clock.advance(120)
        assert len(await due_times(world)) == 3
        await world.clock.advance(90)
        await world.until("run.ready", 4)
        assert len(set(await due_times(world))) == 4


async def test_a_wall_clock_that_is_set_forward_loses_nothing() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow(schedule=every(60)))
        await world.seen()
        world.clock.jump(600)
        await world.clock.advance(60)
        await world.until("run.ready", 11)
        assert len(set(await due_times(world))) == 11


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-03-28T12:00", ["03-29 03:00", "03-30 02:30"]),  # 02:30 is left out
        ("2026-10-24T12:00", ["10-25 02:30", "10-26 02:30"]),  # 02:30 comes twice
    ],
)
async def test_one_run_a_night_when_clocks_change(start: str, expected: list[str]) -> None:
    records, clock = MemoryRecords(), at(start)
    async with open_world(records, clock=clock, settings=NO_SWEEP) as world:
        await world.service.register_flow(flow(schedule=cron("30 2 * * *")))
        await world.seen()
        await pass_time_until_due(world, 1)
    # A restart within the repeated hour: the time that was fired is not fired again in its second pass.
    async with open_world(records, clock=clock, settings=NO_SWEEP) as world:
        await pass_time_until_due(world, 2)
        times = [datetime.fromtimestamp(due / MICROS, PARIS).strftime("%m-%d %H:%M") for due in await due_times(world)]
        assert times[:2] == expected  # time went on until both were seen, where a store is slow into the third day


async def pass_time_until_due(world: World, number: int) -> None:
    """Half an hour at a time, until so many runs were asked for: what looks at the clock may take its time to go to sleep again."""
    with anyio.fail_after(30):
        while len(await due_times(world)) < number:
            await world.clock.advance(HOUR / 2)
            await world.seen()
            await anyio.sleep(0.001)  # a turn for the clockwork, which waits for a store's answer


async def test_a_flow_that_is_registered_without_its_schedule_stops() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow(schedule=every(60)))
        await world.clock.advance(60)
        await world.until("run.ready")
        assert (await world.service.register_flow(flow(seal="aa" * 8))).next_due is None
        await world.clock.advance(600)
        await world.seen()
        assert len(await due_times(world)) == 1


async def test_the_same_schedule_goes_on_through_a_registration_with_the_new_code() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow(schedule=every(60)))
        await world.clock.advance(30)
        await world.service.register_flow(flow(seal="aa" * 8, schedule=every(60)))
        await world.clock.advance(60)
        (scheduled,) = await world.until("run.scheduled")
        assert scheduled.data["seal"] == "aa" * 8


async def test_a_time_between_two_registrations_of_the_same_schedule_is_not_lost() -> None:
    """The second comes right after a restart, when the time that was missed has no run yet."""
    records, clock = MemoryRecords(), VirtualClock()
    async with Log.open(await backend_of(records)) as log:
        async with Service(log, clock=clock) as service:
            await service.register_flow(flow(schedule=every(60)))
            await service.register_flow(flow(seal="bb" * 8, schedule=every(60)))
        await clock.advance(60)
        again = flow(seal="aa" * 8, schedule=every(60))
        await log.append(
            Append(
                stream=flow_stream("census"),
                events=(to_append(again),),
                expected=Version(2),
                append_id="again",
                actor="client",
                recorded_at=clock.now(),
            )
        )
    async with open_world(records, clock=clock) as world:
        (scheduled,) = await world.until("run.scheduled")
        assert scheduled.data["seal"] == "aa" * 8


def alone(clock: VirtualClock) -> Leadership:
    return Leadership(None, clock, ServiceSettings(), lambda: None)


class CountedCommands(RunCommands):
    asked = 0

    async def carry_out(self, run: str, command: Command, *, append_id: str, actor: str) -> Done:
        self.asked += 1
        return await super().carry_out(run, command, append_id=append_id, actor=actor)


async def test_a_round_waits_until_the_one_before_is_seen() -> None:
    """Else it would ask for the same runs again and again while the read models are behind."""
    clock = VirtualClock()
    async with Log.open(await new_backend()) as log, ReadModels(None, log, clock) as models:
        states = Folds[RunState](log, Replay, weight=lambda _: 1, max_weight=10)
        snapshots = Snapshots(log, models)
        projector = Projector(
            log, models, states, snapshots, observe=lambda _: None, passed=lambda _: None, wake=lambda: None
        )
        commands = CountedCommands(log, states, lambda _: None)
        clockwork = Clockwork(models, commands, clock, alone(clock))
        await Flows(log, models, clock).register(flow(schedule=every(60)))
        await projector.catch_up()
        registered = await log.head()
        await clock.advance(60)
        async with anyio.create_task_group() as background:
            background.start_soon(clockwork.run)
            with anyio.fail_after(30):
                while (asked := await log.head()) == registered:
                    await models.rows("agents")
            for _ in range(10):
                clockwork.wake()
                await models.rows("agents")  # a turn of the read models' thread, in which a round would get further
            assert (commands.asked, models.position) == (1, registered)
            await projector.catch_up()
            for _ in range(10):
                clockwork.wake()
                await models.rows("agents")
            assert (commands.asked, models.position) == (1, asked)
            background.cancel_scope.cancel()


async def test_a_schedule_that_comes_back_does_not_make_up_for_the_time_it_was_gone() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow(schedule=every(60)))
        await world.clock.advance(60)
        await world.until("run.ready")
        await world.service.register_flow(flow())
        await world.clock.advance(600)
        await world.service.register_flow(flow(schedule=every(60)))
        await world.seen()
        assert len(await due_times(world)) == 1
        await world.clock.advance(60)
        await world.until("run.ready", 2)


async def test_a_flow_says_when_it_is_due_next() -> None:
    async with open_world(clock=at("2026-06-01T05:00"), settings=NO_SWEEP) as world:
        view = await world.service.register_flow(flow(schedule=cron("0 6 * * *")))
        assert view.next_due == "2026-06-01T04:00:00.000000Z"
        await pass_time_until_due(world, 1)
        await world.seen()
        assert (await world.service.flow("census")).next_due == "2026-06-02T04:00:00.000000Z"


async def test_a_schedule_that_cannot_be_followed_is_not_registered() -> None:
    async with open_world() as world:
        for bad in (cron("61 * * * *"), ev.Schedule(id=ID, cron="0 6 * * *", tz="Europe/Pari")):
            with pytest.raises(BadSchedule):
                await world.service.register_flow(flow(schedule=bad))
        assert await world.recorded() == []


async def test_a_scheduled_run_is_claimed_like_any_other() -> None:
    async with open_world() as world:
        await world.service.join(agent())
        await world.service.register_flow(flow(schedule=every(60)))
        await world.clock.advance(60)
        await world.until("run.ready")
        (run,) = (await world.service.runs(RunFilter(), after=await world.log.head())).runs
        claimed = await world.service.claim(run.run_id, ClaimRequest(agent="otter", claim="c1" * 8))
        assert (claimed.origin, claimed.schedule_id) == (ev.Origin.SCHEDULE, ID)
        assert run.run_id == scheduled_run_id("census", ID, claimed.scheduled_for)
