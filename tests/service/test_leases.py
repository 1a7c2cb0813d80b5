"""Leases: who is not heard of loses the run in time, who is keeps it, and a restart starves nobody (L1, L2, L9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.core import events as ev
from playhead.errors import EpochOver
from playhead.log.memory import MemoryRecords
from playhead.ports.server import DiedRequest
from playhead.service import ServiceSettings
from playhead.testing.clock import VirtualClock
from tests.service.world import ADOPTED, agent, embedded, flow, open_world, run_id, submitted

TERMS = ServiceSettings()
LEASE, SWEEP = TERMS.lease_seconds, TERMS.sweep_seconds


async def test_a_run_whose_runner_is_silent_is_offered_again_within_a_lease_and_a_sweep() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.clock.advance(LEASE - SWEEP)
        assert await world.beat(claimed) == LEASE
        await world.clock.advance(LEASE - 0.5)
        assert await world.recorded("run.lost") == []
        await world.clock.advance(0.5 + SWEEP)
        (lost,) = await world.until("run.lost")
        assert (lost.data, lost.actor) == ({"epoch": 1, "reason": "lease_expired"}, "server")
        assert (await world.claim()).epoch == 2


async def test_the_sweep_goes_on_for_ever() -> None:
    """Not only at the start: the third runner of a run is missed like the first."""
    async with open_world() as world:
        await world.running()
        for losses in (1, 2):
            await world.clock.advance(LEASE + SWEEP)
            await world.until("run.lost", losses)
            await world.start(await world.claim())
        await world.clock.advance(LEASE + SWEEP)
        await world.until("run.crashed")
        await world.clock.advance(10 * LEASE)
        assert len(await world.recorded("run.lost")) == 3, "who has ended is lost no more"


async def test_any_sign_of_the_runner_renews_its_lease_and_writes_nothing_but_its_news() -> None:
    async with open_world() as world:
        claimed = await world.running()
        before = len(await world.recorded())
        for seq in range(10):
            await world.clock.advance(LEASE * 0.6)
            await world.beat(claimed)
            await world.clock.advance(LEASE * 0.6)
            await world.report(claimed, seq, ADOPTED if seq == 0 else submitted(f"k~{seq}"))
        assert len(await world.recorded()) == before + 10
        assert await world.state() == "running"


async def test_an_expired_epoch_is_never_renewed() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.clock.advance(LEASE + SWEEP)
        await world.until("run.lost")
        with pytest.raises(
            EpochOver
        ):  # a command waits until this server has its answer for what the log may show before that
            await world.report(claimed, 0, ADOPTED)
        with pytest.raises(EpochOver):
            await world.beat(claimed)


async def test_a_server_that_stood_still_holds_its_own_silence_against_nobody() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.clock.advance(LEASE / 2)
        world.clock.stall(3 * LEASE)
        await world.clock.advance(SWEEP)
        assert await world.recorded("run.lost") == []
        assert await world.beat(claimed) == LEASE
        await world.clock.advance(LEASE + SWEEP)
        await world.until("run.lost")


async def test_what_was_left_of_a_term_when_the_server_stood_still_is_all_that_is_left_after() -> None:
    async with open_world() as world:
        await world.running()
        await world.clock.advance(LEASE / 2)
        world.clock.stall(3 * LEASE)
        await world.clock.advance(LEASE / 2 + 2 * SWEEP)
        await world.until("run.lost")


async def test_a_claim_outlives_a_server_that_stood_still() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        claimed = await world.claim()
        world.clock.stall(3 * TERMS.launch_timeout_seconds)
        await world.clock.advance(SWEEP)
        await world.start(claimed)
        assert await world.state() == "running"


async def test_after_a_restart_everyone_gets_a_full_term() -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock) as world:
        await world.running()
        await clock.advance(LEASE - 0.5)
    async with open_world(records, clock=clock) as world:
        await clock.advance(LEASE - 0.5)
        assert await world.recorded("run.lost") == []
        await clock.advance(0.5 + SWEEP)
        await world.until("run.lost")


async def test_after_a_restart_from_kept_read_models_too(tmp_path: Path) -> None:
    """Then the run's events are not read again, and only the read model tells that it holds a lease."""
    records, clock, views = MemoryRecords(), VirtualClock(), tmp_path / "views.db"
    async with open_world(records, clock=clock, views=views) as world:
        await world.running()
        await world.seen()
    async with open_world(records, clock=clock, views=views) as world:
        await clock.advance(LEASE + SWEEP)
        await world.until("run.lost")


async def test_a_claim_that_never_starts_is_taken_back_at_the_launch_timeout() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        claimed = await world.claim()
        for _ in range(int(TERMS.launch_timeout_seconds / 10) - 1):
            await world.clock.advance(10)
            await world.service.agent_beat("otter")
        assert await world.recorded("run.released") == [], "while its agent is heard of, it has the whole timeout"
        await world.clock.advance(10 + SWEEP)
        (released,) = await world.until("run.released")
        assert released.data == {"epoch": 1, "reason": "launch_timed_out"}
        with pytest.raises(EpochOver):
            await world.start(claimed)


async def test_the_claim_of_a_silent_agent_is_taken_back_earlier() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        await world.claim()
        await world.clock.advance(TERMS.agent_silence_seconds - 1)
        assert await world.recorded("run.released") == []
        await world.clock.advance(1 + SWEEP)
        await world.until("run.released")
        assert world.clock.monotonic() < TERMS.launch_timeout_seconds


async def test_a_slow_launch_leaves_the_runner_its_whole_lease() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        claimed = await world.claim()
        for _ in range(3):
            await world.clock.advance(LEASE / 2)
            await world.service.agent_beat("otter")
        assert (await world.start(claimed)).lease_seconds == LEASE
        await world.clock.advance(LEASE - 1)
        assert await world.recorded("run.lost") == []


async def test_a_cancelled_run_whose_runner_is_gone_is_cancelled_by_the_server() -> None:
    async with open_world() as world:
        await world.running()
        assert (await world.service.cancel(run_id(1))).state.value == "cancelling"
        await world.clock.advance(LEASE + SWEEP)
        (cancelled,) = await world.until("run.cancelled")
        assert cancelled.actor == "server"
        assert await world.recorded("run.lost") == []


async def test_a_cancel_is_no_sign_of_life() -> None:
    async with open_world() as world:
        await world.running()
        await world.clock.advance(LEASE - SWEEP)
        await world.service.cancel(run_id(1))
        await world.clock.advance(2 * SWEEP)
        await world.until("run.cancelled")


async def test_a_runner_that_never_obeys_a_cancel_ends_within_the_bound() -> None:
    async with open_world() as world:
        claimed = await world.running()
        await world.service.cancel(run_id(1))
        terms: list[float] = []
        while world.clock.monotonic() < TERMS.cancel_grace_seconds:
            await world.clock.advance(5)
            terms.append(await world.beat(claimed))
        assert terms[0] == LEASE
        assert terms[-1] < LEASE, "the runner is told that its term grows shorter, and starts nothing after it"
        await world.clock.advance(LEASE + SWEEP)
        await world.until("run.cancelled")
        await world.seen()  # a subscriber may hear of it a moment before the service's own books have it
        with pytest.raises(EpochOver):
            await world.beat(claimed)


async def test_a_death_with_proof_waits_for_no_lease() -> None:
    async with open_world() as world:
        await world.running()
        await world.service.died(run_id(1), DiedRequest(epoch=1, signal=11))
        (lost,) = await world.recorded("run.lost")
        assert (lost.data, lost.actor) == ({"epoch": 1, "reason": "signalled", "signal": 11}, "agent/otter")
        assert world.clock.monotonic() == 0


async def test_a_death_before_the_start_is_no_loss_of_the_flows() -> None:
    async with open_world() as world:
        await world.service.register_flow(flow())
        await world.service.join(agent())
        await world.ask()
        await world.claim()
        await world.service.died(run_id(1), DiedRequest(epoch=1, exit_code=3))
        (released,) = await world.recorded("run.released")
        assert released.data == {"epoch": 1, "reason": ev.ReleaseReason.RUNNER_DIED}


async def test_an_embedded_run_whose_program_is_gone_crashes_at_the_leases_end() -> None:
    async with open_world() as world:
        await world.service.begin_embedded(embedded())
        await world.clock.advance(LEASE + SWEEP)
        (crashed,) = await world.until("run.crashed")
        assert crashed.data == {"reason": "embedding_ended"}
