"""A rotation of keys, seen from the user's side: flows sealed anew without their code, and runs of before that go on."""

from __future__ import annotations

from pathlib import Path

from playhead.client.resealing import reseal
from playhead.core.events import Origin
from playhead.core.names import Micros
from playhead.core.run_ids import scheduled_run_id
from playhead.core.schedules import due_after
from playhead.core.state import RunStatus
from playhead.trust.keys import MasterKey
from playhead.trust.seal import read_seal
from playhead.trust.ticket import read_ticket
from tests.client_side import sample_flows
from tests.client_side.world import AT, World, world


def rotate(made: World) -> MasterKey:
    new = MasterKey.random()
    made.home.key_file.change(lambda ring: ring.signing_with(new))
    return new


async def test_a_registered_flow_runs_with_the_new_key_and_its_older_runs_with_theirs(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        waiting = await made.client.start(sample_flows.crawl, parameters={"n": 1})
        old, new = made.home.keys.current, rotate(made)
        assert (await reseal(made.api, made.home)).flows == ("crawl",)
        view = await made.client.flow("crawl")
        assert view.registered.key_id == new.id
        read_seal(made.home.storage, "crawl", view.registered.seal, new.flow_key("crawl"))
        asked = await made.client.start("crawl", parameters={"n": 2})
        keys = [(await made.client.run(run.id, tasks=False)).key_id for run in (waiting, asked)]
        assert keys == [old.id, new.id]
        runner = await made.runner(waiting.id)
        await runner.adopt()
        await runner.succeed(41)
        assert await waiting.result() == 41


async def test_sealing_anew_is_done_once(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.client.register(sample_flows.crawl)
        assert (await reseal(made.api, made.home)).flows == ()
        rotate(made)
        await reseal(made.api, made.home)
        before = await made.client.flow("crawl")
        assert (await reseal(made.api, made.home)).flows == ()
        assert await made.client.flow("crawl") == before


async def test_a_schedules_runs_of_before_and_after_have_their_tickets(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        before = (await made.client.register(sample_flows.nightly)).registered
        rotate(made)
        await reseal(made.api, made.home)
        after = (await made.client.flow("nightly")).registered
        assert before.schedule is not None
        assert before.schedule == after.schedule, "the same schedule: the same ids of runs"
        due = due_after(before.schedule, Micros(AT))
        run = scheduled_run_id("nightly", before.schedule.id, due)
        for facts in (before, after):
            read_ticket(
                made.home.storage,
                run=run,
                flow="nightly",
                seal=facts.seal,
                labels=facts.labels,
                origin=Origin.SCHEDULE,
                schedule=before.schedule.id,
                due_micros=due,
                run_key=made.home.keys.run_key(run, key_id=facts.key_id),
                flow_key=made.home.keys.flow_key("nightly", key_id=facts.key_id),
            )


async def test_an_idempotency_key_means_the_same_run_across_a_rotation(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        first = await made.client.start(sample_flows.crawl, parameters={"n": 1}, idempotency_key="once")
        rotate(made)
        await reseal(made.api, made.home)
        again = await made.client.start("crawl", parameters={"n": 1}, idempotency_key="once")
        assert again.id == first.id
        assert (await made.client.run(first.id, tasks=False)).state is RunStatus.READY


async def test_a_flow_whose_key_is_not_here_keeps_its_own_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.client.register(sample_flows.crawl)
        await made.client.register(sample_flows.nightly)
        lost = made.home.keys.current
        rotate(made)
        made.home.key_file.change(lambda ring: ring.without(lost.id))
        resealed = await reseal(made.api, made.home)
        assert resealed.flows == ()
        assert [flow for flow, _ in resealed.kept] == ["crawl", "nightly"]
        assert all(lost.id in error.message for _, error in resealed.kept)
        assert (await made.client.flow("crawl")).registered.key_id == lost.id
