"""Two servers on one log: what one has kept may be behind, and neither its answers nor its refusals may come from that."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME, Cancel, Claim, Lose, Report, ScheduleRun, Start
from playhead.core.names import AgentId, Epoch, Micros, Position, Seq, run_stream
from playhead.core.replay import Replay
from playhead.core.state import RunState, RunStatus
from playhead.log import Log
from playhead.ports.store import EventStore, Recorded
from playhead.service import ServiceSettings
from playhead.service.commands import RunCommands, runner_events
from playhead.service.folds import Folds
from playhead.service.leases import Ended, Leases
from playhead.service.projector import Projector
from playhead.service.read_models import ReadModels
from playhead.service.snapshots import Snapshots
from playhead.testing.clock import VirtualClock
from tests.service.world import ADOPTED, SEAL, STORAGE, SUCCEEDED, agent, embedded, flow, open_world, run_id, submitted
from tests.stores import new_backend

RUN = run_id(1)
NOW = Micros(1_000)
CLAIM = Claim(agent=AgentId("otter"), claim="c1" * 8, grant="97" * 8, now=NOW)
START = Start(epoch=Epoch(1), grant=CLAIM.grant, storage=STORAGE, python="3.11", key_scheme=KEY_SCHEME, now=NOW)


class Replica:
    """Commands with a cache of their own, and nothing that keeps it up to date."""

    def __init__(self, store: EventStore) -> None:
        self.states = Folds[RunState](store, Replay, weight=lambda _: 1, max_weight=100)
        self.commands = RunCommands(store, self.states, lambda _: None)


@asynccontextmanager
async def two_replicas() -> AsyncGenerator[tuple[RunCommands, RunCommands]]:
    """The second has kept the run as it was when it was ready."""
    async with Log.open(await new_backend()) as log:
        one, other = Replica(log), Replica(log)
        scheduled = embedded().scheduled.model_copy(update={"origin": ev.Origin.ASKED})
        schedule = ScheduleRun(scheduled=scheduled, now=NOW)
        await one.commands.carry_out(RUN, schedule, append_id="scheduled", actor="client")
        await other.states.fresh(run_stream(RUN))
        yield one.commands, other.commands


async def test_nothing_to_do_is_not_said_by_a_state_that_is_behind() -> None:
    async with two_replicas() as (one, other):
        await one.carry_out(RUN, CLAIM, append_id="claim", actor="agent/otter")
        loss = Lose(epoch=Epoch(1), reason=ev.LossReason.EXITED, exit_code=1, now=NOW)
        done = await other.carry_out(RUN, loss, append_id="lose.1", actor="agent/otter")
        assert (done.state.status, len(done.events)) == (RunStatus.READY, 1)


async def test_a_refusal_is_not_said_by_a_state_that_is_behind() -> None:
    async with two_replicas() as (one, other):
        await one.carry_out(RUN, CLAIM, append_id="claim", actor="agent/otter")
        done = await other.carry_out(RUN, START, append_id="start.1", actor="runner/1")
        assert done.state.status is RunStatus.RUNNING
        assert (await one.leased(RUN, Epoch(1), CLAIM.grant)).status is RunStatus.RUNNING


async def test_a_claim_that_is_repeated_at_another_server_gets_the_first_grant() -> None:
    async with two_replicas() as (one, other):
        first = await one.carry_out(RUN, CLAIM, append_id="claim.c1", actor="agent/otter")
        again = Claim(agent=CLAIM.agent, claim=CLAIM.claim, grant="ee" * 8, now=NOW)
        second = await other.carry_out(RUN, again, append_id="claim.c1", actor="agent/otter")
        assert second.state.head.grant == first.state.head.grant == CLAIM.grant
        assert second.events == ()


@pytest.mark.parametrize("batches", [2, 3])
async def test_a_report_that_is_repeated_at_a_server_that_is_behind_gets_its_first_answer(batches: int) -> None:
    """As when an answer is late, and a balancer sends the runner's next try to another server. The third ends the run."""
    items = (ADOPTED, submitted("fetch"), SUCCEEDED)[:batches]
    reports = [
        Report(
            epoch=Epoch(1), grant=CLAIM.grant, origin=Epoch(1), first_seq=Seq(seq), events=runner_events([it]), now=NOW
        )
        for seq, it in enumerate(items)
    ]
    async with two_replicas() as (one, other):
        await one.carry_out(RUN, CLAIM, append_id="claim", actor="agent/otter")
        await other.carry_out(RUN, START, append_id="start.1", actor="runner/1")
        done = [await one.report(RUN, report) for report in reports][-1]
        again = await other.report(RUN, reports[-1])
        assert (again.position, again.state.version) == (done.position, done.state.version)


async def test_an_append_that_another_server_made_is_answered_with_the_state_of_today() -> None:
    async with two_replicas() as (one, other):
        await one.carry_out(RUN, CLAIM, append_id="claim", actor="agent/otter")
        await one.carry_out(RUN, START, append_id="start.1", actor="runner/1")
        await other.leased(RUN, Epoch(1), CLAIM.grant)
        first = await one.carry_out(RUN, Cancel(now=NOW), append_id="cancel", actor="client")
        loss = Lose(epoch=Epoch(1), reason=ev.LossReason.EXITED, exit_code=1, now=NOW)
        await one.carry_out(RUN, loss, append_id="lose.1", actor="agent/otter")
        second = await other.carry_out(RUN, Cancel(now=NOW), append_id="cancel", actor="client")
        assert second.position == first.position, "it was this append, and it is in the log once"
        assert second.state.status is RunStatus.CANCELLED


async def test_a_row_never_goes_back_to_an_older_version() -> None:
    """A command may be ahead of the log's follower, and its state may be forgotten before the follower comes by."""
    async with open_world() as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED)
        await world.seen()
        page = await world.log.read_all(after=Position(0), limit=100)
        older = page.events[:-2]
        async with ReadModels(None, world.log, world.clock) as models:

            async def project(events: tuple[Recorded, ...]) -> str:
                states = Folds[RunState](world.log, Replay, weight=lambda _: 1, max_weight=10)
                projector = Projector(
                    world.log,
                    models,
                    states,
                    Snapshots(world.log, models),
                    observe=lambda _: None,
                    passed=lambda _: None,
                    wake=lambda: None,
                )
                await projector.project(type(page)(events, events[-1].position))
                return str((await models.rows("page_of_runs", **EVERY))[0]["summary"])

            assert '"running"' in await project(page.events)
            assert '"running"' in await project(older)


EVERY: dict[str, object] = {
    "before": 10**9, "agent": None, "states": None, "since": None, "low": "", "high": "g", "limit": 10
}  # fmt: skip


async def test_a_runner_that_began_elsewhere_has_its_whole_lease() -> None:
    """This server learns of the start by the log only, long after it saw the claim."""
    async with two_replicas() as (one, _):
        clock, terms = VirtualClock(), ServiceSettings()
        leases = Leases(clock, terms, lambda _: clock.monotonic())
        claimed = await one.carry_out(RUN, CLAIM, append_id="claim", actor="agent/otter")
        leases.observe(claimed.state)
        assert await swept(clock, leases, round(terms.lease_seconds * 2)) == []
        leases.observe((await one.carry_out(RUN, START, append_id="start.1", actor="runner/1")).state)
        leases.observe(claimed.state)
        assert await swept(clock, leases, round(terms.lease_seconds) - 1) == []
        assert [ended.epoch for ended in await swept(clock, leases, 1)] == [1]


async def swept(clock: VirtualClock, leases: Leases, seconds: int) -> list[Ended]:
    """What sweeps found in that time, one each second."""
    found: list[Ended] = []
    for _ in range(seconds):
        await clock.advance(1)
        found += leases.ended(clock.monotonic())
    return found


async def test_what_another_server_wrote_is_shown_here() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        replica = Replica(world.log)
        await replica.commands.carry_out(RUN, CLAIM, append_id="claim.c1", actor="agent/otter")
        await world.seen()
        (shown,) = await world.service.agents()
        assert shown.runs == (RUN,)
        assert (await world.service.run(RUN)).seal == SEAL
