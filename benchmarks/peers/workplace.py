"""A driver's workplace: processes that end with their block, marks that flows leave, and the rows that every peer gives alike.

Runs in the peers' environments, so it needs no more than the standard library and psutil, and nothing of Playhead.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.harness import Effort, Measure, Row, percentile

IDLE_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 5.0  # after its start, before it counts as idle
ANSWER_SECONDS: Final = 60.0  # for a server to answer, and for a mark to be left
STOP_SECONDS: Final = 5.0  # for a process to end when it is asked to
ORPHAN_SECONDS: Final = 0.5  # for what it had started to end by itself

Ask = Callable[[Effort, Path], Iterator[Row]]


def drive(ask: Ask) -> None:
    """A driver's main: `FOLDER SCALE`; each row is a line of JSON on stdout. SIGTERM ends it with all that it started."""
    signal.signal(signal.SIGTERM, _ended)
    folder, scale = Path(sys.argv[1]), float(sys.argv[2])
    rows = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a peer prints is no row
    for row in ask(Effort(repeats=3 if scale == 1.0 else 1, scale=scale), folder):
        print(json.dumps(row.as_json()), file=rows, flush=True)


@contextmanager
def started(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Generator[psutil.Process]:
    """A command, ended with the block together with whatever it has started."""
    process = subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=2, stderr=2, env={**os.environ, **(env or {})}
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        end(process)


def end(process: subprocess.Popen[Any], patience: float = STOP_SECONDS) -> None:
    """Asks it to end; when it has, or does not, kills it and what is left of what it had started."""
    try:
        tree = _tree(psutil.Process(process.pid))
    except psutil.NoSuchProcess:
        return  # it has been waited for
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    _, alive = psutil.wait_procs(tree, timeout=ORPHAN_SECONDS)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for_answer(url: str) -> None:
    """Until it answers with anything but a server's error."""
    for _ in _patiently(url):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            continue


def mark(path: str) -> None:
    """Leave the time in a file; one write each, so that processes can share it."""
    with open(path, "ab", buffering=0) as file:
        file.write(f"{time.time()!r}\n".encode())


def wait_for_marks(path: str, count: int, seconds: float = ANSWER_SECONDS) -> list[float]:
    """When they were left, once there are so many."""
    for _ in _patiently(f"{count} marks", seconds):
        if Path(path).exists():
            lines = Path(path).read_text(encoding="utf-8").splitlines()
            if len(lines) >= count:
                return [float(line) for line in lines]
    raise AssertionError("patience ends with an error")


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def repeated(repeats: int, call: Callable[[], float]) -> tuple[float, ...]:
    """Its values after one warm-up."""
    call()
    return tuple(call() for _ in range(repeats))


def start_rows(what: str, waits: tuple[float, ...]) -> Iterator[Row]:
    """Seconds from just before each request to the first line of flow code."""
    late = tuple(1e3 * wait for wait in waits)
    yield Row(what=f"{what}, p50 of {len(late)}", unit="ms", values=late, measure=Measure.START)
    yield Row(what=f"{what}, p95 of {len(late)}", unit="ms", values=(percentile(late, 95),), measure=Measure.START_LATE)


def command_rows(effort: Effort, module: str, cli: Sequence[str | Path]) -> Iterator[Row]:
    """Its import, and its command line's help; a bare python's start is in both that need one."""
    asked: tuple[tuple[str, Sequence[str | Path], Measure], ...] = (
        (f"import {module}", (sys.executable, "-c", f"import {module}"), Measure.IMPORT),
        (f"{Path(cli[0]).name} --help", (*cli, "--help"), Measure.HELP),
    )
    for what, command, measure in asked:
        values = repeated(effort.repeats, partial(_command_seconds, command))
        yield Row(what=what, unit="s", values=values, measure=measure)


def idle_rows(effort: Effort, what: str, process: psutil.Process) -> Iterator[Row]:
    """Memory and CPU of a process and its children while nothing is asked of it."""
    time.sleep(SETTLE_SECONDS * effort.scale)
    before, began = _cpu_seconds(process), time.perf_counter()
    time.sleep(IDLE_SECONDS * effort.scale)
    used = (_cpu_seconds(process) - before) * IDLE_SECONDS / (time.perf_counter() - began)
    memory = sum(one.memory_info().rss for one in _tree(process)) / 2**20
    yield Row(what=f"{what}, memory", unit="MiB", values=(memory,), measure=Measure.IDLE_MEMORY)
    yield Row(what=f"{what}, CPU in 30 s", unit="s", values=(used,), measure=Measure.IDLE_CPU)


def database_bytes(path: Path) -> int:
    """What an SQLite database holds once its write-ahead log is in it, free pages left out."""
    with closing(sqlite3.connect(path, timeout=30)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def _ended(number: int, _: object) -> None:
    sys.exit(128 + number)


def _patiently(what: str, seconds: float = ANSWER_SECONDS) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.001)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}")


def _command_seconds(command: Sequence[str | Path]) -> float:
    began = time.perf_counter()
    subprocess.run(
        list(map(str, command)),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu_seconds(process: psutil.Process) -> float:
    times = [one.cpu_times() for one in _tree(process)]
    return sum(one.user + one.system for one in times)
