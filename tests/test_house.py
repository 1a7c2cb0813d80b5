"""The house rules that a machine can keep: files say what they own, stay readable in size, and know nothing of where they were made."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest

from tests.rooms import ROOT, modules

MOST_LINES: Final = 600  # a longer file is usually two nouns
LONGER: Final[Mapping[str, str]] = {}  # path: why it is one noun all the same
MOST_FUNCTION_LINES: Final = 60
LONGER_FUNCTIONS: Final[Mapping[str, str]] = {}

TEXT: Final = (".py", ".md", ".toml", ".sql", ".yml", ".yaml", ".txt", ".json", ".cfg", "Makefile", "run")
NOT_OURS: Final = {"LICENSE"}

# Folders of one machine. `/home/u` and the like, as a test's example, is nobody's.
MACHINE_PATHS: Final = re.compile(r"(?<![\w}.-])/(?:(?:work|root|Users|tmp)/[\w.-]+|home/\w{2,})")


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the project, as git has them; those on disk where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [
            path
            for source in ("engine", "adapters", "tests", "docs", "benchmarks")
            for path in (ROOT / source).rglob("*")
        ]
    return tuple(path for path in paths if path.is_file())


def sources(*suffixes: str) -> list[Path]:
    return [path for path in tracked() if path.name.endswith(suffixes) and path.name not in NOT_OURS]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_file_of_the_engine_says_what_it_owns() -> None:
    silent = [name for name, path in modules().items() if not ast.get_docstring(_parsed(path))]
    assert silent == []


def test_every_test_file_says_what_it_tests() -> None:
    tests = [path for path in sources(".py") if path.name.startswith("test_")]
    assert len(tests) > 20
    assert [named(path) for path in tests if not ast.get_docstring(_parsed(path))] == []


def test_files_are_not_too_long() -> None:
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(".py", ".md")}
    long = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert set(long) == set(LONGER), f"split these, or say in LONGER why not: {long}"


def test_functions_are_not_too_long() -> None:
    long = {
        f"{name}:{node.name}": length
        for name, path in modules().items()
        for node in ast.walk(_parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (length := _length(node)) > MOST_FUNCTION_LINES
    }
    assert set(long) == set(LONGER_FUNCTIONS), f"split these, or say in LONGER_FUNCTIONS why not: {long}"


def test_no_file_holds_a_path_of_a_machine() -> None:
    found = {
        f"{named(path)}:{number}": match[0]
        for path in sources(*TEXT)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (match := MACHINE_PATHS.search(line)) and path != Path(__file__)
    }
    assert found == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('LOG = "/ro' + 'ot/x.log"', True),
        ("see /ho" + "me/anna/notes", True),
        ('file = f"{tmp_path}/home/engine"', False),
        ("runs/rooted/1", False),
    ],
)
def test_a_path_of_a_machine_is_known_when_seen(line: str, found: bool) -> None:
    assert bool(MACHINE_PATHS.search(line)) is found


@pytest.mark.parametrize("mark", ["T" + "ODO", "FIX" + "ME", "XX" + "X"])
def test_nothing_is_left_for_later_in_a_comment(mark: str) -> None:
    found = [named(path) for path in sources(".py") if re.search(rf"#.*\b{mark}\b", path.read_text(encoding="utf-8"))]
    assert found == []


def test_every_ignore_says_what_it_ignores() -> None:
    bare = re.compile(r"#\s*(?:type: ignore|pyright: ignore|noqa)(?![\[:])")
    found = [
        f"{named(path)}:{number}"
        for path in sources(".py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if bare.search(line) and path != Path(__file__)
    ]
    assert found == []


def test_entry_points_lead_somewhere() -> None:
    """What pyproject.toml registers can be loaded."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {**project["entry-points"], "console_scripts": project["scripts"]}
    for group, entries in groups.items():
        installed = {entry.name: entry for entry in entry_points(group=group)}
        for name, value in entries.items():
            assert installed[name].value == value, "install again: make clean, make test"
            assert callable(installed[name].load()) or group == "pytest11"


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of its body, without its docstring."""
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or node.lineno) - first.lineno + 1
