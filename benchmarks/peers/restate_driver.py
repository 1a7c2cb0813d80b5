"""Restate: a server that calls a Python service back over HTTP. A run is a coroutine of that service, which is warm.

Bytes are not asked: its log and RocksDB are files made ahead and used again, so that their sizes tell nothing of a task.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import urllib.request
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.harness import Effort, Measure, Row
from benchmarks.peers import workplace as at

STEPS: Final = 200
WIDTH: Final = 1_000
STARTS: Final = 50
RUNS: Final = 200
CONNECTIONS: Final = 20  # of the client that asks for many runs
CALL_SECONDS: Final = 60.0


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    yield from at.command_rows(effort, "restate", [binary()])
    yield from start_and_idle(effort, folder)
    with server(folder) as (ports, _), service(ports):
        yield from calls(effort, ports)
        yield from at.start_rows("a coroutine of a warm service", starts(effort, folder, ports))
        yield many_runs(effort, folder, ports)


def binary() -> Path:
    """The server of the npm package for this system."""
    system = f"{platform.system().lower()}-{'arm64' if platform.machine() in {'arm64', 'aarch64'} else 'x64'}"
    modules = Path(os.environ["BENCH_PEERS"]) / "restate" / "node" / "node_modules"
    return modules / "@restatedev" / f"restate-server-{system}" / "bin" / "restate-server"


class Ports:
    """Where a server takes calls, and where it is told of services."""

    def __init__(self) -> None:
        self.ingress, self.admin, self.node = (at.free_port() for _ in range(3))

    def bench(self, handler: str) -> str:
        return f"http://127.0.0.1:{self.ingress}/bench/{handler}"

    def environ(self) -> dict[str, str]:
        return {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self.ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self.admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{self.node}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{self.node}",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_LOG_FILTER": "warn",
        }


@contextmanager
def server(folder: Path) -> Generator[tuple[Ports, psutil.Process]]:
    """Once it answers."""
    ports = Ports()
    command: list[str | Path] = [binary(), "--no-logo", "--node-name", "bench", "--base-dir", folder / "data"]
    with at.started(command, ports.environ()) as process:
        at.wait_for_answer(f"http://127.0.0.1:{ports.ingress}/restate/health")
        yield ports, process


@contextmanager
def service(ports: Ports) -> Generator[None]:
    """Once the server has been told of it."""
    port = at.free_port()
    with at.started([sys.executable, "-m", "benchmarks.peers.restate_flows", str(port)]):
        at.wait_for_answer(f"http://127.0.0.1:{port}/health")
        at.wait_for_answer(f"http://127.0.0.1:{ports.admin}/health")
        posted(f"http://127.0.0.1:{ports.admin}/deployments", {"uri": f"http://127.0.0.1:{port}"})
        yield


def posted(url: str, body: object) -> Any:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=CALL_SECONDS) as answer:
        return json.loads(answer.read() or b"null")


def calls(effort: Effort, ports: Ports) -> Iterator[Row]:
    for handler, count, what, measure in (
        ("chain", effort.of(STEPS), "a step of a chain of", Measure.CHAIN_STEP),
        ("fan_out", effort.of(WIDTH), "a task of a fan-out of", Measure.FAN_OUT_TASK),
    ):

        def milliseconds(handler: str = handler, count: int = count) -> float:
            return 1e3 * at.seconds(lambda: posted(ports.bench(handler), count)) / count

        took = at.repeated(effort.repeats, milliseconds)
        yield Row(what=f"{what} {count:,}, ctx.run in one handler", unit="ms", values=took, measure=measure)


def starts(effort: Effort, folder: Path, ports: Ports) -> tuple[float, ...]:
    path, waits = str(folder / "starts"), list[float]()
    for number in range(effort.of(STARTS) + 1):
        began = time.time()
        posted(ports.bench("touch/send"), path)
        waits.append(at.wait_for_marks(path, number + 1)[-1] - began)
    return tuple(waits[1:])


def many_runs(effort: Effort, folder: Path, ports: Ports) -> Row:
    runs, rounds = effort.of(RUNS), list[Path]()

    def runs_a_second() -> float:
        path = folder / f"many-{len(rounds)}"
        rounds.append(path)
        began = time.time()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(posted, [ports.bench("five/send")] * runs, [str(path)] * runs))
        return runs / (max(at.wait_for_marks(str(path), runs)) - began)

    rates = at.repeated(effort.repeats, runs_a_second)
    return Row(what=f"{runs} runs of 5 steps in one service", unit="runs/s", values=rates, measure=Measure.MANY_RUNS)


def start_and_idle(effort: Effort, folder: Path) -> Iterator[Row]:
    """On a folder of data that is there; the first start, which makes it, is the warm-up."""

    def start_seconds() -> float:
        began = time.perf_counter()
        with server(folder):
            return time.perf_counter() - began

    took = at.repeated(effort.repeats, start_seconds)
    yield Row(what="server start to answering", unit="s", values=took, measure=Measure.SERVER_START)
    with server(folder) as (ports, process), service(ports):
        yield from at.idle_rows(effort, "an idle server", process)


if __name__ == "__main__":
    at.drive(ask)
