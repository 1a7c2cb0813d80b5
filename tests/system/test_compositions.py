"""One agent with flows of different executors at once, and two runs at once on one scheduler: all in processes of their own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.executors.clusters import dask_cluster
from tests.system.machine import PLAYHEAD, Machine

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

FILE = Path(__file__).with_name("composed_flows.py")
RUNS = {"threads": "on_threads", "processes": "on_processes", "one": "on_dask", "another": "on_dask"}


def test_one_agent_serves_flows_of_all_executors_at_once_two_of_them_on_one_scheduler(
    host: Machine, tmp_path: Path
) -> None:
    """Each run's task waits for all the others: a run that had to wait for another's end would wait for ever."""
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    with dask_cluster(cluster) as address:
        host.env["SCHEDULER"] = address
        host.server()
        host.start(*PLAYHEAD, "agent", "local", "--server", host.url(), "--capacity", str(len(RUNS)), name="agent")
        for flow in dict.fromkeys(RUNS.values()):
            host.playhead("register", f"{FILE}:{flow}")
        done = run_at_once(host, tmp_path)
        shown = {name: host.json("show", run["run_id"], "--steps") for name, run in done.items()}
    assert {name: run["state"] for name, run in done.items()} == dict.fromkeys(RUNS, "succeeded")
    for name, run in done.items():
        assert run["result"][2] == [number + shift_of(name) for number in range(20)], "no run has another's numbers"
    check_places({name: (run["result"][0], run["result"][1]) for name, run in done.items()})
    assert len({view["agent"] for view in shown.values()}) == 1
    assert {name: executor_of(view) for name, view in shown.items()} == {
        "threads": {"thread"}, "processes": {"process"}, "one": {"dask"}, "another": {"dask"},
    }  # fmt: skip
    used = [workers_of(shown[name]) for name in ("one", "another")]
    assert all(used), "whoever looks on the user's side sees the workers"
    assert len(used[0] | used[1]) <= 2, "there are two, for both runs"


def run_at_once(host: Machine, folder: Path) -> dict[str, dict[str, Any]]:
    """Ask for all of them, and wait for all their ends."""
    marks = {name: str(folder / f"{name}.mark") for name in RUNS}

    def run(name: str) -> dict[str, Any]:
        given = {"mark": marks[name], "marks": list(marks.values()), "by": shift_of(name)}
        words = [word for key, value in given.items() for word in ("-p", f"{key}={json.dumps(value)}")]
        done = host.playhead("run", RUNS[name], *words, "--json", check=False, timeout=200)
        assert done.returncode == 0, done.stderr
        ended: dict[str, Any] = json.loads(done.stdout)
        return ended

    with ThreadPoolExecutor(len(RUNS)) as pool:
        return dict(zip(RUNS, pool.map(run, RUNS), strict=True))


def check_places(processes: dict[str, tuple[int, int]]) -> None:
    """Of the flow's function, and of its task."""
    assert len({flow for flow, _ in processes.values()}) == len(RUNS), "each run has a runner of its own"
    computes_itself = {name for name, (flow, its_task) in processes.items() if flow == its_task}
    assert computes_itself == {"threads"}
    assert processes["one"][1] != processes["another"][1], "both were at it at once: on a worker each"


def shift_of(name: str) -> int:
    return 1000 * list(RUNS).index(name)


def executor_of(shown: dict[str, Any]) -> set[str]:
    """Who computed, as the run's steps name it."""
    return {step["who"] for step in shown["steps"] if step["lane"] == "executor"}


def workers_of(shown: dict[str, Any]) -> set[str]:
    return {worker for step in shown["steps"] for worker in step["workers"]}
