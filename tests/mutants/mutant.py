"""A mutant: one bug as a patch against the product, and the test that must see it. Owns the form of a patch file and its application.

A file `patches/NAME.patch` begins with a head, `Key: value` a line, where a value goes on in lines that begin with a blank:

    Promise: S2                     of docs/guarantees.md; more than one, with commas between
    Bug: what is wrong, and what somebody would lose by it, in a sentence
    Test: tests/log/test_sqlite.py::test_name
    Sees: what is in the test's error when it fails for this reason and for no other; ` | ` stands between two that are possible
    Options: --seeds 3              more for pytest; may be left out
    Hangs: 10                       the bug is that something never comes: red is the end of so many seconds; may be left out

and goes on as a unified diff. It is applied without fuzz: a line that it names and that is not there any more is an error.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATCHES: Final = Path(__file__).with_name("patches")

_NEEDED: Final = frozenset({"Promise", "Bug", "Test", "Sees"})
_ALLOWED: Final = _NEEDED | {"Options", "Hangs"}
_DIFF_BEGINS: Final = re.compile(r"^--- ", re.MULTILINE)
_FIELD: Final = re.compile(r"^(\w+): (.*(?:\n[ \t]+.*)*)$", re.MULTILINE)
_OLD_FILE: Final = re.compile(r"^--- a/(\S+)", re.MULTILINE)
_PRODUCT: Final = ("engine/", "adapters/")


class BadPatch(Exception):
    """A patch file that is not as this module says, that does not apply, or that changes nothing."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug."""

    path: Path
    promises: tuple[str, ...]
    bug: str
    test: str  # a pytest node id; of a test with parameters all of them
    sees: tuple[str, ...]  # one of these
    options: tuple[str, ...] = ()
    hangs_seconds: float | None = None

    @property
    def name(self) -> str:
        return self.path.stem

    def changed_files(self) -> list[str]:
        """The files that the patch changes, from the project's root."""
        return _OLD_FILE.findall(self.path.read_text(encoding="utf-8"))

    def apply(self, root: Path) -> None:
        """Plant the bug in the source below `root`. Raises BadPatch, also if the program is the same afterwards."""
        before = [_program(root / name) for name in self.changed_files()]
        # A git that finds itself in a work tree leaves out silently what it thinks is not there; so it must not look above the root.
        environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent.resolve()), "LC_ALL": "C"}
        command = ["git", "apply", "--whitespace=nowarn", str(self.path.resolve())]
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise BadPatch(f"{self.name} does not apply: {done.stderr.strip()}. Plant the bug where its rule is now")
        try:
            after = [_program(root / name) for name in self.changed_files()]
        except SyntaxError as error:
            raise BadPatch(f"{self.name} leaves what is no program: {error}") from error
        if before == after:
            raise BadPatch(f"{self.name} changes nothing in the program")


def read(path: Path) -> Mutant:
    """The mutant in a patch file. Raises BadPatch."""
    text = path.read_text(encoding="utf-8")
    begins = _DIFF_BEGINS.search(text)
    if begins is None:
        raise BadPatch(f"{path.name} holds no diff: a line `--- a/engine/…` is missing")
    head = _head(path, text[: begins.start()])
    mutant = Mutant(
        path=path,
        promises=tuple(promise.strip() for promise in head["Promise"].split(",")),
        bug=head["Bug"],
        test=head["Test"],
        sees=tuple(head["Sees"].split(" | ")),
        options=tuple(shlex.split(head.get("Options", ""))),
        hangs_seconds=float(head["Hangs"]) if "Hangs" in head else None,
    )
    elsewhere = [name for name in mutant.changed_files() if not name.startswith(_PRODUCT)]
    if elsewhere:
        raise BadPatch(
            f"{path.name} changes {', '.join(elsewhere)}: a bug is planted in the product, {' or '.join(_PRODUCT)}"
        )
    return mutant


def all_mutants(folder: Path = PATCHES) -> list[Mutant]:
    """Every mutant, in the order of the promises. Raises BadPatch."""
    return sorted(
        (read(path) for path in folder.glob("*.patch")), key=lambda each: (_in_order(each.promises[0]), each.name)
    )


def chosen(mutants: list[Mutant], words: list[str]) -> list[Mutant]:
    """Those whose name holds one of the words, or that break the promise that one of them names; without words all."""
    return [each for each in mutants if not words or any(word in each.name or word in each.promises for word in words)]


def _head(path: Path, text: str) -> Mapping[str, str]:
    fields = {key: " ".join(value.split()) for key, value in _FIELD.findall(text)}
    rest = _FIELD.sub("", text).strip()
    if rest:
        raise BadPatch(f"{path.name} has a line in its head that is no field: {rest.splitlines()[0]!r}")
    if not _NEEDED <= set(fields) <= _ALLOWED:
        wrong = sorted(set(fields) ^ _NEEDED - {"Options", "Hangs"})
        raise BadPatch(f"{path.name}: its head lacks, or does not know, {', '.join(wrong)}")
    return fields


def _program(path: Path) -> str:
    """What a file does, in a form that comments and blanks are not part of."""
    if not path.exists():
        return ""
    text = path.read_text(encoding="utf-8")
    return ast.dump(ast.parse(text)) if path.suffix == ".py" else text


def _in_order(promise: str) -> tuple[bool, int]:
    """S1 … S20 before L1 … L9."""
    return promise[0] == "L", int(promise[1:])
