"""Warns where a flow lets a clock that nobody records decide about a task's future: asyncio's timeouts and sleeps.

A resume replays recorded outcomes at once, so a timeout of asyncio's may fire where it did not before, or the reverse.
`playhead.timeout` and `playhead.sleep` are recorded.
"""

from __future__ import annotations

import asyncio
import inspect
import warnings
from typing import Any, Final

SCANNED_TIMERS: Final = 64  # of the loop's: a flow with more timers than this is not searched to the end

_ASYNCIO: Final = asyncio.__name__
_OURS: Final = __name__.rpartition(".")[0]


class UnrecordedTimeWarning(RuntimeWarning):
    """What the flow does next may depend on a clock that is not recorded."""


def warn_in_timeout(key: str) -> None:
    """Called where a task's future is awaited: is the awaiting task inside `asyncio.timeout`?"""
    loop = asyncio.get_running_loop()
    timers = getattr(loop, "_scheduled", ())
    if not timers:
        return
    task = asyncio.current_task()
    for handle in timers[:SCANNED_TIMERS]:
        owner = getattr(handle._callback, "__self__", None)
        if isinstance(owner, asyncio.Timeout) and getattr(owner, "_task", None) is task and not handle.cancelled():
            _warn(key, "inside asyncio.timeout", "playhead.timeout")
            return


def warn_in_wait(key: str, future_type: type) -> None:
    """Called where a callback is added to a task's future: is it `asyncio.wait`, with a timeout or beside other futures?"""
    frame = inspect.currentframe()
    frame = frame.f_back.f_back if frame is not None and frame.f_back is not None else None
    if frame is None or frame.f_globals.get("__name__") != f"{_ASYNCIO}.tasks":
        return
    name, local = frame.f_code.co_name, frame.f_locals
    if name == "wait_for" or (name == "_wait" and local.get("timeout") is not None):
        _warn(key, f"in asyncio.{name.strip('_')} with a timeout", "playhead.timeout")
    elif name == "_wait" and any(not isinstance(each, future_type) and _sleeps(each) for each in local.get("fs", ())):
        _warn(key, "in asyncio.wait beside an asyncio.sleep", "playhead.sleep")


def _sleeps(future: object) -> bool:
    """Whether it is an asyncio task that runs `asyncio.sleep` and nothing else."""
    it: Any = future
    coro: Any = it.get_coro() if isinstance(future, asyncio.Task) else None
    return getattr(coro, "cr_code", None) is asyncio.sleep.__code__


def _warn(key: str, where: str, instead: str) -> None:
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith((_ASYNCIO, _OURS)):
        frame = frame.f_back
    if frame is None:
        return
    warnings.warn_explicit(
        f"the future of task {key} is awaited {where}: when that fires is not recorded, so a resumed run may go another way; "
        f"use {instead}",
        UnrecordedTimeWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
    )
