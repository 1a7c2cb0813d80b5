"""A database that a stranger's transaction holds: a clear error in bounded time, and work that goes on by itself (L8)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.faults.stories import FLOWS, ended_well, steps_of, told_steps
from tests.system.machine import Machine

pytestmark = pytest.mark.faults

ANSWER_SECONDS: Final = 60.0  # five for the lock, some tries of the client, and a machine that is very busy


@contextmanager
def locked(log: Path) -> Generator[None]:
    """Another process's view of it: a transaction that writes, and does not end."""
    with closing(sqlite3.connect(log, isolation_level=None)) as stranger:
        stranger.execute("BEGIN EXCLUSIVE")
        yield
        stranger.execute("ROLLBACK")


def test_a_log_that_a_stranger_has_locked_is_told_and_waited_for(host: Machine) -> None:
    host.server()
    host.playhead("register", f"{FLOWS}:chain")
    host.agent()
    run = host.ask("chain", length=20, seconds=0.2)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    with locked(host.home / "log.db"):
        acknowledged = told_steps(host, run)
        host.wait_for(lambda: len(steps_of(host)) > acknowledged + 2, "the runner to go on: its heartbeats need no log")
        asked = time.monotonic()
        refused = host.playhead("run", "chain", "-p", "length=0", "--no-wait", check=False, timeout=ANSWER_SECONDS)
        assert time.monotonic() - asked < ANSWER_SECONDS
        assert refused.returncode == 3
        assert "locked by another writer" in refused.stderr
        assert "end the program that has it open" in refused.stderr
        assert told_steps(host, run) == acknowledged
    ended_well(host, run, steps=20)
    assert host.ended(host.ask("chain", length=0))["state"] == "succeeded"


def test_read_models_that_a_stranger_has_locked_are_behind_and_catch_up(host: Machine) -> None:
    host.server()
    host.playhead("register", f"{FLOWS}:chain")
    host.agent()
    run = host.ask("chain", length=15, seconds=0.2)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    with locked(host.home / "views.db"):
        before = told_steps(host, run)
        host.wait_for(lambda: told_steps(host, run) >= before + 3, "the log to go on")
    ended_well(host, run, steps=15)
    host.wait_for(lambda: host.json("runs")[0]["state"] == "succeeded", "the lists to catch up")
