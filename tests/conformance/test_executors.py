"""Every built-in executor keeps the port's promises, and an executor that breaks one is told which."""

from __future__ import annotations

import pytest

from playhead.errors import UsageError
from playhead.executors import LocalExecutor, ProcessExecutor, ThreadExecutor, crew
from playhead.ports.executor import ExecutorSpec
from playhead.testing import checks
from playhead.testing.checks import CheckResult
from playhead.testing.executors import EXECUTOR_SUITE, check_executor

from . import planted_executors as planted

TRIES = 5  # to find a planted bug: "never more at a time" is watched for a while only, in which a busy machine may do nothing
FOR_SEPARATE_MEMORY = {
    "an_argument_that_does_not_pickle_is_named",
    "an_argument_that_does_not_unpickle_is_named",
    "a_result_that_does_not_pickle_is_named",
    "an_exception_that_does_not_pickle_is_named",
    "a_worker_that_exits_is_named_by_its_code",
    "a_worker_that_is_killed_is_named_by_the_signal",
    "a_death_hits_only_its_call",
}


@pytest.mark.parametrize(
    "spec", [LocalExecutor(), ThreadExecutor(workers=3), ThreadExecutor()], ids=["local", "three threads", "threads"]
)
async def test_executors_in_memory_conform(spec: ExecutorSpec) -> None:
    results = await check_executor(spec)
    assert [result for result in results if not result.passed] == []
    assert {result.name for result in results} == set(EXECUTOR_SUITE.names) - FOR_SEPARATE_MEMORY


@pytest.mark.parametrize("check", EXECUTOR_SUITE.names)
async def test_the_process_executor_conforms(check: str) -> None:
    results = await check_executor(ProcessExecutor(workers=2), only=[check])
    assert [(result.name, result.problem) for result in results] == [(check, None)]


@pytest.mark.real
@pytest.mark.parametrize("check", EXECUTOR_SUITE.names)
async def test_the_process_executor_conforms_with_fresh_interpreters(check: str) -> None:
    results = await check_executor(ProcessExecutor(workers=2, start_method="spawn"), only=[check])
    assert [(result.name, result.problem) for result in results] == [(check, None)]


@pytest.mark.parametrize(
    ("executor", "check"),
    [
        (planted.LosesKeywords, "keywords_reach_the_function"),
        (planted.WrapsExceptions, "an_exception_comes_back_as_raised"),
        (planted.SaysMemoryIsSeparate, "memory_is_shared_as_declared"),
        (planted.BeginsLastFirst, "calls_begin_in_order"),
        (planted.SaysItIsNarrower, "the_width_is_respected"),
        (planted.SaysItIsWider, "the_width_is_reached"),
        (planted.SaysItIsWider, "the_width_is_reached_by_coroutines"),
        (planted.ForgetsCoroutinesInTheWidth, "the_width_is_respected_by_coroutines"),
        (planted.TakesCoroutinesForFunctions, "a_coroutine_function_runs_to_its_end"),
        (planted.IgnoresTimeouts, "a_timeout_ends_the_call"),
        (planted.IgnoresTimeouts, "a_timeout_ends_a_coroutine"),
        (planted.StuckCallsKeepTheirPlace, "a_timeout_ends_the_call"),
        (planted.StuckCallsKeepTheirPlace, "a_running_call_is_cancelled"),
        (planted.LeavesCoroutinesRunning, "a_timeout_ends_a_coroutine"),
        (planted.LeavesCoroutinesRunning, "a_running_coroutine_is_cancelled"),
        (planted.RunsCancelledCalls, "a_call_cancelled_before_it_begins_never_runs"),
        (planted.RefusesToCancel, "a_running_call_is_cancelled"),
        (planted.RefusesToCancel, "cancelling_who_waits_cancels_the_call"),
        (planted.AwaitsOnlyItsOwnLoop, "a_future_is_awaited_on_any_loop"),
        (planted.LeavesCallsWithoutAnEnd, "closing_ends_every_call"),
        (planted.LeavesAThread, "closing_leaves_nothing_behind"),
        (planted.TakesCallsWhenClosed, "a_closed_executor_refuses_calls"),
        (planted.RaisesPicklingErrorsAsTheyAre, "an_argument_that_does_not_pickle_is_named"),
        (planted.RaisesPicklingErrorsAsTheyAre, "a_result_that_does_not_pickle_is_named"),
        (planted.RaisesPicklingErrorsAsTheyAre, "an_exception_that_does_not_pickle_is_named"),
        (planted.DeathsAreTimeouts, "a_worker_that_exits_is_named_by_its_code"),
        (planted.HidesHowAWorkerDied, "a_worker_that_exits_is_named_by_its_code"),
        (planted.HidesHowAWorkerDied, "a_worker_that_is_killed_is_named_by_the_signal"),
        (planted.OneDeathHitsAll, "a_death_hits_only_its_call"),
        (planted.LeavesAProcess, "closing_leaves_nothing_behind"),
    ],
)
async def test_a_planted_bug_is_named(
    executor: type[planted.ClosableExecutor], check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "GRACE_SECONDS", 0.1)  # most bugs show as a hang: do not wait for it to clean up
    monkeypatch.setattr(crew, "CLOSE_SECONDS", 0.1)
    results: list[CheckResult] = []
    for _ in range(TRIES):
        results = await check_executor(planted.PlantedSpec(executor), only=[check], limit_seconds=0.6)
        planted.LeavesAProcess.sweep()
        if not results[0].passed:
            break
    assert [(result.name, result.passed) for result in results] == [(check, False)]


async def test_the_executors_that_bugs_are_planted_in_are_sound() -> None:
    """Else the test above would show nothing."""
    results = await check_executor(planted.PlantedSpec(planted.Threads))
    assert [result for result in results if not result.passed] == []


async def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(UsageError, match="no check named a_typo"):
        await check_executor(LocalExecutor(), only=["a_typo"])
