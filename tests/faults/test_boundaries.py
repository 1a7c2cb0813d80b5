"""Every boundary of every process is a place to die at: kill -9 there, one after the other, and each run goes on by itself.

The processes are real ones, killed by the product's own failpoints. A ledger outside of the engine shows that nothing that was
completed ran again, and a follower of the log that nothing it was told has gone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import pytest
from anyio import move_on_after

from playhead.agent.local import LocalAgent
from playhead.client.client import Client
from playhead.client.flow_run import FlowRun
from playhead.client.patience import Patience
from playhead.failpoints import BOUNDARIES, ONCE_VARIABLE, VARIABLE
from playhead.home import Home
from playhead.settings import Settings
from tests.faults import dying
from tests.faults.witness import LENGTH, Witness
from tests.rooms import ROOT
from tests.system.machine import PLAYHEAD, Machine

pytestmark = [pytest.mark.faults, pytest.mark.timeout(170)]

PATIENT: Final = Patience(tries=100, most_delay=0.5)  # a server is away for as long as it takes to start one here
WAVE: Final = 6  # processes that are started at a time
WAIT_SECONDS: Final = 30.0  # for a boundary to be reached
LOOK_SECONDS: Final = 0.05

# Places that a run without a death does not come to, or not in the way that matters.
AFTER_A_DEATH: Final = {"runner.fenced", "runner.recalled", "death.seen", "death.reported", "death.acknowledged"}

# A boundary that a run passes often is a place to die at in its beginning, its middle and its end.
OFTEN: Final = {"journal.writing": (2, 5), "journal.synced": (2, 5), "journal.counted": (2, 5), "report.sending": (2,)}


def cases(process: str) -> list[tuple[str, int]]:
    """Boundary, and which time the process comes to it."""
    return [(name, at) for name in BOUNDARIES[process] for at in (1, *OFTEN.get(name, ()))]


class Scene:
    """A home, its client's side in this process, and a folder in which boundaries that were reached are noted."""

    def __init__(self, host: Machine) -> None:
        self.host = host
        self.home = Home.open(Settings.load({"home": host.home}, env={}), env={})
        host.env["PYTHONPATH"] = str(ROOT)

    def armed(self, name: str, at: int) -> dict[str, str]:
        once = self.host.home / "reached" / f"{name}@{at}"
        once.mkdir(parents=True, exist_ok=True)
        return {VARIABLE: f"{name}=kill@{at}", ONCE_VARIABLE: str(once), "LEDGER": str(self.host.ledger)}

    def reached(self, name: str, at: int) -> bool:
        return (self.host.home / "reached" / f"{name}@{at}" / name).exists()

    async def ask(self, client: Client, name: str, label: str) -> FlowRun[int]:
        parameters = {"length": LENGTH, "dies_at": 2 if name in AFTER_A_DEATH else -1}
        return await client.start(dying.steps, parameters=parameters, labels=[label])

    async def verdict(self, witness: Witness, run: FlowRun[int], name: str, at: int) -> list[str]:
        await run.wait()
        wrong = await witness.wrong(run.id)
        with move_on_after(WAIT_SECONDS):  # some come after the run's own end: its runner has yet to be buried
            while not self.reached(name, at):
                await asyncio.sleep(LOOK_SECONDS)
        return [f"{name}@{at}: {what}" for what in wrong] + [f"{name}@{at} was not reached"] * (
            not self.reached(name, at)
        )


@pytest.fixture
def scene(host: Machine) -> Scene:
    return Scene(host)


def label(name: str, at: int) -> str:
    return re.sub(r"\W", "-", f"{name}-{at}")


async def test_a_runner_or_zygote_that_dies_at_any_boundary_is_replaced(scene: Scene) -> None:
    """The agents are this process's, each with a zygote of its own that is armed with one boundary."""
    scene.host.server()
    wrong: list[str] = []
    async with (
        Client(scene.host.url(), home=scene.home, patience=PATIENT) as client,
        Witness.of(client, scene.host.ledger) as witness,
    ):
        await client.register(dying.steps)

        async def one(name: str, at: int) -> None:
            agent = LocalAgent(
                home=scene.home, name=label(name, at), labels=[label(name, at)], capacity=1, import_paths=[ROOT],
                environment={**scene.host.env, **scene.armed(name, at)}, stop_runners=True,
            )  # fmt: skip
            async with agent.attach(client.api, scene.host.url()):
                run = await scene.ask(client, name, label(name, at))
                wrong.extend(await scene.verdict(witness, run, name, at))

        await in_waves(one, cases("runner") + cases("zygote"))
    assert wrong == []


async def test_an_agent_that_dies_at_any_boundary_finds_its_runs_again(scene: Scene) -> None:
    scene.host.server()
    wrong: list[str] = []
    async with (
        Client(scene.host.url(), home=scene.home, patience=PATIENT) as client,
        Witness.of(client, scene.host.ledger) as witness,
    ):
        await client.register(dying.steps)

        async def one(name: str, at: int) -> None:
            itself = label(name, at)
            command = (*PLAYHEAD, "agent", "local", "--server", scene.host.url(), "--name", itself, "--label", itself)
            agent = scene.host.start(*command, name=itself, env=scene.armed(name, at))
            run = await scene.ask(client, name, itself)
            assert await asyncio.to_thread(agent.wait, 60) == -9
            scene.host.start(*command, name=itself)
            wrong.extend(await scene.verdict(witness, run, name, at))

        await in_waves(one, cases("agent"))
    assert wrong == []


async def test_a_server_that_dies_at_any_boundary_goes_on_where_its_log_ends(scene: Scene) -> None:
    """One server after the other on one log, and one agent that outlives them all."""
    host = scene.host
    server = host.server()
    port, wrong, runs = host.url().rpartition(":")[2], list[str](), list[FlowRun[int]]()
    agent = LocalAgent(
        home=scene.home, name="otter", labels=["any"], import_paths=[ROOT], stop_runners=True,
        environment={**host.env, "LEDGER": str(host.ledger)},
    )  # fmt: skip
    async with (
        Client(host.url(), home=scene.home, patience=PATIENT) as client,
        Witness.of(client, host.ledger) as witness,
        agent.attach(client.api, host.url()),
    ):
        await client.register(dying.steps)
        for name, at in cases("server"):
            host.kill(server)
            server = host.server(port, env=scene.armed(name, at))
            asking = asyncio.create_task(scene.ask(client, name, "any"))
            assert await asyncio.to_thread(server.wait, 60) == -9
            server = host.server(port)
            runs.append(await asking)
            wrong.extend(await scene.verdict(witness, runs[-1], name, at))
        views = [await client.run(run.id) for run in runs]
        host.kill(server)
        (host.home / "views.db").unlink()
        host.server(port)
        assert [await client.run(run.id) for run in runs] == views
    assert wrong == []


async def in_waves(one: Callable[[str, int], Awaitable[None]], among: Sequence[tuple[str, int]]) -> None:
    """Each case, a few at a time: starting processes is what the machine has to do here."""
    gate = asyncio.Semaphore(WAVE)

    async def in_its_turn(name: str, at: int) -> None:
        async with gate:
            await one(name, at)

    async with asyncio.TaskGroup() as group:
        for name, at in among:
            group.create_task(in_its_turn(name, at))
