"""Images from a registry that asks who is there: with the right credentials, with others, with none; pulled when the policy says so."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from playhead.core.kinds import ReleaseReason
from playhead.errors import LaunchFailed
from playhead_adapters.infrastructure.docker.daemon import Daemon
from playhead_adapters.infrastructure.docker.images import Images
from tests.docker.conftest import Docker
from tests.docker.registry import Registry, private_registry

pytestmark = pytest.mark.docker


@pytest.fixture
def registry(docker: Docker) -> Generator[Registry]:
    with private_registry("reader", "a secret") as registry:
        yield registry
        if registry.image in docker.engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}"):
            docker.engine.docker("rmi", registry.image)


@pytest.fixture
def credentials(tmp_path: Path, registry: Registry) -> Path:
    """As `docker login` writes them."""
    file = tmp_path / "registries.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"auths": {registry.host: {"auth": registry.authorization}}}))
    return file


async def test_an_image_is_pulled_with_the_credentials_of_its_registry_as_often_as_the_policy_says(
    docker: Docker, registry: Registry, credentials: Path
) -> None:
    async with Daemon.opened(docker.engine.host, {}) as daemon, anyio.create_task_group() as tasks:
        images = Images(daemon, tasks, credentials)
        with pytest.raises(LaunchFailed, match="pulling it is not allowed"):
            await images.provide(registry.image, "never")
        assert registry.asked == 0
        await images.provide(registry.image, "missing")
        assert await daemon.has_image(registry.image)
        once = registry.asked
        assert once > 0
        await images.provide(registry.image, "missing")
        assert registry.asked == once
        await images.provide(registry.image, "always")
        assert registry.asked > once


async def test_who_has_no_right_to_an_image_is_told_so(docker: Docker, registry: Registry, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.touch(mode=0o600)
    wrong.write_text(json.dumps({"auths": {registry.host: {"auth": "cmVhZGVyOndyb25n"}}}))
    async with Daemon.opened(docker.engine.host, {}) as daemon, anyio.create_task_group() as tasks:
        for given in (None, wrong):
            with pytest.raises(LaunchFailed, match=r"is not to be had: .*(auth|denied|credentials)") as failed:
                await Images(daemon, tasks, given).provide(registry.image, "missing")
            assert failed.value.reason is ReleaseReason.IMAGE_MISSING
        with pytest.raises(LaunchFailed, match="registry credentials cannot be read"):
            await Images(daemon, tasks, tmp_path / "nothing").provide(registry.image, "missing")
    assert registry.asked == 0
