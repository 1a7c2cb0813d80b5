"""Runs on a temporary Dask cluster, whose runner or worker dies: they go on, repeat nothing that was recorded, and leave nobody behind."""

from __future__ import annotations

import os
import signal
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faults.stories import linear, steps_of, told_steps
from tests.rooms import ROOT
from tests.system.machine import FLOWS, Machine

if find_spec("distributed") is None:
    if os.environ.get("CI") == "true":
        raise ModuleNotFoundError("dask is missing, and nothing may be skipped here: pip install 'playhead[dask]'")
    pytest.skip("dask is not installed: pip install 'playhead[dask]'", allow_module_level=True)

pytestmark = pytest.mark.faults

FILE = str(Path(__file__).with_name("dask_flows.py"))


def workers_of(host: Machine) -> set[int]:
    return {int(line.split()[1]) for line in host.done() if line.startswith("works ")}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_a_killed_runner_s_successor_takes_what_its_workers_wrote_and_its_cluster_ends(host: Machine) -> None:
    host.env["PYTHONPATH"] = f"{FLOWS.parent}{os.pathsep}{ROOT}"
    host.up()
    host.playhead("register", f"{FILE}:chain_on_dask")
    run = host.ask("chain_on_dask", length=6, seconds=0.5)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    orphans = workers_of(host)
    recorded = told_steps(host, run)
    os.kill(host.runner(run), signal.SIGKILL)  # it alone: its workers see for themselves that it is gone
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 2), shown
    times = Counter(steps_of(host))
    assert all(times[f"step {number}"] == 1 for number in range(recorded)), "a recorded step ran again"
    assert set(times) == {f"step {number}" for number in range(6)}
    assert sum(times.values()) <= 7, "only the step in flight may run twice"
    linear(host, run)
    host.wait_for(lambda: not any(alive(pid) for pid in orphans | workers_of(host)), "all workers to end")


def test_a_worker_that_dies_costs_its_task_a_loss_and_the_run_nothing(host: Machine) -> None:
    host.env["PYTHONPATH"] = f"{FLOWS.parent}{os.pathsep}{ROOT}"
    host.up()
    host.playhead("register", f"{FILE}:chain_on_dask")
    run = host.ask("chain_on_dask", length=4, dies_at=2)
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 1), shown
    lost = [event["data"] for event in linear(host, run) if event["type"] == "task.lost"]
    assert [(data["key"], data.get("signal")) for data in lost] == [("step~3", signal.SIGKILL)]
    assert Counter(steps_of(host)) == {"step 0": 1, "step 1": 1, "step 2": 2, "step 3": 1}
