"""A disk without room: a clear error for whoever asks, and work that goes on by itself once there is some (L8)."""

from __future__ import annotations

import itertools
import json
import os
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.disks import full, small, top_up
from tests.faults.stories import FLOWS, ended_well, linear, steps_of, told_steps
from tests.system.machine import Machine

pytestmark = pytest.mark.faults

LEASE_SECONDS: Final = 2.0
LONG: Final = 150  # steps of a tenth of a second: longer than it takes to fill a disk

_numbers: Final = itertools.count()


@pytest.fixture(autouse=True)
def short_lease(host: Machine) -> None:
    host.env["PLAYHEAD_LEASE_SECONDS"] = str(LEASE_SECONDS)


@pytest.fixture
def storage(host: Machine) -> Iterator[Path]:
    with small(host.home / "small", size="8m") as disk:
        host.env["PLAYHEAD_STORAGE"] = disk.as_uri()
        yield disk


def said(host: Machine, run: str) -> str:
    """What the run's living runner has printed."""
    return "".join(path.read_text() for path in host.home.glob(f"agents/*/{run}-*/stderr"))


@pytest.mark.parametrize("size", [0, 100_000], ids=["records", "results"])
def test_a_run_whose_storage_is_full_waits_for_room_and_goes_on(host: Machine, storage: Path, size: int) -> None:
    host.up()
    host.playhead("register", f"{FLOWS}:chain")
    run = host.ask("chain", length=12, seconds=0.1, size=size)
    host.wait_for(lambda: steps_of(host), "a step")
    with full(storage):

        def waits() -> bool:
            top_up(storage)  # a runner that begins a new file has had room for a few bytes
            return "waits for room" in said(host, run)

        host.wait_for(waits, "the runner to say that it waits")
        assert "No space left on device" in said(host, run)
        assert "free some space" in said(host, run)
        held = len(steps_of(host))
        (storage_line,) = [found for found in host.json("doctor") if found["part"] == "storage"]
        assert storage_line["health"] == "warn"
        assert "0 bytes are left" in storage_line["text"]
        refused = host.playhead("run", "chain", "-p", "length=1", "--no-wait", check=False)
        assert refused.returncode == 2
        assert "No space left on device" in refused.stderr
        assert "free some space" in refused.stderr
        assert host.view(run)["state"] == "running"
        assert len(steps_of(host)) <= held + 1, "nothing that depends on what is not recorded may start"
    ended_well(host, run, steps=12)


def test_a_runner_that_begins_on_a_full_storage_waits_as_well_and_costs_no_budget(host: Machine, storage: Path) -> None:
    """The successor of a killed one: its fence and its first record find no room."""
    host.up()
    host.playhead("register", f"{FLOWS}:chain")
    run = host.ask("chain", length=12, seconds=0.2)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    with full(storage):
        os.killpg(host.runner(run), signal.SIGKILL)
        host.wait_for(lambda: "waits for room" in said(host, run) and host.view(run)["attempt"] == 2, "a successor")
        acknowledged = told_steps(host, run)
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 2)
    done = Counter(steps_of(host))
    assert all(done[f"step {number}"] == 1 for number in range(acknowledged)), "an acknowledged step ran again"
    assert sum(done.values()) <= 13, "only what was in flight may run twice"
    linear(host, run)


@pytest.fixture
def log_disk(host: Machine) -> Iterator[Path]:
    """With room for the longest flow: SQLite's journal alone grows to 4 MB."""
    with small(host.home / "small", size="16m") as disk:
        host.env["PLAYHEAD_STORE"] = f"sqlite://{disk}/log.db"
        yield disk


def test_a_server_whose_log_is_full_refuses_with_507_and_runs_go_on(host: Machine, log_disk: Path) -> None:
    """The runner works on while its lease holds: heartbeats need no log. Asking for a run says what is wrong."""
    host.server()
    host.playhead("register", f"{FLOWS}:chain")
    host.agent()
    run = host.ask("chain", length=LONG, seconds=0.1)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    with full(log_disk):

        def refused() -> bool:
            top_up(log_disk)
            return status_of_asking(host) == 507

        host.wait_for(refused, "a refusal for want of room")
        acknowledged = told_steps(host, run)
        before = len(steps_of(host))
        assert before + 2 <= LONG, "the flow is too short for this machine"
        host.wait_for(lambda: len(steps_of(host)) >= before + 2, "the runner to go on without the log")
        told = host.playhead("run", "chain", "-p", "length=0", "--no-wait", check=False)
        assert told.returncode == 3
        assert "is full" in told.stderr
        assert "make room" in told.stderr
    events = ended_well(host, run, steps=LONG)
    assert sum(event["type"] == "task.succeeded" for event in events) == LONG >= acknowledged
    assert host.ended(host.ask("chain", length=0))["state"] == "succeeded"


def test_a_home_without_room_says_so_and_serves_again_by_itself(host: Machine, tmp_path: Path) -> None:
    """Log, read models, storage and the agent's folders on one full disk."""
    with small(tmp_path / "all", size="16m") as disk:
        host.home = disk
        host.env["PLAYHEAD_HOME"] = str(disk)
        server = host.up()
        host.playhead("register", f"{FLOWS}:chain")
        run = host.ask("chain", length=20, seconds=0.1)
        host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
        with full(disk):

            def refused() -> bool:
                top_up(disk)
                return host.playhead("run", "chain", "-p", "length=0", "--no-wait", check=False).returncode != 0

            host.wait_for(refused, "a refusal")
            assert server.poll() is None
        assert host.ended(run)["state"] == "succeeded"
        linear(host, run)
        assert host.ended(host.ask("chain", length=0))["state"] == "succeeded"
        host.end(server)


def status_of_asking(host: Machine) -> int:
    """How the server answers an agent that joins, which is a fact for its log."""
    joined: dict[str, object] = {
        "agent": f"agent-{next(_numbers)}", "kind": "local", "labels": [], "capacity": 1,
        "storages": [], "key_ids": [], "python": "3.11", "version": "0",
    }  # fmt: skip
    request = urllib.request.Request(
        f"{host.url()}/api/agents", json.dumps({"joined": joined}).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
