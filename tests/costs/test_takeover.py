"""What a take-over costs, counted: requests and events beside the run's own, and what the successor does to its predecessor's storage."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from typing import Any, Final, cast

import pytest

from playhead import LocalExecutor, flow, task
from playhead.errors import PlayheadError
from playhead.ports.server import ServerApi
from playhead.ports.storage import Storage
from playhead.runner.reporter import GATHER_SECONDS
from tests.runner.bench import Bench, open_bench
from tests.runner.faulty import MortalStorage

TASKS: Final = 20
executed: Counter[int] = Counter()

pytestmark = pytest.mark.timeout(60)


@task
def step(number: int) -> int:
    executed[number] += 1
    return number


@flow(executor=LocalExecutor())
def steps() -> int:
    return sum(step(number) for number in range(TASKS))


class Asked:
    """Any port, and how often each of its methods was asked for."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self._real, name)


def killed(bench: Bench, lives: int) -> str:
    """A run whose first runner died after so many durable steps, and of whose death its agent has told."""
    executed.clear()
    run = bench.ask(steps)
    grant = bench.grant(run)
    mortal = cast("Storage", MortalStorage(grant.storage, lives))
    with pytest.raises(PlayheadError):
        bench.execution(dataclasses.replace(grant, storage=mortal))(steps, {})
    bench.lose(run, grant.epoch)
    return run


@pytest.mark.parametrize("lives", [3, 11, 19])
def test_a_successor_asks_once_and_reports_in_company(lives: int) -> None:
    """Between the death and the first report: claim, history, start. And of the journal: one fence, one flush, one read each segment."""
    with open_bench() as bench:
        run = cast("Any", killed(bench, lives))
        done = dict(executed)
        api, storage = Asked(bench.api), Asked(bench.storage)
        grant = dataclasses.replace(bench.grant(run), storage=cast("Storage", storage))
        began = time.monotonic()
        assert bench.execution(grant, cast("ServerApi", api))(steps, {}).unwrap(run) == sum(range(TASKS))
        took = time.monotonic() - began

        assert api.asked["start"] == 1
        assert api.asked["report"] <= 3 + took / GATHER_SECONDS, "what the dead left, what is new, and the end"
        assert set(api.asked) <= {"start", "report", "heartbeat"}
        segments = len(
            [path for path in bench.storage.list(f"runs/{run}") if f"{run}/1-" in path and "/segments/" in path]
        )
        assert (storage.asked["settle"], storage.asked["read"]) == (segments, segments)
        assert storage.asked["create_if_absent"] == 1, "the fence"

        repeated = sum(executed[number] > count for number, count in done.items())
        assert repeated <= 1, "only the task in flight runs again"
        types = Counter(bench.types(run))
        assert (types["run.claimed"], types["run.started"], types["journal.adopted"], types["run.lost"]) == (2, 2, 2, 1)
        of_tasks = sum(count for name, count in types.items() if name.startswith("task."))
        assert of_tasks <= 3 * TASKS + 1, "no event of a task is told twice, but for the start of the one in flight"
