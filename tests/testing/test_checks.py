"""The runner of conformance suites: whatever a check does, it is judged, and the next one runs."""

from __future__ import annotations

import asyncio

import pytest

from playhead.errors import UsageError
from playhead.testing.checks import CheckResult, DoesNotApply, Suite, Watcher, expect

Numbers = list[int]


def suite_of_many() -> Suite[Numbers]:
    suite: Suite[Numbers] = Suite("list")

    @suite.check
    async def passes(numbers: Numbers) -> None:
        numbers.append(1)

    @suite.check
    async def says_why(numbers: Numbers) -> None:
        expect(numbers == [], f"the list has {len(numbers)} numbers")

    @suite.check
    async def raises(numbers: Numbers) -> None:
        numbers.index(99)

    @suite.check
    async def exits(_: Numbers) -> None:
        raise SystemExit(3)

    @suite.check
    async def cancels_itself(_: Numbers) -> None:
        raise asyncio.CancelledError

    @suite.check
    async def does_not_apply(_: Numbers) -> None:
        raise DoesNotApply("to lists")

    @suite.check
    async def hangs(numbers: Numbers) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            numbers.append(-1)

    @suite.check
    async def passes_too(_: Numbers) -> None:
        await asyncio.sleep(0)

    return suite


async def test_each_check_is_judged_whatever_it_does() -> None:
    numbers: Numbers = []
    results = {result.name: result for result in await suite_of_many().run(numbers, limit_seconds=0.05)}
    assert [name for name, result in results.items() if result.passed] == ["passes", "passes_too"]
    assert results["says_why"] == CheckResult(name="says_why", passed=False, problem="the list has 1 numbers")
    assert results["raises"].problem is not None
    assert "numbers.index(99)" in results["raises"].problem
    assert results["raises"].problem.endswith("ValueError: 99 is not in list")
    assert "SystemExit: 3" in str(results["exits"].problem)
    assert results["cancels_itself"].problem == "was cancelled from inside"
    assert results["hangs"].problem == "did not end within 0.05 s"
    assert numbers == [1, -1], "a check that hangs gets to clean up"
    assert "does_not_apply" not in results


async def test_a_watcher_hears_of_each_check_when_it_begins_and_how_it_ends() -> None:
    heard: list[str] = []

    class Listening(Watcher):
        def began(self, name: str) -> None:
            heard.append(f"{name} began")

        def ended(self, result: CheckResult) -> None:
            heard.append(f"{result.name} {'passed' if result.passed else 'failed'}")

        def omitted(self, name: str, why: str) -> None:
            heard.append(f"{name} does not apply {why}")

    await suite_of_many().run([], only=["passes", "raises", "does_not_apply"], watcher=Listening())
    assert heard == [
        "passes began",
        "passes passed",
        "raises began",
        "raises failed",
        "does_not_apply began",
        "does_not_apply does not apply to lists",
    ]


async def test_only_the_named_checks_run_in_their_order() -> None:
    results = await suite_of_many().run([], only=["passes_too", "passes"])
    assert [result.name for result in results] == ["passes", "passes_too"]


async def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="the list suite has no check named typo") as caught:
        await suite_of_many().run([], only=["passes", "typo"])
    assert "says_why" in str(caught.value.hint)


async def test_a_cancelled_run_cancels_its_check() -> None:
    suite: Suite[asyncio.Event] = Suite("event")
    ended: list[str] = []

    @suite.check
    async def waits(begun: asyncio.Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    begun = asyncio.Event()
    run = asyncio.create_task(suite.run(begun))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await asyncio.sleep(0)
    assert ended == ["waits"]
