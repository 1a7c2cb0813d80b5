"""What a Dask cluster holds of a run: no task that has ended or that nobody waits for, no two of one name, and no key, ever."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from playhead import task
from playhead.core.state import RunStatus
from playhead.executors import DaskExecutor
from playhead.flows.flow import Flow
from playhead.ports.executor import ClusterExecutor
from playhead.storage.folder import FolderStorage
from playhead.testing.gates import Gate, wait_at, wait_at_async
from playhead.testing.sample_calls import itself
from tests.canary.places import memory_of
from tests.executors.clusters import dask_cluster, warmed
from tests.rooms import ROOT
from tests.runner.bench import open_bench

pytestmark = pytest.mark.real
warm = pytest.fixture(scope="module", autouse=True)(warmed)

SOON_SECONDS = 60  # for the scheduler to hear what the executor has let go: generous, and met at once

Keys = frozenset[tuple[str, int]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[DaskExecutor]:
    with dask_cluster(tmp_path_factory.mktemp("cluster"), env={"PYTHONPATH": str(ROOT)}) as address:
        yield DaskExecutor(address=address)


async def test_results_are_released_once_they_are_known(shared: DaskExecutor) -> None:
    async with onlooker(shared) as client, shared.open() as executor:
        assert await asyncio.gather(*[executor.submit(itself, n) for n in range(200)]) == list(range(200))
        await until(client, lambda keys: not keys)


async def test_calls_that_are_cancelled_are_released_whether_they_had_begun_or_not(shared: DaskExecutor) -> None:
    async with onlooker(shared) as client, Gate() as gate, shared.open() as executor:
        assert isinstance(executor, ClusterExecutor)
        begun = executor.submit(wait_at_async, gate.port, "begun")
        stuck = executor.submit(wait_at, gate.port, "stuck")
        await gate.arrivals(2)
        waiting = [executor.submit_placed(itself, n, _resources={"TPU": 1}, _priority=0) for n in range(5)]
        await until(client, lambda keys: len(keys) == 2 + len(waiting))
        for call in (begun, stuck, *waiting):
            call.cancel()
        await until(client, lambda keys: not keys)


async def test_an_executor_that_closes_leaves_nothing_of_its_own_and_all_of_others(shared: DaskExecutor) -> None:
    async with onlooker(shared) as client, Gate() as gate, shared.open() as other:
        held = other.submit(wait_at, gate.port, "held")
        await gate.arrivals(1)
        await until(client, lambda keys: len(keys) == 1)
        others = await keys_at(client)
        async with shared.open() as one:
            left = one.submit(wait_at_async, gate.port, "left")
            await gate.arrivals(2)
            names = {name for name, _ in await keys_at(client)}
            assert len(names) == 2, "each executor has a name of its own before its keys"
        assert left.cancelled()
        await until(client, lambda keys: keys == others)
        gate.let_through("held")
        assert await held == "held"


@task
def large(letter: str) -> bytes:
    return letter.encode() * 100_000


@task
def joined(parts: list[bytes], word: str) -> str:
    return f"{word} of {sum(map(len, parts))}"


def test_no_key_is_ever_in_a_scheduler_or_a_worker(shared: DaskExecutor, tmp_path: Path) -> None:
    """In the memory of all of them, after a run whose results workers have written and read, and whose argument is found there."""
    word = "a-word-that-is-found"
    needle = word.swapcase()  # so that the search finds no text of this test's

    def written() -> str:
        return joined.submit(large.map(["a", "b"]), needle).result()

    with open_bench(FolderStorage(tmp_path)) as bench:
        subject = Flow(written, name="written", executor=shared.model_copy(update={"persist": "worker"}))
        grant = bench.grant(bench.ask(subject))
        outcome = bench.execution(grant)(subject, {})
        assert outcome.status is RunStatus.SUCCEEDED, outcome.error
        secrets = [*forms(grant.key.secret), *forms(bench.key.secret)]
    pids = asyncio.run(processes_of(shared))
    assert len(pids) == 3
    assert {pid for pid in pids if holds(pid, [needle.encode()])}, "the search finds what is there"
    assert [pid for pid in pids if holds(pid, secrets)] == []


# --- looking on ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def onlooker(spec: DaskExecutor) -> AsyncGenerator[Any]:
    """A client that asks the scheduler, and sends it no task. It waits until what an earlier test left is gone."""
    distributed: Any = import_module("distributed")
    async with distributed.Client(spec.address, asynchronous=True, set_as_default=False) as client:
        await until(client, lambda keys: not keys)
        yield client


async def until(client: Any, fits: Callable[[Keys], bool]) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not fits(await keys_at(client)):
            await asyncio.sleep(0.01)


async def keys_at(client: Any) -> Keys:
    return frozenset(await client.run_on_scheduler(known_keys))


def known_keys(dask_scheduler: Any) -> list[tuple[str, int]]:
    return list(dask_scheduler.tasks)


async def processes_of(spec: DaskExecutor) -> list[int]:
    """The scheduler and its workers."""
    distributed: Any = import_module("distributed")
    async with distributed.Client(spec.address, asynchronous=True, set_as_default=False) as client:
        return [await client.run_on_scheduler(os.getpid), *(await client.run(os.getpid)).values()]


def forms(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), base64.b64encode(secret)[:-2], base64.urlsafe_b64encode(secret)[:-2]]


def holds(pid: int, needles: Collection[bytes]) -> bool:
    try:
        return any(needle in content for _, content in memory_of(pid) for needle in needles)
    except PermissionError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("this system lets nobody read another process's memory")
