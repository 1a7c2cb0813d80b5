"""Flows that processes die under. What they did is told in the file that LEDGER names, outside of the engine."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from playhead import ProcessExecutor, current_run, flow, task

LARGE_BYTES = 40_000  # beyond what a record holds: the result is an object of its own


def wrote(*words: object) -> None:
    """A line in the ledger, in one write, so that lines of several processes do not mix."""
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{' '.join(map(str, words))}\n".encode())
    os.close(fd)


def is_first(run: str, what: str) -> bool:
    """Whether nobody came here before in this run, in whatever process."""
    try:
        Path(f"{os.environ['LEDGER']}.{run}.{what}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@task
def step(run: str, number: int, dies: bool = False) -> bytes:
    """Told before it ends, so that no execution is missed. With `dies` it kills its process the first time."""
    wrote(run, "step", number, os.getpid())
    if dies and is_first(run, f"died.{number}"):
        os.kill(os.getpid(), signal.SIGKILL)
    return bytes(LARGE_BYTES if number == 1 else number)


@task
def held_step(run: str, number: int, holds: bool) -> int:
    """With `holds` it ends when somebody makes the file `LEDGER.<run>.go`."""
    wrote(run, "step", number, os.getpid())
    while holds and not Path(f"{os.environ['LEDGER']}.{run}.go").exists():
        time.sleep(0.02)
    return number


@flow
def held_steps(length: int = 4, holds_at: int = 2) -> int:
    run = current_run()
    wrote(run.id, "epoch", run.attempt, os.getpid())
    return sum(held_step(run.id, number, holds=number == holds_at) for number in range(length))


@flow
def steps(length: int = 4, dies_at: int = -1) -> int:
    """One step after the other, the second with a large result."""
    run = current_run()
    wrote(run.id, "epoch", run.attempt, os.getpid())
    return sum(len(step(run.id, number, dies=number == dies_at)) for number in range(length))


@flow(executor=ProcessExecutor(workers=2))
def steps_elsewhere(length: int = 4, dies_at: int = -1) -> int:
    """As `steps`, in worker processes."""
    run = current_run()
    wrote(run.id, "epoch", run.attempt, os.getpid())
    return sum(len(step(run.id, number, dies=number == dies_at)) for number in range(length))
