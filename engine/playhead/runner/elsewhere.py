"""Performing one call in a worker process: what crosses to it, and back. A worker imports this, and with it what modules of tasks import.

What is the same for all calls of a task in a run is pickled once, as its `Errand`, and unpickled once by each worker. What differs from
call to call crosses as plain tuples and strings, which cost a tenth of what objects do.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from playhead.core.kinds import FailureCategory
from playhead.core.names import TaskKey
from playhead.errors import PlayheadError, UnloadableOutcome
from playhead.flows import (
    flow as flow,  # not used: a user's module will, and so workers have it from the process that forks them
)
from playhead.flows.context import CurrentRun
from playhead.flows.task import Task
from playhead.runner.capture import collected_lines
from playhead.runner.perform import CallInfo, Performed, failure_of, perform, perform_async
from playhead.runner.references import INLINE_BYTES, Depot, Handed, NotSeen, Stored, Unseen
from playhead.trust.payload import PROTOCOL, dump, load

ERRANDS_KEPT: Final = 256  # in a worker; a flow seldom has more tasks, and one that was dropped is unpickled again

# payload, or where it is, or why the call was not begun; category of a failure; log lines
Answer = tuple[bytes | Stored | Unseen, FailureCategory | None, bytes]


@dataclass(frozen=True, slots=True)
class Errand:
    """What all calls of a task in a run share."""

    task: Task[..., Any]
    run: str
    flow: str
    scheduled_for: datetime
    log_prints: bool
    depot: Depot | None = None  # where workers write large results; without it the runner does

    def to_bytes(self) -> bytes:
        """UnloadableOutcome: the task cannot be pickled."""
        shared = (self.task.name, dump(self.task), self.run, self.flow, self.scheduled_for, self.log_prints, self.depot)
        return pickle.dumps(shared, PROTOCOL)

    @property
    def there(self) -> Callable[..., Any]:
        """What performs its calls in a worker, given the errand's bytes, arguments, keywords, the call's key and its attempt."""
        return perform_elsewhere_async if self.task.is_async else perform_elsewhere

    @property
    def there_by_reference(self) -> Callable[..., Any]:
        """The same, given `Handed` in the place of arguments and keywords."""
        return perform_handed_async if self.task.is_async else perform_handed

    def info(self, key: str, attempt: int) -> CallInfo:
        return CallInfo(CurrentRun(self.run, self.flow, self.scheduled_for, attempt, key), self.log_prints)


def perform_elsewhere(errand: bytes, args: tuple[Any, ...], kwargs: dict[str, Any], key: str, attempt: int) -> Answer:
    """As `perform`, in a worker process: the log lines come back with the outcome."""
    known = _errand_of(errand)
    with collected_lines() as lines:
        performed = perform(known.task, args, kwargs, known.info(key, attempt))
    return _answer(known, key, attempt, performed, lines())


async def perform_elsewhere_async(
    errand: bytes, args: tuple[Any, ...], kwargs: dict[str, Any], key: str, attempt: int
) -> Answer:
    known = _errand_of(errand)
    with collected_lines() as lines:
        performed = await perform_async(known.task, args, kwargs, known.info(key, attempt))
    if not _is_large(performed):
        return _answer(known, key, attempt, performed, lines())
    return await asyncio.to_thread(_answer, known, key, attempt, performed, lines())


def perform_handed(errand: bytes, handed: Handed, key: str, attempt: int) -> Answer:
    """As `perform_elsewhere`, of arguments by reference."""
    given = _resolved(errand, handed)
    return perform_elsewhere(errand, *given, key, attempt) if isinstance(given, tuple) else given.answer


async def perform_handed_async(errand: bytes, handed: Handed, key: str, attempt: int) -> Answer:
    given = await asyncio.to_thread(_resolved, errand, handed)
    return await perform_elsewhere_async(errand, *given, key, attempt) if isinstance(given, tuple) else given.answer


def performed_of(answer: Answer, worker: str | None = None) -> Performed | Unseen:
    """The attempt, as its answer tells it. `worker`: whose answer it is."""
    payload, category, lines = answer
    if isinstance(payload, bytes):
        return Performed(payload, category, None, lines, None, worker)
    if isinstance(payload, Unseen):
        return payload
    return Performed(b"", category, None, lines, payload, worker)


@dataclass(frozen=True, slots=True)
class _NotBegun:
    answer: Answer


def _resolved(errand: bytes, handed: Handed) -> tuple[tuple[Any, ...], dict[str, Any]] | _NotBegun:
    depot = _errand_of(errand).depot
    assert depot is not None, "what is handed by reference comes with where it is"
    try:
        return handed.resolved(depot)
    except NotSeen as error:
        return _NotBegun((Unseen(str(error)), None, b""))
    except Exception as error:  # noqa: BLE001  # an argument that does not read back belongs to this task
        failed = failure_of(error)
        return _NotBegun((failed.payload, failed.category, b""))


def _answer(known: Errand, key: str, attempt: int, performed: Performed, lines: bytes) -> Answer:
    if known.depot is None or not _is_large(performed):
        return performed.payload, performed.category, lines
    try:
        stored = known.depot.keep(TaskKey(key), attempt, performed.payload)
    except PlayheadError as error:
        failed = failure_of(error)
        return failed.payload, failed.category, lines
    return (performed.payload if stored is None else stored), None, lines


def _is_large(performed: Performed) -> bool:
    """Failures are not: their texts are cut."""
    return performed.category is None and len(performed.payload) > INLINE_BYTES


@lru_cache(maxsize=ERRANDS_KEPT)
def _errand_of(data: bytes) -> Errand:
    name, task, *rest = pickle.loads(data)  # noqa: S301 — it comes from the parent, which is us
    try:
        return Errand(load(task), *rest)
    except UnloadableOutcome as error:
        why = error.__cause__
        raise UnloadableOutcome(
            f"task {name} does not load where it should run: {type(why).__name__}: {why}",
            hint="install what tasks import where the executor's workers run, in the same version",
        ) from why
