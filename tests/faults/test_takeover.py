"""Who takes over from whom: servers that stay away, agents and machines that never come back, dying workers, runs that kill runners."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.stories import ended_well, linear, steps_of, told_steps
from tests.rooms import ROOT
from tests.system.machine import FLOWS, PLAYHEAD, Machine

pytestmark = pytest.mark.faults

FILE = str(FLOWS)
LEASE_SECONDS = 2
DYING = str(Path(__file__).with_name("dying.py"))


@pytest.fixture(autouse=True)
def short_leases(host: Machine) -> None:
    host.env["PLAYHEAD_LEASE_SECONDS"] = str(LEASE_SECONDS)
    host.env["PYTHONPATH"] = f"{FLOWS.parent}{os.pathsep}{ROOT}"


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def runner_of(host: Machine, run: str, epoch: int) -> int:
    """The process of that epoch's runner, and its agent's folder, as the agent noted them."""

    def look() -> int | None:
        for note in host.home.glob(f"agents/*/{run}-{epoch}/process.json"):
            return int(json.loads(note.read_text())["pid"])
        return None

    return host.wait_for(look, f"the runner of epoch {epoch}")


def reasons(events: list[dict[str, Any]], type_name: str) -> list[str]:
    return [event["data"]["reason"] for event in events if event["type"] == type_name]


def test_a_runner_without_a_server_starts_nothing_more_at_its_lease_s_end_and_delivers_what_it_had(
    host: Machine,
) -> None:
    """The server is back after more than two leases. By its own word nobody else has had the run: the same runner goes on."""
    server = host.server()
    port = host.url().rpartition(":")[2]
    host.playhead("register", f"{FILE}:chain")
    host.agent()
    run = host.ask("chain", length=40, seconds=0.3)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    told = told_steps(host, run)
    host.kill(server)
    quiet = Quiet(host)
    host.wait_for(quiet.look, "the runner to start nothing more", within=60)
    done = len(steps_of(host))
    assert told < done < 40, "it went on without a server for a while, and not for ever"
    host.server(port)
    events = ended_well(host, run, steps=40)
    assert reasons(events, "run.lost") == []


class Quiet:
    """Whether no step has ended for two leases and more: each takes a seventh of one."""

    def __init__(self, host: Machine) -> None:
        self._host = host
        self._count = -1
        self._looks = 0

    def look(self) -> bool:
        count = len(steps_of(self._host))
        self._looks = self._looks + 1 if count == self._count else 0
        self._count = count
        return self._looks * 0.02 > 2 * LEASE_SECONDS


def test_the_runs_of_an_agent_that_never_comes_back_go_on_and_then_to_others(host: Machine) -> None:
    """Its runner goes on without it. When that dies, too, nobody can prove it: the lease decides, and another agent takes the run."""
    host.server()
    host.playhead("register", f"{FILE}:chain")
    agent = host.agent()
    run = host.ask("chain", length=12, seconds=0.25)
    host.wait_for(lambda: told_steps(host, run) >= 1, "a step")
    first = runner_of(host, run, 1)
    host.kill(agent)
    told = told_steps(host, run)
    host.wait_for(lambda: told_steps(host, run) >= told + 2, "its runner to go on")
    host.start(*other_agent(host), name="other")
    recorded = told_steps(host, run)
    os.killpg(first, signal.SIGKILL)
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 2)
    events = linear(host, run)
    assert reasons(events, "run.lost") == ["lease_expired"]
    agents = [event["data"]["agent"] for event in events if event["type"] == "run.claimed"]
    assert agents[1] == "other" != agents[0]
    times = Counter(steps_of(host))
    assert all(times[f"step {number}"] == 1 for number in range(recorded))
    assert sum(times.values()) <= 13


def test_a_machine_that_is_gone_loses_its_runs_to_another_within_a_lease(host: Machine) -> None:
    """Agent, zygote and runner killed in one moment: nobody is left to prove anything."""
    host.server()
    host.playhead("register", f"{FILE}:chain")
    agent = host.agent()
    run = host.ask("chain", length=8, seconds=0.25)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    runner = runner_of(host, run, 1)
    zygote = parent(runner)
    recorded = told_steps(host, run)
    for pid in (agent.pid, zygote, runner):
        os.kill(pid, signal.SIGKILL)
    agent.wait(30)
    host.start(*other_agent(host), name="other")
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 2)
    assert reasons(linear(host, run), "run.lost") == ["lease_expired"]
    times = Counter(steps_of(host))
    assert all(times[f"step {number}"] == 1 for number in range(recorded))
    assert sum(times.values()) <= 9


def other_agent(host: Machine) -> tuple[str, ...]:
    return (*PLAYHEAD, "agent", "local", "--server", host.url(), "--name", "other")


def test_a_worker_that_dies_costs_the_task_in_flight_a_loss_and_the_run_nothing(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{DYING}:steps_elsewhere")
    run = host.ask("steps_elsewhere", length=5, dies_at=2)
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 1)
    events = linear(host, run)
    assert [event["data"]["key"] for event in events if event["type"] == "task.lost"] == ["step~3"]
    executed = Counter(line.split()[2] for line in host.done() if line.split()[1] == "step")
    assert executed == {"0": 1, "1": 1, "2": 2, "3": 1, "4": 1}


def test_a_run_that_kills_its_runners_is_given_up_and_says_why(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FILE}:exits")
    run = host.ask("exits")
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("crashed", 3)
    events = linear(host, run)
    assert reasons(events, "run.lost") == ["exited"] * 3
    assert reasons(events, "run.crashed") == ["losses"]
    assert host.done() == ["exits"] * 3
