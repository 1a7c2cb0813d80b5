"""Executors of other packages where they are to work: in runners that an agent forked, through a kill, and missing from an agent."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, files
from tests.packages import install
from tests.system.machine import PLAYHEAD, Machine

pytestmark = pytest.mark.real

SOURCE = files(DOCS / "how-to" / "write-an-executor.md")[
    "playhead-pool/playhead_pool.py"
]  # as users are told to write it
FLOWS = """
import os, threading, time
from pathlib import Path
from playhead import flow, task
from playhead_pool import PoolExecutor


@task
def step(number: int) -> None:
    with open(os.environ["LEDGER"], "a") as ledger:
        print(f"step {number} in", threading.current_thread().name.partition("_")[0], file=ledger)
    if number == 3:
        while not Path(os.environ["GATE"]).exists():
            time.sleep(0.02)


@flow(executor=PoolExecutor(workers=2))
def steps(count: int = 5) -> None:
    for number in range(count):
        step(number)
"""


@pytest.fixture
def source(host: Machine) -> Path:
    """The flow's file. The package is in a folder `site`, which is on the path of whoever is given it."""
    install(
        host.home / "site",
        "playhead-pool",
        {"playhead.executors: pool": "playhead_pool:open_spec"},
        {"playhead_pool": SOURCE},
    )
    path = host.home / "steps.py"
    path.write_text(FLOWS, encoding="utf-8")
    host.env |= {"PYTHONPATH": str(host.home / "site"), "GATE": str(host.home / "gate")}
    return path


def test_a_run_on_another_packages_executor_survives_the_kill_of_its_runner(host: Machine, source: Path) -> None:
    host.up()
    host.playhead("register", f"{source}:steps")
    run = host.ask("steps")
    host.wait_for(lambda: "step 3 in pool" in host.done(), "the step that waits")
    host.wait_for(
        lambda: sum(each["type"] == "task.succeeded" for each in host.events(run)) == 3, "three steps that count"
    )
    os.kill(host.runner(run), signal.SIGKILL)
    (host.home / "gate").touch()
    assert host.ended(run)["state"] == "succeeded"
    assert host.done() == [f"step {number} in pool" for number in (0, 1, 2, 3, 3, 4)], "what counted was not done again"


def test_a_run_says_what_its_agent_lacks(host: Machine, source: Path) -> None:
    host.server()
    host.playhead("register", f"{source}:steps")
    host.start(*PLAYHEAD, "agent", "local", "--server", host.url(), name="agent", env={"PYTHONPATH": ""})
    run = host.ask("steps")
    assert host.ended(run)["state"] == "failed"
    told = host.playhead("show", run, "--failures").stdout
    assert "steps.py:5 imports 'playhead_pool', which is not installed here" in told
    assert "install it where the flow runs" in told
