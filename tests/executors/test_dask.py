"""The Dask executor, on real clusters of two worker processes: what the conformance suite cannot ask, and the suite itself.

Without dask these are skipped, and fail where nothing may be missing (CI=true).
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from playhead.errors import InfrastructureLost, TaskTimedOut, UsageError
from playhead.executors import DaskExecutor, ThreadExecutor
from playhead.testing.executors import EXECUTOR_SUITE, check_executor
from playhead.testing.gates import Gate, wait_at, wait_at_async
from playhead.testing.sample_calls import exit_now, itself
from tests.executors.clusters import dask_cluster, free_port, warmed
from tests.runner.test_story import story

warm = pytest.fixture(scope="module", autouse=True)(warmed)

pytestmark = pytest.mark.real

TWO = DaskExecutor(workers=2)

# On a cluster that is not the run's own a function cannot be stopped, nobody tells how a worker died, and workers stay.
# The checks of the width open a twin beside an executor that is full, and here it would have the same workers.
OF_ONES_OWN = {
    "a_timeout_ends_the_call",
    "a_running_call_is_cancelled",
    "a_worker_that_exits_is_named_by_its_code",
    "a_worker_that_is_killed_is_named_by_the_signal",
    "closing_leaves_nothing_behind",
    "the_width_is_respected",
    "the_width_is_respected_by_coroutines",
}


@pytest.mark.parametrize("check", EXECUTOR_SUITE.names)
async def test_a_temporary_cluster_conforms(check: str) -> None:
    results = await check_executor(TWO, only=[check])
    assert [(result.name, result.problem) for result in results] == [(check, None)]


@pytest.mark.parametrize("check", [name for name in EXECUTOR_SUITE.names if name not in OF_ONES_OWN])
async def test_a_cluster_that_is_there_conforms(check: str, shared: DaskExecutor) -> None:
    results = await check_executor(shared, only=[check])
    assert [(result.name, result.problem) for result in results] == [(check, None)]


async def test_a_stuck_function_gives_up_its_place_on_a_cluster_that_is_there(shared: DaskExecutor) -> None:
    async with Gate() as gate, shared.open() as executor:
        for number in range(executor.width + 1):
            future = executor.submit(wait_at, gate.port, f"call {number}")
            await gate.arrivals(number + 1)
            future.cancel()
        assert await executor.submit(itself, 1) == 1
        assert gate.left == []


def test_a_flow_tells_the_same_story_as_on_threads() -> None:
    assert story(TWO) == story(ThreadExecutor(workers=4))


async def test_a_call_that_turns_out_long_frees_those_that_shared_its_parcel() -> None:
    """Else they would wait behind it, with the other worker idle."""
    async with TWO.open() as executor, Gate() as gate:
        await asyncio.gather(*[executor.submit(itself, n) for n in range(200)])  # so calls are taken for short
        calls = [executor.submit(wait_at, gate.port, f"call {n}") for n in range(40)]
        for number in range(40):
            await gate.arrivals(number + 1)
            gate.let_through(gate.arrived[number])
        assert await asyncio.gather(*calls) == [f"call {n}" for n in range(40)]


async def test_many_small_calls_share_a_task_and_each_has_its_own_end() -> None:
    async with TWO.open() as executor:
        assert await asyncio.gather(*[executor.submit(itself, n) for n in range(500)]) == list(range(500))
        futures = [executor.submit(exit_now, 7) if n == 250 else executor.submit(itself, n) for n in range(500)]
        ends = await asyncio.gather(*futures, return_exceptions=True)
    assert [n for n, end in enumerate(ends) if isinstance(end, InfrastructureLost)] == [250]
    assert [end for end in ends if not isinstance(end, InfrastructureLost)] == [n for n in range(500) if n != 250]


async def test_two_runs_on_one_scheduler_do_not_meet(shared: DaskExecutor) -> None:
    async with shared.open() as one, shared.open() as other:
        mine = [one.submit(itself, n) for n in range(300)]
        theirs = [other.submit(itself, -n) for n in range(300)]
        assert await asyncio.gather(*mine) == list(range(300))
        assert await asyncio.gather(*theirs) == [-n for n in range(300)]


async def test_one_run_that_ends_leaves_the_other_alone(shared: DaskExecutor) -> None:
    async with Gate() as gate, shared.open() as other:
        async with shared.open() as one:
            held = other.submit(wait_at, gate.port, "held")
            await gate.arrivals(1)
            stuck = one.submit(wait_at_async, gate.port, "stuck")
            await gate.arrivals(2)
        assert stuck.cancelled()
        await gate.departure("stuck")
        gate.let_through("held")
        assert await held == "held"


async def test_an_address_where_nobody_answers_is_named() -> None:
    with pytest.raises(InfrastructureLost, match=r"a scheduler at tcp://127\.0\.0\.1:1 within 0\.3 s"):
        async with DaskExecutor(address="tcp://127.0.0.1:1", connect_seconds=0.3).open():
            pass


async def test_a_cluster_class_that_is_not_here_is_named() -> None:
    with pytest.raises(UsageError, match="'no_such_package:Cluster' does not load here"):
        async with DaskExecutor(cluster_class="no_such_package:Cluster").open():
            pass


async def test_another_cluster_class_and_adapting() -> None:
    spec = DaskExecutor(
        cluster_class="distributed:LocalCluster",
        cluster_kwargs={"n_workers": 0, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"},
        adapt_kwargs={"minimum": 0, "maximum": 2},
    )
    async with spec.open() as executor:
        assert await executor.submit(itself, 1) == 1


async def test_calls_take_resources_and_wait_for_them(shared: DaskExecutor) -> None:
    short = shared.model_copy(update={"resources": {"none_has_this": 1.0}})
    async with short.open() as executor:
        waits = executor.submit(itself, 1)
        async with shared.open() as other:
            assert await other.submit(itself, 2) == 2
        assert not waits.done()


def test_a_spec_that_says_two_things_is_refused() -> None:
    with pytest.raises(ValidationError, match="workers would have no effect"):
        DaskExecutor(address="tcp://10.0.0.1:8786", workers=2)
    with pytest.raises(ValidationError, match="workers belong into cluster_kwargs"):
        DaskExecutor(cluster_class="distributed:LocalCluster", workers=2)


async def test_what_a_lost_scheduler_had_is_sent_again(tmp_path: Path) -> None:
    port = free_port()
    async with Gate() as gate, AsyncExitStack() as after:
        with dask_cluster(tmp_path, port) as address:
            executor = await after.enter_async_context(DaskExecutor(address=address).open())
            future = executor.submit(wait_at, gate.port, "held")
            await gate.arrivals(1)
        with dask_cluster(tmp_path, port):
            await gate.arrivals(2)
            gate.let_through("held")
            assert await future == "held"
            with pytest.raises(TaskTimedOut):
                await executor.submit(wait_at_async, gate.port, "late", _timeout=timedelta(seconds=0.1))
            await after.aclose()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[DaskExecutor]:
    """A cluster that was there before, set up as the how-to says."""
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield DaskExecutor(address=address)
