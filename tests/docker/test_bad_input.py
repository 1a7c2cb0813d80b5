"""What can be wrong with images, mounts, engines and storage: each is named, in the log of the agent, in the run's story, or both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docker.conftest import Docker
from tests.docker.host import DockerHost
from tests.system.machine import PLAYHEAD

pytestmark = pytest.mark.docker

OLD = "playhead-old:1"
BROKEN = "playhead-none:1"


def released(host: DockerHost, run: str) -> str:
    """Why the run's claim first went back."""
    host.wait_for(lambda: "run.released" in host.types(run), "the claim to go back")
    events = [event["data"] for event in host.events(run) if event["type"] == "run.released"]
    reason: str = events[0]["reason"]
    return reason


def test_images_that_are_missing_or_do_not_fit_are_told_apart(host: DockerHost, docker: Docker, tmp_path: Path) -> None:
    build = tmp_path / "build"
    build.mkdir()
    (build / "Dockerfile").write_text(
        f"FROM {docker.image}\nRUN sed -i 's/^__version__ = .*/__version__ = \"0.0.1\"/'"
        " $(python3 -c 'import playhead; print(playhead.__file__)')\n"
    )
    host.engine.docker("build", "--network", "none", "--tag", OLD, str(build))
    host.server()
    host.register("on_missing", "on_bare", "on_old", "without_interpreter")
    host.docker_agent(image="")
    assert released(host, host.ask("on_missing")) == "image_missing"
    assert "the image playhead-missing:1 is not to be had" in host.said()
    assert released(host, host.ask("on_bare")) == "image_unfit"
    assert released(host, host.ask("on_old")) == "image_unfit"
    assert released(host, host.ask("without_interpreter")) == "image_unfit"
    assert "no interpreter of that name" in host.said()
    said = " ".join(path.read_text() for path in (host.home / "storage" / "runs").glob("*/1-*/output"))
    assert "this image cannot import Playhead" in said
    assert "this image has Playhead 0.0.1, and its agent" in said


def test_what_the_owner_does_not_allow_is_not_launched_and_waits_for_another_agent(host: DockerHost) -> None:
    host.server()
    host.register("mounts_all", "asks_for_a_network", "chain")
    host.docker_agent("--allow-image", "acme/*", image="playhead-flows:1")
    for flow, why in (
        ("mounts_all", "its image playhead-flows:1 is none of acme/*"),
        ("asks_for_a_network", "its image"),
    ):
        assert released(host, host.ask(flow)) == "not_allowed"
        assert why in host.said()
    host.docker_agent("--allow-mount", "/srv:ro", name="stricter")
    run = host.ask("mounts_all")
    host.wait_for(lambda: "its mount /:/host is not within /srv:ro" in host.said("stricter"), "the mount to be refused")
    assert host.view(run)["state"] == "ready"
    run = host.ask("asks_for_a_network")
    host.wait_for(lambda: "its network elsewhere is none of any" in host.said("stricter"), "the network to be refused")
    assert not host.containers()


def test_an_agent_whose_engine_does_not_answer_says_so_at_once(host: DockerHost, tmp_path: Path) -> None:
    host.server()
    command = (*PLAYHEAD, "agent", "docker", "--server", host.url())
    away = {**host.env, "DOCKER_HOST": f"unix://{tmp_path}/nothing"}
    done = subprocess.run(command, env=away, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"no Docker engine answers at unix://{tmp_path}/nothing: No such file or directory" in done.stderr
