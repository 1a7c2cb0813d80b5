"""Reports: what they wait for, and what they do not."""

from __future__ import annotations

import pytest

from playhead import flow, task
from playhead.core.state import RunStatus
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
