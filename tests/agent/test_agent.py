"""The agent against the real service: claims, capacity, races, deaths, drain, restarts, and a server that comes and goes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import anyio
import pytest

from playhead.agent.infrastructure import Exit, LostSight
from playhead.core.state import RunStatus
from playhead.errors import LaunchFailed, NotFound, ServerUnreachable
from playhead.ports.server import (
    AgentHello,
    Claimed,
    ClaimRequest,
    DiedRequest,
    EventFilter,
    EventPage,
    FoundJournal,
    ReconcileRequest,
    RunFilter,
    RunPage,
    ServerApi,
)
from playhead.trust.keys import DerivedKey
from tests.agent.world import FLOW, PACE, SEAL, URL, Machine, World, a_world, an_agent, at_work

AGENT = "brisk-otter-4f2a"


async def state_of_agent(world: World, name: str = AGENT) -> str:
    head = (await world.api.info()).position
    (view,) = [view for view in await world.api.agents(after=head) if view.agent == name]
    return view.state


async def test_a_run_is_claimed_and_its_runner_gets_the_whole_order() -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine)):
        run = await world.ask()
        order = (await machine.launched(1)).order
        claimed = await world.event(run, "run.claimed")
        assert (order.run, order.epoch, order.grant) == (run, 1, claimed.data["grant"])
        assert (order.server, order.agent, order.flow, order.seal) == (URL, AGENT, FLOW, SEAL)
        assert (order.storage_id, order.storage_url) == (world.storage.id, world.storage.url)
        assert DerivedKey.parse(order.run_key) == world.keys.run_key(run)
        assert DerivedKey.parse(order.flow_key) == world.keys.flow_key(FLOW)
        assert order.lease_seconds == 15.0


async def test_runs_that_were_ready_before_the_agent_came_are_taken_oldest_first() -> None:
    machine = Machine()
    async with a_world() as world:
        runs = [await world.ask() for _ in range(3)]
        async with at_work(an_agent(world, machine, capacity=1)):
            for count in (1, 2, 3):
                runner = await machine.launched(count)
                await world.succeeds(runner.order)
                runner.end(Exit(exit_code=0))
            assert [runner.run for runner in machine.launches] == runs


async def test_a_runner_that_ends_well_is_not_reported_dead() -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine)):
        run = await world.ask()
        runner = await machine.launched(1)
        await world.succeeds(runner.order)
        runner.end(Exit(exit_code=0))
        await machine.emptied()
        assert (await world.story(run))[-1] == "run.succeeded"


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (Exit(exit_code=3), {"reason": "exited", "exit_code": 3}),
        (Exit(exit_code=0), {"reason": "exited", "exit_code": 0}),
        (Exit(signal=9), {"reason": "signalled", "signal": 9}),
        (Exit(), {"reason": "exited"}),
    ],
)
async def test_a_death_is_reported_with_its_proof_and_the_run_taken_up_again(end: Exit, told: dict[str, Any]) -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine)):
        run = await world.ask()
        runner = await machine.launched(1)
        await world.begins(runner.order)
        runner.end(end)
        again = await machine.launched(2)
        assert (again.run, again.epoch) == (run, 2)
        assert (await world.event(run, "run.lost")).data == {"epoch": 1, **told}


async def test_a_runner_that_is_out_of_sight_is_left_to_its_lease() -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine)):
        run = await world.ask()
        runner = await machine.launched(1)
        await world.begins(runner.order)
        runner.end(LostSight("the node does not answer"))
        await machine.emptied()
        assert (await world.story(run))[-1] == "run.started"


async def test_a_flow_that_kills_its_runner_is_given_up() -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine)):
        run = await world.ask()
        for epoch in (1, 2, 3):
            runner = await machine.launched(epoch)
            await world.begins(runner.order)
            runner.end(Exit(signal=11))
        await world.until(run, lambda view: view.state is RunStatus.CRASHED)
        assert len(machine.launches) == 3


async def test_capacity_is_never_exceeded_and_a_free_slot_is_used() -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine, capacity=2)):
        runs = [await world.ask() for _ in range(6)]
        for count in range(2, 8):
            await machine.launched(min(count, 6))
            runner = machine.launches[count - 2]
            await world.succeeds(runner.order)
            runner.end(Exit(exit_code=0))
        await machine.emptied()
        assert sorted(runner.run for runner in machine.launches) == sorted(runs)
        assert machine.most_at_once == 2


async def test_of_several_agents_one_wins_each_run(caplog: pytest.LogCaptureFixture) -> None:
    machines = [Machine() for _ in range(3)]
    async with a_world() as world:
        agents = [an_agent(world, machine, name=f"a-{i}", capacity=20) for i, machine in enumerate(machines)]
        async with at_work(*agents):
            with caplog.at_level(logging.INFO):
                runs = [await world.ask() for _ in range(20)]
                for run in runs:
                    await world.until(run, lambda view: view.state is RunStatus.CLAIMED)
                for agent in agents:
                    agent.drain()
                launched: list[str] = []
                while len(launched) < len(runs):
                    await anyio.lowlevel.checkpoint()
                    launched = [runner.run for machine in machines for runner in machine.launches]
        assert sorted(launched) == sorted(runs)
        assert "not granted" not in caplog.text  # losing a race is nothing to tell


async def test_a_run_waits_for_the_agent_that_has_its_labels() -> None:
    plain, gpu = Machine(), Machine()
    async with a_world() as world, at_work(an_agent(world, plain, name="plain")):
        run = await world.ask(labels=("gpu",))
        other = await world.ask()
        assert (await plain.launched(1)).run == other
        async with at_work(an_agent(world, gpu, name="gpu", labels=("gpu", "big"))):
            assert (await gpu.launched(1)).run == run
        assert len(plain.launches) == 1


async def test_a_run_without_a_ticket_is_refused_and_handed_back(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    pace = replace(PACE, rest_first_seconds=3600, rest_most_seconds=3600)
    async with a_world() as world, at_work(an_agent(world, machine, pace=pace)):
        forged = await world.ask(ticket=False)
        changed = await world.ask(signed_flow="another")
        honest = await world.ask()
        assert (await machine.launched(1)).run == honest
        for run in (forged, changed):
            await world.until(run, lambda view: view.attempt == 2 and view.state is RunStatus.READY)
            assert (await world.event(run, "run.released")).data["reason"] == "refused"
        assert len(machine.launches) == 1
        assert f"run {forged} has no ticket" in caplog.text
        assert f"run {changed} does not fit its ticket" in caplog.text


async def test_a_launch_that_fails_for_good_is_handed_back_and_ends_in_the_budget() -> None:
    machine = Machine()
    machine.refusal = LaunchFailed("there is no such image")
    async with a_world() as world, at_work(an_agent(world, machine)):
        run = await world.ask()
        view = await world.until(run, lambda view: view.state is RunStatus.CRASHED)
        assert view.crash == "releases"
        assert (await world.event(run, "run.released")).data["reason"] == "launch_failed"


async def test_a_launch_that_takes_too_long_is_handed_back() -> None:
    class Stuck(Machine):
        async def launch(self, order: Any) -> Any:
            await anyio.sleep_forever()

    async with a_world() as world, at_work(an_agent(world, Stuck(), pace=replace(PACE, launch_timeout_seconds=0.01))):
        run = await world.ask()
        await world.until(run, lambda view: view.state is RunStatus.READY and view.attempt == 1)
        assert (await world.event(run, "run.released")).data["reason"] == "launch_timed_out"


async def test_a_drained_agent_takes_nothing_more_and_leaves_after_its_last_runner() -> None:
    machine = Machine()
    async with a_world() as world:
        agent = an_agent(world, machine)
        async with at_work(agent):
            await world.ask()
            runner = await machine.launched(1)
            agent.drain()
            while await state_of_agent(world) != "draining":
                await anyio.lowlevel.checkpoint()
            late = await world.ask()
            await world.succeeds(runner.order)
            runner.end(Exit(exit_code=0))
            await agent.left()
        assert await state_of_agent(world) == "left"
        assert await world.story(late) == ["run.scheduled", "run.ready"]
        assert len(machine.launches) == 1


async def test_an_agent_that_is_drained_from_elsewhere_leaves() -> None:
    async with a_world() as world:
        agent = an_agent(world, Machine())
        async with at_work(agent):
            await world.api.drain(AGENT)
            await agent.left()
        assert await state_of_agent(world) == "left"


async def test_an_agent_that_missed_that_it_was_told_to_drain_hears_of_it_with_its_next_beat() -> None:
    async with a_world() as world:
        server, api = troubled(world)
        server.deaf_streams = True
        agent = an_agent(world, Machine(), api=api, pace=replace(PACE, beat_seconds=0.01))
        async with at_work(agent):
            await world.api.drain(AGENT)
            await agent.left()
        assert await state_of_agent(world) == "left"


async def test_a_cancelled_agent_leaves_its_runners_to_its_next_life() -> None:
    machine = Machine()
    async with a_world() as world:
        async with at_work(an_agent(world, machine, capacity=1)):
            run = await world.ask()
            runner = await machine.launched(1)
            await world.begins(runner.order)
        assert await state_of_agent(world) == "joined"
        assert list(machine.running) == [(run, 1)]
        async with at_work(an_agent(world, machine, capacity=1)):
            second = await world.ask()
            runner.end(Exit())
            third = await machine.launched(2)
            assert {third.run} <= {run, second}
            assert (await world.event(run, "run.lost")).data == {"epoch": 1, "reason": "exited"}


async def test_a_claim_that_an_earlier_life_did_not_launch_is_given_back_at_once() -> None:
    """And not when its launch times out: this life's own word that it is alive would keep it for so long. What was launched stays."""
    machine = Machine()
    async with a_world() as world:
        async with at_work(an_agent(world, machine, capacity=2)):
            launched = await world.ask()
            await machine.launched(1)
        claimed = await world.ask()
        await world.api.claim(claimed, ClaimRequest(agent=AGENT, claim="c1" * 8))
        async with at_work(an_agent(world, machine, capacity=2)):
            again = await machine.launched(2)
        assert (again.run, again.epoch) == (claimed, 2)
        assert (await world.event(claimed, "run.released")).data == {"epoch": 1, "reason": "runner_died"}
        assert "run.released" not in await world.story(launched)


async def test_a_run_of_which_storage_knows_more_than_the_log_is_not_claimed(caplog: pytest.LogCaptureFixture) -> None:
    """The log was put back from an older copy: to begin the run would do again what that journal holds."""
    machine = Machine()
    async with a_world() as world:
        forgotten, sound = await world.ask(), await world.ask()
        world.storage.create_if_absent(f"runs/{forgotten}/1-{'f0' * 8}/segments/000001", b"what a runner wrote")
        async with at_work(an_agent(world, machine)):
            assert (await machine.launched(1)).run == sound
            assert await world.story(forgotten) == ["run.scheduled", "run.ready"], "no epoch's number is given away"
            while f"playhead reconcile {forgotten}" not in caplog.text:
                await anyio.lowlevel.checkpoint()
            request = ReconcileRequest(journals=(FoundJournal(epoch=1, grant="f0" * 8),), python="3.11")
            await world.api.reconcile(forgotten, request)
            assert ((taken := await machine.launched(2)).run, taken.epoch) == (forgotten, 2)


@pytest.mark.parametrize("deaf", [False, True])
async def test_an_agent_that_is_told_to_stops_its_runners(deaf: bool) -> None:
    machine = Machine()
    async with a_world() as world:
        pace = replace(PACE, stop_grace_seconds=0.01)
        async with at_work(an_agent(world, machine, stop_runners=True, pace=pace)):
            run = await world.ask()
            runner = await machine.launched(1)
            runner.deaf = deaf
            await world.begins(runner.order)
        assert machine.running == {}
        assert (await world.event(run, "run.lost")).data["signal"] == (9 if deaf else 15)
        assert await state_of_agent(world) == "left"


async def test_a_claim_whose_launch_was_cut_off_goes_back() -> None:
    begun = anyio.Event()

    class Slow(Machine):
        async def launch(self, order: Any) -> Any:
            begun.set()
            await anyio.sleep_forever()

    async with a_world() as world:
        async with at_work(an_agent(world, Slow())):
            run = await world.ask()
            await begun.wait()
        assert (await world.event(run, "run.released")).data["reason"] == "draining"
        assert await state_of_agent(world) == "left"


async def test_a_runner_that_outlives_its_run_is_killed() -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine, pace=replace(PACE, ended_grace_seconds=0))):
        run = await world.ask()
        runner = await machine.launched(1)
        await world.succeeds(runner.order)
        assert await runner.wait() == Exit(signal=9)
        await machine.emptied()
        assert (await world.story(run))[-1] == "run.succeeded"


async def test_a_runner_whose_epoch_was_taken_away_is_killed() -> None:
    """With one slot nobody claims the run again before its old runner is gone: that it was lost must be enough."""
    machine = Machine()
    pace = replace(PACE, superseded_grace_seconds=0)
    async with a_world() as world, at_work(an_agent(world, machine, capacity=1, pace=pace)):
        run = await world.ask()
        runner = await machine.launched(1)
        await world.begins(runner.order)
        await world.api.died(run, DiedRequest(epoch=1))  # as an expired lease would
        assert await runner.wait() == Exit(signal=9)
        assert (await machine.launched(2)).epoch == 2
        assert (await world.story(run)).count("run.lost") == 1


async def test_the_runner_of_a_cancelled_run_is_killed_when_it_does_not_go() -> None:
    machine = Machine()
    async with a_world() as world, at_work(an_agent(world, machine, pace=replace(PACE, ended_grace_seconds=0))):
        run = await world.ask()
        runner = await machine.launched(1)
        await world.api.cancel(run)  # claimed, not started: it ends at once
        assert await runner.wait() == Exit(signal=9)


class Troubled:
    """A server of which some answers are lost. Everything else is the real one's."""

    def __init__(self, world: World) -> None:
        self._api = world.api
        self.lose_claims = 0
        self.claims: list[ClaimRequest] = []
        self.lose_deaths = 0
        self.streams = 0
        self.cut = anyio.Event()
        self.was_cut = anyio.Event()
        self.deaf_streams = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def claim(self, run: str, request: ClaimRequest) -> Claimed:
        self.claims.append(request)
        claimed = await self._api.claim(run, request)
        if self.lose_claims > 0:
            self.lose_claims -= 1
            raise ServerUnreachable("the answer was lost")
        return claimed

    async def died(self, run: str, request: DiedRequest) -> None:
        if self.lose_deaths > 0:
            self.lose_deaths -= 1
            raise ServerUnreachable("the request was lost")
        await self._api.died(run, request)

    @asynccontextmanager
    async def events(
        self, *, cursor: str | None = None, which: EventFilter | None = None
    ) -> AsyncGenerator[AsyncIterator[EventPage], None]:
        self.streams += 1
        async with self._api.events(cursor=cursor, which=which) as pages:
            yield self._until_cut(pages)

    async def _until_cut(self, pages: AsyncIterator[EventPage]) -> AsyncIterator[EventPage]:
        self._break_if_cut()
        async for page in pages:
            self._break_if_cut()
            if not self.deaf_streams:
                yield page

    def _break_if_cut(self) -> None:
        if self.cut.is_set():
            self.was_cut.set()
            raise ServerUnreachable("the connection was reset")


def troubled(world: World) -> tuple[Troubled, ServerApi]:
    server = Troubled(world)
    return server, cast("ServerApi", server)


async def test_a_lost_answer_to_a_claim_is_asked_for_again_under_its_id() -> None:
    machine = Machine()
    async with a_world() as world:
        server, api = troubled(world)
        server.lose_claims = 3
        async with at_work(an_agent(world, machine, api=api)):
            run = await world.ask()
            runner = await machine.launched(1)
            assert (runner.run, runner.epoch) == (run, 1)
            asked = Counter(request.claim for request in server.claims)
            assert asked.pop(server.claims[0].claim) == 4
            assert sum(asked.values()) <= 1, "what the first look saw, the stream may tell once more: that is refused"


async def test_a_death_is_told_until_the_server_hears_it() -> None:
    machine = Machine()
    async with a_world() as world:
        server, api = troubled(world)
        server.lose_deaths = 5
        async with at_work(an_agent(world, machine, api=api)):
            run = await world.ask()
            runner = await machine.launched(1)
            await world.begins(runner.order)
            runner.end(Exit(exit_code=1))
            assert (await machine.launched(2)).run == run
            assert server.lose_deaths == 0


async def test_runs_that_came_while_the_stream_was_broken_are_found() -> None:
    machine = Machine()
    async with a_world() as world:
        server, api = troubled(world)
        async with at_work(an_agent(world, machine, api=api)):
            first = await world.ask()
            await machine.launched(1)
            server.cut.set()
            second = await world.ask()
            await world.until(second, lambda view: view.state is RunStatus.READY)
            await server.was_cut.wait()  # the news of the second came to a stream that was broken by then
            server.cut = anyio.Event()
            await machine.launched(2)
            third = await world.ask()  # after the query that found the second: only another stream can tell of it
            await machine.launched(3)
            assert [runner.run for runner in machine.launches] == [first, second, third]
            assert server.streams >= 2


async def test_runs_that_the_stream_never_told_are_found_by_the_slow_query() -> None:
    machine = Machine()
    async with a_world() as world:
        server, api = troubled(world)
        server.deaf_streams = True
        pace = replace(PACE, safety_seconds=0.01, ended_grace_seconds=0, superseded_grace_seconds=0)
        async with at_work(an_agent(world, machine, api=api, pace=pace)):
            run = await world.ask()
            runner = await machine.launched(1)
            assert runner.run == run
            await world.succeeds(runner.order)  # and neither does it tell that this run ended
            assert await runner.wait() == Exit(signal=9)


async def test_a_slow_query_costs_a_living_runner_nothing() -> None:
    machine = Machine()
    async with a_world() as world:
        server, api = troubled(world)
        server.deaf_streams = True
        pace = replace(PACE, safety_seconds=0.001, ended_grace_seconds=0, superseded_grace_seconds=0)
        async with at_work(an_agent(world, machine, api=api, pace=pace)):
            await world.ask()
            held = await machine.launched(1)
            for count in range(2, 12):  # each of these is found by a query that looks at what is held as well
                if count == 6:
                    await world.begins(held.order)
                await world.ask()
                runner = await machine.launched(count)
                await world.succeeds(runner.order)
                runner.end(Exit(exit_code=0))
            assert (held.run, held.epoch) in machine.running


async def test_a_server_that_is_behind_costs_a_living_runner_nothing() -> None:
    """Its answers are from before the claim: the run is not among the agent's, and its row is ready at the epoch before."""
    looks = 0
    looked_often = anyio.Event()

    class Behind(Troubled):
        async def runs(self, which: RunFilter, **how: Any) -> RunPage:
            nonlocal looks
            page = await self._api.runs(which, **how)
            if which.agent is not None:
                return page.model_copy(update={"runs": ()})
            if which.prefix is not None:
                looks += 1
                if looks == 3:
                    looked_often.set()
                stale = {"attempt": 0, "state": RunStatus.READY}
                return page.model_copy(update={"runs": tuple(row.model_copy(update=stale) for row in page.runs)})
            return page

    machine = Machine()
    pace = replace(PACE, safety_seconds=0.001, ended_grace_seconds=0, superseded_grace_seconds=0)
    async with a_world() as world:
        async with at_work(an_agent(world, machine, api=cast("ServerApi", Behind(world)), pace=pace)):
            await world.ask()
            await machine.launched(1)
            await looked_often.wait()
            assert len(machine.running) == 1
        assert len(machine.running) == 1


async def test_an_agent_that_is_taken_for_gone_joins_again() -> None:
    machine = Machine()
    async with a_world() as world:
        server, api = troubled(world)
        async with at_work(an_agent(world, machine, api=api)):
            while server.streams == 0:
                await anyio.lowlevel.checkpoint()
            await world.api.leave(AGENT)
            while await state_of_agent(world) != "joined":
                await anyio.lowlevel.checkpoint()
            await world.ask()
            await machine.launched(1)


async def test_an_agent_that_is_not_known_any_more_joins_again() -> None:
    joined: list[AgentHello] = []
    twice = anyio.Event()

    class Forgetful(Troubled):
        async def agent_beat(self, agent: str) -> None:
            raise NotFound("agent", agent)

        async def join(self, hello: AgentHello) -> None:
            joined.append(hello)
            if len(joined) == 2:
                twice.set()

    async with a_world() as world:
        server = cast("ServerApi", Forgetful(world))
        async with at_work(an_agent(world, Machine(), api=server, pace=replace(PACE, beat_seconds=0))):
            await twice.wait()
    assert joined[0] == joined[1]


async def test_an_agent_without_work_asks_nothing() -> None:
    """No polling: between events only beats and the slow query, whose intervals are an hour here."""
    asked: list[str] = []

    class Counting(Troubled):
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return super().__getattr__(name)

    async with a_world() as world:
        server = Counting(world)
        async with at_work(an_agent(world, Machine(), api=cast("ServerApi", server))):
            await world.ask(labels=("gpu",))
            await world.ask(labels=("gpu",))
            while server.streams == 0:
                await anyio.lowlevel.checkpoint()
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            assert sorted(asked) == ["info", "join", "runs", "runs"], (
                "what is ready, and once what an earlier life had claimed"
            )
