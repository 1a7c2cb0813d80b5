"""What does a durable step cost in a chain, where no step can begin before the one before it is safe on disk?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Measure, Question, Row, in_turns
from benchmarks.stage import hired, open_home, served
from playhead.embedded import run_embedded
from playhead.flows.flow import Flow

STEPS: Final = 200

_FORMS: Final[tuple[tuple[str, Flow[..., Any]], ...]] = (
    ("`submit` chained", flows.chain_submitted),
    ("each result awaited before the next", flows.chain_awaited),
    ("each called", flows.chain_called),
)


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    yield from served_by_a_process(effort, folder)
    yield from embedded(effort, folder)


def served_by_a_process(effort: Effort, folder: Path) -> Iterator[Row]:
    """The server is a process of its own, and the end counts once it has acknowledged it."""
    steps = effort.of(STEPS)
    home = open_home(folder / "served")
    with served(home.path) as (url, _), hired(home, url) as runner:
        for row in _rows("", effort, folder, lambda subject: runner.seconds(subject, n=steps)):
            yield replace(row, floor=1.0, goal=0.5, measure=Measure.CHAIN_STEP)


def embedded(effort: Effort, folder: Path) -> Iterator[Row]:
    """The flow is called in this process: its log is opened and closed in the time."""
    home = open_home(folder / "embedded")

    def seconds(subject: Flow[..., Any]) -> float:
        began = time.perf_counter()
        run_embedded(subject, {"n": effort.of(STEPS)}, home=home)
        return time.perf_counter() - began

    yield from _rows("embedded: ", effort, folder, seconds)


def _rows(size: str, effort: Effort, folder: Path, seconds: Callable[[Flow[..., Any]], float]) -> Iterator[Row]:
    steps = effort.of(STEPS)
    for form, subject in _FORMS:

        def ours_ms(subject: Flow[..., Any] = subject) -> float:
            return 1e3 * seconds(subject) / steps

        ours, flush = in_turns(effort.repeats, ours_ms, lambda: 1e3 * limits.flush_seconds(folder))
        limit = Limit(what="append + fdatasync", values=flush)
        yield Row(what=f"{size}a step of {steps}, {form}", unit="ms", values=ours, limit=limit)


QUESTION: Final = Question(name="chain", asks="a durable step in a chain", ask=ask)
