"""Performing one call, in this process; `elsewhere` does so in another. Knows no journal and no run state.

A call's arguments come as values. Its result leaves as the bytes that storage will keep, and so does its failure, so that the flow
and every other task see what reads back, live as after a resume.
"""

from __future__ import annotations

import contextvars
from typing import Any

from msgspec import Struct

from playhead.core.kinds import FailureCategory
from playhead.errors import UnloadableOutcome
from playhead.flows.context import CurrentRun, session_var, task_var
from playhead.flows.task import Task
from playhead.runner.capture import end_line, log_prints_here
from playhead.runner.references import Stored
from playhead.trust.failure import dump_failure
from playhead.trust.payload import dump


class Performed(Struct, frozen=True):
    """How one attempt ended: the payload is a result where `category` is None, else a failure. `lines` are log lines not yet written.

    `stored`: the worker has written the payload down itself, there, and it is not here. `worker`: its name, where it has one.
    """

    payload: bytes
    category: FailureCategory | None = None
    error: BaseException | None = None  # the failure itself, where it was raised in this process
    lines: bytes = b""
    stored: Stored | None = None
    worker: str | None = None


class CallInfo(Struct, frozen=True):
    """What code inside the task may know of it."""

    current: CurrentRun
    log_prints: bool


def perform(task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], info: CallInfo) -> Performed:
    """Run the function, in a context of its own."""
    return contextvars.copy_context().run(_perform, task, args, kwargs, info)


async def perform_async(
    task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], info: CallInfo
) -> Performed:
    """Run the coroutine function; the caller's asyncio task is its own context."""
    _enter(info)
    try:
        result = await task.fn(*args, **kwargs)
    except BaseException as error:
        if _is_cancellation(error):
            raise
        return _failed(error)
    finally:
        end_line()
    return _succeeded(result, info)


def failure_of(error: BaseException) -> Performed:
    """The outcome of a call that ended by this error, before, outside or instead of its function."""
    return _failed(error)


def _perform(task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], info: CallInfo) -> Performed:
    _enter(info)
    try:
        result = task.fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  # whatever ends a task's function is its outcome
        return _failed(error)
    finally:
        end_line()
    return _succeeded(result, info)


def _enter(info: CallInfo) -> None:
    session_var.set(None)
    task_var.set(info.current)
    log_prints_here(info.log_prints)


def _succeeded(result: Any, info: CallInfo) -> Performed:
    try:
        return Performed(dump(result))
    except UnloadableOutcome as error:
        error.task_key = info.current.task_key or ""
        return _failed(error)


def _failed(error: BaseException) -> Performed:
    return Performed(dump_failure(error), category_of(error), error)


def category_of(error: BaseException) -> FailureCategory:
    from playhead.errors import (
        Diverged,
        FlowLoadError,
        InfrastructureLost,
        StorageLost,
        TaskLost,
        TaskTimedOut,
        TrustError,
        UpstreamFailed,
    )

    match error:
        case UnloadableOutcome():
            return FailureCategory.UNLOADABLE
        case TaskTimedOut():
            return FailureCategory.TIMED_OUT
        case UpstreamFailed():
            return FailureCategory.UPSTREAM
        case TaskLost() | InfrastructureLost():  # the latter where an executor did not open
            return FailureCategory.LOST
        case Diverged():
            return FailureCategory.DIVERGED
        case StorageLost():
            return FailureCategory.STORAGE_LOST
        case TrustError():
            return FailureCategory.TRUST
        case FlowLoadError():
            return FailureCategory.FLOW_LOAD
        case Exception():
            return FailureCategory.RAISED
        case _:
            return FailureCategory.EXITED


def _is_cancellation(error: BaseException) -> bool:
    import asyncio

    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
