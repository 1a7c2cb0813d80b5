"""The local agent as a whole: a home, a server over loopback, real processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from playhead.agent.local import LocalAgent
from playhead.client.http import HttpServer
from playhead.core.state import RunStatus
from playhead.errors import UsageError
from playhead.home import Home
from playhead.settings import Settings
from playhead.storage.memory import MemoryStorage
from playhead.testing.gates import Gate
from tests.agent.stand_ins import stand_in
from tests.agent.world import PACE, World, a_world
from tests.server.serving import serving

# Reports as a runner does: it begins, waits, and ends as its epoch says.
RUNNER = """
import urllib.request
def say(what, body):
    url = "%s/api/runs/%s/%s" % (order["server"], order["run"], what)
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).read()
grant = {"epoch": order["epoch"], "grant": order["grant"]}
say("start", {**grant, "storage": order["storage_id"], "python": "3.11", "key_scheme": 1})
wait_at_gate("epoch %d" % order["epoch"])
if order["epoch"] == 1:
    os._exit(70)
say("report", {**grant, "origin": order["epoch"], "first_seq": 0, "events": [
    ["journal.adopted", 1, {"at": 1}], ["run.succeeded", 1, {"at": 2, "mac": "A" * 22, "size": 1}]]})
"""


def a_home(folder: Path) -> Home:
    return Home.open(Settings.load({"home": str(folder)}, env={}), env={})


def a_local_agent(home: Home, gate: Gate, *, stop_runners: bool = False) -> LocalAgent:
    environment = {"PATH": os.environ["PATH"], "GATE": str(gate.port)}
    return LocalAgent(
        home=home,
        capacity=1,
        command=stand_in(RUNNER),
        pace=PACE,
        environment=environment,
        stop_runners=stop_runners,
    )


async def test_a_run_goes_through_processes_one_of_which_dies(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    async with Gate() as gate, a_world(home.storage, home.keys) as world, serving(world.api) as url:
        async with HttpServer(url) as api, a_local_agent(home, gate).attach(api, url) as agent:
            run = await world.ask()
            await gate.arrivals(1)
            gate.let_through("epoch 1")
            await gate.arrivals(2)
            gate.let_through("epoch 2")
            await world.until(run, lambda view: view.state is RunStatus.SUCCEEDED)
            agent.drain()
            await agent.left()
        assert (await world.event(run, "run.lost")).data == {"epoch": 1, "reason": "exited", "exit_code": 70}
        assert await world.story(run) == [
            *("run.scheduled", "run.ready", "run.claimed", "run.started", "run.lost"),
            *("run.claimed", "run.started", "journal.adopted", "run.succeeded"),
        ]
        folder = home.agents_path / agent.name
        assert sorted(path.name for path in folder.iterdir()) == ["ended", "lock"]
        assert [path.name for path in (folder / "ended").iterdir()] == [f"{run}-1"]


async def test_a_restarted_agent_keeps_name_and_runner(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    async with Gate() as gate, a_world(home.storage, home.keys) as world, serving(world.api) as url:
        async with a_local_agent(home, gate).attach(world.api, url) as first:
            run = await world.ask()
            await gate.arrivals(1)
        async with a_local_agent(home, gate).attach(world.api, url) as second:
            assert second.name == first.name
            gate.let_through("epoch 1")
            await gate.arrivals(2)
            assert (await world.event(run, "run.lost")).data == {"epoch": 1, "reason": "exited", "exit_code": 70}
            gate.let_through("epoch 2")
            await world.until(run, lambda view: view.state is RunStatus.SUCCEEDED)
            second.drain()
            await second.left()
        assert gate.arrived == ["epoch 1", "epoch 2"]


async def test_an_agent_that_stops_its_runners_leaves_no_process(tmp_path: Path) -> None:
    home = a_home(tmp_path)
    async with Gate() as gate, a_world(home.storage, home.keys) as world, serving(world.api) as url:
        async with a_local_agent(home, gate, stop_runners=True).attach(world.api, url):
            run = await world.ask()
            await gate.arrivals(1)
        await gate.departure("epoch 1")
        assert (await world.event(run, "run.lost")).data == {"epoch": 1, "reason": "drained", "signal": 15}


async def attach(agent: LocalAgent, world: World, url: str | None) -> None:
    async with agent.attach(world.api, url):
        pass


async def test_what_an_agent_cannot_work_with_is_said_before_it_joins(tmp_path: Path) -> None:
    async with a_world() as world:
        with pytest.raises(UsageError, match="listens nowhere"):
            await attach(LocalAgent(home=tmp_path), world, None)
        with pytest.raises(UsageError, match="storage in memory"):
            await attach(LocalAgent(home=tmp_path, storage=MemoryStorage()), world, "http://127.0.0.1:9")
        with pytest.raises(UsageError, match="cannot be the name"):
            await attach(LocalAgent(home=tmp_path, name="../x"), world, "http://127.0.0.1:9")
        assert await world.api.agents() == ()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"capacity": 0}, "0 runners"),
        ({"labels": ["a b"]}, "cannot be the name"),
        ({"labels": map(str, range(33))}, "33 labels"),
    ],
)
def test_bad_settings_are_refused_at_once(settings: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        LocalAgent(**settings)  # type: ignore[arg-type]  # a table of keywords
