"""An engine that ends or dies under live runners: with live restore runs do not notice, without it they are lost and go on. Never twice."""

from __future__ import annotations

import signal

import pytest

from tests.docker.host import DockerHost

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("how", [signal.SIGTERM])
def test_with_live_restore_a_restarted_engine_launches_nothing_twice(host: DockerHost, how: signal.Signals) -> None:
    host.server()
    host.docker_agent()
    run, container = at_work(host)
    host.engine.stop(how)
    host.wait_for(lambda: "no Docker engine answers" in host.said(), "the agent to see that")
    host.engine.start()
    assert host.containers()[container] == "running"
    (host.home / "gate").touch()
    assert host.ended(run)["state"] == "succeeded"
    assert host.types(run).count("run.claimed") == 1
    assert host.done() == ["waiting"]
    host.wait_for(lambda: container not in host.containers(), "the container to be removed")


def at_work(host: DockerHost) -> tuple[str, str]:
    """A run whose task waits for the file `gate`, and its container."""
    host.register("waits")
    run = host.ask("waits", gate=str(host.home / "gate"))
    container = host.running(run)
    host.wait_for(host.done, "the task to begin")
    return run, container
