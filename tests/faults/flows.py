"""Flows that a fault is done to while they run. What their tasks did is in the file that LEDGER names, outside of the engine."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from playhead import ProcessExecutor, flow, task


def wrote(line: str) -> None:
    """One write, so that lines of several processes do not mix."""
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


@task
def step(number: int, seconds: float, size: int) -> int:
    time.sleep(seconds)
    wrote(f"step {number}")
    return number + 1


@task
def padded(number: int, seconds: float, size: int) -> tuple[int, bytes]:
    time.sleep(seconds)
    wrote(f"step {number}")
    return number + 1, os.urandom(size)  # nothing that a file system could make small


@flow
def chain(length: int, seconds: float = 0.0, size: int = 0) -> int:
    """Steps one after the other, each with a result of about that many bytes."""
    number = 0
    for _ in range(length):
        number = padded(number, seconds, size)[0] if size else step(number, seconds, size)
    return number


@task
def works(number: int, seconds: float) -> int:
    wrote(f"begins {number} {os.getpid()}")
    time.sleep(seconds)
    wrote(f"step {number}")
    return number + 1


@flow(executor=ProcessExecutor(workers=1))
def in_a_worker(length: int, seconds: float) -> int:
    number = 0
    for _ in range(length):
        number = works(number, seconds)
    return number


@task(timeout=timedelta(seconds=3), retries=1)
def bounded() -> int:
    wrote(f"begins {os.getpid()}")
    time.sleep(1)
    wrote("bounded")
    return 1


@flow(executor=ProcessExecutor(workers=1))
def in_a_worker_with_a_deadline() -> int:
    return bounded()
