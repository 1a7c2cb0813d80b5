"""The questions, in the order in which they are asked: one file each."""

from __future__ import annotations

from typing import Final

from benchmarks.harness import Question
from benchmarks.questions import (
    active,
    chain,
    dask,
    docker,
    fan_out,
    footprint,
    idle,
    log,
    many_runs,
    processes,
    replicas,
    snapshots,
    start,
    stores,
    subscribers,
    takeover,
    why,
)

QUESTIONS: Final[tuple[Question, ...]] = (
    chain.QUESTION,
    fan_out.QUESTION,
    processes.QUESTION,
    dask.QUESTION,
    start.QUESTION,
    docker.QUESTION,
    takeover.QUESTION,
    many_runs.QUESTION,
    log.QUESTION,
    stores.QUESTION,
    snapshots.QUESTION,
    active.QUESTION,
    subscribers.QUESTION,
    replicas.QUESTION,
    why.QUESTION,
    idle.QUESTION,
    footprint.QUESTION,
)
