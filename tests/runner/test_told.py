"""What a runner tells is what the log has; and a cancel meets a resumed run as it meets any other. Found by the simulation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from playhead import LocalExecutor, flow, sleep, sleep_blocking, task
from playhead.core.state import RunStatus
from playhead.errors import FlowRunCrashed, PlayheadError
from playhead.ports.server import Reported, ReportRequest, ServerApi
from tests.runner.bench import Bench, open_bench
from tests.runner.faulty import MortalStorage

LONG = timedelta(hours=1)  # nobody waits for it


@task
def one(x: int) -> int:
    return x + 1


@flow(executor=LocalExecutor())
def short() -> int:
    return one(1)


@flow(executor=LocalExecutor())
def waits() -> int:
    first = one(1)
    before_waiting.pop()()
    sleep_blocking(LONG)
    return first


@flow(executor=LocalExecutor())
async def waits_async() -> int:
    first = await one.submit(1)
    before_waiting.pop()()
    await sleep(LONG)
    return first


before_waiting: list[Callable[[], object]] = []


class LostAtTheEnd:
    """A server that takes the run away just before its outcome comes."""

    def __init__(self, bench: Bench, epoch: int) -> None:
        self._bench = bench
        self._epoch = epoch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bench.api, name)

    async def report(self, run: str, request: ReportRequest) -> Reported:
        from playhead.ports.server import DiedRequest

        if any(type_name == "run.succeeded" for type_name, _, _ in request.events):
            outcome = request.model_copy(
                update={"events": request.events[-1:], "first_seq": request.first_seq + len(request.events) - 1}
            )
            if len(request.events) > 1:
                await self._bench.api.report(run, request.model_copy(update={"events": request.events[:-1]}))
            await self._bench.api.died(run, DiedRequest(epoch=self._epoch, signal=9))
            return await self._bench.api.report(run, outcome)
        return await self._bench.api.report(run, request)


def test_an_outcome_that_came_too_late_is_not_told() -> None:
    with open_bench() as bench:
        run = bench.ask(short)
        for _ in range(2):
            grant = bench.grant(run)
            bench.execution(grant)
            bench.lose(run, grant.epoch)
        grant = bench.grant(run)
        api = cast("ServerApi", LostAtTheEnd(bench, grant.epoch))
        outcome = bench.execution(grant, api)(short, {})
        assert bench.view(run).state is RunStatus.CRASHED
        assert bench.types(run)[-1] == "run.late"
        assert outcome.status is RunStatus.CRASHED
        with pytest.raises(FlowRunCrashed):
            outcome.unwrap(run)


@pytest.mark.parametrize("subject", [waits, waits_async], ids=lambda subject: subject.name)
def test_a_cancel_of_a_resumed_run_leaves_what_was_recorded_alone(subject: Any) -> None:
    with open_bench() as bench:
        run = bench.ask(subject)
        grant = bench.grant(run)
        mortal = MortalStorage(grant.storage, 1000)
        before_waiting[:] = [lambda: None, mortal.die]
        with pytest.raises(PlayheadError):
            bench.execution(dataclasses.replace(grant, storage=mortal))(subject, {})
        bench.lose(run, grant.epoch)
        resume = bench.execution(bench.grant(run))
        bench.link.call(bench.api.cancel(run))
        assert resume(subject, {}).status is RunStatus.CANCELLED
        assert bench.view(run).state is RunStatus.CANCELLED
        assert bench.types(run).count("task.succeeded") == 1
        assert "task.cancelled" not in bench.types(run)
