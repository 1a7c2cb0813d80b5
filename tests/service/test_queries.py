"""Questions: pages, filters, positions, one run as it is and as it was, and help where the name is wrong."""

from __future__ import annotations

import asyncio

import pytest

from playhead.core.state import RunStatus
from playhead.errors import NotFound, Refused, UsageError
from playhead.ports.server import RunFilter
from tests.service.world import ADOPTED, SEAL, SUCCEEDED, World, agent, embedded, flow, open_world, run_id, submitted


async def many_runs(world: World, number: int) -> None:
    await world.service.register_flow(flow())
    await world.service.join(agent(capacity=number))
    for n in range(number):
        await world.clock.advance(1)
        await world.ask(n)
    await world.seen()


async def numbers(world: World, which: RunFilter) -> list[int]:
    page = await world.service.runs(which, after=await world.log.head(), limit=100)
    return [int(run.run_id, 16) for run in page.runs]


async def test_pages_follow_each_other_newest_first_and_leave_nothing_out() -> None:
    async with open_world() as world:
        await many_runs(world, 25)
        found: list[int] = []
        page, sizes = None, list[int]()
        while True:
            answer = await world.service.runs(RunFilter(), page=page, limit=10)
            found += [int(run.run_id, 16) for run in answer.runs]
            sizes.append(len(answer.runs))
            if page is None:
                await world.ask(99)  # a run that comes while somebody pages moves none of the rows
                await world.seen()
            page = answer.next
            if page is None:
                break
        assert found == list(range(24, -1, -1))
        assert sizes == [10, 10, 5]


async def test_a_page_that_is_exactly_full_is_the_last() -> None:
    async with open_world() as world:
        await many_runs(world, 10)
        assert (await world.service.runs(RunFilter(), limit=10)).next is None
        assert (await world.service.runs(RunFilter(), limit=9)).next is not None


async def test_filters_are_joined() -> None:
    async with open_world() as world:
        await many_runs(world, 6)
        claimed = await world.claim(2)
        await world.start(claimed)
        await world.claim(4)
        await world.service.cancel(run_id(5))
        await world.service.begin_embedded(embedded(7))
        assert await numbers(world, RunFilter()) == [7, 5, 4, 3, 2, 1, 0]
        assert await numbers(world, RunFilter(flow="census")) == [5, 4, 3, 2, 1, 0]
        assert await numbers(world, RunFilter(flow="here")) == [7]
        assert await numbers(world, RunFilter(flow="none")) == []
        assert await numbers(world, RunFilter(agent="otter")) == [4, 2]
        assert await numbers(world, RunFilter(state=(RunStatus.CANCELLED,))) == [5]
        assert await numbers(world, RunFilter(state=(RunStatus.RUNNING, RunStatus.CLAIMED), flow="census")) == [4, 2]
        assert await numbers(world, RunFilter(state=(RunStatus.RUNNING,), agent="otter")) == [2]
        assert await numbers(world, RunFilter(prefix=run_id(3))) == [3]
        assert await numbers(world, RunFilter(prefix="0" * 30)) == [7, 5, 4, 3, 2, 1, 0]
        assert await numbers(world, RunFilter(prefix="f")) == []
        third = (await world.service.history(run_id(3)).__anext__()).recorded_at
        assert await numbers(world, RunFilter(since=third)) == [7, 5, 4, 3]


@pytest.mark.parametrize("page", ["x", "-1", "1.5", "", "9" * 30, "²"])
async def test_a_page_that_no_answer_named_is_refused(page: str) -> None:
    async with open_world() as world:
        with pytest.raises(UsageError, match="no page"):
            await world.service.runs(RunFilter(), page=page)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_page_has_a_bounded_size(limit: int) -> None:
    async with open_world() as world:
        with pytest.raises(UsageError, match="holds 1 to 1000"):
            await world.service.runs(RunFilter(), limit=limit)


async def test_after_a_command_its_position_shows_its_effect() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        for number in range(20):
            asked = await world.ask(number)
            page = await world.service.runs(RunFilter(), after=asked.position)
            assert page.runs[0].run_id == run_id(number)
            assert page.position >= asked.position
            cancelled = await world.service.cancel(run_id(number))
            page = await world.service.runs(RunFilter(), after=cancelled.position)
            assert page.runs[0].state is RunStatus.CANCELLED


async def test_a_position_that_does_not_come_is_refused_after_its_time() -> None:
    async with open_world() as world:
        asked = asyncio.create_task(world.service.flows(after=10**6))
        await world.clock.advance(4.9)
        assert not asked.done()
        await world.clock.advance(0.2)
        with pytest.raises(Refused) as refused:
            await asked
        assert refused.value.code == "behind"


async def test_a_run_is_shown_as_it_was_at_each_version() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED, submitted("a"), SUCCEEDED)
        newest = await world.service.run(run_id(1))
        states = [(await world.service.run(run_id(1), at=n)).state.value for n in range(1, newest.version + 1)]
        assert states == ["scheduled", "ready", "claimed", "running", "running", "running", "succeeded"]
        assert (await world.service.run(run_id(1), at=5)).tasks == ()
        assert [task.key for task in (await world.service.run(run_id(1), at=6)).tasks] == ["a"]
        assert (await world.service.run(run_id(1), tasks=False)).tasks == ()
        assert await world.service.run(run_id(1), at=newest.version) == newest
        for version in (0, -1, newest.version + 1):
            with pytest.raises(NotFound, match="has versions 1 to 7"):
                await world.service.run(run_id(1), at=version)


async def test_the_history_of_a_run_is_its_stream() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.ask(2)
        await world.report(claimed, 0, ADOPTED, SUCCEEDED)
        events = [event async for event in world.service.history(run_id(1))]
        assert [event.version for event in events] == [1, 2, 3, 4, 5, 6]
        assert {event.stream for event in events} == {f"default/run/{run_id(1)}"}
        rest = [event async for event in world.service.history(run_id(1), after_version=4)]
        assert rest == events[4:]
        assert [event async for event in world.service.history(run_id(1), after_version=6)] == []


async def test_a_name_that_is_not_there_is_answered_with_its_nearest() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.ask(0xABC)
        await world.seen()
        wrong = run_id(0xABD)
        with pytest.raises(NotFound, match=f"did you mean {run_id(0xABC)}"):
            await world.service.run(wrong)
        with pytest.raises(NotFound, match=f"did you mean {run_id(0xABC)}"):
            [event async for event in world.service.history(wrong)]
        with pytest.raises(NotFound, match="did you mean 'census'"):
            await world.service.flow("censsu")
        with pytest.raises(NotFound, match="lists the flows"):
            await world.service.flow("zzz")
        for odd in ("zz", "", "../../x", "A" * 32, run_id(0xABC) + "\n"):
            with pytest.raises(NotFound):
                await world.service.run(odd)


async def test_flows_show_their_newest_registration() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow("b"))
        await world.service.register_flow(flow("a"))
        await world.clock.advance(10)
        again = await world.service.register_flow(flow("b", seal="aa" * 8))
        views = await world.service.flows()
        assert [(view.flow, view.version, view.registered.seal) for view in views] == [
            ("a", 1, SEAL),
            ("b", 2, "aa" * 8),
        ]
        assert views[1] == again == await world.service.flow("b")
        assert again.registered_at == "2023-11-14T22:13:30.000000Z"


async def test_info_tells_where_the_log_stands() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        info = await world.service.info()
        assert (info.log_id, info.position, info.now) == (world.log.log_id, await world.log.head(), world.clock.now())
        async with world.service.events(cursor=info.cursor) as pages:
            await world.ask()
            page = await anext(pages)
            assert [event.type for event in page.events] == ["run.scheduled", "run.ready"]
