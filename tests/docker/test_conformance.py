"""The Docker infrastructure keeps the promises of the public suite, as the local one does. Each runner of it is a container."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from playhead.agent.infrastructure import Infrastructure
from playhead.agent.user_side import KeptOutput, UserSide
from playhead.flows.run_config import DockerRun
from playhead.runner.bootstrap import RunnerOrder
from playhead.storage import open_storage
from playhead.testing.infrastructures import INFRASTRUCTURE_SUITE, check_infrastructure
from playhead.trust.keys import KeyRing, MasterKey
from playhead.trust.seal import FileCode, Seal
from playhead_adapters.infrastructure.docker.blueprint import Ground
from playhead_adapters.infrastructure.docker.daemon import Daemon
from playhead_adapters.infrastructure.docker.infrastructure import DockerInfrastructure
from tests.docker.conftest import Docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LIMIT_SECONDS: Final = 60.0  # for a check, which starts up to three containers


class SealedAlike(UserSide):
    """The suite's orders name seals and storages that nobody made: every run is of one flow, and outputs are kept nowhere."""

    def __init__(self, folder: Path, image: str) -> None:
        super().__init__([open_storage(folder)], KeyRing(MasterKey.random()))
        config = DockerRun(image=image, network="host").model_dump(mode="json")
        self._seal = Seal(
            flow="tried", code=FileCode(source=b"", stem="x", qualname="x"), executor={}, run_config=config
        )

    def seal(self, order: RunnerOrder) -> Seal:
        return self._seal

    def keep_output(self, kept: KeptOutput, data: bytes) -> str:
        return f"{len(data)} bytes of {kept.run}"


class StandsIn(Daemon):
    """Has the suite's own program launched in the runner's place, without the storage, which is not there."""

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        script = [
            word.replace('"playhead.runner"', '"playhead.testing.runner_stand_in"') for word in config["Entrypoint"]
        ]
        assert script != config["Entrypoint"]
        return await super().create(
            name, {**config, "Entrypoint": script, "HostConfig": {**config["HostConfig"], "Mounts": []}}
        )


@pytest.mark.parametrize("check", INFRASTRUCTURE_SUITE.names)
async def test_the_docker_infrastructure_conforms(tmp_path: Path, docker: Docker, check: str) -> None:
    user_side = SealedAlike(tmp_path / "storage", docker.image)

    @asynccontextmanager
    async def life(agent: str, command: Sequence[str]) -> AsyncGenerator[Infrastructure]:
        assert command[-1] == "playhead.testing.runner_stand_in"
        folder = tmp_path / agent
        folder.mkdir(exist_ok=True)
        async with StandsIn.opened(docker.engine.host, {}) as daemon:
            ground = Ground(python="3.11", owner=(0, 0))
            async with DockerInfrastructure.opened(
                daemon, ground, user_side, folder, credentials=None, auto_remove=True
            ) as infrastructure:
                yield infrastructure

    results = await check_infrastructure(life, only=[check], limit_seconds=LIMIT_SECONDS)
    assert [(result.name, result.problem) for result in results] == [(check, None)]
    assert not docker.engine.containers()
