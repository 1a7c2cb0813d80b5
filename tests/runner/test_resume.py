"""A run whose runner dies after every single durable step goes on, and repeats nothing that was recorded (S5, S6, S12)."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import pytest

from playhead import LocalExecutor, ThreadExecutor, current_run, flow, now, random, sleep, task, uuid4
from playhead.core.state import RunStatus
from playhead.errors import Diverged, FlowRunFailed, PlayheadError, StorageLost
from playhead.flows.flow import Flow
from playhead.ports.server import ReportRequest, ServerApi
from playhead.storage.memory import MemoryStorage
from tests.runner.bench import Bench, open_bench
from tests.runner.faulty import MortalStorage

ledger: Counter[str] = Counter()
seen: list[Any] = []


def _done(what: str) -> None:
    ledger[what] += 1


@task
def one(x: int) -> int:
    _done(f"one {x}")
    return x + 1


@task
async def two(x: int) -> int:
    _done(f"two {x}")
    return x * 2


@task(retries=2, retry_delay=timedelta(milliseconds=1))
def flaky(x: int) -> int:
    _done(f"flaky {x} attempt {current_run().attempt}")
    if current_run().attempt < 3:
        raise ValueError(f"attempt {current_run().attempt}")
    return x


@task
def fails() -> int:
    _done("fails")
    raise LookupError("always")


@flow(executor=LocalExecutor())
def blocking() -> tuple[int, list[int], str]:
    first = one(1)
    mapped = one.map(range(10, 14))
    tried = flaky.submit(first)
    last = one.submit(tried)
    told = ""
    try:
        fails()
    except LookupError as error:
        told = str(error)
    return last.result(), mapped.result(), told


@flow(executor=ThreadExecutor(workers=3))
async def concurrent() -> tuple[int, list[int], list[int]]:
    async def branch(x: int) -> int:
        value = await two(x)
        return await one.submit(value)

    seen.append((now(), random(), uuid4()))
    await sleep(timedelta(milliseconds=2))
    mapped = two.map(range(4))
    results = await asyncio.gather(*(branch(x) for x in range(3)))
    first = [future async for future in _as_completed(list(mapped))]
    return sum(results), sorted(first), await one.map(mapped)


async def _as_completed(futures: list[Any]) -> AsyncIterator[int]:
    for future in asyncio.as_completed(futures):
        yield await future


FLOWS: list[Flow[..., Any]] = [blocking, concurrent]


@pytest.mark.parametrize("subject", FLOWS, ids=lambda subject: subject.name)
def test_a_run_killed_after_every_durable_step_repeats_nothing_that_was_recorded(subject: Flow[..., Any]) -> None:
    ledger.clear()
    with open_bench() as bench:
        _, whole = bench.run(subject)
        assert whole.status is RunStatus.SUCCEEDED
        once = dict(ledger)
    deaths = 0
    for lives in range(1, 40):
        ledger.clear()
        seen.clear()
        with open_bench() as bench:
            run = bench.ask(subject)
            grant = bench.grant(run)
            mortal = MortalStorage(grant.storage, lives)
            try:
                outcome = bench.execution(dataclasses.replace(grant, storage=mortal))(subject, {})
            except PlayheadError:
                deaths += 1
                recorded = _completed(bench, run, grant)
                before = ledger.copy()
                bench.lose(run, grant.epoch)
                outcome = bench.execution(bench.grant(run))(subject, {})
                _check_nothing_recorded_ran_again(recorded, before)
            assert outcome.status is RunStatus.SUCCEEDED, outcome.error
            assert outcome.value == whole.value
            assert len(set(seen)) <= 1, "what the flow saw of the world must not change on a resume"
            assert set(ledger) == set(once)
            if mortal.steps < lives:
                break
    assert deaths >= 5, "the sweep must have killed the runner at several places"


def _completed(bench: Bench, run: Any, grant: Any) -> set[str]:
    """Keys whose success is in the dead runner's journal."""
    from playhead.journal.reader import read_journal

    journal = read_journal(bench.storage, grant.place, grant.key.secret)
    return {record.data["key"] for record in journal.records if record.type == "task.succeeded"}


def _check_nothing_recorded_ran_again(recorded: set[str], before: Counter[str]) -> None:
    inputs = {"one": {"one 1"}, "fails": {"fails"}}
    for key, names in inputs.items():
        if key in recorded:
            for name in names:
                assert ledger[name] == before[name], f"{key} was recorded, and ran again"


def test_a_successor_that_finds_the_outcome_reports_it_and_runs_no_flow_code() -> None:
    ledger.clear()
    with open_bench() as bench:
        run = bench.ask(blocking)
        grant = bench.grant(run)
        api = silent(bench.api)
        with pytest.raises(PlayheadError):
            bench.execution(grant, api)(blocking, {})
        before = ledger.copy()
        bench.lose(run, grant.epoch)
        outcome = bench.execution(bench.grant(run))(blocking, {})
        assert outcome.status is RunStatus.SUCCEEDED
        assert ledger == before
        assert bench.view(run).state is RunStatus.SUCCEEDED
        assert "run.succeeded" in bench.types(run)


def _before_the_end(event: tuple[str, int, dict[str, Any]]) -> bool:
    return not event[0].startswith("run.")


class _Silent:
    """A server that ends this runner's time when it reports the run's end."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def report(self, run: str, request: ReportRequest) -> Any:
        from playhead.errors import EpochOver

        before = tuple(itertools.takewhile(_before_the_end, request.events))
        answer = await self._inner.report(run, request.model_copy(update={"events": before})) if before else None
        if len(before) < len(request.events):
            raise EpochOver("the outcome never arrives")
        return answer


def silent(api: ServerApi) -> ServerApi:
    """That server, by delegation."""
    made: Any = _Silent(api)
    return cast("ServerApi", made)


def test_a_run_that_asks_for_other_work_on_resume_diverges_and_names_the_key() -> None:
    with open_bench() as bench:
        for changed, told in ((_other_name, "one"), (_other_input, "had input"), (_asks_for_less, "one")):
            run = bench.ask(_original)
            grant = bench.grant(run)
            with pytest.raises(PlayheadError):
                bench.execution(dataclasses.replace(grant, storage=MortalStorage(grant.storage, 3)))(_original, {})
            bench.lose(run, grant.epoch)
            outcome = bench.execution(bench.grant(run))(changed, {})
            assert outcome.status is RunStatus.FAILED
            assert isinstance(outcome.error, Diverged)
            assert told in outcome.error.message


@flow(name="changing", executor=LocalExecutor())
def _original() -> int:
    first = one(1)
    return one(first)


@flow(name="changing", executor=LocalExecutor())
def _other_name() -> int:
    return flaky(1)


@flow(name="changing", executor=LocalExecutor())
def _other_input() -> int:
    return one(one(7))


@flow(name="changing", executor=LocalExecutor())
def _asks_for_less() -> int:
    return 3


def test_a_completion_that_the_storage_lost_stops_the_run() -> None:
    with open_bench() as bench:
        run = bench.ask(_original)
        grant = bench.grant(run)
        with pytest.raises(PlayheadError):
            bench.execution(grant, silent(bench.api))(_original, {})
        assert "task.succeeded" in bench.types(run)
        bench.lose(run, grant.epoch)
        successor = bench.grant(run)
        emptied = dataclasses.replace(successor, storage=_Emptied(bench.storage))
        with pytest.raises(StorageLost):
            bench.execution(emptied)(_original, {})


class _Emptied(MortalStorage):
    """A storage whose segments are gone."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, 10**9)

    def list(self, prefix: str) -> list[str]:
        return []


def test_a_failed_run_raises_with_the_task_that_failed() -> None:
    @flow
    def fallible() -> int:
        return fails()

    with open_bench(MemoryStorage()) as bench:
        run, outcome = bench.run(fallible)
        with pytest.raises(FlowRunFailed) as caught:
            outcome.unwrap(run)
        assert caught.value.task_key == "fails"
        assert isinstance(caught.value.__cause__, LookupError)
