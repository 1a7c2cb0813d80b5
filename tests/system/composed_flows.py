"""Flows that end only if all of them are under way at once, each on an executor of its own. SCHEDULER names that of a Dask cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from playhead import DaskExecutor, ProcessExecutor, ThreadExecutor, flow, task

PATIENCE_SECONDS: Final = 150.0


@task
def met(mark: str, marks: list[str]) -> int:
    """Come to the meeting, and stay until all the others are there. Tells in which process that was."""
    Path(mark).touch()
    end = time.monotonic() + PATIENCE_SECONDS
    while missing := [other for other in marks if not Path(other).exists()]:
        if time.monotonic() > end:
            raise TimeoutError(f"nobody came to {missing}")
        time.sleep(0.02)
    return os.getpid()


@task
def shifted(number: int, by: int) -> int:
    return number + by


def meeting(mark: str, marks: list[str], by: int) -> tuple[int, int, list[int]]:
    """The processes of the flow and of its task, and numbers that tell whose they are."""
    there = met(mark, marks)
    return os.getpid(), there, shifted.map(range(20), [by] * 20).result()


@flow(executor=ThreadExecutor(workers=2))
def on_threads(mark: str, marks: list[str], by: int) -> tuple[int, int, list[int]]:
    return meeting(mark, marks, by)


@flow(executor=ProcessExecutor(workers=1))
def on_processes(mark: str, marks: list[str], by: int) -> tuple[int, int, list[int]]:
    return meeting(mark, marks, by)


@flow(executor=DaskExecutor(address=os.environ.get("SCHEDULER", "tcp://nowhere:1")))
def on_dask(mark: str, marks: list[str], by: int) -> tuple[int, int, list[int]]:
    return meeting(mark, marks, by)
