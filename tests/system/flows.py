"""Flows for real processes. What their tasks do is written to the file that LEDGER names, outside of the engine."""

from __future__ import annotations

import ctypes
import os
import time
from datetime import timedelta
from pathlib import Path

from playhead import Every, LocalExecutor, ProcessExecutor, current_run, flow, task


def wrote(line: str) -> None:
    """One write, so that lines of several processes do not mix."""
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


@task
def step(number: int, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    wrote(f"step {number}")
    return number + 1


@flow
def chain(length: int = 5, seconds: float = 0.0) -> int:
    """Steps one after the other."""
    number = 0
    for _ in range(length):
        number = step(number, seconds)
    return number


@flow
def fan_out(width: int = 20) -> int:
    return sum(step.map(range(width)).result())


@flow
def waits(seconds: float = 30.0) -> int:
    return step(0, seconds)


@task
def raises() -> None:
    raise LookupError("what was looked for is a secret-word")


@flow
def fails() -> None:
    raises()


@flow
def exits() -> None:
    wrote("exits")
    os._exit(17)


@flow
def leaves() -> None:
    raise SystemExit(5)


@task
def crash() -> None:
    wrote("crash")
    ctypes.string_at(0)


@flow(executor=LocalExecutor())
def segfault_here() -> None:
    """Takes its runner along."""
    crash()


@flow(executor=ProcessExecutor(workers=1))
def segfault_there() -> int:
    """Takes its worker along, and no more."""
    from playhead import TaskLost

    try:
        crash()
    except TaskLost:
        return step(1)
    return 0


@flow
def blocks(seconds: float) -> str:
    """Holds the flow's thread, and does not look up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "held"


@flow(schedule=Every(timedelta(seconds=1)))
def ticks() -> str:
    due = current_run().scheduled_for.isoformat()
    wrote(f"tick {due}")
    return due


def here() -> str:
    return str(Path.cwd())
