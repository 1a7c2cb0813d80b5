"""What a flow's author meets: values, retries, timeouts, cancellation, futures that are misused, failures nobody looked at."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest

import playhead
from playhead import LocalExecutor, ProcessExecutor, ThreadExecutor, current_run, flow, get_logger, task, unmapped
from playhead.core.state import RunStatus
from playhead.errors import MisusedCall, TaskLost, TaskTimedOut, UnloadableOutcome, UpstreamFailed
from playhead.flows.flow import Flow
from playhead.flows.foreign_time import UnrecordedTimeWarning
from playhead.runner.outcome import Outcome
from tests.runner.bench import Bench, open_bench

EXECUTORS = [LocalExecutor(), ThreadExecutor(workers=4), ProcessExecutor(workers=2)]


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
def total(numbers: list[int], extra: dict[str, int]) -> int:
    return sum(numbers) + sum(extra.values())


@task(retries=2, retry_delay=[timedelta(milliseconds=1), timedelta(milliseconds=2)])
def third_time() -> int:
    if current_run().attempt < 3:
        raise ConnectionError("not yet")
    return current_run().attempt


@task(retries=5, retry_on=ConnectionError)
def wrong_kind() -> None:
    raise ValueError("not tried again")


@task
def boom(message: str = "boom") -> int:
    raise LookupError(message)


@task
async def patient() -> str:
    await asyncio.sleep(30)
    return "never"


@task
def exits() -> None:
    sys.exit(3)


@task
def kills() -> None:
    os._exit(7)


@task
def unpicklable() -> Any:
    return threading.Lock()


class Stubborn(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


@task
def stubborn() -> None:
    raise Stubborn("told anyway")


@flow
def everything() -> tuple[int, int, int, list[int]]:
    first = add(1)
    later = add.submit(first, b=add.submit(10))
    mapped = add.map(range(3), unmapped(100))
    again = add.map(mapped, mapped)
    summed = total.submit([later, *mapped], {"x": add.submit(0)})
    return first, third_time(), summed.result(), again.result()


def run(subject: Flow[..., Any], **parameters: Any) -> tuple[Outcome, Bench, Any]:
    with open_bench() as bench:
        run_id, outcome = bench.run(subject, **parameters)
        return outcome, bench, bench.view(run_id)


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.kind)
def test_one_flow_gives_one_result_and_one_story_on_every_executor(executor: Any) -> None:
    subject = Flow(everything.fn, executor=executor)
    outcome, _, view = run(subject)
    assert outcome.value == (2, 3, 317, [200, 202, 204]), outcome.error
    assert {task.key: (task.state.value, task.attempt) for task in view.tasks} == {
        "add": ("succeeded", 1), "add~2": ("succeeded", 1), "add~3": ("succeeded", 1),
        "add~4.0": ("succeeded", 1), "add~4.1": ("succeeded", 1), "add~4.2": ("succeeded", 1),
        "add~5.0": ("succeeded", 1), "add~5.1": ("succeeded", 1), "add~5.2": ("succeeded", 1),
        "add~6": ("succeeded", 1), "total": ("succeeded", 1), "third_time": ("succeeded", 3),
    }  # fmt: skip
    upstream = {task.key: task.upstream for task in view.tasks}
    assert upstream["add~3"] == ("add~2",)
    assert upstream["add~5.1"] == ("add~4.1",)
    assert set(upstream["total"]) == {"add~3", "add~4.0", "add~4.1", "add~4.2", "add~6"}


def test_retry_on_chooses_what_is_tried_again() -> None:
    outcome, _, view = run(flow(wrong_kind_flow))
    assert isinstance(outcome.error, ValueError)
    assert view.tasks[0].attempt == 1


def wrong_kind_flow() -> None:
    wrong_kind()


def test_a_failure_that_nobody_looked_at_fails_the_run_and_names_the_task() -> None:
    @flow
    def careless() -> str:
        boom.submit("unseen")
        return "fine"

    outcome, _, view = run(careless)
    assert outcome.status is RunStatus.FAILED
    assert isinstance(outcome.error, LookupError)
    assert (outcome.task_key, view.failed_task) == ("boom", "boom")


def test_a_failure_that_was_looked_at_does_not() -> None:
    @flow
    def careful() -> str:
        failed = boom.submit()
        dependent = add.submit(failed)
        with pytest.raises(UpstreamFailed) as caught:
            dependent.result()
        assert isinstance(caught.value.__cause__, LookupError)
        return "handled"

    outcome, _, _ = run(careful)
    assert outcome.value == "handled"


def test_what_a_task_cannot_return_or_raise_is_said_so() -> None:
    for made, told in ((unpicklable, "lock"), (stubborn, "told anyway")):

        @flow
        def subject(made: Any = made) -> None:
            made()

        outcome, _, _ = run(subject)
        assert isinstance(outcome.error, UnloadableOutcome)
        assert told in str(outcome.error)


def test_exits_of_a_task_and_of_a_flow_are_failures_of_their_own_kind() -> None:
    @flow
    def task_exits() -> None:
        exits()

    @flow
    def flow_exits() -> None:
        raise SystemExit(4)

    for subject in (task_exits, flow_exits):
        outcome, _, view = run(subject)
        assert outcome.status is RunStatus.FAILED
        assert view.error is not None


def test_a_worker_that_dies_is_lost_three_times_and_then_the_task_fails() -> None:
    @flow(executor=ProcessExecutor(workers=1))
    def subject() -> int:
        try:
            kills()
        except TaskLost as error:
            return add(len(error.task_key))
        return 0

    outcome, _, view = run(subject)
    assert outcome.value == len("kills") + 1, outcome.error
    lost = view.tasks[0]
    assert (lost.key, lost.state.value, lost.attempt) == ("kills", "failed", 1)


def test_a_timeout_fails_the_attempt() -> None:
    @task(timeout=timedelta(milliseconds=30))
    async def slow() -> None:
        await asyncio.sleep(30)

    @flow
    def subject() -> None:
        slow.submit().result()

    outcome, _, view = run(subject)
    assert isinstance(outcome.error, TaskTimedOut)
    assert "slow" in outcome.error.message
    assert view.tasks[0].error is not None
    assert view.tasks[0].error.category == "timed_out"


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "blocking"])
def test_a_cancelled_run_ends_and_its_tasks_with_it(is_async: bool) -> None:
    begun = threading.Event()

    @task
    async def waits() -> None:
        begun.set()
        await asyncio.sleep(30)

    @flow
    async def asynchronous() -> None:
        await waits()

    @flow
    def blocking() -> None:
        waits.submit().result()

    subject: Flow[..., Any] = asynchronous if is_async else blocking
    with open_bench() as bench:
        run_id = bench.ask(subject)
        execution = bench.execution(bench.grant(run_id))

        def cancel() -> None:
            assert begun.wait(20)
            bench.link.call(bench.api.cancel(run_id))
            # The runner hears of it with its next report or heartbeat.

        canceller = threading.Thread(target=cancel)
        canceller.start()
        outcome = execution(subject, {})
        canceller.join()
        assert outcome.status is RunStatus.CANCELLED
        view = bench.view(run_id)
        assert view.state is RunStatus.CANCELLED
        assert [task.state.value for task in view.tasks] == ["cancelled"]


def test_futures_refuse_what_makes_no_sense_with_a_hint() -> None:
    @flow
    def subject() -> list[str]:
        future = add.submit(1)
        told: list[str] = []
        for misuse in (
            lambda: bool(future),
            lambda: future == 2,
            lambda: future < 3,
            lambda: len(future),
            lambda: future.__iter__(),
            lambda: f"{future}",
            lambda: future[0],
            lambda: __import__("pickle").dumps(future),
        ):
            with pytest.raises(MisusedCall) as caught:
                misuse()
            told.append(caught.value.hint or "")
        return told

    outcome, _, _ = run(subject)
    assert outcome.status is RunStatus.SUCCEEDED, outcome.error
    assert all("await it first" in hint for hint in outcome.value)


def test_calls_of_the_wrong_colour_say_what_to_write() -> None:
    @flow
    async def asynchronous() -> None:
        add(1)

    @flow
    def blocking() -> None:
        patient()  # type: ignore[unused-coroutine]  # that is the mistake

    outcome, _, _ = run(asynchronous)
    assert "await add.submit" in str(outcome.error)
    outcome, _, _ = run(blocking)
    assert "patient.submit(...).result()" in str(outcome.error)


def test_a_future_of_a_flow_that_has_ended_says_so() -> None:
    kept: list[Any] = []

    @flow
    def leaves() -> int:
        kept.append(add.submit(1))
        return 1

    @flow
    def takes() -> None:
        add(kept[0])

    with open_bench() as bench:
        bench.run(leaves)
        _, outcome = bench.run(takes)
    assert isinstance(outcome.error, MisusedCall)
    assert "another flow run" in str(outcome.error) or "belongs to flow run" in str(outcome.error)


def test_a_task_is_a_function_outside_of_flows_and_inside_of_tasks() -> None:
    assert add(1) == 2

    @task
    def nested() -> int:
        with pytest.raises(MisusedCall):
            add.submit(1)
        return add(2)

    @flow
    def subject() -> int:
        return nested()

    outcome, _, _ = run(subject)
    assert outcome.value == 3, outcome.error


def test_wrong_arguments_are_errors_at_the_call() -> None:
    @flow
    def subject() -> None:
        with pytest.raises(TypeError, match="task add"):
            add.submit(1, 2, 3)
        with pytest.raises(MisusedCall, match="one length"):
            add.map([1, 2], [1])

    outcome, _, _ = run(subject)
    assert outcome.status is RunStatus.SUCCEEDED, outcome.error


def test_asyncio_time_around_a_tasks_future_is_warned_of_with_file_and_line() -> None:
    @flow
    async def subject() -> None:
        async with asyncio.timeout(30):
            await add.submit(1)
        beside: list[asyncio.Future[Any]] = [add.submit(2), asyncio.ensure_future(asyncio.sleep(0))]
        await asyncio.wait(beside)

    with pytest.warns(UnrecordedTimeWarning) as caught:
        outcome, _, _ = run(subject)
    assert outcome.status is RunStatus.SUCCEEDED, outcome.error
    assert len(caught) == 2
    assert all(warning.filename == __file__ for warning in caught)
    assert "playhead.timeout" in str(caught[0].message)
    assert "playhead.sleep" in str(caught[1].message)


def test_logging_and_prints_are_kept_with_the_run() -> None:
    @task(log_prints=True)
    def talks() -> None:
        print("printed in a task")
        get_logger().info("logged in a task")

    @flow(log_prints=True)
    def subject() -> str:
        print("printed in the flow")
        talks()
        return playhead.current_run().id

    with open_bench() as bench:
        run_id, outcome = bench.run(subject)
        assert outcome.value == run_id, outcome.error
        paths = [path for path in bench.storage.list(f"runs/{run_id}") if path.endswith("/log")]
        text = b"".join(bench.storage.read(path) for path in paths).decode()
    for line in ("printed in the flow", "printed in a task", "logged in a task"):
        assert line in text
    assert '"task":"talks"' in text
