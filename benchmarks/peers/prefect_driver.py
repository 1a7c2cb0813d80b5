# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# (it runs in Prefect's own environment, whose types are not known here)
"""Prefect: a server, here on its SQLite; flows run in the client's process, or served, a process each. It is slow: sizes are small."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.harness import Effort, Measure, Row
from benchmarks.peers import workplace as at

STEPS: Final = 50
WIDTH: Final = 300
WARM_UP: Final = 10  # tasks; a warm-up in full would double the time
RUNS: Final = 10
WRITES_LATE_SECONDS: Final = 10.0  # the server writes a run's events after the run has ended
POLLS: Final = ((10, "the default poll of 10 s", 3), (1, "a poll of 1 s, the shortest", 5))  # seconds, name, starts
DEPLOYED_SECONDS: Final = 60.0


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    os.environ["PREFECT_HOME"] = str(folder)
    os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
    yield from at.command_rows(effort, "prefect", [Path(sys.executable).with_name("prefect")])
    yield start(effort)
    with server() as (url, process):
        os.environ["PREFECT_API_URL"] = url  # before Prefect is imported, by what follows
        yield from in_process(effort, folder / "prefect.db")
        yield from at.idle_rows(effort, "an idle server", process)
        for poll, name, count in POLLS:
            with served(url, poll):
                waits = starts(folder, poll, effort.of(count, least=1))
                yield from at.start_rows(f"a process by serve(), {name}", waits)
                if poll == POLLS[-1][0]:
                    yield many_runs(effort, folder)


@contextmanager
def server() -> Generator[tuple[str, psutil.Process]]:
    """Once it answers."""
    port, command = at.free_port(), Path(sys.executable).with_name("prefect")
    url = f"http://127.0.0.1:{port}/api"
    with at.started([command, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]) as process:
        at.wait_for_answer(f"{url}/health")
        yield url, process


def start(effort: Effort) -> Row:
    """On a database that is there; the first start, which makes it, is the warm-up."""

    def start_seconds() -> float:
        began = time.perf_counter()
        with server():
            return time.perf_counter() - began

    took = at.repeated(1, start_seconds)
    return Row(what="server start to answering", unit="s", values=took, measure=Measure.SERVER_START)


def in_process(effort: Effort, database: Path) -> Iterator[Row]:
    """Flows that are called, once after a small warm-up."""
    from benchmarks.peers import prefect_flows as flows  # it connects as it is imported

    steps, width = effort.of(STEPS), effort.of(WIDTH)
    forms: tuple[tuple[str, Callable[[int], Any]], ...] = (
        ("each called", flows.chain),
        ("each awaited", lambda n: asyncio.run(flows.chain_async(n))),
    )
    for form, run in forms:
        run(WARM_UP)
        took = 1e3 * at.seconds(partial(run, steps)) / steps
        yield Row(what=f"a step of a chain of {steps}, {form}", unit="ms", values=(took,), measure=Measure.CHAIN_STEP)
    flows.fan_out(WARM_UP)
    time.sleep(WRITES_LATE_SECONDS * effort.scale)
    before, what = at.database_bytes(database), f"a task of a fan-out of {width}"
    took = 1e3 * at.seconds(lambda: flows.fan_out(width)) / width
    yield Row(what=f"{what}, submitted to threads", unit="ms", values=(took,), measure=Measure.FAN_OUT_TASK)
    time.sleep(WRITES_LATE_SECONDS * effort.scale)
    grown = (at.database_bytes(database) - before) / width
    yield Row(what=f"bytes of the database, {what}", unit="B", values=(grown,), measure=Measure.LOG_BYTES)


@contextmanager
def served(url: str, poll: int) -> Generator[None]:
    """serve() of the flows that are asked for by name, once the server knows them and its first poll is over."""
    environ = {"PREFECT_RUNNER_POLL_FREQUENCY": str(poll)}
    with at.started([sys.executable, "-m", "benchmarks.peers.prefect_flows"], environ):
        end = time.monotonic() + DEPLOYED_SECONDS
        while not all(is_deployed(url, name) for name in ("touch", "five")):
            if time.monotonic() > end:
                raise TimeoutError("its deployments are not there")
            time.sleep(0.1)
        yield


def is_deployed(url: str, name: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/deployments/name/{name}/served", timeout=5):
            return True
    except urllib.error.HTTPError:
        return False


def request(name: str, path: Path) -> None:
    from prefect.deployments import run_deployment  # it connects as it is imported

    run_deployment(f"{name}/served", parameters={"path": str(path)}, timeout=0)


def starts(folder: Path, poll: int, count: int) -> tuple[float, ...]:
    path, waits = folder / f"starts-{poll}", list[float]()
    for number in range(count + 1):
        began = time.time()
        request("touch", path)
        waits.append(at.wait_for_marks(str(path), number + 1)[-1] - began)
    return tuple(waits[1:])


def many_runs(effort: Effort, folder: Path) -> Row:
    """All are asked for at once; it runs as many at a time as it likes."""
    runs, path = effort.of(RUNS), folder / "many"
    began = time.time()
    for _ in range(runs):
        request("five", path)
    took = max(at.wait_for_marks(str(path), runs, seconds=120)) - began
    return Row(
        what=f"{runs} runs of 5 tasks, a process each", unit="runs/s", values=(runs / took,), measure=Measure.MANY_RUNS
    )


if __name__ == "__main__":
    at.drive(ask)
