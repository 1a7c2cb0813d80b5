"""The session's Docker engine, with an image built by the Dockerfile for users. Whoever uses it carries the marker `docker`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docker import base_image
from tests.docker.dockerd import Dockerd, running_dockerd
from tests.docker.host import DockerHost
from tests.system.machine import ended

DOCKERFILE = base_image.ROOT / "docs" / "examples" / "docker" / "Dockerfile"
BASE = "playhead-base:1"
IMAGE = "playhead-flows:1"


@dataclass(frozen=True)
class Docker:
    """A running engine and its images. `bare`: an interpreter without Playhead."""

    engine: Dockerd
    image: str = IMAGE
    bare: str = BASE


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    with ExitStack() as held:
        try:
            docker = held.enter_context(built_engine(tmp_path_factory.mktemp("context")))
        except LookupError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield docker


@contextmanager
def built_engine(context: Path) -> Generator[Docker]:
    """An engine of its own with both images, built in the folder `context`. LookupError: there can be none here, and why."""
    cache = base_image.cache_folder()
    tar, wheels = base_image.base_image(cache), base_image.wheels(cache)
    with running_dockerd() as engine:
        engine.docker("import", "-", BASE, data=tar)
        _build(engine, wheels, context)
        yield Docker(engine)


def _build(engine: Dockerd, wheels: Path, context: Path) -> None:
    """What docs/how-to/docker.md tells a user to do."""
    shutil.copytree(wheels, context / "wheels")
    base_image.playhead_wheel(context / "wheels")
    shutil.copy(DOCKERFILE, context)
    measured = context / "flows" / "benchmarks"  # imported there under the name that it has here
    measured.mkdir(parents=True)
    shutil.copy(base_image.ROOT / "benchmarks" / "flows.py", measured)
    shutil.copy(Path(__file__).with_name("flows.py"), context / "flows" / "docker_flows.py")
    engine.docker(
        "build", "--network", "none", "--build-arg", f"BASE={BASE}", "--tag", IMAGE, str(context), seconds=600
    )


@pytest.fixture
def host(tmp_path: Path, docker: Docker) -> Generator[DockerHost]:
    """A home of its own, and nothing left running at the end: no process, and no container."""
    host = DockerHost(tmp_path, docker.engine, docker.image)
    with ended(host):
        yield host
    engine = docker.engine
    if not engine.runs:
        engine.start()
    if left := engine.containers():
        engine.docker("rm", "--force", *left)
