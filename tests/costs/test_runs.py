"""What a whole run costs its storage and its server, counted: flushes, objects, requests, events."""

from __future__ import annotations

from typing import Any

import pytest

from playhead import flow, task
from playhead.core.state import RunStatus
from playhead.flows.flow import Flow
from tests.costs.counting import CountingApi, CountingStorage
from tests.runner.bench import Bench, open_bench


@task
def double(x: int) -> int:
    return 2 * x


@flow
def fan_out(width: int) -> int:
    return sum(double.map(range(width)).result())


@flow
def chain(length: int) -> int:
    number: Any = 1
    for _ in range(length):
        number = double.submit(number)
    return len(str(number.result()))


@flow
def waited_chain(length: int) -> int:
    number = 1
    for _ in range(length):
        number = double(number)
    return len(str(number))


def _costs(bench: Bench, storage: CountingStorage, subject: Flow[..., Any], **parameters: Any) -> tuple[int, int, int]:
    """Flushes, requests and events of one run."""
    run = bench.ask(subject)
    api: Any = CountingApi(bench.api)
    before = storage.flushes
    outcome = bench.execution(bench.grant(run), api)(subject, parameters)
    assert outcome.status is RunStatus.SUCCEEDED, outcome.error
    return storage.flushes - before, api.reports, api.events


@pytest.mark.parametrize("subject", [chain, waited_chain], ids=lambda subject: subject.name)
def test_a_step_of_a_chain_costs_one_flush_and_less_than_one_request(subject: Flow[..., Any]) -> None:
    storage = CountingStorage()
    with open_bench(storage) as bench:
        flushes, reports, events = _costs(bench, storage, subject, length=60)
    # One for what was adopted, one for the run's end; the upkeep may flush what nobody waits for a few times a second.
    assert 60 <= flushes <= 60 + 2 + 20
    assert events == 3 * 60 + 2, "submitted, started, succeeded; adopted and the run's end"
    assert reports <= flushes


def test_a_fan_out_costs_few_flushes_and_requests_and_two_events_a_task() -> None:
    storage = CountingStorage()
    with open_bench(storage) as bench:
        flushes, reports, events = _costs(bench, storage, fan_out, width=500)
    assert events == 2 * 500 + 3, "started and succeeded; the map, adopted and the run's end"
    assert flushes <= 500 + 30, "what waits behind a flush shares the next"
    assert reports <= 120, "a request carries what has gathered"
    assert storage.objects == 0, "a small result is in its record, and no object of its own"
