"""Large results on a Dask cluster: they stay on the user's side of the runner, and the story is that of threads."""

from __future__ import annotations

import tracemalloc
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from playhead import task
from playhead.executors import DaskExecutor, ThreadExecutor
from playhead.flows.flow import Flow
from playhead.storage.folder import FolderStorage
from tests.executors.clusters import dask_cluster, warmed
from tests.rooms import ROOT
from tests.runner.bench import open_bench
from tests.runner.test_references import Watched, story

pytestmark = pytest.mark.real
warm = pytest.fixture(scope="module", autouse=True)(warmed)

MEGABYTES = 10
LINKS = 4


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with dask_cluster(tmp_path_factory.mktemp("cluster"), env={"PYTHONPATH": str(ROOT)}) as address:
        yield address


@task
def filled(megabytes: int) -> bytearray:
    return bytearray(megabytes * 1_000_000)


@task
def passed_on(value: bytearray) -> bytearray:
    value[0] += 1
    return value


@task
def first_of(value: bytearray) -> int:
    return value[0]


def chain() -> int:
    value = filled.submit(MEGABYTES)
    for _ in range(LINKS):
        value = passed_on.submit(value)
    return first_of.submit(value).result()


def peak_megabytes(executor: DaskExecutor, folder: Path) -> float:
    """Of what this process, which is the runner, allocates during the chain."""
    with open_bench(FolderStorage(folder)) as bench:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            _, outcome = bench.run(Flow(chain, name="chain", executor=executor))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert outcome.value == LINKS, (outcome.error, outcome.error and outcome.error.__cause__)
    return (peak - before) / 1e6


def test_the_runner_s_memory_stays_flat_whatever_passes_between_tasks(address: str, tmp_path: Path) -> None:
    assert peak_megabytes(DaskExecutor(address=address, persist="worker"), tmp_path / "worker") < MEGABYTES
    assert peak_megabytes(DaskExecutor(address=address, persist="runner"), tmp_path / "runner") > MEGABYTES, (
        "it measures"
    )


@pytest.mark.parametrize("persist", ["worker", "auto"])
def test_large_results_tell_the_same_story_as_on_threads(address: str, tmp_path: Path, persist: Any) -> None:
    storage = Watched(tmp_path / "storage")
    assert story(DaskExecutor(address=address, persist=persist), storage) == story(ThreadExecutor(workers=2))
    assert storage.written == storage.been_read == []


def test_workers_that_do_not_see_the_storage_have_the_runner_write(address: str) -> None:
    assert story(DaskExecutor(address=address)) == story(ThreadExecutor(workers=2))
