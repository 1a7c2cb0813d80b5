"""Names of agents: kept in the home, held by one at a time, reused by the next."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playhead.agent.names import held_name, random_name
from playhead.core.names import check_name
from playhead.errors import StorageUnavailable, UsageError


def test_random_names_are_words_that_may_cross() -> None:
    for _ in range(100):
        name = random_name()
        assert re.fullmatch(r"[a-z]+-[a-z]+-[0-9a-f]{4}", name)
        assert check_name("agent", name) == name


def test_a_restarted_agent_keeps_its_name(tmp_path: Path) -> None:
    with held_name(tmp_path, "local") as first:
        assert first.folder == tmp_path / "agents" / first.name
        assert first.folder.is_dir()
    with held_name(tmp_path, "local") as again:
        assert again == first


def test_two_agents_of_one_home_have_two_names(tmp_path: Path) -> None:
    with held_name(tmp_path, "local") as one, held_name(tmp_path, "local") as other:
        assert one.name != other.name


def test_agents_of_another_kind_take_other_names(tmp_path: Path) -> None:
    with held_name(tmp_path, "local") as local:
        pass
    with held_name(tmp_path, "docker") as docker:
        assert docker.name != local.name
    with pytest.raises(UsageError, match="not a docker agent"), held_name(tmp_path, "docker", local.name):
        pass


def test_a_chosen_name_is_held_once(tmp_path: Path) -> None:
    with held_name(tmp_path, "local", "mine") as place:
        assert place.name == "mine"
        with pytest.raises(UsageError, match="'mine' of this home is at work"), held_name(tmp_path, "local", "mine"):
            pass
    with held_name(tmp_path, "local", "mine"):
        pass


@pytest.mark.parametrize("name", ["../other", "", "a b", "x" * 65])
def test_a_name_that_may_not_cross_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"), held_name(tmp_path, "local", name):
        pass
    assert [path.name for path in (tmp_path / "agents").iterdir()] == []


def test_a_home_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "agents").write_text("a file where the folder should be")
    with pytest.raises(StorageUnavailable, match="PLAYHEAD_HOME"), held_name(tmp_path, "local"):
        pass
