"""A storage that cannot be written: whoever asks reads why, and nothing that was acknowledged is lost or done again."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.disks import disk, small
from tests.faults.means import tool
from tests.faults.stories import FLOWS, linear, steps_of, told_steps
from tests.system.machine import Machine

pytestmark = pytest.mark.faults


def test_a_read_only_storage_refuses_a_run_and_takes_it_once_it_can_be_written(host: Machine) -> None:
    with small(host.home / "small", size="8m") as storage:
        host.env["PLAYHEAD_STORAGE"] = storage.as_uri()
        host.up()
        host.playhead("register", f"{FLOWS}:chain")
        tool("mount", "-o", "remount,ro", str(storage))
        refused = host.playhead("run", "chain", "-p", "length=0", check=False)
        assert refused.returncode == 2
        assert "Read-only file system" in refused.stderr
        assert "mount it for writing" in refused.stderr
        assert host.json("runs") == []
        tool("mount", "-o", "remount,rw", str(storage))
        assert host.ended(host.ask("chain", length=3))["state"] == "succeeded"


def test_a_storage_that_turns_read_only_under_a_run_costs_the_run_and_says_why(host: Machine) -> None:
    """As the kernel does when it finds a file system damaged. This is no want of room, which passes: each runner ends at its first
    write, and after three of them the run is crashed."""
    with disk(host.home) as storage:
        host.env["PLAYHEAD_STORAGE"] = storage.mounted.as_uri()
        host.up()
        host.playhead("register", f"{FLOWS}:chain")
        run = host.ask("chain", length=200, seconds=0.1)
        host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
        storage.turn_read_only()
        shown = host.ended(run)
        assert (shown["state"], shown["losses"]) == ("crashed", 3)
        acknowledged = sum(event["type"] == "task.succeeded" for event in linear(host, run))
        done = Counter(steps_of(host))
        assert all(done[f"step {number}"] == 1 for number in range(acknowledged))
        assert sum(done.values()) <= acknowledged + 2, "a storage that cannot be written starts no work"
        for epoch in (1, 2, 3):
            (said,) = host.home.glob(f"agents/*/ended/{run}-{epoch}/stderr")
            assert "Read-only file system" in said.read_text()
            assert "mount it for writing" in said.read_text()
