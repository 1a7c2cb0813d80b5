"""Reports: what they wait for, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from playhead import flow, task
from playhead.core.state import RunStatus
from playhead.errors import ServerUnreachable
from playhead.ports.server import Reported, ReportRequest, ServerApi
from playhead.runner import reporter
from tests.runner.bench import open_bench


@task
def double(x: int) -> int:
    return 2 * x


@flow
def doubled(n: int) -> int:
    return sum(double(x) for x in range(n))


def test_the_end_of_a_run_is_reported_without_waiting_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "GATHER_SECONDS", 3600.0)
    with open_bench() as bench:
        run, outcome = bench.run(doubled, n=5)
        assert (outcome.status, outcome.value) == (RunStatus.SUCCEEDED, 20)
        assert bench.types(run)[-1] == "run.succeeded"


class AwayForReports:
    """A server that cannot be reached by so many reports."""

    def __init__(self, api: ServerApi, times: int) -> None:
        self._api = api
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def report(self, run: str, request: ReportRequest) -> Reported:
        if self._times:
            self._times -= 1
            raise ServerUnreachable("nobody answers")
        return await self._api.report(run, request)


def test_a_report_that_finds_no_server_is_sent_again_until_it_does() -> None:
    with open_bench() as bench:
        run = bench.ask(doubled)
        api: Any = AwayForReports(bench.api, 3)
        outcome = bench.execution(bench.grant(run), api)(doubled, {"n": 5})
        assert (outcome.status, outcome.value) == (RunStatus.SUCCEEDED, 20)
        assert bench.types(run).count("task.succeeded") == 5
