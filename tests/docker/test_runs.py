"""Flows in containers of a real engine: what users see of them, and what the engine shows to everybody who may ask it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.docker.host import DockerHost

pytestmark = pytest.mark.docker


def test_a_run_in_a_container_succeeds_and_leaves_its_output_in_storage_and_no_container(host: DockerHost) -> None:
    host.server()
    host.docker_agent()
    host.register("chain")
    done = host.json("run", "chain")
    assert (done["state"], done["result"]) == ("succeeded", 3)
    assert len(host.done()) == 3
    host.wait_for(lambda: not host.containers(), "the container to be removed")
    outputs = list((host.home / "storage" / "runs" / done["run_id"]).glob("1-*/output"))
    assert "said on stdout" in outputs[0].read_text()


def test_neither_order_nor_environment_is_to_be_seen_by_who_may_ask_the_engine(host: DockerHost) -> None:
    host.server()
    host.docker_agent("--env", "FROM_AGENT=planted-in-the-agent")
    host.register("surroundings", "waits")
    assert host.json("run", "surroundings")["result"] == {
        "seal": "planted-in-the-seal",
        "agent": "planted-in-the-agent",
        "user": str(os.getuid()),
    }
    gate = host.home / "gate"
    waiting = host.ask("waits", gate=str(gate))
    container = host.running(waiting)
    host.wait_for(host.done, "the task to begin")
    shown = json.dumps(host.engine.inspect(container)) + host.engine.docker("top", container, "-eo", "pid,args")
    grant = host.data(waiting, "run.claimed")["grant"]
    for secret in ("planted", str(gate), grant, "playhead_runner_", '/order", "key', *_keys(host.home)):
        assert secret not in shown
    assert host.engine.docker("exec", container, "ls", "/playhead-order") == "", "the order is gone once it was read"
    gate.touch()
    assert host.ended(waiting)["state"] == "succeeded"


def test_a_restarted_agent_adopts_its_containers_and_launches_nothing_twice(host: DockerHost) -> None:
    host.server()
    agent = host.docker_agent()
    host.register("waits")
    gate = host.home / "gate"
    run = host.ask("waits", gate=str(gate))
    container = host.running(run)
    host.wait_for(host.done, "the task to begin")
    host.kill(agent)
    host.docker_agent()
    gate.touch()
    assert host.ended(run)["state"] == "succeeded"
    assert host.types(run).count("run.claimed") == 1
    assert host.done() == ["waiting"]
    host.wait_for(lambda: container not in host.containers(), "the adopted container to be removed")


def test_a_container_that_exits_well_without_an_outcome_is_lost_and_never_a_success(host: DockerHost) -> None:
    host.server()
    host.docker_agent()
    host.register("exits_well")
    run = host.ask("exits_well")
    assert host.ended(run)["state"] == "crashed"
    assert host.data(run, "run.lost") == {
        "epoch": host.types(run).count("run.claimed"),
        "reason": "exited",
        "exit_code": 0,
    }
    assert "the last one when its process ended with exit code 0" in host.why(run)


def test_a_container_that_is_out_of_memory_is_told_from_one_that_was_killed(host: DockerHost) -> None:
    host.server()
    host.docker_agent()
    host.register("hungry", "waits")
    hungry = host.ask("hungry")
    host.wait_for(lambda: "run.lost" in host.types(hungry), "it to be out of memory")
    assert host.data(hungry, "run.lost")["reason"] == "out_of_memory"
    host.wait_for(lambda: "when its container was out of memory" in host.why(hungry), "`why` to say so")
    run = host.ask("waits", gate=str(host.home / "gate"))
    container = host.running(run)
    host.wait_for(lambda: "waiting" in host.done(), "the task to begin")
    host.engine.docker("kill", container)
    host.wait_for(lambda: "run.lost" in host.types(run), "the kill to be seen")
    assert host.data(run, "run.lost") == {"epoch": 1, "reason": "signalled", "signal": 9}
    (host.home / "gate").touch()
    assert host.ended(run)["state"] == "succeeded"


def test_a_cancelled_run_leaves_no_container(host: DockerHost) -> None:
    host.server()
    host.docker_agent()
    host.register("waits")
    run = host.ask("waits", gate=str(host.home / "gate"))
    host.running(run)
    host.wait_for(host.done, "the task to begin")
    host.playhead("cancel", run)
    assert host.ended(run)["state"] == "cancelled"
    host.wait_for(lambda: not host.containers(), "its container to go")


def _keys(home: Path) -> list[str]:
    return [line for line in (home / "key").read_text().split() if len(line) > 20]
