"""The benchmarks' plot, of made-up figures: a panel for each cost that grows, drawn the same whenever it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from benchmarks.harness import FULL, Limit, Measure, Point, Row
from benchmarks.questions import QUESTIONS
from benchmarks.report import Answer, Report

from benchmarks import plots


def grown(panel: str, line: str, values: dict[int, float], unit: str = "ms") -> list[Row]:
    return [
        Row(
            what=f"{at} of {panel} {line}",
            unit=unit,
            values=(value, value * 1.1),
            limit=Limit(what="nothing", values=(value / 10,)),
            goal=0.12,
            floor=0.2,
            measure=Measure.FAN_OUT_TASK if at == 1_000 else None,
            point=Point(panel=panel, line=line, x="tasks", at=at),
        )
        for at, value in values.items()
    ]


@pytest.fixture
def report() -> Report:
    made = Report(effort=FULL)
    made.add(QUESTIONS[0], grown("time of a task", "", {100: 0.2, 1_000: 0.15, 10_000: 0.14}))
    memory = [
        *grown("memory", "runner", {100: 70.0, 10_000: 90.0}),
        *grown("memory", "server", {100: 60.0, 10_000: 80.0}),
    ]
    made.add(QUESTIONS[1], [*memory, *grown("alone", "", {1: 1.0})])
    made.peers.append(Answer(name="Other", asks="?", rows=(grown("", "", {1_000: 4.0})[0],)))
    return made


def test_a_plot_has_a_panel_for_each_curve_with_its_units_goal_limit_and_peers(report: Report) -> None:
    figure = plots.figure_of(report)
    assert figure is not None
    time, memory = figure.axes
    assert (time.get_title(loc="left"), memory.get_title(loc="left")) == ("time of a task", "memory")
    assert (time.get_xlabel(), time.get_ylabel(), time.get_xscale(), time.get_yscale()) == ("tasks", "ms", "log", "log")
    assert time.get_legend_handles_labels()[1] == ["ours", "limit: nothing", "goal 0.12", "floor 0.2", "Other"]
    ours = time.get_lines()[0]
    assert list(cast(list[float], ours.get_xdata())) == [100, 1_000, 10_000]
    assert list(cast(list[float], ours.get_ydata())) == pytest.approx([0.21, 0.1575, 0.147])
    assert memory.get_legend_handles_labels()[1][:2] == ["runner", "server"]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_figures_make_the_same_file(report: Report, suffix: str, tmp_path: Path) -> None:
    first, second = (tmp_path / name / f"plot{suffix}" for name in ("a", "b"))
    assert plots.draw(report, first)
    assert plots.draw(report, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 5_000


def test_no_curve_makes_no_file(tmp_path: Path) -> None:
    assert not plots.draw(Report(effort=FULL), tmp_path / "plot.svg")
    assert list(tmp_path.iterdir()) == []
