"""How containers reach a server on their host: by the host's name on a network of their own, or by its socket, with no network at all."""

from __future__ import annotations

import re

import pytest

from tests.docker.dockerd import GATEWAY, SUBNET
from tests.docker.host import DockerHost

pytestmark = pytest.mark.docker


@pytest.fixture
def network(host: DockerHost) -> str:
    """A bridge of which the host is a part; it leads nowhere else, as this engine makes no rules for the machine's firewall."""
    known = host.engine.docker("network", "ls", "--format", "{{.Name}}").splitlines()
    if "tests" not in known:
        host.engine.docker("network", "create", "--subnet", SUBNET, "--gateway", GATEWAY, "tests")
    return "tests"


def test_a_server_on_localhost_is_found_by_the_hosts_name_there(host: DockerHost, network: str) -> None:
    token = host.home / "admin.token"
    host.playhead("token", "create", "admin", "--scope", "admin", "--to", str(token))
    host.server("0", "--host", "0.0.0.0", "--allowed-host", "host.docker.internal")
    port = host.wait_for(
        lambda: re.search(r"http://[^ ]*:(\d+)", host.said("server")), "the server to say its address"
    )[1]
    host.register("chain")
    host.env["PLAYHEAD_TOKEN_FILE"] = str(token)
    host.docker_agent(network=network, server=f"http://127.0.0.1:{port}")
    run = host.json("run", "chain")
    assert (run["state"], run["result"]) == ("succeeded", 3)


def test_a_server_that_listens_on_a_socket_is_reached_without_any_network(host: DockerHost) -> None:
    host.server("0", "--require-tokens")
    host.register("chain")
    host.docker_agent(network="none")
    run = host.json("run", "chain")
    assert (run["state"], run["result"]) == ("succeeded", 3)
