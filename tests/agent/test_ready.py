"""The list of ready runs: oldest first, bounded, and patient with runs that failed here."""

from __future__ import annotations

import anyio
import pytest

from playhead.agent import ready as ready_module
from playhead.agent.pace import Pace
from playhead.agent.ready import ReadyRuns

LONG = Pace(rest_first_seconds=3600, rest_most_seconds=3600)
SHORT = Pace(rest_first_seconds=0.001, rest_most_seconds=0.001)


async def test_takes_the_oldest_first_and_each_once() -> None:
    ready = ReadyRuns(Pace())
    for run in ("a", "b", "a", "c"):
        ready.offer(run)
    assert [(await ready.take()).run for _ in range(3)] == ["a", "b", "c"]


async def test_a_withdrawn_run_is_not_taken() -> None:
    ready = ReadyRuns(Pace())
    ready.offer("a")
    ready.offer("b")
    ready.withdraw("a")
    assert (await ready.take()).run == "b"


async def test_take_waits_for_an_offer() -> None:
    ready = ReadyRuns(Pace())
    taken: list[str] = []

    async def take() -> None:
        taken.append((await ready.take()).run)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.lowlevel.checkpoint()
        assert taken == []
        ready.offer("a")
    assert taken == ["a"]


async def test_the_first_failure_costs_no_rest_and_the_second_does() -> None:
    ready = ReadyRuns(LONG)
    ready.failed("a")
    ready.offer("a")
    assert (await ready.take()).run == "a"
    ready.failed("a")
    ready.offer("a")
    ready.offer("b")
    assert (await ready.take()).run == "b"


async def test_a_resting_run_is_taken_after_its_rest() -> None:
    ready = ReadyRuns(SHORT)
    ready.failed("a")
    ready.failed("a")
    ready.offer("a")
    assert (await ready.take()).run == "a"


async def test_a_resting_run_can_be_withdrawn() -> None:
    ready = ReadyRuns(SHORT)
    ready.failed("a")
    ready.failed("a")
    ready.offer("a")
    ready.withdraw("a")
    ready.offer("b")
    assert (await ready.take()).run == "b"


async def test_the_end_of_a_run_forgets_its_failures() -> None:
    ready = ReadyRuns(LONG)
    ready.failed("a")
    ready.failed("a")
    ready.ended("a")
    ready.offer("a")
    assert (await ready.take()).run == "a"


async def test_asks_for_more_once_it_runs_empty_after_it_was_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_module, "MAX_READY", 2)
    ready = ReadyRuns(Pace())
    for run in ("a", "b", "c"):
        ready.offer(run)
    wanted = anyio.Event()

    async def watch() -> None:
        await ready.wanting_more()
        wanted.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        assert [(await ready.take()).run, (await ready.take()).run] == ["a", "b"]
        await anyio.lowlevel.checkpoint()
        assert not wanted.is_set()
        tasks.start_soon(ready.take)
        await wanted.wait()
        tasks.cancel_scope.cancel()


def test_rests_and_retries_grow_up_to_their_limit() -> None:
    pace = Pace()
    assert [pace.rest(failures) for failures in (0, 1, 2, 3, 4)] == [0, 0, 1, 2, 4]
    assert pace.rest(10_000) == pace.rest_most_seconds
    assert all(pace.retry(tries) <= pace.retry_most_seconds for tries in (1, 2, 10, 10_000))
