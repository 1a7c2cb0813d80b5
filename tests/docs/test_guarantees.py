"""The page of guarantees says no more than is shown: whatever it calls so has a planted bug, and tests that are there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import pytest

from tests.docs.pages import DOCS
from tests.mutants.mutant import all_mutants

PAGE: Final = DOCS / "guarantees.md"
PROMISES: Final = [*(f"S{number}" for number in range(1, 22)), *(f"L{number}" for number in range(1, 10))]

_SECTION: Final = re.compile(
    r"^### (?P<name>[SL]\d+) [^\n]*: (?P<state>shown|in part|not yet)\n(?P<text>.*?)(?=^##|\Z)",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Promise:
    name: str
    state: str
    text: str


def promises() -> list[Promise]:
    return [
        Promise(*found.group("name", "state", "text")) for found in _SECTION.finditer(PAGE.read_text(encoding="utf-8"))
    ]


def test_every_promise_is_on_the_page_once_and_in_order() -> None:
    assert [promise.name for promise in promises()] == PROMISES


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise.name)
def test_what_is_shown_has_a_bug_that_is_planted_and_tests_that_are_named(promise: Promise) -> None:
    broken = [mutant.name for mutant in all_mutants() if promise.name in mutant.promises]
    tests = re.findall(r"\]\(\.\./(tests/[\w/.]+)\)", promise.text)
    if promise.state == "shown":
        assert broken, f"{promise.name} is called shown, and no patch in tests/mutants/patches breaks it"
        assert tests, f"{promise.name} is called shown, and names no test"
    if promise.state == "not yet":
        assert not broken, f"{promise.name} has bugs that are found: {broken}. Then it is shown, or in part"


def test_every_bug_breaks_a_promise_that_is_on_the_page() -> None:
    for mutant in all_mutants():
        assert set(mutant.promises) <= set(PROMISES), f"{mutant.name} breaks {mutant.promises}"
