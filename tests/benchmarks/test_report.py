"""The benchmarks' report: made-up figures, kept, read back, and shown beside what peers gave."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from benchmarks.harness import FULL, Effort, Limit, Measure, Point, Row
from benchmarks.questions import QUESTIONS
from benchmarks.report import Answer, Report
from benchmarks.tables import WIDTH, console, markdown, number, show
from rich.console import Console

TINY = Effort(repeats=2, scale=0.01)


def at(tasks: int, *values: float) -> Row:
    point = Point(panel="a task", line="served", x="tasks", at=tasks)
    return Row(what=f"a task of {tasks}", unit="ms", values=values, point=point)


@pytest.fixture
def report() -> Report:
    """One question with a goal, one curve, one peer that answered and one that is not installed."""
    made = Report(effort=FULL)
    limit = Limit(what="append + fdatasync", values=(0.1, 0.2, 0.3))
    step = Row(
        what="submitted", unit="ms", values=(0.7, 0.8), limit=limit, floor=1.0, goal=0.5, measure=Measure.CHAIN_STEP
    )
    made.add(QUESTIONS[0], [step, Row(what="embedded", unit="ms", values=(0.9,))])
    made.add(QUESTIONS[1], [at(1_000, 0.2, 0.3), at(100, 0.1)])
    theirs = tuple(
        Row(what=what, unit="ms", values=(value,), measure=Measure.CHAIN_STEP) for what, value in (("sync", 4.5), ("async", 3.0))
    )  # fmt: skip
    made.peers.append(Answer(name="Other", asks="in process", rows=theirs))
    made.missing["Absent"] = "not installed"
    return made


def shown(report: Report, width: int = 200) -> str:
    text = StringIO()
    show(report, Console(file=text, width=width))
    return text.getvalue()


def test_a_report_that_is_kept_is_the_same_when_it_is_read(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "results" / "today.json"
    report.write(path)
    assert Report.read(path) == report
    kept = json.loads(path.read_text())
    assert kept["questions"][0]["rows"][0]["values"] == [0.7, 0.8]
    assert kept["machine"]["python"]


def test_a_curve_is_the_rows_of_one_line_in_the_order_of_size(report: Report) -> None:
    (curve,) = report.curves()
    assert (curve.panel, curve.line, curve.x) == ("a task", "served", "tasks")
    assert [(size, row.median) for size, row in curve.rows] == [(100, 0.1), (1_000, 0.25)]
    (told,) = report.as_json()["curves"]
    assert told["unit"] == "ms"
    assert told["points"] == [[100, 0.1, 0.1, 0.1], [1_000, 0.25, 0.2, 0.3]]


def test_curves_of_one_name_over_unlike_sizes_are_two(report: Report) -> None:
    other = Point(panel="a task", line="served", x="subscribers", at=1)
    report.add(QUESTIONS[2], [Row(what="other", unit="ms", values=(1.0,), point=other)])
    assert [(curve.panel, curve.x) for curve in report.curves()] == [("a task", "tasks"), ("a task", "subscribers")]


def test_the_table_holds_the_figure_its_bounds_its_limit_and_the_best_of_the_peer(report: Report) -> None:
    (line,) = (line for line in shown(report).splitlines() if line.lstrip().startswith("submitted"))
    for cell in ("0.75 ms", "0.7 … 0.8", "≤ 1", "≤ 0.5", "floor", "append + fdatasync 0.2 (3.75)", "3 (4)"):
        assert cell in line


def test_a_narrow_terminal_loses_no_figure(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert console().width == WIDTH
    (line,) = (line for line in shown(report, WIDTH).splitlines() if line.lstrip().startswith("submitted"))
    assert "(3.75)" in line
    assert line.rstrip().endswith("3 (4)")


def test_what_nobody_asked_for_and_how_peers_were_asked_stands_below(report: Report) -> None:
    text = shown(report)
    assert text.index("submitted") < text.index("embedded") < text.index("Other: in process") < text.index("\n  async")
    assert "Absent: not installed" in text
    assert "no figure to quote" not in text


def test_figures_of_scaled_workloads_say_so() -> None:
    report = Report(effort=TINY)
    report.add(QUESTIONS[0], [Row(what="a step", unit="ms", values=(1.0,))])
    assert "no figure to quote" in shown(report)


def test_markdown_has_the_same_lines(report: Report) -> None:
    lines = list(markdown(report))
    assert "| submitted | 0.75 ms | 0.7 … 0.8 | ≤ 1 | ≤ 0.5 | floor | append + fdatasync 0.2 (3.75) | 3 (4) |" in lines
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert tables[:4] == [9, 9, 9, 9]  # each line has the cells that its head has


@pytest.mark.parametrize(("value", "text"), [(0.12345, "0.123"), (12.345, "12.3"), (1234.5, "1,234"), (100, "100")])
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text
