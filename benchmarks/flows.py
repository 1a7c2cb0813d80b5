"""The flows that are measured. Runners import this module by its name, so it imports no more than a user's would."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from playhead import ProcessExecutor, current_run, flow, task


@task
def inc(x: int) -> int:
    return x + 1


@task
async def inc_async(x: int) -> int:
    return x + 1


@flow
def chain_submitted(n: int) -> int:
    """Futures go in as arguments: nobody waits before the end."""
    step = inc.submit(0)
    for _ in range(n - 1):
        step = inc.submit(step)
    return step.result()


@flow
def chain_called(n: int) -> int:
    """Each result is taken before the next step is asked for."""
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


@flow
async def chain_awaited(n: int) -> int:
    """The same in an async flow with an async task."""
    x = 0
    for _ in range(n):
        x = await inc_async(x)
    return x


@flow
async def fan_out(n: int) -> int:
    return sum(await inc.map(range(n)))


@flow(executor=ProcessExecutor(workers=2))
async def fan_out_processes(n: int) -> int:
    return sum(await inc.map(range(n)))


@task
def array_of(megabytes: int) -> Any:
    import numpy as np

    return np.zeros(megabytes * 125_000)


@task
def grown(array: Any) -> Any:
    return array + 1


@task
def first_of(array: Any) -> float:
    return float(array[0])


@flow
def chain_of_arrays(n: int, megabytes: int) -> float:
    """Arrays that pass from task to task; the flow takes one number of the last."""
    array = array_of.submit(megabytes)
    for _ in range(n - 1):
        array = grown.submit(array)
    return first_of.submit(array).result()


@flow
def touch(path: str) -> None:
    """Tell when the first line of flow code ran."""
    now = time.time()
    Path(path).write_text(repr(now), encoding="utf-8")


@flow
def touch_and_tell(path: str) -> None:
    """Tell when the first line of flow code ran, and what the interpreter had imported by then."""
    now = time.time()
    Path(path).write_text(" ".join((repr(now), *sorted(sys.modules))), encoding="utf-8")


@flow
def five() -> int:
    x = 0
    for _ in range(5):
        x = inc(x)
    return x


@task
def told_step(ledger: str, number: int) -> int:
    _tell(ledger, "task", number, time.time())
    time.sleep(0.02)  # longer than a report waits for company: so the log hears of each task while the next one runs
    return number


@flow
def told_steps(n: int, ledger: str) -> int:
    """One task after the other. Each tells when it began and in which process, and the flow which of the run's epochs that is."""
    _tell(ledger, "epoch", current_run().attempt, 0)
    return sum(told_step(ledger, number) for number in range(n))


def _tell(ledger: str, what: str, number: int, at: float) -> None:
    with Path(ledger).open("a", encoding="utf-8") as file:
        file.write(f"{what} {os.getpid()} {number} {at!r}\n")
