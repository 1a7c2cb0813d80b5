"""Flows in containers, with each kind of executor: told step by step as docs/how-to/compose.md shows it, on the networks that it makes."""

from __future__ import annotations

import json
import socket
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docker.host import DockerHost
from tests.docs.pages import DOCS, files, transcript
from tests.system.machine import PLAYHEAD

pytestmark = pytest.mark.docker

PAGE = DOCS / "how-to" / "compose.md"
REACHING = Path(__file__).with_name("compose_flows.py")
GATEWAY = "10.213.9.1"  # the host, on `front`
ELSEWHERE = "198.51.100.7:53"  # an address of the internet, or nobody's: on `inner` it is the same


@pytest.fixture
def survey(host: DockerHost) -> Path:
    """The flows of the page."""
    host.env["COLUMNS"] = "200"
    file = host.home / "survey.py"
    file.write_text(files(PAGE)["survey.py"])
    return file


def test_all_of_a_run_in_a_container_is_told_as_the_how_to_shows(host: DockerHost, survey: Path) -> None:
    host.server()
    host.docker_agent(name="docks")
    host.playhead("register", f"{survey}:boxed")
    assert host.json("run", "boxed")["result"] == 140
    check_told(host, "A container and its threads")


def test_a_container_leads_and_a_cluster_computes_on_a_network_that_has_nothing_else(
    host: DockerHost, inner: Inner, survey: Path
) -> None:
    """The agent's containers and the cluster's workers reach the server, the scheduler, and nothing that is elsewhere."""
    host.env |= {"PLAYHEAD_SERVER": inner.server, "PLAYHEAD_TOKEN_FILE": str(inner.token)}
    host.wait_for(lambda: host.playhead("agents", check=False).returncode == 0, "the server to answer")
    host.start(
        *PLAYHEAD, "agent", "docker", "--name", "docks", "--default-image", host.image, "--network", "inner",
        "--runner-server", "http://server:4317", name="docks",
    )  # fmt: skip
    host.wait_for(lambda: "docks" in host.playhead("agents", "--json").stdout, "the agent to join")
    host.playhead("register", f"{survey}:boxed_on_dask")
    assert host.json("run", "boxed_on_dask")["result"] == 140
    check_told(host, "A container and a cluster")
    steps = host.json("show", "@last", "--steps")["steps"]
    assert {(step["who"], step["infrastructure"]) for step in steps if step["lane"] == "agent"} == {
        ("agent/docks", "docker")
    }
    workers = {worker.partition(" at ")[0] for step in steps for worker in step["workers"]}
    assert workers <= {"crunch-0", "crunch-1"}
    assert workers
    within, without = ["server:4317", "scheduler:8786"], [*inner.outside, ELSEWHERE]
    host.playhead("register", f"{REACHING}:surroundings")
    run = host.json("run", "surroundings", "-p", f"addresses={within + without}".replace("'", '"'))
    assert run["result"] == {"runner": within, "worker": within}
    assert reached_on_front(host, inner.outside) == inner.outside, "they are there, for whoever is on their network"


def reached_on_front(host: DockerHost, addresses: list[str]) -> list[str]:
    mount = f"{REACHING}:/reaching.py"
    program = ("python3", "/reaching.py", *addresses)
    return host.engine.docker("run", "--rm", "--network", "front", "--volume", mount, host.image, *program).split()


def check_told(host: DockerHost, heading: str) -> None:
    (command,) = transcript(PAGE, heading)
    assert command.line == "playhead show @last --steps"
    printed = host.playhead("show", "@last", "--steps").stdout
    missing = command.missing_from(printed)
    assert missing is None, f"no line {missing!r}:\n{printed}"


@dataclass(frozen=True)
class Inner:
    """The networks of the how-to, `inner` and `front`, with its server and its cluster."""

    server: str  # its URL on the host
    token: Path
    outside: list[str]  # what is there, and not on `inner`


@pytest.fixture
def inner(host: DockerHost) -> Generator[Inner]:
    engine, image = host.engine, host.image
    home = ("--volume", f"{host.home / 'server'}:/srv/playhead", "--env", "PLAYHEAD_HOME=/srv/playhead")
    engine.docker(
        "network", "create", "--internal", "--opt", "com.docker.network.bridge.inhibit_ipv4=true",
        "--subnet", "10.213.8.0/24", "inner",
    )  # fmt: skip
    engine.docker("network", "create", "--subnet", "10.213.9.0/24", "--gateway", GATEWAY, "front")
    token = host.home / "token"
    token.touch(0o600)
    made = engine.docker(
        *("run", "--rm", *home, image, "playhead", "token", "create", "anna", "--scope", "admin", "--json")
    )
    token.write_text(json.loads(made)["token"])
    engine.docker(
        "create", "--name", "server", "--network", "front", "--publish", "127.0.0.1::4317", *home,
        image, "playhead", "server", "--host", "0.0.0.0", "--allowed-host", "server",
    )  # fmt: skip
    engine.docker("network", "connect", "inner", "server")
    engine.docker("start", "server")
    engine.docker("run", "--detach", "--name", "scheduler", "--network", "inner", image, "dask", "scheduler")
    engine.docker(
        "run", "--detach", "--name", "worker", "--network", "inner", image,
        "dask", "worker", "tcp://scheduler:8786", "--nworkers", "2", "--nthreads", "1", "--name", "crunch",
    )  # fmt: skip
    port = engine.docker("port", "server", "4317").rpartition(":")[2]
    front = engine.inspect("server")["NetworkSettings"]["Networks"]["front"]["IPAddress"]
    with socket.create_server((GATEWAY, 0)) as of_the_host:
        outside = [f"{front}:4317", f"{GATEWAY}:{of_the_host.getsockname()[1]}"]
        yield Inner(f"http://127.0.0.1:{port}", token, outside)
    engine.docker("rm", "--force", "server", "scheduler", "worker")
    engine.docker("network", "rm", "inner", "front")
