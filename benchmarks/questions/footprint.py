"""What does Playhead cost when nothing happens: to start, to import, and to leave running?"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from benchmarks import limits
from benchmarks.harness import Effort, Limit, Question, Row, in_turns
from benchmarks.stage import open_home, served

IDLE_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 3.0  # after its start, before it counts as idle
GOAL_IDLE_CPU_SHARE: Final = 0.2 / 30
GOAL_MEMORY_MIB: Final = 80.0
GOAL_START_MS: Final = 800.0
GOAL_IMPORT_MS: Final = 150.0


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    home = open_home(folder / "served").path
    yield from _commands(effort)
    starts, python = in_turns(effort.repeats, lambda: 1e3 * _start_seconds(home), _python_ms)
    yield Row(what="server start to answering", unit="ms", values=starts, limit=_python(python), goal=GOAL_START_MS)
    for command in ("server", "up"):
        yield from _idle(effort, home, command)


def _commands(effort: Effort) -> Iterator[Row]:
    for what, arguments, goal in (
        ("import playhead", ["-c", "import playhead"], GOAL_IMPORT_MS),
        ("playhead --help", ["-m", "playhead.cli", "--help"], None),
        ("import of a runner", ["-c", "import playhead.runner.__main__, playhead.client.http"], None),
    ):
        ours, python = in_turns(effort.repeats, partial(_command_ms, arguments), _python_ms)
        yield Row(what=f"{what}, python's start included", unit="ms", values=ours, limit=_python(python), goal=goal)


def _command_ms(arguments: Sequence[str]) -> float:
    return 1e3 * limits.command_seconds([sys.executable, *arguments])


def _start_seconds(home: Path) -> float:
    """From the command to its first answer by HTTP."""
    began = time.perf_counter()
    with served(home) as (url, _):
        connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
        connection.request("GET", "/api/info")
        assert connection.getresponse().status == 200
        took = time.perf_counter() - began
        connection.close()
    return took


def _idle(effort: Effort, home: Path, command: str) -> Iterator[Row]:
    memory: list[float] = []
    seconds: list[float] = []
    span = IDLE_SECONDS * effort.scale
    for _ in range(max(1, effort.repeats // 2)):
        with served(home, command) as (_, pid):
            process = psutil.Process(pid)
            time.sleep(SETTLE_SECONDS * effort.scale)
            before = _cpu_seconds(process)
            time.sleep(span)
            seconds.append(_cpu_seconds(process) - before)
            memory.append(process.memory_info().rss / 2**20)
    yield Row(what=f"idle `{command}`, resident memory", unit="MiB", values=tuple(memory), goal=GOAL_MEMORY_MIB)
    yield Row(
        what=f"idle `{command}`, CPU in {span:.0f} s", unit="s", values=tuple(seconds), goal=GOAL_IDLE_CPU_SHARE * span
    )


def _cpu_seconds(process: psutil.Process) -> float:
    """What all its threads have used, ended ones included. Linux has a clock for that, to the nanosecond; others count ticks."""
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)  # as clock_getcpuclockid(3) makes it
    times = process.cpu_times()
    return times.user + times.system


def _python_ms() -> float:
    return 1e3 * limits.bare_python_seconds()


def _python(values: tuple[float, ...]) -> Limit:
    return Limit(what="python -c pass", values=values)


QUESTION: Final = Question(name="footprint", asks="what it costs when nothing happens", ask=ask)
