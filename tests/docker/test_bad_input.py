"""What can be wrong with images, mounts, engines and storage: each is named, in the log of the agent, in the run's story, or both."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from playhead.core import troubles
from playhead.core.kinds import ReleaseReason
from tests.docker.conftest import Docker
from tests.docker.host import DockerHost
from tests.system.machine import PLAYHEAD

pytestmark = pytest.mark.docker

OLD = "playhead-old:1"
BROKEN = "playhead-none:1"


def released(host: DockerHost, run: str) -> str:
    """Why the run's claim first went back. `why` tells it in words."""
    host.wait_for(lambda: "run.released" in host.types(run), "the claim to go back")
    events = [event["data"] for event in host.events(run) if event["type"] == "run.released"]
    reason = ReleaseReason(events[0]["reason"])
    host.wait_for(lambda: troubles.RELEASED[reason] in host.why(run), f"`why` to say {reason}")
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


def test_an_image_with_another_python_than_the_agent_says_is_named(host: DockerHost) -> None:
    host.server()
    host.register("chain")
    host.docker_agent("--python", "3.99")
    run = host.ask("chain")
    assert released(host, run) == "image_unfit"
    host.wait_for(lambda: list((host.home / "storage" / "runs" / run).glob("1-*/output")), "what the container said")
    (said,) = (path.read_text() for path in (host.home / "storage" / "runs" / run).glob("1-*/output"))
    assert "and the agent says 3.99: start it with --python 3." in said


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
    said = refused_at_once(host, f"unix://{tmp_path}/nothing")
    assert f"no Docker engine answers at unix://{tmp_path}/nothing: No such file or directory" in said
    assert "start the engine" in said


def test_an_agent_without_the_right_to_the_socket_is_told_so_at_once(host: DockerHost, tmp_path: Path) -> None:
    """Root without its power over files, and a socket of somebody else's: what a user outside of the group has."""
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "util-linux has it wherever there is a Docker engine"
    host.server()
    socket = host.engine.socket
    powers = "-dac_override,-dac_read_search"
    as_other = (setpriv, f"--inh-caps={powers}", f"--bounding-set={powers}")
    before = socket.stat()
    try:
        os.chown(socket, 65534, 65534)
        socket.chmod(0o600)
        said = refused_at_once(host, host.engine.host, under=as_other)
    finally:
        os.chown(socket, before.st_uid, before.st_gid)
        socket.chmod(before.st_mode & 0o777)
    assert f"no Docker engine answers at {host.engine.host}: Permission denied" in said
    assert "in the group that owns the socket" in said


def test_an_agent_whose_credentials_cannot_be_used_says_so_at_once(host: DockerHost, tmp_path: Path) -> None:
    host.server()
    file = tmp_path / "registries.json"
    file.write_text("{}")
    file.chmod(0o644)
    said = refused_at_once(host, host.engine.host, "--registry-credentials", str(file))
    assert f"others may read {file}, which holds credentials" in said


def refused_at_once(host: DockerHost, docker_host: str, *more: str, under: tuple[str, ...] = ()) -> str:
    """What an agent says that does not even begin."""
    command = (*under, *PLAYHEAD, "agent", "docker", "--server", host.url(), *more)
    env = {**host.env, "DOCKER_HOST": docker_host}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr
