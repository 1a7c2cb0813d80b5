"""Many worlds, over all cores. Owns the processes that live through them; knows nothing of what a world holds.

Each process lives through small batches of worlds and gives back what became of them in brief, and of a violation its whole story.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from playhead.core.state import RunStatus
from tests.simulation.weather import Weather
from tests.simulation.world import simulate

BATCH: Final = 10  # worlds for one message to a process: a second's work
TELL_EVERY: Final = 200  # worlds

World = tuple[int, Weather | None]  # a seed, and its weather if the seed does not decide it


@dataclass(frozen=True)
class Brief:
    """What became of one world. `violation` is its whole story, if there was one."""

    seed: int
    ends: tuple[RunStatus, ...]
    epochs: int
    events: int
    violation: str | None


@dataclass
class Sum:
    """Of all worlds so far."""

    worlds: int = 0
    seconds: float = 0.0
    events: int = 0
    epochs: int = 0
    ends: Counter[RunStatus] = field(default_factory=Counter[RunStatus])
    violations: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        rate = self.worlds / self.seconds if self.seconds else 0.0
        return f"{self.worlds} worlds in {self.seconds:.0f} s ({rate:.1f}/s): {self.events} events, {self.epochs} epochs; runs: {ends}"


def live_through(worlds: Iterable[World], tell: Callable[[str], None], *, processes: int | None = None) -> Sum:
    """All of these worlds, or as many as it takes to find a violation. `tell` is given a line now and then."""
    total, began, told = Sum(), time.monotonic(), 0
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(processes or os.cpu_count(), spawn, initializer=_settle_in) as pool:
        for briefs in pool.map(_live_through, _batches(worlds)):
            for brief in briefs:
                total.worlds += 1
                total.events += brief.events
                total.epochs += brief.epochs
                total.ends.update(brief.ends)
                if brief.violation is not None:
                    total.violations.append(brief.violation)
                    tell(f"seed {brief.seed} is in breach of a promise")
            total.seconds = time.monotonic() - began
            if total.worlds - told >= TELL_EVERY:
                told = total.worlds
                tell(str(total))
            if total.violations:
                pool.shutdown(cancel_futures=True)
                break
    return total


def _settle_in() -> None:
    """What was imported stays: collecting garbage need not look at it after each world."""
    gc.collect()
    gc.freeze()


def _live_through(worlds: Sequence[World]) -> list[Brief]:
    briefs: list[Brief] = []
    for seed, weather in worlds:
        told = simulate(seed, weather)
        violation = str(told) if told.violation is not None else None
        briefs.append(Brief(seed, told.ends, told.epochs, told.events, violation))
    return briefs


def _batches(worlds: Iterable[World]) -> Iterator[list[World]]:
    worlds = iter(worlds)
    while batch := list(islice(worlds, BATCH)):
        yield batch
