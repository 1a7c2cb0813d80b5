"""Performing one call in a worker process: what crosses to it, and back. A worker imports this, and with it what modules of tasks import.

What is the same for all calls of a task in a run is pickled once, as its `Errand`, and unpickled once by each worker. What differs from
call to call crosses as plain tuples and strings, which cost a tenth of what objects do.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from playhead.core.kinds import FailureCategory
from playhead.flows import (
    flow as flow,  # not used: a user's module will, and so workers have it from the process that forks them
)
from playhead.flows.context import CurrentRun
from playhead.flows.task import Task
from playhead.runner.capture import collected_lines
from playhead.runner.perform import CallInfo, Performed, perform, perform_async
from playhead.trust.payload import PROTOCOL, dump, load

ERRANDS_KEPT: Final = 256  # in a worker; a flow seldom has more tasks, and one that was dropped is unpickled again

Answer = tuple[bytes, FailureCategory | None, bytes]  # payload, category of a failure, log lines


@dataclass(frozen=True, slots=True)
class Errand:
    """What all calls of a task in a run share."""

    task: Task[..., Any]
    run: str
    flow: str
    scheduled_for: datetime
    log_prints: bool

    def to_bytes(self) -> bytes:
        """UnloadableOutcome: the task cannot be pickled."""
        return pickle.dumps((dump(self.task), self.run, self.flow, self.scheduled_for, self.log_prints), PROTOCOL)

    @property
    def there(self) -> Callable[..., Any]:
        """What performs its calls in a worker, given the errand's bytes, arguments, keywords, the call's key and its attempt."""
        return perform_elsewhere_async if self.task.is_async else perform_elsewhere

    def info(self, key: str, attempt: int) -> CallInfo:
        return CallInfo(CurrentRun(self.run, self.flow, self.scheduled_for, attempt, key), self.log_prints)


def perform_elsewhere(errand: bytes, args: tuple[Any, ...], kwargs: dict[str, Any], key: str, attempt: int) -> Answer:
    """As `perform`, in a worker process: the log lines come back with the outcome."""
    known = _errand_of(errand)
    with collected_lines() as lines:
        performed = perform(known.task, args, kwargs, known.info(key, attempt))
    return performed.payload, performed.category, lines()


async def perform_elsewhere_async(
    errand: bytes, args: tuple[Any, ...], kwargs: dict[str, Any], key: str, attempt: int
) -> Answer:
    known = _errand_of(errand)
    with collected_lines() as lines:
        performed = await perform_async(known.task, args, kwargs, known.info(key, attempt))
    return performed.payload, performed.category, lines()


def performed_of(answer: Answer) -> Performed:
    """The attempt, as its answer tells it."""
    payload, category, lines = answer
    return Performed(payload, category, None, lines)


@lru_cache(maxsize=ERRANDS_KEPT)
def _errand_of(data: bytes) -> Errand:
    task, run, flow, scheduled_for, log_prints = pickle.loads(data)  # noqa: S301 — it comes from the parent, which is us
    return Errand(load(task), run, flow, scheduled_for, log_prints)
