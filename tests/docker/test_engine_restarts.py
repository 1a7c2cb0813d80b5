"""An engine that ends under live runners: with live restore runs do not notice, without it they are lost and go on. Never twice."""

from __future__ import annotations

import pytest

from tests.docker.host import DockerHost

pytestmark = pytest.mark.docker


def test_with_live_restore_a_restarted_engine_launches_nothing_twice(host: DockerHost) -> None:
    host.server()
    host.docker_agent()
    run, container = at_work(host)
    host.engine.stop()
    host.wait_for(lambda: "no Docker engine answers" in host.said(), "the agent to see that")
    host.engine.start()
    assert host.containers()[container] == "running"
    (host.home / "gate").touch()
    assert host.ended(run)["state"] == "succeeded"
    assert host.types(run).count("run.claimed") == 1
    assert host.done() == ["waiting"]
    host.wait_for(lambda: container not in host.containers(), "the container to be removed")


def test_a_container_that_ends_while_its_engine_is_away_is_found_ended_and_its_run_has_succeeded(
    host: DockerHost,
) -> None:
    """The engine cannot tell of this end: the agent asks, once it is back."""
    host.server()
    host.docker_agent()
    run, _ = at_work(host)
    host.engine.stop()
    (host.home / "gate").touch()
    assert host.ended(run)["state"] == "succeeded"
    host.engine.start()
    host.wait_for(lambda: not host.containers(), "the container to be removed")
    assert host.types(run).count("run.claimed") == 1
    assert host.done() == ["waiting"]


def test_without_live_restore_a_run_is_lost_with_its_engine_and_goes_on_when_that_is_back(host: DockerHost) -> None:
    host.engine.stop()
    host.engine.start(live_restore=False)
    host.server()
    host.docker_agent()
    run, first = at_work(host)
    host.engine.stop()
    host.engine.start()
    host.wait_for(lambda: "run.lost" in host.types(run), "its end to be seen")
    assert host.data(run, "run.lost")["reason"] in ("signalled", "lease_expired")
    (host.home / "gate").touch()
    assert host.ended(run)["state"] == "succeeded"
    types = host.types(run)  # beside them: claims that were handed back while the engine was away
    assert types.count("run.started") == types.count("run.lost") + 1
    assert 2 <= len(host.done()) <= types.count("run.started"), "the step in flight, once in each container that began"
    host.wait_for(lambda: first not in host.containers(), "the container that ended to be removed")


def at_work(host: DockerHost) -> tuple[str, str]:
    """A run whose task waits for the file `gate`, and its container."""
    host.register("waits")
    run = host.ask("waits", gate=str(host.home / "gate"))
    container = host.running(run)
    host.wait_for(host.done, "the task to begin")
    return run, container
