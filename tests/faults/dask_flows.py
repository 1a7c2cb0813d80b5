"""Flows on Dask that processes die under. What they did is told in the file that LEDGER names, outside of the engine."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from playhead import DaskExecutor, current_run, flow, task

LARGE_BYTES = 100_000  # beyond what a record holds: written down by its worker


def wrote(line: str) -> None:
    """One write, so that lines of several processes do not mix."""
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


@task
def step(before: bytes, number: int, seconds: float, dies: bool) -> bytes:
    """A large result made of another. With `dies` it kills its process the first time."""
    wrote(f"works {os.getpid()}")
    wrote(f"step {number}")
    died = Path(f"{os.environ['LEDGER']}.died")
    if dies and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    return before[:LARGE_BYTES] + bytes([number])


@task
def length_of(value: bytes) -> int:
    return len(value)


@flow(executor=DaskExecutor(workers=1, persist="worker"))
def chain_on_dask(length: int, seconds: float = 0.0, dies_at: int = -1) -> int:
    """Nothing of what is large is asked for by the flow."""
    wrote(f"epoch {current_run().attempt}")
    value = step.submit(bytes(LARGE_BYTES), 0, seconds, dies_at == 0)
    for number in range(1, length):
        value = step.submit(value, number, seconds, dies_at == number)
    return length_of.submit(value).result()
