"""The conformance suite of infrastructures: what `playhead.agent.infrastructure` promises, as checks with names. Needs no test framework.

    from playhead.testing.infrastructures import check_infrastructure

    @asynccontextmanager
    async def life(agent: str, command: Sequence[str]) -> AsyncGenerator[Infrastructure]:
        yield MyInfrastructure(agent, command=command)

    problems = [result for result in await check_infrastructure(life) if not result.passed]

Each call of `life` is one life of the agent of that name: what an earlier one launched is a survivor in the next, and at the end of a life
its runners go on. `command` is to be launched in the runner's place, with the same arguments: it takes the order as a runner
does. It imports `playhead.testing`, and reaches this process over the loopback interface (see `gates`).

Not tried here: a launch that fails or is cancelled, an agent that is killed instead of ended, and two of one name at a time. These
need an infrastructure's own means.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from playhead.agent.infrastructure import Exit, Infrastructure, Launched, LostSight
from playhead.core.events import Origin
from playhead.runner.bootstrap import RunnerOrder
from playhead.testing.checks import CheckResult, Suite, Watcher, expect
from playhead.testing.gates import Gate
from playhead.testing.runner_stand_in import ASKED_EXIT, digest

Life: TypeAlias = Callable[[str, Sequence[str]], AbstractAsyncContextManager[Infrastructure]]

INFRASTRUCTURE_SUITE: Final[Suite[Life]] = Suite("infrastructure", limit_seconds=60.0)
STAND_IN: Final = (sys.executable, "-m", "playhead.testing.runner_stand_in")


async def check_infrastructure(
    life: Life,
    *,
    only: Collection[str] | None = None,
    limit_seconds: float | None = None,
    watcher: Watcher | None = None,
) -> list[CheckResult]:
    """Try every check, or those named by `only`; see `Suite.run`. Each check is an agent of its own name."""
    return await INFRASTRUCTURE_SUITE.run(life, only=only, limit_seconds=limit_seconds, watcher=watcher)


# --- launching -----------------------------------------------------------------------------------------------------


@INFRASTRUCTURE_SUITE.check
async def a_runner_gets_its_order(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent:
        order = agent.order("waits", gate)
        async with agent.life() as infrastructure, _launched(infrastructure, order) as launched:
            expect((launched.run, launched.epoch) == (order.run, order.epoch), "what was launched has another's name")
            await gate.arrivals(1)
            told = gate.arrived[0].split()[:3]
            expect(told == [order.run, str(order.epoch), digest(order)], "the runner read another order than was given")


@INFRASTRUCTURE_SUITE.check
async def one_epoch_is_launched_once(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent:
        order = agent.order("waits", gate)
        async with agent.life() as infrastructure:
            first, second = await asyncio.gather(infrastructure.launch(order), infrastructure.launch(order))
            third = await infrastructure.launch(order)
            async with _all_let_through(gate):
                for launched in (first, second, third):
                    _expect_code(await launched.wait(), 5)
        expect(len(gate.arrived) == 1, f"three launches of one epoch started {len(gate.arrived)} runners")


@INFRASTRUCTURE_SUITE.check
async def each_epoch_has_a_runner_of_its_own(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent:
        earlier = agent.order("waits", gate)
        later = earlier.model_copy(update={"epoch": 2})
        async with (
            agent.life() as infrastructure,
            _launched(infrastructure, earlier) as first,
            _launched(infrastructure, later) as second,
        ):
            expect((first.epoch, second.epoch) == (1, 2), "the launch of an epoch gave the runner of another")
            await gate.arrivals(2)
            epochs = sorted(name.split()[1] for name in gate.arrived)
            expect(epochs == ["1", "2"], f"epochs 1 and 2 were launched, and runners of {' and '.join(epochs)} began")


# --- ends ----------------------------------------------------------------------------------------------------------


@INFRASTRUCTURE_SUITE.check
async def an_end_is_told_with_its_code(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent, agent.life() as infrastructure:
        for flow, code in (("ends", 0), ("fails", 7)):
            launched = await infrastructure.launch(agent.order(flow, gate))
            _expect_code(await launched.wait(), code)
            expect(await launched.wait() == Exit(exit_code=code), "asked again, `wait` told another end")


@INFRASTRUCTURE_SUITE.check
async def no_end_is_told_before_it_is(life: Life) -> None:
    """A twin that is launched later begins and ends meanwhile: so long nothing is told of the first."""
    async with _at_work(life, "waits") as scene:
        end = asyncio.create_task(scene.launched.wait())
        await scene.twin_ends()
        expect(not end.done(), "the end of a runner was told while it ran")
        scene.gate.let_through(*scene.gate.arrived)
        _expect_code(await end, 5)


@INFRASTRUCTURE_SUITE.check
async def cancelling_the_wait_leaves_the_runner_alone(life: Life) -> None:
    async with _at_work(life, "waits") as scene:
        waiting = asyncio.create_task(scene.launched.wait())
        await scene.twin_ends()
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        scene.gate.let_through(*scene.gate.arrived)
        _expect_code(await scene.launched.wait(), 5)


@INFRASTRUCTURE_SUITE.check
async def what_a_runner_started_ends_with_it(life: Life) -> None:
    async with _at_work(life, "leaves_a_child", arrivals=2) as scene:
        scene.gate.let_through("parent")
        _expect_code(await scene.launched.wait(), 0)
        scene.gate.let_through("child")
        alive = await scene.gate.arrives_before_it_leaves("child went on", "child")
        expect(not alive, "the end of a runner was told while a process that it started was alive")


@INFRASTRUCTURE_SUITE.check
async def terminate_asks_a_runner_to_end(life: Life) -> None:
    async with _at_work(life, "waits") as scene:
        await scene.launched.terminate()
        _expect_code(await scene.launched.wait(), ASKED_EXIT)


@INFRASTRUCTURE_SUITE.check
async def kill_ends_one_that_is_deaf(life: Life) -> None:
    async with _at_work(life, "is_deaf") as scene:
        await scene.launched.terminate()
        scene.gate.let_through("deaf")
        await scene.gate.arrivals(2)  # terminate did not make it end
        await scene.launched.kill()
        end = await scene.launched.wait()
        expect(isinstance(end, Exit) and end.exit_code != 0, f"a runner was killed, and {end} was told")


@INFRASTRUCTURE_SUITE.check
async def one_that_has_ended_is_left_in_peace(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent, agent.life() as infrastructure:
        launched = await infrastructure.launch(agent.order("fails", gate))
        end = await launched.wait()
        await launched.terminate()
        await launched.kill()
        expect(await launched.wait() == end, "terminate or kill changed how a runner has ended")


@INFRASTRUCTURE_SUITE.check
async def tending_ends_no_runner(life: Life) -> None:
    async with _at_work(life, "waits") as scene:
        await scene.infrastructure.tend()
        scene.gate.let_through(*scene.gate.arrived)
        _expect_code(await scene.launched.wait(), 5)


# --- lives ---------------------------------------------------------------------------------------------------------


@INFRASTRUCTURE_SUITE.check
async def a_survivor_is_found_and_adopted(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent:
        order = agent.order("waits", gate)
        async with agent.life() as infrastructure:
            await infrastructure.launch(order)
            await gate.arrivals(1)
        async with agent.life() as infrastructure:
            survivor = _only(await infrastructure.survivors(), order)
            adopted = await infrastructure.launch(order)
            expect((adopted.run, adopted.epoch) == (order.run, order.epoch), "a launch gave another's runner")
            async with _all_let_through(gate):
                for launched in (survivor, adopted):
                    _expect_seen_or_not(await launched.wait(), 5)
        expect(len(gate.arrived) == 1, "a survivor was launched once more")


@INFRASTRUCTURE_SUITE.check
async def one_that_ended_between_two_lives_is_found(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent:
        order = agent.order("waits", gate)
        async with agent.life() as infrastructure:
            await infrastructure.launch(order)
            await gate.arrivals(1)
        gate.let_through(*gate.arrived)
        await gate.departure(gate.arrived[0])
        async with agent.life() as infrastructure:
            _expect_seen_or_not(await _only(await infrastructure.survivors(), order).wait(), 5)


@INFRASTRUCTURE_SUITE.check
async def a_survivor_can_be_killed(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent:
        order = agent.order("waits", gate)
        async with agent.life() as infrastructure:
            await infrastructure.launch(order)
            await gate.arrivals(1)
        async with agent.life() as infrastructure:
            survivor = _only(await infrastructure.survivors(), order)
            await survivor.kill()
            end = await survivor.wait()
            expect(isinstance(end, Exit) and end.exit_code in (None, 137), f"a survivor was killed, and {end} was told")


@INFRASTRUCTURE_SUITE.check
async def what_was_forgotten_is_no_survivor(life: Life) -> None:
    async with Gate() as gate, _agent(life) as agent:
        async with agent.life() as infrastructure:
            for keep in (False, True):
                launched = await infrastructure.launch(agent.order("fails", gate))
                await launched.wait()
                await launched.forget(keep_output=keep)
                expect(launched.output or not keep, "nobody is told where the output is that was kept")
        async with agent.life() as infrastructure:
            expect(not await infrastructure.survivors(), "a runner that was reported and forgotten is a survivor")


# --- what several checks need ---------------------------------------------------------------------------------------


class _Agent:
    """One agent, by a name that no other check has. Its lives come one after another."""

    def __init__(self, life: Life) -> None:
        self.name = f"check-{secrets.token_hex(4)}"
        self._life = life

    def life(self) -> AbstractAsyncContextManager[Infrastructure]:
        return self._life(self.name, STAND_IN)

    def order(self, flow: str, gate: Gate) -> RunnerOrder:
        """An order for a run of its own, epoch 1."""
        return RunnerOrder(
            server=f"http://127.0.0.1:{gate.port}",
            agent=self.name,
            run=secrets.token_hex(16),
            epoch=1,
            grant=secrets.token_hex(16),
            flow=flow,
            seal=secrets.token_hex(16),
            origin=Origin.ASKED,
            scheduled_for=0,
            executor="thread",
            storage_url="file:///nowhere",
            storage_id=secrets.token_hex(8),
            key_id=secrets.token_hex(8),
            run_key=secrets.token_hex(16),
            flow_key=secrets.token_hex(16),
            lease_seconds=15.0,
        )


@asynccontextmanager
async def _agent(life: Life) -> AsyncGenerator[_Agent]:
    """When the check is over, however it went, nothing of this agent runs, and nothing of it is kept."""
    agent = _Agent(life)
    try:
        yield agent
    finally:
        async with agent.life() as infrastructure:
            for launched in await infrastructure.survivors():
                await _end(launched)
                await launched.forget(keep_output=False)


@dataclass(frozen=True, slots=True)
class _Scene:
    """An agent in one of its lives, and a runner of its."""

    agent: _Agent
    gate: Gate
    infrastructure: Infrastructure
    launched: Launched

    async def twin_ends(self) -> None:
        """Launch another runner, and let as much time pass as it takes to begin and to end."""
        twin = await self.infrastructure.launch(self.agent.order("ends", self.gate))
        await twin.wait()


@asynccontextmanager
async def _at_work(life: Life, flow: str, *, arrivals: int = 1) -> AsyncGenerator[_Scene]:
    """A scene whose runner, with what it started, has come to the gate so many times."""
    async with (
        Gate() as gate,
        _agent(life) as agent,
        agent.life() as infrastructure,
        _launched(infrastructure, agent.order(flow, gate)) as launched,
    ):
        await gate.arrivals(arrivals)
        yield _Scene(agent, gate, infrastructure, launched)


@asynccontextmanager
async def _launched(infrastructure: Infrastructure, order: RunnerOrder) -> AsyncGenerator[Launched]:
    """A runner that has ended when the block has."""
    launched = await infrastructure.launch(order)
    try:
        yield launched
    finally:
        await _end(launched)


async def _end(launched: Launched) -> None:
    await launched.kill()
    await launched.wait()


@asynccontextmanager
async def _all_let_through(gate: Gate) -> AsyncGenerator[None]:
    """Whoever is at the gate, or comes to it within the block, is let through."""

    async def keep_open() -> None:
        count = 0
        while True:
            await gate.arrivals(count + 1)
            gate.let_through(gate.arrived[count])
            count += 1

    opening = asyncio.create_task(keep_open())
    try:
        yield
    finally:
        opening.cancel()


def _only(survivors: Sequence[Launched], order: RunnerOrder) -> Launched:
    names = [(survivor.run, survivor.epoch) for survivor in survivors]
    expect(names == [(order.run, order.epoch)], f"one runner was left, and {len(names)} survivors were found")
    return survivors[0]


def _expect_code(end: Exit | LostSight, code: int) -> None:
    expect(end == Exit(exit_code=code), f"a runner ended with the code {code}, and {end} was told")


def _expect_seen_or_not(end: Exit | LostSight, code: int) -> None:
    """Who was away when it ended may not know the code; a wrong one is worse than none."""
    expect(end in (Exit(exit_code=code), Exit()), f"a runner ended with the code {code}, and {end} was told")
