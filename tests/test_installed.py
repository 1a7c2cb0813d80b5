"""What other packages bring is found by group and name, and each way in which it is not there says what is wrong and what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playhead.errors import UsageError
from playhead.installed import Group
from tests.packages import install

Bring = Callable[[str, str, str], None]

GROUP = Group("playhead.toys", noun="toy", built_in={"ours": "builtins:len"}, extras=frozenset({"extra"}))


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bring]:
    """A package that brings the toy `ball`, with its one module's name and source."""

    def brought(package: str, module: str, source: str) -> None:
        site = tmp_path / package
        install(site, package, {"playhead.toys: ball": f"{module}:make"}, {module: source})
        monkeypatch.syspath_prepend(site)  # pyright: ignore[reportUnknownMemberType]  # pytest does not say what it takes

    before = set(sys.modules)
    yield brought
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refused(kind: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        GROUP.load(kind)
    return caught.value


def test_what_a_package_brings_is_loaded_by_its_name(bring: Bring) -> None:
    bring("toy-ball", "toy_ball", "def make(): return 'a ball'\n")
    assert GROUP.load("ball")() == "a ball"
    assert GROUP.names() == ["ball", "ours"]


def test_what_is_built_in_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "toy-thief", {"playhead.toys: ours": "toy_thief:make"}, {"toy_thief": "1 / 0\n"})
    monkeypatch.syspath_prepend(tmp_path)  # pyright: ignore[reportUnknownMemberType]  # pytest does not say what it takes
    assert GROUP.load("ours") is len


def test_a_name_that_nobody_brings_is_told_with_what_there_is(bring: Bring) -> None:
    bring("toy-ball", "toy_ball", "")
    told = refused("bal")
    assert told.message == "no toy of kind 'bal' is installed here"
    assert told.hint is not None
    assert told.hint.startswith("did you mean ball? else install the package")
    assert told.hint.endswith("(entry point group playhead.toys); installed: ball, ours")


def test_one_that_an_extra_brings_is_told_with_the_extra() -> None:
    assert str(refused("extra").hint).startswith("pip install 'playhead[extra]'")


def test_two_packages_of_one_kind_are_both_named_and_neither_is_taken(bring: Bring) -> None:
    bring("toy-ball", "toy_ball", "def make(): ...\n")
    bring("other-ball", "other_ball", "def make(): ...\n")
    told = refused("ball")
    assert "toy_ball:make of toy-ball 1.2" in told.message
    assert "other_ball:make of other-ball 1.2" in told.message
    assert told.hint in [f"uninstall all but one, for example: pip uninstall {name}-ball" for name in ("toy", "other")]


def test_a_package_that_is_found_on_two_paths_is_one(
    bring: Bring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring("toy-ball", "toy_ball", "def make(): return 'a ball'\n")
    install(tmp_path / "again", "toy-ball", {"playhead.toys: ball": "toy_ball:make"}, {})
    monkeypatch.syspath_prepend(tmp_path / "again")  # pyright: ignore[reportUnknownMemberType]  # the same
    assert GROUP.load("ball")() == "a ball"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import toy_that_is_missing\n", "ModuleNotFoundError: No module named 'toy_that_is_missing'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def made(): ...\n", "AttributeError"),
    ],
)
def test_one_that_does_not_load_is_told_with_its_package_and_why(bring: Bring, source: str, said: str) -> None:
    bring("toy-ball", "toy_ball", source)
    told = refused("ball")
    assert "'ball' (toy_ball:make of toy-ball 1.2) does not load: " in told.message
    assert said in told.message
    assert told.hint == "try it alone: python -c 'import toy_ball'"
