"""Who takes over a run whose agent and container are gone: another Docker agent, a local one; and a Docker agent from a local one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter

import pytest

from tests.docker.flows import chain
from tests.docker.host import DockerHost

pytestmark = pytest.mark.docker

LEASE_SECONDS = 2
STEPS = 8


@pytest.fixture(autouse=True)
def short_leases(host: DockerHost) -> None:
    host.env["PLAYHEAD_LEASE_SECONDS"] = str(LEASE_SECONDS)


@pytest.mark.parametrize(("first", "second"), [("docker", "docker"), ("docker", "local"), ("local", "docker")])
def test_a_run_whose_agent_and_runner_are_gone_goes_on_with_another_agent(
    host: DockerHost, first: str, second: str
) -> None:
    """Nobody is left to prove its end: the lease decides. What was recorded counts there, too, and what it left on an engine is removed."""
    host.server()
    host.register(chain.name)
    agent = begun(host, first, "first")
    run = host.ask(chain.name, length=STEPS, seconds=0.3)
    host.wait_for(lambda: host.types(run).count("task.succeeded") >= 2, "recorded steps")
    host.kill(agent)
    orphan = kill_runner(host, first, run)
    recorded = host.types(run).count("task.succeeded")
    assert recorded < STEPS
    begun(host, second, "second")
    ended = host.ended(run, within=120)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    claims = [event["data"]["agent"] for event in host.events(run) if event["type"] == "run.claimed"]
    assert claims == ["first", "second"]
    assert host.data(run, "run.lost")["reason"] == "lease_expired"
    done = Counter(line.split()[1] for line in host.done())
    assert all(done[str(number)] == 1 for number in range(recorded))
    assert set(done) == {str(number) for number in range(STEPS)}
    assert sum(done.values()) <= STEPS + 1, "at most the step in flight was done again"
    if orphan is not None:
        host.wait_for(lambda: list(host.containers()) == [orphan], "the other's container to go, and not this one")
        begun(host, first, "first")
        host.wait_for(lambda: not host.containers(), "the orphan to be removed by the agent that launched it")


def begun(host: DockerHost, kind: str, name: str) -> subprocess.Popen[bytes]:
    """An agent of that kind, which has joined."""
    if kind == "docker":
        return host.docker_agent(name=name)
    return host.local_agent(name)


def kill_runner(host: DockerHost, kind: str, run: str) -> str | None:
    """Kill the run's runner as a fault of the machine would; the name of its container, if it has one."""
    if kind == "docker":
        container = host.running(run)
        host.engine.docker("kill", container)
        return container
    os.killpg(host.runner(run), signal.SIGKILL)
    return None
