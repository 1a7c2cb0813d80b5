"""Stop a process for three leases, and let it go on: whoever was stopped costs no run anything that it had done.

A runner that is stopped is in test_kills.py: it alone loses its run.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from playhead.zygote.kernel import is_zombie
from tests.faults.stories import FLOWS, ended_well, linear, steps_of
from tests.system.machine import Machine

pytestmark = pytest.mark.faults

LEASE_SECONDS: Final = 2.0
STOPPED_SECONDS: Final = 3 * LEASE_SECONDS


@contextmanager
def stopped(pid: int) -> Generator[float]:
    """Gives when it was stopped; it goes on at the end, whatever happens."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield time.monotonic()
    finally:
        os.kill(pid, signal.SIGCONT)


def pass_by(host: Machine, since: float, seconds: float) -> None:
    host.wait_for(lambda: time.monotonic() - since >= seconds, "time to pass")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture(autouse=True)
def short_lease(host: Machine) -> None:
    host.env["PLAYHEAD_LEASE_SECONDS"] = str(LEASE_SECONDS)


def test_a_stopped_server_takes_no_run_from_a_runner_that_it_could_not_hear(host: Machine) -> None:
    """Its runner goes on under the lease, then starts nothing; the server, when it goes on, has to listen before it judges."""
    server = host.server()
    host.playhead("register", f"{FLOWS}:chain")
    host.agent()
    run = host.ask("chain", length=25, seconds=0.2)
    host.wait_for(lambda: len(steps_of(host)) >= 2, "some steps")
    with stopped(server.pid) as since:
        before = len(steps_of(host))
        host.wait_for(lambda: len(steps_of(host)) > before + 1, "the runner to go on under its lease")
        pass_by(host, since, 2 * LEASE_SECONDS)
        held = len(steps_of(host))
        pass_by(host, since, STOPPED_SECONDS)
        assert len(steps_of(host)) == held < 25, "after its lease a runner starts nothing"
    ended_well(host, run, steps=25)


def test_a_stopped_agent_costs_a_delay_of_new_runs_and_nothing_else(host: Machine) -> None:
    host.server()
    host.playhead("register", f"{FLOWS}:chain")
    agent = host.agent()
    run = host.ask("chain", length=12, seconds=0.2)
    host.wait_for(lambda: steps_of(host), "a step")
    with stopped(agent.pid) as since:
        waiting = host.ask("chain", length=0)
        ended_well(host, run, steps=12)
        pass_by(host, since, STOPPED_SECONDS)
        assert host.view(waiting)["state"] == "ready"
    assert host.ended(waiting)["attempt"] == 1


def test_a_stopped_zygote_is_replaced_and_makes_nothing_when_it_goes_on(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FLOWS}:chain")
    first = host.ask("chain", length=5, seconds=0.2)
    host.wait_for(lambda: steps_of(host), "a step")
    zygote = parent(host.runner(first))
    with stopped(zygote):
        host.ended(first)
        second = host.ask("chain", length=10_000, seconds=0.05)
        runner = host.runner(second)
        assert parent(runner) != zygote
    host.wait_for(lambda: is_zombie(zygote), "the first zygote to bury its runner and end")
    (folder,) = host.home.glob(f"agents/*/{second}-1")
    assert not (folder / "exit").exists(), "it has made a second process of a launch that was given up"
    host.playhead("cancel", second)
    assert host.ended(second)["attempt"] == 1
    linear(host, first)


def test_a_stopped_worker_keeps_its_runner_waiting_and_the_lease_alive(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FLOWS}:in_a_worker")
    run = host.ask("in_a_worker", length=4, seconds=0.3)
    worker = host.wait_for(lambda: next((int(line.split()[2]) for line in host.done()), None), "a worker")
    with stopped(worker) as since:
        pass_by(host, since, STOPPED_SECONDS)
        assert host.view(run)["state"] == "running"
    ended_well(host, run, steps=4)


def test_a_stopped_worker_is_killed_at_its_call_s_deadline(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FLOWS}:in_a_worker_with_a_deadline")
    run = host.ask("in_a_worker_with_a_deadline")
    worker = host.wait_for(lambda: next((int(line.split()[1]) for line in host.done()), None), "a worker")
    os.kill(worker, signal.SIGSTOP)
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 1)
    assert not Path(f"/proc/{worker}").exists()
    retried = [event for event in linear(host, run) if event["type"] == "task.retrying"]
    assert [event["data"]["category"] for event in retried] == ["timed_out"]
    assert host.done().count("bounded") == 1
