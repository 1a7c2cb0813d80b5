"""`python -m benchmarks`: what it asks, where its figures go, and how it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.harness import Effort, Point, Question, Row
from benchmarks.peers import Peer
from benchmarks.peers.asking import PeerError

from benchmarks import __main__ as command


def peer(name: str) -> Peer:
    return Peer(name=name, title=name.title(), asks="?", requires=())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The folders in which two made-up questions and peers were asked. The peer `broken` fails after a row; `absent` is not there."""
    folders: list[Path] = []

    def ask(effort: Effort, folder: Path) -> Iterator[Row]:
        assert folder.is_dir()
        folders.append(folder)
        for at in (1, 10):
            yield Row(what="it", unit="s", values=(1.0,) * effort.repeats, point=Point(panel="it", x="its", at=at))

    def ask_peer(peer: Peer, effort: Effort, folder: Path) -> Iterator[Row]:
        folders.append(folder)
        yield Row(what="theirs", unit="s", values=(2.0,) * effort.repeats)
        if peer.name == "broken":
            raise PeerError("it broke")

    def absence(peer: Peer) -> str | None:
        return "not installed" if peer.name == "absent" else None

    monkeypatch.setattr(command, "QUESTIONS", tuple(Question(name=name, asks="?", ask=ask) for name in ("one", "two")))
    monkeypatch.setattr(command, "PEERS", (peer("other"), peer("broken"), peer("absent")))
    monkeypatch.setattr(command, "absence", absence)
    monkeypatch.setattr(command, "ask", ask_peer)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    return folders


def names(told: str, of: str = "questions") -> list[str]:
    return [answer["name"] for answer in json.loads(told)[of]]


def test_it_asks_what_it_is_asked_to_in_a_folder_that_goes_again(asked: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert command.main(["two", "--quick", "--json", str(path), "--folder", str(tmp_path)]) == 0
    assert (names(path.read_text()), names(path.read_text(), "peers")) == (["two"], [])
    assert [folder.parent for folder in asked] == [tmp_path]
    assert not asked[0].exists()


@pytest.mark.parametrize(
    ("arguments", "questions", "peers"),
    [
        ([], ["one", "two"], ["Other", "Broken"]),
        (["other", "one"], ["one"], ["Other"]),
        (["--no-peers"], ["one", "two"], []),
        (["--only-peers"], [], ["Other", "Broken"]),
    ],
)
def test_json_without_a_path_is_all_that_stdout_gets(
    arguments: list[str], questions: list[str], peers: list[str], asked: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([*arguments, "--quick", "--json"]) == 0
    out, err = capsys.readouterr()
    assert (names(out), names(out, "peers")) == (questions, peers)
    assert len(asked) == len(questions) + len(peers)
    assert ("  it: 1 s" in err) is bool(questions)  # progress goes elsewhere


def test_what_a_peer_gave_before_it_failed_counts_and_one_that_is_not_there_is_named(
    asked: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--only-peers", "--quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [len(answer["rows"]) for answer in told["peers"]] == [1, 1]
    assert told["missing_peers"] == {"Broken": "not asked to its end: it broke", "Absent": "not installed"}


def test_a_full_run_is_kept_and_drawn_under_its_date(
    asked: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([]) == 0
    kept, drawn = sorted((tmp_path / "results").iterdir())
    assert (kept.suffix, drawn.suffix) == (".json", ".svg")
    assert kept.stem == drawn.stem
    assert names(kept.read_text()) == ["one", "two"]
    first = capsys.readouterr().out
    assert command.main(["--from", str(kept)]) == 0  # shows the same, and asks nothing
    assert capsys.readouterr().out == first
    assert len(asked) == 4
    assert command.main(["--from", str(kept), "--markdown"]) == 0
    assert "| it | 1 s | 1 … 1 |" in capsys.readouterr().out


def test_without_matplotlib_the_figures_are_kept_all_the_same(
    asked: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.plots", None)
    assert command.main([]) == 0
    (kept,) = (tmp_path / "results").iterdir()
    assert kept.suffix == ".json"
    assert "no plot: matplotlib is not installed" in capsys.readouterr().err


def test_part_of_the_questions_is_not_kept_unless_asked(asked: list[Path], tmp_path: Path) -> None:
    assert command.main(["one"]) == 0
    assert command.main(["--no-peers"]) == 0
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["three", "one"], "no question or peer is called three; there are one, two, other, broken, absent"),
        (["--json", "two"], "name questions before it"),
        (["--no-peers", "--only-peers"], "not allowed with"),
    ],
)
def test_what_it_cannot_mean_is_refused_with_a_way_out(
    arguments: list[str], refusal: str, asked: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert refusal in " ".join(capsys.readouterr().err.split())
    assert asked == []
