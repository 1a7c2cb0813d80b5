"""Where calls go on a Dask cluster, and which before which: resources and priority of single tasks; and who computed what."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from importlib import import_module
from typing import Any

import pytest

from playhead import task
from playhead.core.state import RunStatus
from playhead.errors import UsageError
from playhead.executors import DaskExecutor, ThreadExecutor
from playhead.flows.flow import Flow
from playhead.journal.format import WORKER_NOTE
from playhead.journal.reader import read_journal
from playhead.ports.executor import ClusterExecutor
from playhead.testing.gates import Gate, wait_at
from playhead.testing.sample_calls import itself
from tests.executors.clusters import dask_cluster, warmed
from tests.rooms import ROOT
from tests.runner.bench import open_bench

pytestmark = pytest.mark.real
warm = pytest.fixture(scope="module", autouse=True)(warmed)


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Generator[DaskExecutor]:
    """One worker, which has one GPU."""
    folder = tmp_path_factory.mktemp("cluster")
    with dask_cluster(folder, n_workers=1, resources={"GPU": 1}, env={"PYTHONPATH": str(ROOT)}) as address:
        yield DaskExecutor(address=address)


async def test_calls_that_take_what_no_worker_has_hold_up_no_others(one_worker: DaskExecutor) -> None:
    async with one_worker.open() as executor:
        assert isinstance(executor, ClusterExecutor)
        usual = executor.backlog
        waiting = [executor.submit_placed(itself, n, _resources={"TPU": 1}, _priority=0) for n in range(50)]
        assert await executor.submit_placed(itself, -1, _resources={"GPU": 1}, _priority=0) == -1
        assert await asyncio.gather(*[executor.submit(itself, n) for n in range(50)]) == list(range(50))
        assert not any(future.done() for future in waiting)
        assert executor.backlog >= usual + 50, "nor do they take the places of others in the backlog"
        for future in waiting:
            future.cancel()
        assert await executor.submit(itself, 1) == 1


async def test_of_calls_that_wait_those_of_a_higher_priority_begin_first(one_worker: DaskExecutor) -> None:
    async with Gate() as gate, one_worker.open() as executor:
        assert isinstance(executor, ClusterExecutor)
        held = executor.submit(wait_at, gate.port, "held")
        await gate.arrivals(1)
        late = [executor.submit(wait_at, gate.port, f"usual {n}") for n in range(2)]
        first = executor.submit_placed(wait_at, gate.port, "urgent", _resources={}, _priority=1)
        probe = one_worker.model_copy(update={"priority": -1})
        async with (
            probe.open()
        ):  # to open it the scheduler was asked several things: what was sent before has arrived there
            pass
        for number, name in enumerate(["held", "urgent", "usual 0", "usual 1"], start=1):
            await gate.arrivals(number)
            assert gate.arrived[number - 1] == name
            gate.let_through(name)
        await asyncio.gather(held, first, *late)


async def tasks_known(address: str, count: int) -> None:
    """Wait until the scheduler knows so many tasks."""
    distributed: Any = import_module("distributed")
    async with distributed.Client(address, asynchronous=True, set_as_default=False) as client, asyncio.timeout(60):
        while await client.run_on_scheduler(known_tasks) < count:
            await asyncio.sleep(0)


def known_tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


@task(resources={"GPU": 1}, priority=1)
def on_a_gpu(x: int) -> int:
    return x


@task(resources={"TPU": 1})
def on_a_tpu() -> int:
    return 0


@task
def anywhere(x: int) -> int:
    return 2 * x


def test_the_journal_says_which_worker_computed_what(one_worker: DaskExecutor) -> None:
    def counted() -> int:
        return sum(anywhere.map(on_a_gpu.map(range(30))).result())

    subject = Flow(counted, name="counted", executor=one_worker)
    with open_bench() as bench:
        run = bench.ask(subject)
        grant = bench.grant(run)
        outcome = bench.execution(grant)(subject, {})
        assert outcome.status is RunStatus.SUCCEEDED, outcome.error
        assert outcome.value == sum(2 * n for n in range(30))
        records = read_journal(bench.storage, grant.place, grant.key.secret).records
        told: list[Any] = [event.data for event in bench.history(run)]
    workers = {str((record.note or {}).get(WORKER_NOTE)) for record in records if record.type == "task.succeeded"}
    assert len(workers) == 1
    (worker,) = workers
    assert worker.startswith("0 at tcp://127.0.0.1:")
    assert worker not in str(told), "a worker's name is no server's business"


def test_a_flow_with_placed_tasks_runs_on_threads_as_well() -> None:
    def counted() -> int:
        return sum(on_a_gpu.map(range(3)).result()) + on_a_tpu.submit().result()

    with open_bench() as bench:
        _, outcome = bench.run(Flow(counted, name="counted", executor=ThreadExecutor(workers=2)))
    assert outcome.value == 3


def test_resources_of_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="takes more than nothing"):
        task(resources={"GPU": 0})(lambda: 1)
