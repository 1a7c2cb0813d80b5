"""Answers that are lost, and requests that come twice, of every kind: nothing happens twice, and nothing is stuck (S11)."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Final

import pytest

from tests.faults.proxy import Mischief, proxied
from tests.faults.stories import FLOWS, linear, steps_of, told_steps
from tests.system.machine import Machine

pytestmark = pytest.mark.faults

COMMANDS: Final = {
    "POST /flows",
    "POST /runs",
    "POST /runs/*/cancel",
    "POST /agents",
    "POST /agents/*/beat",
    "POST /agents/*/leave",
    "POST /runs/*/claim",
    "POST /runs/*/died",
    "POST /runs/*/start",
    "POST /runs/*/heartbeat",
    "POST /runs/*/report",
}
QUESTIONS: Final = {"GET /info", "GET /events", "GET /runs", "GET /runs/*", "GET /runs/*/history", "GET /flows/*"}
LEASE_SECONDS: Final = 3.0


@pytest.mark.parametrize("mischief", list(Mischief), ids=lambda mischief: mischief.name.lower())
def test_a_whole_story_through_a_proxy_that_cannot_be_relied_on(host: Machine, mischief: Mischief) -> None:
    """Register, run to the end over a killed runner, cancel, and let the agent leave."""
    host.env["PLAYHEAD_LEASE_SECONDS"] = str(LEASE_SECONDS)
    host.server()
    with proxied(host.url(), mischief) as proxy:
        host.env["PLAYHEAD_SERVER"] = proxy.url
        host.playhead("register", f"{FLOWS}:chain")
        agent = host.agent(proxy.url)
        run = host.ask("chain", length=30, seconds=0.2)
        host.wait_for(lambda: told_steps(host, run) >= 3, "acknowledged steps")
        acknowledged = told_steps(host, run)
        os.killpg(host.runner(run), signal.SIGKILL)
        shown = host.ended(run)
        assert (shown["state"], shown["attempt"], shown["losses"]) == ("succeeded", 2, 1)
        done = Counter(steps_of(host))
        assert set(done) == {f"step {number}" for number in range(30)}
        assert all(done[f"step {number}"] == 1 for number in range(acknowledged))
        assert sum(done.values()) <= 31, "only what was in flight may run twice"
        host.playhead("show", run)
        host.playhead("events", run)

        unwanted = host.ask("chain", length=10_000, seconds=0.1)
        host.wait_for(lambda: host.view(unwanted)["state"] == "running", "the second run")
        host.playhead("cancel", unwanted)
        assert host.ended(unwanted)["state"] == "cancelled"
        # One that has a runner left does not say goodbye: the next life adopts it.
        host.wait_for(lambda: not list(host.home.glob("agents/*/*/process.json")), "the agent to have nothing left")
        assert host.end(agent) == 0

        assert {shown["run_id"] for shown in host.json("runs")} == {run, unwanted}
        (flow,) = host.json("flows")
        assert flow["version"] == 1
        for each in (run, unwanted):
            types = Counter(event["type"] for event in linear(host, each))
            assert types["run.scheduled"] == types["run.ready"] == 1
            assert types["run.claimed"] == types["run.started"] == (2 if each == run else 1)
        expected = COMMANDS | QUESTIONS if mischief is Mischief.LOSES else COMMANDS
        if mischief is Mischief.REPEATS_LATE:
            expected = {kind for kind in expected if proxy.carried[kind] > 1}
        assert expected <= set(proxy.tampered), f"never tried: {sorted(expected - set(proxy.tampered))}"
        assert not proxy.unlike, "the same command again is answered as it was"
