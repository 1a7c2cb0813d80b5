"""`python -m benchmarks`: what it asks, where its figures go, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.harness import Effort, Question, Row

from benchmarks import __main__ as command


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders in which two made-up questions were asked."""
    folders: list[Path] = []

    def ask(effort: Effort, folder: Path) -> Iterator[Row]:
        assert folder.is_dir()
        folders.append(folder)
        yield Row(what="it", unit="s", values=(1.0,) * effort.repeats)

    questions = tuple(Question(name=name, asks="?", ask=ask) for name in ("one", "two"))
    monkeypatch.setattr(command, "QUESTIONS", questions)
    return folders


def names(told: str) -> list[str]:
    return [question["name"] for question in json.loads(told)["questions"]]


def test_it_asks_what_it_is_asked_to_in_a_folder_that_goes_again(asked: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert command.main(["two", "--quick", "--json", str(path), "--folder", str(tmp_path)]) == 0
    assert names(path.read_text()) == ["two"]
    assert [folder.parent for folder in asked] == [tmp_path]
    assert not asked[0].exists()


def test_json_without_a_path_is_all_that_stdout_gets(asked: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--quick", "--json"]) == 0
    out, err = capsys.readouterr()
    assert names(out) == ["one", "two"]
    assert "  it: 1 s" in err  # progress goes elsewhere
    assert len(asked) == 2


def test_a_full_run_is_kept_under_its_date(
    asked: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    assert command.main([]) == 0
    (kept,) = tmp_path.glob("*.json")
    assert names(kept.read_text()) == ["one", "two"]
    assert "it" in capsys.readouterr().out


def test_a_question_that_is_not_there_is_refused_by_name(asked: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["three", "one"])
    assert "no question is called three; there are one, two" in capsys.readouterr().err
    assert asked == []
