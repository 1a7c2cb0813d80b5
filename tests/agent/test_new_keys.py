"""Keys that come into an agent's home while it works: shown to the server like its labels, and used without a restart."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex

import anyio

from playhead.agent.base import Agent
from playhead.agent.user_side import UserSide
from playhead.core import events as ev
from playhead.ports.server import RunRequest
from playhead.trust.keyfile import KeyFile
from playhead.trust.keys import DerivedKey, MasterKey
from playhead.trust.ticket import AskedTicket, write_asked
from tests.agent.world import FLOW, PACE, URL, Machine, World, a_world, at_work

NAME = "brisk-otter-4f2a"


def agent_of(world: World, machine: Machine, keys: KeyFile) -> Agent:
    side = UserSide([world.storage], keys)
    joined = ev.AgentJoined(
        agent=NAME, kind="local", capacity=4, storages=side.storage_ids, key_ids=side.key_ids, python="3.11", version="0",
    )  # fmt: skip
    return Agent(world.api, server_url=URL, infrastructure=machine, user_side=side, joined=joined, pace=PACE)


async def asked_with(world: World, key: MasterKey) -> str:
    """A run of a flow that is sealed with that key."""
    run, seal = token_hex(16), token_hex(16)
    registered = ev.FlowRegistered(
        flow=FLOW, seal=seal, sealed_by=ev.SealedBy.MODULE, executor="thread", run_config="universal",
        storage=world.storage.id, key_id=key.id,
    )  # fmt: skip
    await world.api.register_flow(registered)
    write_asked(world.storage, AskedTicket(run=run, flow=FLOW, seal=seal, parameters=b""), key.run_key(run))
    await world.api.ask_run(RunRequest(run=run, flow=FLOW, seal=seal))
    return run


async def shown_keys(world: World) -> tuple[str, ...]:
    (view,) = await world.api.agents(after=(await world.api.info()).position)
    return view.key_ids


async def test_a_run_with_a_new_key_is_taken_by_an_agent_that_never_ended(tmp_path: Path) -> None:
    file, machine, new = KeyFile(tmp_path, {}), Machine(), MasterKey.random()
    old = file.read().current
    async with a_world(keys=file.read()) as world, at_work(agent_of(world, machine, KeyFile(tmp_path, {}))):
        await world.ask()
        await machine.launched(1)
        file.change(lambda ring: ring.signing_with(new))
        run = await asked_with(world, new)
        with anyio.fail_after(30):
            order = (await machine.launched(2)).order
        assert (order.run, DerivedKey.parse(order.run_key)) == (run, new.run_key(run))
        assert await shown_keys(world) == (new.id, old.id)


async def test_a_run_that_came_before_its_key_is_taken_once_the_key_is_there(tmp_path: Path) -> None:
    file, machine, new = KeyFile(tmp_path, {}), Machine(), MasterKey.random()
    file.read()
    async with a_world(keys=file.read()) as world:
        agent = agent_of(world, machine, KeyFile(tmp_path, {}))
        async with at_work(agent):
            run = await asked_with(world, new)
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            assert not machine.launches
            file.change(lambda ring: ring.signing_with(new))
            await asked_with(world, new)  # whoever asks next makes it look; a beat would
            with anyio.fail_after(30):
                await machine.launched(2)
            assert run in {runner.order.run for runner in machine.launches}


async def test_a_key_that_was_forgotten_is_shown_no_more(tmp_path: Path) -> None:
    file, machine, new = KeyFile(tmp_path, {}), Machine(), MasterKey.random()
    old = file.read().current
    async with a_world(keys=file.read()) as world, at_work(agent_of(world, machine, KeyFile(tmp_path, {}))):
        file.change(lambda ring: ring.signing_with(new).without(old.id))
        await asked_with(world, new)
        with anyio.fail_after(30):
            await machine.launched(1)
        assert await shown_keys(world) == (new.id,)
