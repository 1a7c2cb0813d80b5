"""The harness: how a figure is taken and what it is. Owns repeats, spread, and what a figure is held against; knows no question.

Every figure that is printed was measured by the run that prints it. Ours and its physical limit take turns, so that a noisy
moment meets both. It needs the standard library only, because the drivers of peers import it in environments of their own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to look. `scale` shrinks the workloads, for a quick look and for tests; figures of unlike scales do not compare."""

    repeats: int
    scale: float

    def of(self, count: int, *, least: int = 2) -> int:
        return max(least, round(count * self.scale))


FULL: Final = Effort(repeats=5, scale=1.0)
QUICK: Final = Effort(repeats=2, scale=0.1)


class Measure(StrEnum):
    """What peers are asked, too: rows of one measure, ours and theirs, tell the same thing in the same unit."""

    CHAIN_STEP = "a durable step in a chain"
    FAN_OUT_TASK = "a task of a fan-out"
    LOG_BYTES = "bytes of the database for a task of a fan-out"
    START = "ask to first line of flow code, p50"
    START_LATE = "ask to first line of flow code, p95"
    MANY_RUNS = "runs of 5 tasks a second"
    SERVER_START = "server start to answering"
    IDLE_MEMORY = "memory of the idle server"
    IDLE_CPU = "CPU of the idle server in 30 s"
    IMPORT = "import"
    HELP = "--help"


class Reached(StrEnum):
    GOAL = "goal"
    FLOOR = "floor"
    NOTHING = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What nobody can beat here: the same work without an engine, or the part of it that the machine decides."""

    what: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A row's place on a curve: in which panel of the plot, on which of its lines, over which `x` (a plural: "tasks")."""

    panel: str
    line: str = ""
    x: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: a value for each repeat, in `unit`. `floor` (what is asked at the least) and `goal` are of the same unit.

    Of a rate, a unit that ends in "/s", more is better; of anything else, less.
    """

    what: str
    unit: str
    values: tuple[float, ...]
    limit: Limit | None = None
    floor: float | None = None
    goal: float | None = None
    measure: Measure | None = None
    point: Point | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("/s")

    @property
    def ratio(self) -> float | None:
        """How many times worse than the limit. None without one."""
        return None if self.limit is None else self.times_worse_than(self.limit.median)

    @property
    def reached(self) -> Reached | None:
        """What the median meets. None where nothing was asked of it."""
        if self.goal is not None and self._meets(self.goal):
            return Reached.GOAL
        if self.floor is not None and self._meets(self.floor):
            return Reached.FLOOR
        return None if self.goal is None and self.floor is None else Reached.NOTHING

    def times_worse_than(self, other: float) -> float:
        """Below 1 where this one is better; infinite beside a time that was too short to be seen."""
        worse, better = (other, self.median) if self.is_rate else (self.median, other)
        return worse / better if better else math.inf

    def _meets(self, bound: float) -> bool:
        return self.median >= bound if self.is_rate else self.median <= bound

    def as_json(self) -> dict[str, Any]:
        limit, point = self.limit, self.point
        return {
            "what": self.what,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "p95": percentile(self.values, 95),
            "max": max(self.values),
            "values": self.values,
            "limit": {"what": limit.what, "median": limit.median, "values": limit.values} if limit else None,
            "ratio": self.ratio,
            "floor": self.floor,
            "goal": self.goal,
            "reached": self.reached,
            "measure": self.measure,
            "point": {"panel": point.panel, "line": point.line, "x": point.x, "at": point.at} if point else None,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Row:
        """A row that was kept; what follows from its values is not read but found anew."""
        limit, measure, point = told["limit"], told["measure"], told["point"]
        return cls(
            what=told["what"],
            unit=told["unit"],
            values=tuple(told["values"]),
            limit=Limit(what=limit["what"], values=tuple(limit["values"])) if limit else None,
            floor=told["floor"],
            goal=told["goal"],
            measure=Measure(measure) if measure else None,
            point=Point(**point) if point else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`ask(effort, folder)` measures in a folder of its own on the disk in question, and gives its rows as they come."""

    name: str
    asks: str
    ask: Callable[[Effort, Path], Iterator[Row]]


def in_turns(repeats: int, *measures: Callable[[], float]) -> list[tuple[float, ...]]:
    """The values of each measure; all warm up once, then they take turns."""
    for measure in measures:
        measure()
    rounds = [[measure() for measure in measures] for _ in range(repeats)]
    return [tuple(column) for column in zip(*rounds, strict=True)]


def percentile(values: tuple[float, ...], percent: float) -> float:
    """The smallest value that at least so many percent of them do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
