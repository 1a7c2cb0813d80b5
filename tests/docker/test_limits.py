"""What a container may use, and what is left of it: asked for by the flow or the agent, and seen at a real engine."""

from __future__ import annotations

import pytest

from tests.docker.host import DockerHost
from tests.docker.test_bad_input import released

pytestmark = pytest.mark.docker


def test_memory_cpu_mounts_folder_and_labels_are_those_that_the_flow_asked_for_and_what_is_kept_is_nobodys(
    host: DockerHost,
) -> None:
    """Looked at afterwards: its owner wants ended containers to be kept, and an agent that is restarted leaves them alone."""
    host.server()
    agent = host.docker_agent("--keep-containers", "--allow-mount", "/etc/apt:ro")
    host.register("bounded")
    done = host.json("run", "bounded")
    assert (done["state"], done["result"]) == ("succeeded", ["/srv", True, False])
    host.wait_for(lambda: list(host.containers().values()) == ["exited"], "the container to end")
    (container,) = host.containers()
    shown = host.engine.inspect(container)
    limits = shown["HostConfig"]
    assert (limits["Memory"], limits["MemorySwap"], limits["NanoCpus"]) == (300 << 20, 300 << 20, 500_000_000)
    assert shown["Config"]["Labels"]["team"] == "census"
    host.kill(agent)
    host.docker_agent("--keep-containers", "--allow-mount", "/etc/apt:ro")
    assert host.json("run", "bounded")["state"] == "succeeded"
    assert container in host.containers()
    assert host.types(done["run_id"]).count("run.claimed") == 1


def test_an_engine_without_gpus_is_named(host: DockerHost) -> None:
    """This machine has none: what a flow asks for reaches the engine, and its refusal the agent's log."""
    host.server()
    host.docker_agent()
    host.register("on_gpus")
    run = host.ask("on_gpus")
    assert released(host, run) == "launch_failed"
    assert "this engine has no GPU to give" in host.said()
    host.wait_for(lambda: not host.containers(), "what was created to be removed")
