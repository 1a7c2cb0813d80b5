"""A trial: whether a named test sees a mutant, and whether it is content without it. Owns that judgement, and the trials side by side."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from tests.mutants.mutant import BadPatch, Mutant
from tests.mutants.tree import Phase, Ran, kept, planted

# Without a bug, in one run of pytest: enough to pay for its start, few enough for its longest time
MOST_TESTS_AT_ONCE: Final = 12

_NOT_A_FINDING: Final = frozenset(
    {"ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "UnboundLocalError"}
)

Case = tuple[str, tuple[str, ...]]  # a test and its options


class Verdict(StrEnum):
    SEEN = "seen"
    SKIPPED = "skipped"  # the test needs something that is not on this machine
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one mutant. `why` says what is wrong, or why it was skipped."""

    mutant: Mutant
    verdict: Verdict
    seconds: float
    why: str = ""

    @property
    def counts(self) -> bool:
        """Whether the mutant was seen, or was left out where that is allowed: not in CI."""
        return self.verdict is Verdict.SEEN or (self.verdict is Verdict.SKIPPED and not _in_ci())


def tried(source: Path, mutants: Sequence[Mutant], processes: int) -> Iterator[Trial]:
    """Try the mutants on copies of the project at `source`, so many at once, and tell of each as it is done."""
    with kept(source) as copy, ThreadPoolExecutor(processes) as pool:
        plain: dict[Case, str | Skipped | None] = {}
        batches = _batches(map(_case, mutants), processes)
        for told in pool.map(partial(_without_a_bug, copy), batches):
            plain.update(told)
        trials = [pool.submit(_tried, copy, mutant, plain[_case(mutant)]) for mutant in mutants]
        for done in as_completed(trials):
            yield done.result()


class Skipped(str):
    """Why a test was skipped."""

    __slots__ = ()


def _tried(copy: Path, mutant: Mutant, plain: str | Skipped | None) -> Trial:
    if isinstance(plain, Skipped):
        return Trial(mutant, Verdict.SKIPPED, 0.0, plain)
    if plain is not None:
        return Trial(mutant, Verdict.FAILED, 0.0, f"without the bug: {plain}")
    began = time.monotonic()
    try:
        with planted(copy, mutant) as tree:
            ran = tree.pytest([mutant.test], ["-x", *mutant.options, *_bound(mutant)])
            why = _wrong_place(ran, tree.root) or _why_not_seen(mutant, ran)
    except BadPatch as error:
        why = str(error)
    return Trial(mutant, Verdict.FAILED if why else Verdict.SEEN, time.monotonic() - began, why or "")


def _without_a_bug(copy: Path, cases: Sequence[Case]) -> Mapping[Case, str | Skipped | None]:
    """Of each test why it is not content with the product as it is, or None. All of them have the same options."""
    with planted(copy) as tree:
        ran = tree.pytest([test for test, _ in cases], cases[0][1])
        if not ran.phases and len(cases) > 1:  # one test that is not there keeps pytest from running the others
            return {case: why for each in cases for case, why in _without_a_bug(copy, [each]).items()}
        wrong = _wrong_place(ran, tree.root)
        return {case: wrong or _why_not_content(case[0], ran) for case in cases}


def _wrong_place(ran: Ran, root: Path) -> str | None:
    if ran.product and not Path(ran.product).is_relative_to(root):
        return f"the test imported the product from {ran.product}, and not from the copy"
    return None


def _why_not_content(test: str, ran: Ran) -> str | Skipped | None:
    phases = [phase for phase in ran.phases if _is_of(phase, test)]
    for phase in phases:
        if phase.outcome == "failed":
            return f"{phase.test} fails in its {phase.when}: {_first_line(phase.text)}"
    if any(phase.when == "call" and phase.outcome == "passed" for phase in phases):
        return None
    skipped = next((phase for phase in phases if phase.outcome == "skipped"), None)
    if skipped is not None:
        return Skipped(_first_line(skipped.text))
    return f"{test} did not run: {_last_lines(ran)}"


def _why_not_seen(mutant: Mutant, ran: Ran) -> str | None:
    """Why this run does not show that the test sees the bug, or None where it does."""
    failed = [phase for phase in ran.phases if phase.outcome == "failed"]
    if ran.too_long:
        return f"the run took too long: {_last_lines(ran)}"
    if not failed:
        return "the test stays green" if ran.phases else f"the test did not run: {_last_lines(ran)}"
    first = failed[0]
    if first.when != "call":
        return f"the test fails in its {first.when}, before or after what it tests: {_first_line(first.text)}"
    if first.error in _NOT_A_FINDING:
        return f"the patch makes no program that runs: {_first_line(first.text)}"
    if _ran_out_of_time(first) and mutant.hangs_seconds is None:
        return "the test ran out of time, and the patch does not say that its bug is a hang"
    if not any(words in first.text for words in mutant.sees):
        return f"the test is red for another reason than {' or '.join(mutant.sees)}: {_first_line(first.text)}"
    return None


def _ran_out_of_time(phase: Phase) -> bool:
    return "from pytest-timeout" in phase.text


def _bound(mutant: Mutant) -> Sequence[str]:
    return () if mutant.hangs_seconds is None else ("--timeout", str(mutant.hangs_seconds))


def _batches(cases: Iterable[Case], processes: int) -> list[list[Case]]:
    """Each test once, in runs of tests with the same options, at least one for each process."""
    by_options: dict[tuple[str, ...], list[Case]] = {}
    for case in dict.fromkeys(cases):
        by_options.setdefault(case[1], []).append(case)
    batches: list[list[Case]] = []
    for group in by_options.values():
        size = min(MOST_TESTS_AT_ONCE, -(-len(group) // processes))
        batches += [group[at : at + size] for at in range(0, len(group), size)]
    return batches


def _case(mutant: Mutant) -> Case:
    return mutant.test, mutant.options


def _is_of(phase: Phase, test: str) -> bool:
    """Whether a phase belongs to a test, which may stand for all its parameters; an error while collecting, to all of its file."""
    if phase.when == "collect":
        return test.startswith(phase.test)
    return phase.test == test or phase.test.startswith(f"{test}[")


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "it does not say why")[:300]


def _last_lines(ran: Ran) -> str:
    return " / ".join(ran.output.strip().splitlines()[-3:])[:600] or "it printed nothing"


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"
