"""Agents as a user has them at a terminal: one that drains, one that makes a single pass, and what commands say of them."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.system.machine import FLOWS, PLAYHEAD, WAIT_SECONDS, Machine

pytestmark = pytest.mark.real


@pytest.fixture
def served(host: Machine) -> Machine:
    host.server()
    for flow in ("waits", "fails", "chain"):
        host.playhead("register", f"{FLOWS}:{flow}")
    return host


def otter(host: Machine) -> subprocess.Popen[bytes]:
    agent = host.start(*PLAYHEAD, "agent", "local", "--server", host.url(), "--name", "otter", name="otter")
    host.wait_for(lambda: state(host) == "joined", "the agent to join")
    return agent


def state(host: Machine) -> str | None:
    return next((agent["state"] for agent in host.json("agents") if agent["agent"] == "otter"), None)


def test_one_that_drains_takes_nothing_new_is_shown_and_ends_with_its_last_run(served: Machine) -> None:
    agent = otter(served)
    run = served.ask("waits", seconds=WAIT_SECONDS)
    served.runner(run)
    wrong = served.playhead("agent", "drain", "ottre", check=False)
    assert (wrong.returncode, "did you mean 'otter'?" in wrong.stderr) == (2, True)
    told = served.playhead("agent", "drain", "otter").stdout
    assert told.startswith(
        "agent otter drains: it takes no more runs, and ends when its 1 run has ended (last heard of"
    )
    late = served.ask("chain")
    assert "agent otter would fit, and drains: it takes no more runs" in served.playhead("why", late).stdout
    (row,) = [line for line in served.playhead("agents").stdout.splitlines() if line.startswith("otter")]
    assert row.split()[2:6] == ["draining", "1", "of", row.split()[5]]
    assert row.split()[-1] == run[:12]
    served.playhead("cancel", run)
    assert served.json("agent", "drain", "otter", "--wait")["state"] == "left"
    assert agent.wait(WAIT_SECONDS) == 0
    assert [event["type"] for event in served.events(late)] == ["run.scheduled", "run.ready"]
    again = otter(served)
    assert served.ended(late)["state"] == "succeeded", "started again, it takes runs as before"
    assert served.end(again) == 0


def test_a_single_pass_takes_what_is_ready_and_its_exit_code_says_how_that_went(served: Machine) -> None:
    once = ("agent", "local", "--once", "--server", served.url(), "--name", "otter")
    nothing = served.playhead(*once)
    assert nothing.stdout.endswith("nothing was ready for this agent\n")
    good, bad = served.ask("chain"), served.ask("fails")
    done = served.playhead(*once, "--json", check=False)
    assert done.returncode == 1
    ends = json.loads(done.stdout.splitlines()[-1])
    assert {run["run_id"]: run["state"] for run in ends["runs"]} == {good: "succeeded", bad: "failed"}
    assert ends["gave_back"] == []
    told = served.playhead("why", bad).stdout
    assert "it has failed in task raises: an exception was raised" in told
    assert "LookupError: what was looked for" in told, "read from storage, on the user's side"
    assert f"`playhead show {bad} --failures`" in told
    assert state(served) == "left"


def test_a_pass_whose_run_cannot_be_launched_gives_it_back_and_says_so(served: Machine) -> None:
    run = served.ask("chain")
    (ticket,) = (served.home / "storage" / "runs" / run).glob("ticket*")
    ticket.unlink()
    done = served.playhead("agent", "local", "--once", "--server", served.url(), check=False)
    assert done.returncode == 2
    assert f"run {run} was given back: refused; playhead why {run}" in done.stdout
    told = served.playhead("why", run).stdout
    assert "would fit, and has left" in told
    assert "gave it back (refused: what the server said of the run was not what was signed)" in told
