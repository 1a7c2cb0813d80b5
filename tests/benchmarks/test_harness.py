"""The benchmarks' harness: what a figure is, and that questions can still be asked. How large a figure is, is nobody's matter here."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
from benchmarks.harness import Effort, Limit, Measure, Point, Reached, Row, in_turns, percentile
from benchmarks.machine import machine
from benchmarks.questions.chain import embedded
from benchmarks.questions.log import ask as fold

TINY = Effort(repeats=2, scale=0.01)


def test_measures_warm_up_once_and_then_take_turns() -> None:
    calls: list[str] = []

    def measure(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    ours, limit = in_turns(2, lambda: measure("ours"), lambda: measure("limit"))
    assert calls == ["ours", "limit"] * 3
    assert (ours, limit) == ((3.0, 5.0), (4.0, 6.0))


def test_a_time_should_be_small_and_a_rate_large() -> None:
    limit = Limit(what="nothing", values=(1.0, 2.0, 3.0))
    time = Row(what="a step", unit="ms", values=(4.0, 8.0, 6.0), limit=limit)
    rate = Row(what="runs", unit="runs/s", values=(0.5,), limit=limit)
    assert (time.median, time.ratio, time.times_worse_than(3.0)) == (6.0, 3.0, 2.0)
    assert (rate.median, rate.ratio, rate.times_worse_than(0.25)) == (0.5, 4.0, 0.5)
    assert time.times_worse_than(0.0) == float("inf")


@pytest.mark.parametrize(
    ("unit", "floor", "goal", "reached"),
    [
        ("ms", 20.0, 10.0, Reached.GOAL),
        ("ms", 20.0, 9.0, Reached.FLOOR),
        ("ms", 9.5, 9.0, Reached.NOTHING),
        ("ms", None, 9.0, Reached.NOTHING),
        ("ms", 10.0, None, Reached.FLOOR),
        ("runs/s", 5.0, 10.0, Reached.GOAL),
        ("runs/s", 10.0, 20.0, Reached.FLOOR),
        ("runs/s", 11.0, 20.0, Reached.NOTHING),
        ("ms", None, None, None),
    ],
)
def test_a_median_of_ten_reaches(unit: str, floor: float | None, goal: float | None, reached: Reached | None) -> None:
    assert Row(what="it", unit=unit, values=(1.0, 10.0, 99.0), floor=floor, goal=goal).reached is reached


def test_a_row_is_kept_whole() -> None:
    bare = Row(what="a step", unit="ms", values=(1.0, 2.0))
    full = Row(
        what="a task of 100", unit="ms", values=(0.1, 0.3), limit=Limit(what="nothing", values=(0.01,)), floor=0.2, goal=0.1,
        measure=Measure.FAN_OUT_TASK, point=Point(panel="a task", line="served", x="tasks", at=100),
    )  # fmt: skip
    for row in (bare, full):
        assert Row.from_json(json.loads(json.dumps(row.as_json()))) == row
    assert full.as_json()["reached"] == "floor"


@pytest.mark.parametrize(("percent", "expected"), [(50, 5.0), (95, 10.0), (99, 10.0), (1, 1.0), (90, 9.0)])
def test_percentiles_are_values_that_were_measured(percent: float, expected: float) -> None:
    assert percentile(tuple(float(n) for n in range(10, 0, -1)), percent) == expected


def test_the_machine_is_described_without_its_name_or_a_path() -> None:
    told = json.dumps(machine())
    assert socket.gethostname() not in told
    assert sys.prefix not in told


def test_two_real_questions_answer_at_a_tiny_size(tmp_path: Path) -> None:
    rows = [*embedded(TINY, tmp_path), *fold(TINY, tmp_path)]
    assert [row.unit for row in rows] == ["ms", "ms", "ms", "events/s", "events/s"]
    for row in rows:
        assert len(row.values) == TINY.repeats
        assert min(row.values) > 0
        assert row.limit is not None
        assert min(row.limit.values) > 0
