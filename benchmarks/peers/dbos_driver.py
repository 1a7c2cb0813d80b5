# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# (it runs in DBOS's own environment, whose types are not known here)
"""DBOS: a library with a database, here SQLite. There is no server; what is started, and left idle, is a worker of its queue."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
from dbos import DBOS, DBOSClient

from benchmarks.harness import Effort, Measure, Row
from benchmarks.peers import dbos_flows as flows
from benchmarks.peers import workplace as at

STEPS: Final = 200
WIDTH: Final = 1_000
STARTS: Final = 20
RUNS: Final = 200
DEFAULT_POLL: Final = 1.0
SHORT_POLL: Final = 0.01


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    yield from at.command_rows(effort, "dbos", [Path(sys.executable).with_name("dbos")])
    yield from in_process(effort, folder / "here.db")
    yield from start_and_idle(effort, folder)
    for poll, name in ((DEFAULT_POLL, "the default poll of 1 s"), (SHORT_POLL, "a poll of 0.01 s")):
        with worker(folder, poll) as hired:
            yield from at.start_rows(
                f"a thread of a queue's worker, {name}", starts(effort, folder, hired.client, poll)
            )
            if poll == SHORT_POLL:
                yield many_runs(effort, folder, hired.client)


class Worker(NamedTuple):
    client: Any
    process: psutil.Process
    ready_at: float


def in_process(effort: Effort, database: Path) -> Iterator[Row]:
    flows.configure(f"sqlite:///{database}")
    DBOS.launch()
    steps, width = effort.of(STEPS), effort.of(WIDTH)
    forms: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("each called", lambda: flows.chain(steps)),
        ("each awaited", lambda: asyncio.run(flows.chain_async(steps))),
    )
    for form, run in forms:

        def step_ms(run: Callable[[], Any] = run) -> float:
            return 1e3 * at.seconds(run) / steps

        took = at.repeated(effort.repeats, step_ms)
        yield Row(what=f"a step of a chain of {steps}, {form}", unit="ms", values=took, measure=Measure.CHAIN_STEP)
    grown: list[float] = []

    def fan_out_ms() -> float:
        before = at.database_bytes(database)
        took = at.seconds(lambda: asyncio.run(flows.fan_out(width)))
        grown.append((at.database_bytes(database) - before) / width)
        return 1e3 * took / width

    what = f"a task of a fan-out of {width:,}"
    took = at.repeated(effort.repeats, fan_out_ms)
    yield Row(what=f"{what}, async steps of one workflow", unit="ms", values=took, measure=Measure.FAN_OUT_TASK)
    yield Row(what=f"bytes of the database, {what}", unit="B", values=tuple(grown[1:]), measure=Measure.LOG_BYTES)
    DBOS.destroy()


def start_and_idle(effort: Effort, folder: Path) -> Iterator[Row]:
    """On a database that is there; the first start, which makes it, is the warm-up."""

    def start_seconds() -> float:
        began = time.time()
        with worker(folder, DEFAULT_POLL) as hired:
            return hired.ready_at - began

    took = at.repeated(effort.repeats, start_seconds)
    yield Row(what="a worker's start to ready", unit="s", values=took, measure=Measure.SERVER_START)
    with worker(folder, DEFAULT_POLL) as hired:
        yield from at.idle_rows(effort, "an idle worker", hired.process)


@contextmanager
def worker(folder: Path, poll: float) -> Generator[Worker]:
    """A worker of the queue, once it is ready, and a client of it."""
    ready = folder / "ready"
    url = f"sqlite:///{folder}/worker-{poll}.db"  # one for each poll: a queue keeps the first that it was made with
    ready.unlink(missing_ok=True)
    with at.started([sys.executable, "-m", "benchmarks.peers.dbos_flows", url, str(poll), ready]) as process:
        ready_at = at.wait_for_marks(str(ready), 1)[0]
        client = DBOSClient(system_database_url=url)
        try:
            yield Worker(client, process, ready_at)
        finally:
            client.destroy()


def starts(effort: Effort, folder: Path, client: Any, poll: float) -> tuple[float, ...]:
    path, waits = str(folder / f"starts-{poll}"), list[float]()
    for number in range(effort.of(STARTS) + 1):
        began = time.time()
        enqueue(client, "touch", path)
        waits.append(at.wait_for_marks(path, number + 1)[-1] - began)
        time.sleep(random.uniform(0, poll))  # away from the phase of the poll
    return tuple(waits[1:])


def many_runs(effort: Effort, folder: Path, client: Any) -> Row:
    runs, rounds = effort.of(RUNS), list[Path]()

    def runs_a_second() -> float:
        path = folder / f"many-{len(rounds)}"
        rounds.append(path)
        began = time.time()
        for _ in range(runs):
            enqueue(client, "five", str(path))
        return runs / (max(at.wait_for_marks(str(path), runs)) - began)

    rates = at.repeated(effort.repeats, runs_a_second)
    return Row(
        what=f"{runs} runs of 5 steps in a queue's worker", unit="runs/s", values=rates, measure=Measure.MANY_RUNS
    )


def enqueue(client: Any, name: str, path: str) -> None:
    client.enqueue({"workflow_name": name, "queue_name": flows.QUEUE, "app_version": "1"}, path)


if __name__ == "__main__":
    at.drive(ask)
