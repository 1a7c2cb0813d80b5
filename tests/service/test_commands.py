"""Commands on runs: one winner, the same answer to the same request, and a runner's batches in order (S1, S4, S11)."""

from __future__ import annotations

import asyncio

import pytest

from playhead.core import events as ev
from playhead.core.state import RunStatus
from playhead.errors import AppendMismatch, EpochOver, IllegalEvent, NotFound, Refused, UnknownEvent, UsageError
from playhead.log import Log
from playhead.ports.server import Claimed, ClaimRequest, DiedRequest, ReleaseRequest, RunRequest
from playhead.service import Service
from tests.service.world import ADOPTED, SEAL, SUCCEEDED, World, agent, embedded, flow, open_world, run_id, submitted
from tests.stores import new_backend


async def test_a_run_goes_from_asked_for_to_succeeded() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED, submitted("a"))
        reported = await world.report(claimed, 2, SUCCEEDED)
        assert (reported.state, reported.position) == (RunStatus.SUCCEEDED, await world.log.head())
        assert [(event.type, event.actor) for event in await world.recorded()] == [
            ("flow.registered", "client"),
            ("agent.joined", "agent/otter"),
            ("run.scheduled", "client"),
            ("run.ready", "client"),
            ("run.claimed", "agent/otter"),
            ("run.started", "runner/1"),
            ("journal.adopted", "runner/1"),
            ("task.submitted", "runner/1"),
            ("run.succeeded", "runner/1"),
        ]


async def test_of_many_claims_one_wins() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        names = [f"agent-{number}" for number in range(20)]
        for name in names:
            await world.service.join(agent(name))
        await world.ask()
        answers = await asyncio.gather(*(world.claim(agent=name) for name in names), return_exceptions=True)
        assert sum(isinstance(answer, Claimed) for answer in answers) == 1
        assert {answer.code for answer in answers if isinstance(answer, Refused)} == {"not_ready"}
        assert len(await world.recorded("run.claimed")) == 1


async def test_of_claims_through_two_servers_on_one_log_one_wins() -> None:
    async with Log.open(await new_backend()) as log, Service(log) as one, Service(log) as other:
        await one.register_flow(flow())
        await one.join(agent())
        for number in range(20):
            asked = RunRequest(run=run_id(number), flow="census", seal=SEAL)
            await (one if number % 2 else other).ask_run(asked)
        claims = [
            server.claim(run_id(number), ClaimRequest(agent="otter", claim=f"{place:08x}{number:08x}"))
            for number in range(20)
            for place, server in enumerate((one, other))
        ]
        answers = await asyncio.gather(*claims, return_exceptions=True)
        won = [answer for answer in answers if isinstance(answer, Claimed)]
        assert sorted(claimed.run for claimed in won) == [run_id(number) for number in range(20)]
        assert all(isinstance(answer, Claimed | Refused) for answer in answers)


async def test_another_servers_write_is_seen_before_a_refusal_is_final() -> None:
    """The second server has kept a state that is behind: neither a no nor an answer may come from it."""
    async with Log.open(await new_backend()) as log, Service(log) as one, Service(log) as other:
        await one.register_flow(flow())
        await one.join(agent())
        await one.ask_run(RunRequest(run=run_id(1), flow="census", seal=SEAL, at=10**17))
        assert (await other.run(run_id(1))).state is RunStatus.SCHEDULED
        assert (await one.cancel(run_id(1))).state is RunStatus.CANCELLED
        with pytest.raises(Refused, match="is cancelled"):
            await other.claim(run_id(1), ClaimRequest(agent="otter", claim="c1" * 8))
        assert (await other.cancel(run_id(1))).state is RunStatus.CANCELLED


async def test_each_request_is_answered_again_as_it_was_and_writes_nothing() -> None:
    async with open_world() as world:
        claim = ClaimRequest(agent="otter", claim="c1" * 8)
        await world.service.register_flow(flow())
        await world.service.join(agent())
        asked = await world.ask()
        claimed = await world.service.claim(run_id(1), claim)
        started = await world.start(claimed)
        reported = await world.report(claimed, 0, ADOPTED, submitted("a"))
        written = await world.recorded()

        await world.service.register_flow(flow())
        await world.service.join(agent())
        assert (await world.ask()).run == asked.run
        assert await world.service.claim(run_id(1), claim) == claimed
        assert (await world.start(claimed)).flow == started.flow
        assert await world.report(claimed, 0, ADOPTED, submitted("a")) == reported
        assert await world.recorded() == written

        await world.service.cancel(run_id(1))
        await world.service.cancel(run_id(1))
        died = DiedRequest(epoch=1, signal=9)
        await world.service.died(run_id(1), died)
        await world.service.died(run_id(1), died)
        kinds = [event.type for event in await world.recorded()][len(written) :]
        assert kinds == ["run.cancelling", "run.cancelled"]


async def test_a_released_claim_goes_back_once() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        claimed = await world.claim(claim="c1" * 8)
        back = ReleaseRequest(claim="c1" * 8, epoch=claimed.epoch, reason=ev.ReleaseReason.LAUNCH_FAILED)
        await world.service.release(run_id(1), back)
        await world.service.release(run_id(1), back)
        (released,) = await world.recorded("run.released")
        assert released.actor == "agent/otter"
        with pytest.raises(Refused) as refused:
            await world.claim(claim="c1" * 8)
        assert refused.value.code == "claim_over"
        assert (await world.claim()).epoch == 2


async def test_a_batch_that_comes_again_gets_its_first_answer_even_after_the_end() -> None:
    async with open_world() as world:
        claimed = await world.running()
        first = await world.report(claimed, 0, ADOPTED, submitted("a"))
        last = await world.report(claimed, 2, SUCCEEDED)
        assert (await world.report(claimed, 0, ADOPTED, submitted("a"))).position == first.position
        assert await world.report(claimed, 2, SUCCEEDED) == last


async def test_a_batch_that_says_something_else_is_an_error() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED, submitted("a"))
        for other in ((ADOPTED,), (ADOPTED, submitted("b")), (ADOPTED, submitted("a"), submitted("b"))):
            with pytest.raises(AppendMismatch):
                await world.report(claimed, 0, *other)


@pytest.mark.parametrize("first_seq", [1, 3, 7])
async def test_a_batch_that_leaves_a_gap_or_cuts_into_another_is_refused(first_seq: int) -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED, submitted("a"))
        with pytest.raises(Refused) as refused:
            await world.report(claimed, first_seq, submitted("b"))
        assert refused.value.code == "sequence_gap"
        assert len(await world.recorded("task.submitted")) == 1


async def test_a_runner_whose_epoch_is_over_can_report_nothing_more() -> None:
    async with open_world() as world:
        old = await world.running()
        await world.report(old, 0, ADOPTED)
        await world.service.died(run_id(1), DiedRequest(epoch=1, exit_code=1))
        new = await world.claim()
        await world.start(new)
        for seq, event in ((0, ADOPTED), (1, submitted("a"))):
            with pytest.raises(EpochOver):
                await world.report(old, seq, event)
        with pytest.raises(EpochOver):
            await world.beat(old)
        await world.report(new, 1, submitted("a"), origin=1)
        await world.report(new, 0, ADOPTED)
        epochs = [(event.epoch, event.seq, event.actor) for event in await world.recorded("task.submitted")]
        assert epochs == [(1, 1, "runner/2")], "a predecessor's record keeps its place; who brought it is the actor"


async def test_an_outcome_after_the_servers_end_is_kept_as_late() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.service.cancel(run_id(1))
        await world.service.died(run_id(1), DiedRequest(epoch=1, exit_code=0))
        reported = await world.report(claimed, 0, ADOPTED, SUCCEEDED)
        assert (await world.report(claimed, 0, ADOPTED, SUCCEEDED)).state is reported.state is RunStatus.CANCELLED
        (late,) = await world.recorded("run.late")
        assert (late.data, late.epoch) == ({"epoch": 1, "outcome": "run.succeeded"}, None)


async def test_an_illegal_report_tells_the_story_and_writes_none_of_the_batch() -> None:
    async with open_world() as world:
        claimed = await world.running()
        with pytest.raises(IllegalEvent, match=r"the story so far: run\.scheduled → run\.ready"):
            await world.report(claimed, 0, ADOPTED, submitted("a"), submitted("a"))
        assert await world.recorded("journal.adopted") == []


@pytest.mark.parametrize(
    "event",
    [
        ("run.crashed", 1, {"reason": "losses"}),
        ("run.claimed", 1, {"agent": "canary", "claim": "c" * 8, "epoch": 9, "grant": "c" * 8}),
        ("flow.registered", 1, {}),
        ("canary.words", 1, {}),
        ("task.submitted", 1, {"at": 1, "key": "canary words", "name": "x"}),
        ("task.submitted", 1, {"at": 1, "key": "x", "name": "x", "canary": 1}),
        ("task.submitted", 7, {"at": 1, "key": "x", "name": "x"}),
    ],
)
async def test_what_no_runner_reports_is_refused_without_a_word_of_it(
    event: tuple[str, int, dict[str, object]],
) -> None:
    async with open_world() as world:
        claimed = await world.running()
        with pytest.raises((Refused, UnknownEvent)) as refused:
            await world.report(claimed, 0, ADOPTED, event)
        assert "canary" not in str(refused.value)
        assert await world.recorded("journal.adopted") == []


async def test_losses_are_counted_and_the_third_crashes_the_run() -> None:
    async with open_world() as world:
        claimed = await world.running()
        for epoch in (1, 2, 3):
            assert claimed.epoch == epoch
            await world.service.died(run_id(1), DiedRequest(epoch=epoch, signal=9))
            if epoch < 3:
                claimed = await world.claim()
                await world.start(claimed)
        assert await world.state() == "crashed"
        assert [event.type for event in await world.recorded("run.lost", "run.crashed")] == ["run.lost"] * 3 + [
            "run.crashed"
        ]
        with pytest.raises(Refused):
            await world.claim()


async def test_a_death_has_one_cause() -> None:
    async with open_world() as world:
        await world.running()
        with pytest.raises(UsageError):
            await world.service.died(run_id(1), DiedRequest(epoch=1, exit_code=1, signal=9))
        await world.service.died(run_id(1), DiedRequest(epoch=1))
        (lost,) = await world.recorded("run.lost")
        assert lost.data == {"epoch": 1, "reason": "exited"}


async def test_the_same_run_id_for_other_facts_is_refused() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.register_flow(flow("other"))
        await world.service.register_flow(flow(seal="aa" * 8))
        await world.ask(labels=("gpu",), at=5)
        assert (await world.ask()).state is RunStatus.READY
        for other in (
            RunRequest(run=run_id(1), flow="other", seal=SEAL),
            RunRequest(run=run_id(1), flow="census", seal="aa" * 8),
            RunRequest(run=run_id(1), flow="census", seal=SEAL, labels=()),
            RunRequest(run=run_id(1), flow="census", seal=SEAL, at=6),
        ):
            with pytest.raises(Refused) as refused:
                await world.service.ask_run(other)
            assert refused.value.code == "other_run"


async def test_a_run_has_its_flows_facts_and_labels_unless_it_names_others() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow(labels=("linux",)))
        await world.service.register_flow(flow(seal="aa" * 8, labels=("mac",)))
        await world.ask(1)
        await world.ask(2, labels=("gpu", "linux"))
        assert (await world.service.run(run_id(1))).labels == ("linux",), "the labels of the seal that it asked for"
        assert (await world.service.run(run_id(2))).labels == ("gpu", "linux")


async def test_a_flow_or_seal_that_is_not_registered_is_named() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        with pytest.raises(NotFound, match="did you mean 'census'"):
            await world.service.ask_run(RunRequest(run=run_id(1), flow="cencus", seal=SEAL))
        with pytest.raises(NotFound, match="never registered with it"):
            await world.service.ask_run(RunRequest(run=run_id(1), flow="census", seal="aa" * 8))


async def test_an_embedded_run_begins_in_one_append() -> None:
    async with open_world() as world:
        begun = await world.service.begin_embedded(embedded())
        again = await world.service.begin_embedded(embedded())
        assert (begun.state, again.state) == (RunStatus.RUNNING, RunStatus.RUNNING)
        events = await world.recorded()
        assert [event.type for event in events] == ["run.scheduled", "run.ready", "run.claimed", "run.started"]
        assert len({event.append_id for event in events}) == 1
        with pytest.raises(Refused) as refused:
            await world.service.begin_embedded(embedded(claim="c2" * 8))
        assert refused.value.code == "other_run"


async def test_only_an_embedded_run_that_is_due_begins_embedded() -> None:
    async with open_world() as world:
        with pytest.raises(Refused) as refused:
            await world.service.begin_embedded(embedded(at=world.clock.now() + 1))
        assert refused.value.code == "not_due"
        asked = embedded()
        scheduled = asked.scheduled.model_copy(update={"origin": ev.Origin.ASKED})
        with pytest.raises(Refused) as refused:
            await world.service.begin_embedded(asked.model_copy(update={"scheduled": scheduled}))
        assert refused.value.code == "not_embedded"


async def test_commands_on_a_run_that_is_not_there_say_so() -> None:
    async with open_world() as world:
        await world.service.join(agent())
        ghost = Claimed.model_construct(run=run_id(9), epoch=1, grant="97" * 8)
        for request in (
            world.claim(9),
            world.start(ghost),
            world.beat(ghost),
            world.report(ghost, 0, ADOPTED),
            world.service.cancel(run_id(9)),
            world.service.died(run_id(9), DiedRequest(epoch=1)),
        ):
            with pytest.raises(NotFound):
                await request


async def test_a_cancelled_request_leaves_the_run_in_order() -> None:
    """S16 from above: requests that are given up at any moment do not confuse those that follow."""
    async with open_world() as world:
        claimed = await world.running()
        await world.report(claimed, 0, ADOPTED)
        for seq in range(1, 30):
            given_up = asyncio.create_task(world.report(claimed, seq, submitted(f"k~{seq}")))
            for _ in range(seq % 7):
                await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            await world.report(claimed, seq, submitted(f"k~{seq}"))
        keys = [event.data["key"] for event in await world.recorded("task.submitted")]
        assert keys == [f"k~{seq}" for seq in range(1, 30)]


async def test_no_lock_is_kept_for_a_run_that_nobody_asks_about() -> None:
    async with open_world() as world:
        await _many_runs(world)
        assert len(world.service._commands._locks) == 0  # pyright: ignore[reportPrivateUsage]  # what this test is about


async def _many_runs(world: World) -> None:
    await world.service.register_flow(flow())
    await asyncio.gather(*(world.ask(number) for number in range(50)))
