"""A home with two embedded runs, made once, and a program that is called as a shell would call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from playhead.cli.app import run
from playhead.cli.examining import outside
from playhead.embedded import run_embedded
from playhead.errors import FlowRunFailed
from playhead.home import Home
from playhead.settings import Settings
from tests.cli import sample_flows


@dataclass(frozen=True)
class Answer:
    """What the program printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error as programs read it."""
        found: dict[str, Any] = json.loads(self.err)["error"]
        return found


Call = Callable[..., Answer]


@dataclass(frozen=True)
class Runs:
    """A home and the runs in it."""

    home: Path
    squares: str
    breaks: str


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests counts, and no test writes into their home."""
    for name in (
        "PLAYHEAD_SERVER",
        "PLAYHEAD_STORAGE",
        "PLAYHEAD_STORE",
        "PLAYHEAD_CONFIG",
        "PLAYHEAD_KEY",
        "PLAYHEAD_TOKEN",
        "PLAYHEAD_TOKEN_FILE",
        "COLUMNS",
        "DOCKER_HOST",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(outside, "DOCKER_SOCKET", tmp_path / "docker.sock")
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "home"))


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the program with arguments."""

    def called(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Answer(int(code), printed.out, printed.err)

    return called


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    path = tmp_path_factory.mktemp("cli") / "home"
    home = Home.open(Settings.load({"home": path}, env={}), env={})
    begun: list[str] = []
    run_embedded(sample_flows.squares, {"n": 12}, home=home, on_started=begun.append)
    with pytest.raises(FlowRunFailed):
        run_embedded(sample_flows.breaks, {}, home=home, on_started=begun.append)
    return Runs(path, *begun)
