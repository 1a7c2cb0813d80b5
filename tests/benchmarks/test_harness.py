"""The benchmarks' harness: what a figure is, and that questions can still be asked. How large a figure is, is nobody's matter here."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from benchmarks.harness import Effort, Limit, Question, Row, in_turns, machine, percentile
from benchmarks.questions import QUESTIONS
from benchmarks.questions.chain import embedded
from benchmarks.questions.log import fold
from benchmarks.report import Report
from rich.console import Console

from benchmarks import __main__ as command

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
    time = Row(what="a step", unit="ms", values=(4.0, 8.0, 6.0), limit=limit, goal=5.0)
    rate = Row(what="runs", unit="runs/s", values=(0.5,), limit=limit, goal=0.5)
    assert (time.median, time.ratio, time.reached) == (6.0, 3.0, False)
    assert (rate.median, rate.ratio, rate.reached) == (0.5, 4.0, True)


@pytest.mark.parametrize(("percent", "expected"), [(50, 5.0), (95, 10.0), (99, 10.0), (1, 1.0), (90, 9.0)])
def test_percentiles_are_values_that_were_measured(percent: float, expected: float) -> None:
    assert percentile(tuple(float(n) for n in range(10, 0, -1)), percent) == expected


def test_the_machine_is_described_without_its_name_or_a_path() -> None:
    told = json.dumps(machine())
    assert socket.gethostname() not in told
    assert sys.prefix not in told


def test_two_real_questions_answer_at_a_tiny_size(tmp_path: Path) -> None:
    rows = [*embedded(TINY, tmp_path), fold(TINY, tmp_path)]
    assert [row.unit for row in rows] == ["ms", "ms", "ms", "events/s"]
    for row in rows:
        assert len(row.values) == TINY.repeats
        assert min(row.values) > 0
        assert row.limit is not None
        assert min(row.limit.values) > 0


def test_a_report_holds_every_value_behind_its_table(tmp_path: Path) -> None:
    row = Row(what="a step", unit="ms", values=(1.0, 2.0), goal=1.0)
    report = Report(TINY)
    report.add(QUESTIONS[0], [row])
    report.write(tmp_path / "results" / "today.json")
    kept = json.loads((tmp_path / "results" / "today.json").read_text())
    assert kept["questions"][0]["rows"] == [json.loads(json.dumps(row.as_json()))]
    assert kept["machine"]["python"]
    shown = StringIO()
    report.print(Console(file=shown, width=160))
    assert "1.5 ms" in shown.getvalue()
    assert "no figure to quote" in shown.getvalue()


def test_the_command_asks_what_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []

    def ask(effort: Effort, folder: Path) -> Iterator[Row]:
        assert folder.is_dir()
        folders.append(folder)
        yield Row(what="it", unit="s", values=(1.0,) * effort.repeats)

    questions = tuple(Question(name=name, asks="?", ask=ask) for name in ("one", "two"))
    monkeypatch.setattr(command, "QUESTIONS", questions)
    path = tmp_path / "figures.json"
    assert command.main(["two", "--quick", "--json", str(path), "--folder", str(tmp_path)]) == 0
    assert [question["name"] for question in json.loads(path.read_text())["questions"]] == ["two"]
    assert [folder.parent for folder in folders] == [tmp_path]
    assert not folders[0].exists()
    with pytest.raises(SystemExit, match="2"):
        command.main(["three"])
