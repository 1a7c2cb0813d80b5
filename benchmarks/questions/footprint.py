"""What does Playhead cost when nothing happens: to import, to start, and to leave running?"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from benchmarks import limits
from benchmarks.harness import Effort, Limit, Measure, Question, Row, in_turns
from benchmarks.machine import cpu_seconds
from benchmarks.stage import open_home, served

IDLE_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 3.0  # after its start, before it counts as idle
IDLE_ROUNDS: Final = 2


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    yield from _commands(effort)
    home = open_home(folder / "served").path
    starts, python = in_turns(effort.repeats, lambda: _start_seconds(home), limits.bare_python_seconds)
    yield Row(
        what="server start to answering", unit="s", values=starts, limit=_python(python), floor=1.2, goal=0.8,
        measure=Measure.SERVER_START,
    )  # fmt: skip
    yield from _idle(effort, folder)


def _commands(effort: Effort) -> Iterator[Row]:
    """Python's own start is in each of them."""
    runner = "import playhead.runner.__main__, playhead.client.http"
    for what, arguments, floor, goal, measure in (
        ("`import playhead`", ["-c", "import playhead"], 0.25, 0.15, Measure.IMPORT),
        ("`playhead --help`", ["-m", "playhead.cli", "--help"], 0.5, 0.3, Measure.HELP),
        ("import of a runner, where none is forked", ["-c", runner], None, None, None),
    ):
        ours, python = in_turns(effort.repeats, partial(_command_seconds, arguments), limits.bare_python_seconds)
        yield Row(what=what, unit="s", values=ours, limit=_python(python), floor=floor, goal=goal, measure=measure)


def _command_seconds(arguments: Sequence[str]) -> float:
    return limits.command_seconds([sys.executable, *arguments])


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


def _idle(effort: Effort, folder: Path) -> Iterator[Row]:
    """A server alone, and beside it an `up` with its agent: idle, they do not disturb each other."""
    commands = ("server", "up")
    memory: dict[str, list[float]] = {command: [] for command in commands}
    seconds: dict[str, list[float]] = {command: [] for command in commands}
    for _ in range(min(effort.repeats, IDLE_ROUNDS)):
        with ExitStack() as running:
            of = {
                command: psutil.Process(running.enter_context(served(open_home(folder / command).path, command))[1])
                for command in commands
            }
            time.sleep(SETTLE_SECONDS * effort.scale)
            before, began = {command: _cpu_seconds(process) for command, process in of.items()}, time.perf_counter()
            time.sleep(IDLE_SECONDS * effort.scale)
            share = IDLE_SECONDS / (time.perf_counter() - began)
            for command, process in of.items():
                seconds[command].append((_cpu_seconds(process) - before[command]) * share)
                memory[command].append(sum(one.memory_info().rss for one in _tree(process)) / 2**20)
    yield Row(
        what="idle server, memory",
        unit="MiB",
        values=tuple(memory["server"]),
        floor=100,
        goal=80,
        measure=Measure.IDLE_MEMORY,
    )
    yield Row(
        what="idle server, CPU in 30 s",
        unit="s",
        values=tuple(seconds["server"]),
        floor=0.3,
        goal=0.2,
        measure=Measure.IDLE_CPU,
    )
    yield Row(what="idle `playhead up`, memory of all its processes", unit="MiB", values=tuple(memory["up"]))
    yield Row(what="idle `playhead up`, CPU in 30 s", unit="s", values=tuple(seconds["up"]))


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu_seconds(process: psutil.Process) -> float:
    return sum(map(cpu_seconds, _tree(process)))


def _python(values: tuple[float, ...]) -> Limit:
    return Limit(what="python -c pass", values=values)


QUESTION: Final = Question(name="footprint", asks="what it costs when nothing happens", ask=ask)
