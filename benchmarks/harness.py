"""The harness: how a figure is taken and what it is. Owns repeats, spread and the facts of the machine; knows no question.

Every figure that is printed was measured by the run that prints it. Ours and its physical limit take turns, so that a noisy
moment meets both.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

MEASURED_WITH: Final = ("playhead", "aiohttp", "httptools", "orjson", "pydantic", "rpds-py", "uvicorn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to look. `scale` shrinks the workloads, for a quick look and for tests; figures of unlike scales do not compare."""

    repeats: int
    scale: float

    def of(self, count: int, *, least: int = 2) -> int:
        return max(least, round(count * self.scale))


FULL: Final = Effort(repeats=5, scale=1.0)
QUICK: Final = Effort(repeats=2, scale=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What nobody can beat here: the same work without an engine, or the part of it that the machine decides."""

    what: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: a value for each repeat, in `unit`. `goal` is of the same unit; a rate's is a least, any other's a most."""

    what: str
    unit: str
    values: tuple[float, ...]
    limit: Limit | None = None
    goal: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("/s")

    @property
    def ratio(self) -> float | None:
        """How many times worse than the limit. None without one."""
        if self.limit is None:
            return None
        return self.limit.median / self.median if self.is_rate else self.median / self.limit.median

    @property
    def reached(self) -> bool | None:
        """Whether the median meets the goal. None without one."""
        if self.goal is None:
            return None
        return self.median >= self.goal if self.is_rate else self.median <= self.goal

    def as_json(self) -> dict[str, Any]:
        limit = self.limit
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
            "goal": self.goal,
            "reached": self.reached,
        }


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


def machine() -> dict[str, Any]:
    """What the figures depend on; neither the machine's name nor a path of it."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in MEASURED_WITH},
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
