"""S9 for runs in containers: no marked word, in no disguise, is where the server or whoever may ask the engine could read it.

The engine is told of an image, and keeps what a container prints: these two are shown on purpose. All else that it has of a container is
searched: what it shows, what it wrote down, its own log, and what the system shows of the container's process.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.canary import places
from tests.canary.recorder import Recording, recorded
from tests.canary.words import GIVEN, MARK
from tests.canary.world import User, server_at_debug, told_in, told_in_memory
from tests.docker.conftest import Docker
from tests.docker.dockerd import Dockerd
from tests.system.machine import PLAYHEAD, Machine, ended, machine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

IMAGE = f"{MARK}_image:1"
FLOWS = ("in-a-container", "dask-in-a-container")  # on threads, and on a cluster that its container opens beside it
RESTING = "rests"
RESULTS = ("result", "large_result", "inner_default", "caught")


@pytest.fixture
def user(tmp_path: Path, docker: Docker) -> Generator[User]:
    home = tmp_path / "user"
    home.mkdir()
    made = User(home)
    made.env["DOCKER_HOST"] = docker.engine.host
    with ended(made):
        yield made
    if left := docker.engine.containers():
        docker.engine.docker("rm", "--force", *left)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Machine]:
    """The server's own home."""
    home = tmp_path / "server"
    home.mkdir()
    with machine(home) as made:
        yield made


def test_neither_server_nor_engine_learns_what_runs_in_a_container(
    user: User, elsewhere: Machine, docker: Docker
) -> None:
    docker.engine.docker("tag", docker.image, IMAGE)
    server = server_at_debug(elsewhere)
    with recorded(elsewhere.url()) as (url, recording):
        user.env["PLAYHEAD_SERVER"] = url
        agent = ("agent", "docker", "--network", "host", "--default-image", IMAGE, "--keep-containers")
        user.start(*PLAYHEAD, *agent, "--env", f"{MARK.upper()}_VARIABLE", name="agent")
        user.wait_for(lambda: user.json("agents"), "the agent to join")
        for flow in FLOWS:
            _run_to_its_end(user, flow)
        _check_the_engine(docker.engine, _rests(user, docker.engine, url))
        _check_recording(recording)
    assert told_in_memory(server.pid) == []
    assert told_in(places.process(server.pid)) == []
    assert told_in(places.files_in(elsewhere.home)) == []


def _run_to_its_end(user: User, flow: str) -> None:
    shown = user.playhead("run", user.flow(flow), "-p", f"given={GIVEN}", "-p", "folder=/tmp").stdout
    assert all(f"{MARK}_{word}" in shown for word in RESULTS)
    kept = b"".join(data for _, data in places.files_in(user.home / "storage"))
    assert all(f"{MARK}_{word}".encode() in kept for word in ("print", "sealed_in_a_container", "large_result"))


def _rests(user: User, engine: Dockerd, url: str) -> str:
    """The container of a run that is at work."""
    user.playhead("register", user.flow(RESTING))
    run = user.json("run", RESTING, "--no-wait", "-p", f"given={GIVEN}")["run_id"]

    user.wait_for(lambda: places.asked(url, f"/runs/{run}")["state"] == "running", "its runner to have read its order")
    return next(name for name in engine.containers() if run in name)


def _check_the_engine(engine: Dockerd, resting: str) -> None:
    """Of the container at work, and of those that have ended and were kept."""
    assert told_in(places.process(engine.inspect(resting)["State"]["Pid"])) == []
    names = engine.containers()
    assert len(names) == len(FLOWS) + 1
    for name in names:
        shown = engine.inspect(name)
        assert told_in([(name, _without_image(json.dumps(shown)))]) == []
        folder = Path(shown["ResolvConfPath"]).parent  # of what the engine wrote down of it
        written = [place for place in places.files_in(folder) if not place[0].endswith("-json.log")]
        assert any(name.endswith("config.v2.json") for name, _ in written)
        assert told_in((name, _without_image(data.decode("utf-8", "replace"))) for name, data in written) == []
    assert told_in([("the engine's log", _without_image(engine.log()))]) == []
    engine.docker("kill", resting)


def _check_recording(recording: Recording) -> None:
    asked, answered = b"".join(recording.bytes_of("asked")), b"".join(recording.bytes_of("answered"))
    assert b"run.succeeded" in asked
    assert told_in([("asked", asked), ("answered", answered)]) == []


def _without_image(text: str) -> bytes:
    """Its name is what the engine is asked for."""
    return text.replace(IMAGE, "").encode()
