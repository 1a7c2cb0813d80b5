"""What an event tells of a result's size: its class, a power of four, and not even that where the flow hides it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from playhead import flow, task
from playhead.core import events as ev
from tests.runner.bench import Bench, open_bench


@task
def sized(size: int) -> bytes:
    return b"x" * size


def told(size: int) -> bytes:
    """As large as asked, in its task and in its flow."""
    return sized(size)


SHOWN = flow(name="shown")(told)
HIDDEN = flow(name="hidden", hide_sizes=True)(told)
SIZED = (ev.TaskSucceeded.TYPE, ev.RunSucceeded.TYPE)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with open_bench() as opened:
        yield opened


def sizes(bench: Bench, run: str) -> list[int]:
    return [recorded.data["size"] for recorded in bench.history(run) if recorded.type in SIZED]  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 3_000, 3_500, 200_000])
def test_two_results_of_one_class_look_alike(bench: Bench, size: int) -> None:
    run, _ = bench.run(SHOWN, size=size)
    small, large = sizes(bench, run)
    assert small == large
    assert 4 ** (small - 1) < size + 64
    assert size <= 4**small


@pytest.mark.parametrize("size", [0, 1, 3_000, 200_000])
def test_a_flow_can_hide_them(bench: Bench, size: int) -> None:
    run, outcome = bench.run(HIDDEN, size=size)
    assert outcome.value == b"x" * size
    assert sizes(bench, run) == [0, 0]


def test_no_payload_has_the_class_that_stands_for_hidden(bench: Bench) -> None:
    """The smallest result that there is."""

    @flow(name="nothing")
    def nothing() -> None: ...

    run, _ = bench.run(nothing)
    assert sizes(bench, run) == [1]


def test_nothing_else_of_a_run_depends_on_the_size(bench: Bench) -> None:
    """Events of runs that differ in their results alone differ in what is random and in size classes alone."""
    random = {"mac", "at", "grant", "claim", "run", "scheduled_for", "seal", "flow"}
    stories = [
        [
            (recorded.type, {name: value for name, value in recorded.data.items() if name not in random})
            for recorded in bench.history(bench.run(HIDDEN, size=size)[0])
        ]
        for size in (1, 200_000)
    ]
    assert stories[0] == stories[1]
