"""What a step costs in a runner, counted: submissions, wake-ups, flushes, reports, models. Never by the clock."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

import pytest

from playhead import LocalExecutor, ThreadExecutor, flow, task
from playhead.core import events as ev
from playhead.executors.crew import Crew
from playhead.flows.flow import Flow
from playhead.runner import attempts, places
from playhead.runner.pump import Inbox, PumpSelector
from playhead.runner.reporter import Reporter
from tests.costs.counting import CountingStorage
from tests.runner.bench import open_bench

WIDTH: Final = 4
MANY: Final = 400
STEPS: Final = 60

pytestmark = pytest.mark.timeout(60)


@task
def inc(x: int) -> int:
    return x + 1


@flow(executor=ThreadExecutor(workers=WIDTH))
async def fan_out() -> int:
    return sum(await inc.map(range(MANY)))


@flow(executor=LocalExecutor())
async def fan_out_in_one_thread() -> int:
    return sum(await inc.map(range(MANY)))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of the things that cost was done, in all threads."""
    counts: Counter[str] = Counter()

    def count(where: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(where, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(where, name, counting)

    count(Crew, "submit")
    monkeypatch.setattr(attempts, "ev", _Encoding(counts))
    monkeypatch.setattr(places, "ev", _Encoding(counts))
    count(Inbox, "_sleep")
    count(PumpSelector, "_wake")
    count(PumpSelector, "select")
    count(Reporter, "_send")
    return counts


class _Encoding(ModuleType):
    """The events, as a module of the runner sees them; the service, in this process too, is not counted."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__("events")
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        if name == "encode":
            self._counts[name] += 1
        return getattr(ev, name)


def run(subject: Flow[..., Any]) -> tuple[Any, CountingStorage]:
    storage = CountingStorage()
    with open_bench(storage) as bench:
        _, outcome = bench.run(subject)
    assert outcome.error is None
    return outcome.value, storage


def test_a_wide_map_is_handed_to_each_worker_once(counted: Counter[str]) -> None:
    value, _ = run(fan_out)
    assert value == sum(range(1, MANY + 1))
    assert counted["submit"] <= WIDTH


def test_no_model_of_an_event_is_made_for_a_task_that_starts_and_succeeds(counted: Counter[str]) -> None:
    run(fan_out)
    assert counted["encode"] == 1, "that of the map as a whole"


def test_a_map_is_delivered_without_a_turn_of_the_loop_for_each_element(counted: Counter[str]) -> None:
    _, storage = run(fan_out)
    assert counted["_wake"] <= storage.flushes, "once for what one flush made durable"
    assert counted["select"] <= 3 * storage.flushes + 20


def test_many_tasks_share_a_flush_and_a_report(counted: Counter[str]) -> None:
    for subject in (fan_out, fan_out_in_one_thread):
        counted.clear()
        _, storage = run(subject)
        assert storage.flushes < MANY / 2
        assert counted["_send"] < MANY / 8


def chain(threads: list[int]) -> Flow[..., Any]:
    """Steps behind one another, of which none begins before all are asked for. They tell which threads performed them."""
    asked = threading.Event()

    @task
    def first() -> int:
        assert asked.wait(20)
        return 0

    @task
    def step(x: int) -> int:
        threads.append(threading.get_ident())
        return x + 1

    @flow(executor=ThreadExecutor(workers=WIDTH))
    def subject() -> int:
        at = first.submit()
        for _ in range(STEPS):
            at = step.submit(at)
        asked.set()
        return at.result()

    return subject


def test_a_step_of_a_chain_is_a_flush_and_no_change_of_threads(counted: Counter[str]) -> None:
    threads: list[int] = []
    value, storage = run(chain(threads))
    assert value == STEPS
    assert storage.flushes <= STEPS + 20, "the step's own, and few of what was asked for before"
    changes = sum(one != other for one, other in pairwise(threads))
    assert changes <= STEPS / 4, "the upkeep may lead now and then, and another worker comes for what it made ready"
    assert counted["submit"] <= 2 + STEPS / 4


def test_a_flow_that_waits_for_the_last_step_sleeps_through_the_others(counted: Counter[str]) -> None:
    run(chain([]))
    assert counted["_sleep"] <= 5, "and once a second, where the machine is slow"
