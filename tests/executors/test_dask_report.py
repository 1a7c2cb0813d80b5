"""Dask's performance report: kept in the run's storage if it was asked for, sealed as all of the run is, and read back verified."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest

from playhead import task
from playhead.core.state import RunStatus
from playhead.errors import InfrastructureLost, NoSuchObject, TrustError, UsageError
from playhead.executors import DaskExecutor
from playhead.flows.flow import Flow
from playhead.journal.report import report_in
from playhead.runner.execution import Grant
from playhead.storage.folder import FolderStorage
from playhead_adapters.executors.dask.report import Watch
from tests.executors.clusters import dask_cluster, warmed
from tests.rooms import ROOT
from tests.runner.bench import Bench, open_bench

if find_spec("bokeh") is None:
    if os.environ.get("CI") == "true":
        raise ModuleNotFoundError("bokeh is missing, and nothing may be skipped here: pip install bokeh")
    pytest.skip("bokeh is not installed: pip install bokeh", allow_module_level=True)

pytestmark = pytest.mark.real
warm = pytest.fixture(scope="module", autouse=True)(warmed)

NO_BOKEH = """
import importlib.util
known = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "bokeh" else known(name, *more)
"""


@task
def doubled(n: int) -> int:
    return 2 * n


def six() -> int:
    return sum(doubled.map(range(3)).result())


@pytest.fixture
def bench(tmp_path: Path) -> Generator[Bench]:
    with open_bench(FolderStorage(tmp_path / "storage")) as bench:
        yield bench


@pytest.fixture(scope="module")
def reporting(tmp_path_factory: pytest.TempPathFactory) -> Generator[DaskExecutor]:
    folder = tmp_path_factory.mktemp("cluster")
    with dask_cluster(folder, n_workers=1, env={"PYTHONPATH": str(ROOT)}) as address:
        yield DaskExecutor(address=address, performance_report=True)


def ran(bench: Bench, executor: DaskExecutor) -> Grant:
    subject = Flow(six, name="six", executor=executor)
    grant = bench.grant(bench.ask(subject))
    outcome = bench.execution(grant)(subject, {})
    assert (outcome.status, outcome.value) == (RunStatus.SUCCEEDED, 6), outcome.error
    return grant


def test_a_report_is_kept_where_it_was_asked_for(bench: Bench, reporting: DaskExecutor) -> None:
    grant = ran(bench, reporting)
    page = report_in(bench.storage, grant.place, grant.key)
    assert "<title>Dask Performance Report</title>" in page
    counted = re.search(r"number of tasks: (\d+)", page)
    assert counted is not None
    assert 1 <= int(counted[1]) <= 3, "small calls share a task"
    assert not re.search(r'<script[^>]+src=|rel="stylesheet"', page), "it needs no network to be read"
    assert "doubled.map(range(3))" not in page, "no code of the flow's was sent to the scheduler"


def test_it_counts_for_its_own_run_only(bench: Bench, reporting: DaskExecutor) -> None:
    grant, other = ran(bench, reporting), ran(bench, reporting.model_copy(update={"performance_report": False}))
    with pytest.raises(NoSuchObject):
        report_in(bench.storage, other.place, other.key)
    bench.storage.create_if_absent(other.place.report, bench.storage.read(grant.place.report))
    with pytest.raises(TrustError, match=r"executor's report .* refused"):
        report_in(bench.storage, other.place, other.key)


def test_a_run_whose_scheduler_draws_none_in_the_end_succeeds_and_its_log_says_why(
    bench: Bench, reporting: DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(self: Watch) -> str:
        raise InfrastructureLost("the Dask scheduler made no performance report: no ink")

    monkeypatch.setattr(Watch, "page", none)
    grant = ran(bench, reporting)
    lines = bench.storage.read(grant.place.log_lines).decode()
    assert "the executor's report was not kept: the Dask scheduler made no performance report: no ink" in lines


async def test_a_scheduler_that_cannot_draw_one_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_BOKEH)
    with dask_cluster(tmp_path, n_workers=1, env={"PYTHONPATH": str(tmp_path)}) as address:
        with pytest.raises(UsageError, match="it has no bokeh") as caught:
            async with DaskExecutor(address=address, performance_report=True).open():
                pass
        assert "pip install bokeh" in str(caught.value.hint)
