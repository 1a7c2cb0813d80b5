"""Agents of other packages: found by their kind, made of settings, and what is wrong with one is told to who starts it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from playhead.agent.description import AgentDescription
from playhead.agent.kinds import agent_of_kind
from playhead.agent.local import LocalAgent
from playhead.cli.actions.serve import settings_of
from playhead.cli.app import run
from playhead.errors import UsageError
from tests.packages import install


class Toy:
    """Of another package."""

    def __init__(self, *, level: str = "1", **every_agents: Any) -> None:
        self.level = int(level)
        self.described = AgentDescription("toy", **every_agents)

    def attach(self, *_: object, **__: object) -> AbstractAsyncContextManager[Any]:
        raise NotImplementedError("these tests attach none")


def no_agent(**_: object) -> object:
    return object()


@pytest.fixture(autouse=True)
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = {"playhead.agents: toy": f"{__name__}:Toy", "playhead.agents: odd": f"{__name__}:no_agent"}
    install(tmp_path, "playhead-toy", targets, {})
    monkeypatch.syspath_prepend(tmp_path)  # pyright: ignore[reportUnknownMemberType]  # pytest does not say what it takes


def test_an_agent_of_another_package_is_made_with_its_settings() -> None:
    made = agent_of_kind("toy", level="3", labels=("batch",), capacity=2)
    assert isinstance(made, Toy)
    assert (made.level, made.described.kind) == (3, "toy")
    assert isinstance(agent_of_kind("local"), LocalAgent)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("toy", {"levle": "3"}, "cannot be made of these settings: .*levle"),
        ("toy", {"level": "high"}, "cannot be made of these settings: invalid literal .*'high'"),
        ("odd", {}, "is made as a object, which has no attach"),
        ("tay", {}, "no agent of kind 'tay' is installed here\n  did you mean toy"),
    ],
)
def test_one_that_cannot_be_made_says_why(kind: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        agent_of_kind(kind, **settings)


def test_settings_are_given_as_text() -> None:
    assert settings_of(["level=3", "where=a=b"]) == {"level": "3", "where": "a=b"}
    for wrong, said in (("level", "no setting"), ("a b=1", "no setting"), ("labels=gpu", "every agent has that")):
        with pytest.raises(UsageError, match=said):
            settings_of([wrong])


def test_the_command_line_lists_the_kinds_that_are_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agent", "--help"]) == 0
    listed = capsys.readouterr().out
    for kind in ("local", "docker", "toy", "odd"):
        assert f"{kind} " in listed
    assert run(["agent", "toy", "--help"]) == 0
    assert "--set" in capsys.readouterr().out


def test_a_kind_that_is_not_installed_is_answered_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agent", "kubernetes"]) == 2
    told = capsys.readouterr().err
    assert "no agent of kind 'kubernetes' is installed here" in told
    assert "installed: docker, local, odd, toy" in told
