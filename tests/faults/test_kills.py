"""Kill and stop runner, server and agent in the middle of a run: it goes on by itself, and repeats nothing that was recorded."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.system.machine import FLOWS, PLAYHEAD, Machine

pytestmark = pytest.mark.faults

FILE = str(FLOWS)


def succeeded_at(host: Machine, run: str) -> set[str]:
    """Keys of tasks whose success the log has."""
    return {task["key"] for task in host.view(run)["tasks"] if task["state"] == "succeeded"}


def check_linear(host: Machine, run: str) -> list[dict[str, Any]]:
    """Versions are contiguous, and no epoch writes once a later one has started."""
    events = [json.loads(line) for line in host.playhead("events", run, "--json").stdout.splitlines()]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    reporter = 0
    for event in events:
        if event["actor"].startswith("runner/"):
            epoch = int(event["actor"].partition("/")[2])
            assert epoch >= reporter, event
            reporter = epoch
    return events


@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_killed_runner_is_replaced_at_once_and_repeats_only_what_was_in_flight(host: Machine, after: int) -> None:
    host.up()
    host.playhead("register", f"{FILE}:chain")
    run = host.ask("chain", length=8, seconds=0.25)
    host.wait_for(lambda: len(host.done()) >= after, "some steps")
    pid = host.runner(run)
    host.wait_for(lambda: len(succeeded_at(host, run)) >= after, "their acknowledgement")
    recorded = succeeded_at(host, run)
    os.killpg(pid, signal.SIGKILL)
    shown = host.ended(run)
    assert shown["state"] == "succeeded"
    assert shown["attempt"] == 2
    times = Counter(host.done())
    assert set(times) == {f"step {number}" for number in range(8)}
    for number in range(len(recorded)):
        assert times[f"step {number}"] == 1, "a recorded step ran again"
    assert sum(times.values()) <= 9, "only the step in flight may run twice"
    check_linear(host, run)


def test_a_server_killed_and_started_again_finds_the_run_going_on(host: Machine) -> None:
    server = host.server()
    port = host.url().rpartition(":")[2]
    host.playhead("register", f"{FILE}:chain")
    host.start(*PLAYHEAD, "agent", "local", "--server", host.url(), name="agent")
    run = host.ask("chain", length=12, seconds=0.15)
    host.wait_for(lambda: len(host.done()) >= 2, "some steps")
    host.kill(server)
    before = len(host.done())
    host.wait_for(lambda: len(host.done()) >= before + 2, "the runner to go on without a server")
    host.server(port=port)
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 1)
    assert Counter(host.done()) == {f"step {number}": 1 for number in range(12)}
    check_linear(host, run)


def test_a_killed_agent_leaves_its_runner_at_work_and_the_next_one_adopts_it(host: Machine) -> None:
    host.server()
    host.playhead("register", f"{FILE}:chain")
    agent = host.start(*PLAYHEAD, "agent", "local", "--server", host.url(), name="agent")
    run = host.ask("chain", length=10, seconds=0.2)
    host.wait_for(lambda: len(host.done()) >= 1, "a step")
    host.kill(agent)
    host.start(*PLAYHEAD, "agent", "local", "--server", host.url(), name="agent-again")
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 1)
    assert Counter(host.done()) == {f"step {number}": 1 for number in range(10)}


def test_a_runner_stopped_for_three_leases_writes_nothing_more_when_it_goes_on(host: Machine) -> None:
    host.env["PLAYHEAD_LEASE_SECONDS"] = "1"
    host.up()
    host.playhead("register", f"{FILE}:chain")
    run = host.ask("chain", length=8, seconds=0.3)
    pid = host.runner(run)
    host.wait_for(lambda: len(host.done()) >= 1, "a step")
    os.killpg(pid, signal.SIGSTOP)
    host.wait_for(lambda: host.view(run)["attempt"] >= 2 and host.view(run)["state"] == "running", "a successor")
    host.wait_for(lambda: len(host.done()) >= 3, "the successor's work")
    if Path(f"/proc/{pid}").exists():
        os.killpg(pid, signal.SIGCONT)
    host.wait_for(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), "the stopped runner to end itself")
    shown = host.ended(run)
    assert shown["state"] == "succeeded"
    events = check_linear(host, run)
    outcomes = Counter(event["data"]["key"] for event in events if event["type"] == "task.succeeded")
    assert set(outcomes.values()) == {1}, "one recorded outcome for each task"


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_everything_killed_at_once_goes_on_after_the_next_start(host: Machine) -> None:
    host.env["PLAYHEAD_LEASE_SECONDS"] = "2"
    up = host.up()
    host.playhead("register", f"{FILE}:chain")
    run = host.ask("chain", length=6, seconds=0.2)
    pid = host.runner(run)
    host.wait_for(lambda: len(succeeded_at(host, run)) >= 2, "two acknowledged steps")
    recorded = len(succeeded_at(host, run))
    host.kill(up)
    os.killpg(pid, signal.SIGKILL)
    host.up()
    shown = host.ended(run)
    assert shown["state"] == "succeeded"
    times = Counter(host.done())
    assert all(times[f"step {number}"] == 1 for number in range(recorded))
    check_linear(host, run)


def test_kill_to_next_task_is_short(host: Machine) -> None:
    """Not a timed assertion on speed: the bound is the lease, which a death with proof must not wait for."""
    host.up()
    host.playhead("register", f"{FILE}:chain")
    run = host.ask("chain", length=6, seconds=0.3)
    pid = host.runner(run)
    host.wait_for(lambda: len(host.done()) >= 2, "two steps")
    os.killpg(pid, signal.SIGKILL)
    killed = time.monotonic()
    before = len(host.done())
    host.wait_for(lambda: len(host.done()) > before, "the next task")
    assert time.monotonic() - killed < 10, "a death with proof is acted on at once, and not at the lease's end (15 s)"


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_ctrl_c_is_for_the_engine_and_takes_zygote_and_runner_along_in_order(host: Machine) -> None:
    """A terminal signals its whole process group."""
    up = host.up()
    host.playhead("register", f"{FILE}:chain")
    run = host.ask("chain", length=100, seconds=0.1)
    host.wait_for(lambda: len(host.done()) >= 1, "a step")
    runner = host.runner(run)
    zygote = parent(runner)
    assert zygote != up.pid
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait(30) == 0
    host.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (runner, zygote)), "both to be gone")
    lost = [json.loads(line) for line in host.playhead("events", run, "--json").stdout.splitlines()][-1]
    assert (lost["type"], lost["data"]["reason"]) == ("run.lost", "drained")


def test_a_killed_zygote_costs_no_run_anything(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FILE}:chain")
    run = host.ask("chain", length=6, seconds=0.2)
    host.wait_for(lambda: len(host.done()) >= 1, "a step")
    zygote = parent(host.runner(run))
    os.kill(zygote, signal.SIGKILL)
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 1)
    again = host.ask("chain", length=3)
    assert host.ended(again)["state"] == "succeeded"
    assert Counter(host.done())["step 0"] == 2
