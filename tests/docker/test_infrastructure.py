"""The Docker infrastructure alone, on a real engine: what the port promises of launches, survivors and what is cleared away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from playhead.agent.infrastructure import Exit, Launched
from playhead.agent.user_side import UserSide
from playhead.core.events import Origin
from playhead.errors import LaunchFailed
from playhead.flows.run_config import DockerRun
from playhead.runner.bootstrap import RunnerOrder
from playhead.storage import open_storage
from playhead.trust.keys import KeyRing, MasterKey
from playhead.trust.seal import FileCode, Seal, write_seal
from playhead_adapters.infrastructure.docker.blueprint import CUSTODIAN, Ground, container_name
from playhead_adapters.infrastructure.docker.daemon import Daemon
from playhead_adapters.infrastructure.docker.infrastructure import DockerInfrastructure
from playhead_adapters.infrastructure.docker.records import Records
from tests.docker.conftest import Docker

pytestmark = pytest.mark.docker

FLOW = "census"
RUN = "ab" * 16
NOWHERE = "http://127.0.0.1:9"  # a runner keeps asking for a server there for a while


class Side:
    """The user's side of one sealed flow, and orders for runs of it."""

    def __init__(self, folder: Path, docker: Docker) -> None:
        self.storage = open_storage(folder / "storage")
        self.folder = folder
        self.keys = KeyRing(MasterKey.random())
        self.user_side = UserSide([self.storage], self.keys)
        config = DockerRun(image=docker.image, network="host").model_dump(mode="json")
        code = FileCode(source=b"", stem=FLOW, qualname=FLOW)
        self.seal = write_seal(
            self.storage, Seal(flow=FLOW, code=code, executor={}, run_config=config), self.keys.flow_key(FLOW)
        )

    def order(self, epoch: int = 1, **changes: Any) -> RunnerOrder:
        return RunnerOrder(
            server=NOWHERE, agent="one", run=RUN, epoch=epoch, grant="5ec7" * 4, flow=FLOW, seal=self.seal, origin=Origin.ASKED,
            scheduled_for=1, executor="thread", storage_url=self.storage.url, storage_id=self.storage.id,
            key_id=self.keys.current.id, run_key=self.keys.run_key(RUN).export(), flow_key=self.keys.flow_key(FLOW).export(),
            lease_seconds=15.0,
        ).model_copy(update=changes)  # fmt: skip

    @asynccontextmanager
    async def opened(self, host: str) -> AsyncGenerator[DockerInfrastructure]:
        """One life of the agent."""
        ground = Ground(python="3.11", owner=(0, 0))
        async with (
            Daemon.opened(host, {}) as daemon,
            DockerInfrastructure.opened(
                daemon, ground, self.user_side, self.folder, credentials=None, auto_remove=True
            ) as infrastructure,
        ):
            yield infrastructure


@pytest.fixture
def side(tmp_path: Path, docker: Docker) -> Side:
    return Side(tmp_path, docker)


@pytest.fixture(autouse=True)
def cleared(docker: Docker) -> Any:
    yield
    if not docker.engine.runs:
        docker.engine.start()
    if left := docker.engine.containers():
        docker.engine.docker("rm", "--force", *left)


async def test_of_many_launches_of_one_epoch_one_makes_a_container_in_this_life_and_the_next(
    side: Side, docker: Docker
) -> None:
    async with side.opened(docker.engine.host) as first:
        launched = [await first.launch(side.order()) for _ in range(3)]
        assert len({id(each) for each in launched}) == 1
        assert list(docker.engine.containers()) == [container_name(RUN, 1)]
    async with side.opened(docker.engine.host) as second:
        (survivor,) = await second.survivors()
        assert (survivor.run, survivor.epoch) == (RUN, 1)
        assert await second.launch(side.order()) is survivor
        await survivor.kill()
        assert await survivor.wait() == Exit(signal=9)
        await survivor.forget(keep_output=True)
        assert not docker.engine.containers()
        assert await second.survivors() == []


async def test_a_container_of_another_agent_is_left_alone_and_named(side: Side, docker: Docker) -> None:
    labels = ("--label", f"{CUSTODIAN}=another", "--label", f"playhead.run={RUN}", "--label", "playhead.epoch=1")
    docker.engine.docker("run", "--detach", "--name", container_name(RUN, 1), *labels, docker.bare, "sleep", "600")
    async with side.opened(docker.engine.host) as infrastructure:
        with pytest.raises(LaunchFailed, match="of another agent's"):
            await infrastructure.launch(side.order())
        await infrastructure.tend()
    assert docker.engine.containers() == {container_name(RUN, 1): "running"}


async def test_what_was_created_and_never_started_is_removed_and_launched_anew(side: Side, docker: Docker) -> None:
    custodian = Records(side.folder).custodian()
    labels = [f"{CUSTODIAN}={custodian}", f"playhead.run={RUN}", "playhead.epoch=1"]
    created = [word for label in labels for word in ("--label", label)]
    docker.engine.docker("create", "--name", container_name(RUN, 1), *created, docker.bare, "true")
    async with side.opened(docker.engine.host) as infrastructure:
        launched = await infrastructure.launch(side.order())
        assert docker.engine.containers() == {container_name(RUN, 1): "running"}
        await launched.kill()
        await launched.wait()
    docker.engine.docker("create", "--name", "playhead-left", *created, docker.bare, "true")
    async with side.opened(docker.engine.host) as infrastructure:
        assert [(each.run, each.epoch) for each in await infrastructure.survivors()] == [(RUN, 1)]
    assert "playhead-left" not in docker.engine.containers()


async def test_what_has_ended_and_is_nobodys_is_tidied_away_and_another_agents_is_not(
    side: Side, docker: Docker
) -> None:
    custodian = Records(side.folder).custodian()
    for name, mark in (("playhead-ours", custodian), ("playhead-theirs", "another")):
        labels = (f"{CUSTODIAN}={mark}", f"playhead.run={RUN}", "playhead.epoch=1")
        words = [word for label in labels for word in ("--label", label)]
        docker.engine.docker("run", "--network", "none", "--name", name, *words, docker.bare, "true")
        docker.engine.docker(
            "create", "--network", "none", "--name", f"{name}-never-begun", *words, docker.bare, "true"
        )
    async with side.opened(docker.engine.host) as infrastructure:
        await infrastructure.tend()
    assert sorted(docker.engine.containers()) == ["playhead-theirs", "playhead-theirs-never-begun"]


async def test_a_launch_that_is_cancelled_leaves_nothing(side: Side, docker: Docker) -> None:
    async with side.opened(docker.engine.host) as infrastructure:
        for seconds in (0.01, 0.03, 0.06, 0.1, 0.2, 0.4):
            launched: Launched | None = None
            with anyio.move_on_after(seconds):  # somewhere between its first request and its last
                launched = await infrastructure.launch(side.order())
            if launched is not None:  # it was in time
                await launched.kill()
                await launched.wait()
                await launched.forget(keep_output=False)
            await infrastructure.tend()
            assert not docker.engine.containers()
            assert list(Records(side.folder).all()) == []


async def test_a_storage_that_the_engines_host_does_not_have_is_named(side: Side, docker: Docker) -> None:
    async with side.opened(docker.engine.host) as infrastructure:
        with pytest.raises(LaunchFailed, match="does not see the storage") as failed:
            await infrastructure.launch(side.order(storage_url="file:///of/another/machine"))
    assert failed.value.reason == "storage_unreachable"


async def test_an_engine_that_went_away_is_named_and_what_it_kept_is_cleared_when_it_is_back(
    side: Side, docker: Docker
) -> None:
    async with side.opened(docker.engine.host) as infrastructure:
        docker.engine.stop()
        with pytest.raises(LaunchFailed, match="no Docker engine answers") as failed:
            await infrastructure.launch(side.order())
        assert failed.value.reason == "infrastructure_unreachable"
        docker.engine.start()
        launched = await infrastructure.launch(side.order())
        await launched.kill()
        assert await launched.wait() == Exit(signal=9)
