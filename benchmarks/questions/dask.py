"""What does a task cost on a Dask cluster of two worker processes, beside `client.map` and `gather` on the same cluster? And what do
arrays of 100 MB cost that pass from task to task, beside futures that are handed to `client.submit`?

The cluster is there before, for both sides; scheduler and client share the benchmark's process, as they do in a temporary cluster. Ours
is timed from the runner's first request to the acknowledged end, every event durable and kept; connecting is in it, as it is in Dask's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Question, Row, in_turns
from benchmarks.stage import Runner, hired, open_home, served
from playhead.executors import DaskExecutor
from playhead.flows.flow import Flow

WIDTH: Final = 1_000
GOAL: Final = 1.15
LINKS: Final = 20
MEGABYTES: Final = 100
GOAL_OF_ARRAYS: Final = 1.2


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    if find_spec("distributed") is None:
        return  # the extra `dask` is not installed
    distributed: Any = import_module("distributed")
    width = effort.of(WIDTH)
    home = open_home(folder / "served")
    with (
        distributed.LocalCluster(limits.WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        served(home.path) as (url, _),
        hired(home, url) as runner,
    ):
        executor = DaskExecutor(address=cluster.scheduler_address)
        fan_out = Flow(flows.fan_out.fn, name="fan-out-dask", executor=executor)
        ours, alone, raw = in_turns(
            effort.repeats,
            lambda: 1e6 * runner.seconds(fan_out, n=width) / width,
            lambda: 1e6 * asyncio.run(_executor_seconds(executor, width)) / width,
            lambda: 1e6 * _raw_seconds(distributed, cluster, width) / width,
        )
        limit = Limit(what="client.map", values=raw)
        yield Row(what=f"a task of {width:,} on 2 Dask workers", unit="µs", values=ours, limit=limit)
        ratios = tuple(mine / bare for mine, bare in zip(ours, raw, strict=True))
        yield Row(what=f"a task of {width:,}, beside client.map", unit="x", values=ratios, goal=GOAL)
        yield Row(what=f"without an engine: a call of {width:,}", unit="µs", values=alone, limit=limit)
        yield from _arrays(distributed, cluster, runner, executor, effort, folder)


def _arrays(
    distributed: Any, cluster: Any, runner: Runner, executor: DaskExecutor, effort: Effort, folder: Path
) -> Iterator[Row]:
    """Ours is durable after each task. So it is asked beside Dask as it is, and beside a Dask whose tasks write their arrays down."""
    if find_spec("numpy") is None:
        return
    megabytes = effort.of(MEGABYTES)
    chain = Flow(flows.chain_of_arrays.fn, name="arrays-dask", executor=executor)
    peaks: list[float] = []

    def ours() -> float:
        before = _peak_megabytes(reset=True)
        took = runner.seconds(chain, n=LINKS, megabytes=megabytes)
        peaks.append(max(0.0, _peak_megabytes() - before))
        return took

    mine, kept, bare = in_turns(
        effort.repeats,
        ours,
        lambda: _raw_arrays_seconds(distributed, cluster, megabytes, folder),
        lambda: _raw_arrays_seconds(distributed, cluster, megabytes, None),
    )
    what = f"{LINKS} tasks in a chain, {megabytes} MB from each to the next"
    yield Row(what=what, unit="s", values=mine, limit=Limit(what="submit, each array written down", values=kept))
    ratios = tuple(one / other for one, other in zip(mine, kept, strict=True))
    yield Row(what="the same, beside Dask that writes as much down", unit="x", values=ratios, goal=GOAL_OF_ARRAYS)
    yield Row(what="the same, beside Dask that keeps nothing", unit="x", values=tuple(
        one / other for one, other in zip(mine, bare, strict=True)
    ))  # fmt: skip
    yield Row(what="what it adds to the memory of runner and scheduler", unit="MB", values=tuple(peaks))


def _raw_arrays_seconds(distributed: Any, cluster: Any, megabytes: int, folder: Path | None) -> float:
    began = time.perf_counter()
    with distributed.Client(cluster, set_as_default=False) as client:
        array = client.submit(limits.kept_array, None, megabytes, folder, pure=False)
        for _ in range(LINKS - 1):
            array = client.submit(limits.kept_array, array, megabytes, folder, pure=False)
        client.submit(limits.first_of, array, pure=False).result()
    return time.perf_counter() - began


def _peak_megabytes(*, reset: bool = False) -> float:
    """The most memory that this process has had since it was reset; at the reset, what it has."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


async def _executor_seconds(executor: DaskExecutor, count: int) -> float:
    began = time.perf_counter()
    async with executor.open() as open_executor:
        for call in [open_executor.submit(limits.nothing, number) for number in range(count)]:
            await call
    return time.perf_counter() - began


def _raw_seconds(distributed: Any, cluster: Any, count: int) -> float:
    began = time.perf_counter()
    with distributed.Client(cluster, set_as_default=False) as client:
        client.gather(client.map(limits.nothing, range(count), pure=False))
    return time.perf_counter() - began


QUESTION: Final = Question(name="dask", asks="a task on a Dask cluster", ask=ask)
