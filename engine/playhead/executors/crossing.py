"""How a call crosses to a worker process and its outcome back: what is pickled, and what is said when that fails or the worker dies.

It moves no bytes: it makes the frame that asks, and ends the call by the frame that answers.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable, Iterator
from typing import Any

from playhead.errors import InfrastructureLost, UnloadableOutcome
from playhead.executors import worker as wire
from playhead.executors.calls import Call, is_async
from playhead.executors.worker import Frame
from playhead.executors.workforce import Death

_OURS = __name__.partition(".")[0] + "."


def shared_module(fn: Callable[..., Any]) -> str:
    """The module of the function, if it is Playhead's own: workers may have it from their common parent. What a user's module
    opens or starts, a fork must not share with its siblings: each worker imports it for itself."""
    module: str = getattr(fn, "__module__", None) or ""
    return module if module.startswith(_OURS) else ""


def request_of(call: Call) -> Frame | None:
    """The call as a frame; None if it does not pickle, and has ended with an error that says what of it does not."""
    args, kwargs = call.take_arguments()
    try:
        return Frame(wire.COROUTINE if is_async(call.fn) else wire.CALL, body=wire.dumps((call.fn, args, kwargs)))
    except BaseException as error:  # noqa: BLE001 — pickling runs foreign code, which may raise anything
        call.fail(_unloadable(f"{_culprit(call, args, kwargs)} cannot be pickled", f"{type(error).__name__}: {error}"))
        return None


def _culprit(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What part of a call does not pickle, in words."""
    parts: Iterator[tuple[str, Any]] = iter(
        [
            (f"the function {call.name}", call.fn),
            *((f"argument {number} of {call.name}", value) for number, value in enumerate(args, start=1)),
            *((f"argument {name!r} of {call.name}", value) for name, value in kwargs.items()),
        ]
    )
    return next((name for name, value in parts if not _pickles(value)), f"the call of {call.name}")


def _pickles(value: Any) -> bool:
    try:
        wire.dumps(value)
    except BaseException:  # noqa: BLE001 — pickling runs foreign code
        return False
    return True


def end(call: Call, answer: Frame) -> None:
    """End the call as its worker says."""
    if answer.kind == wire.RESULT:
        _end_with(call, answer, call.succeed, "the result")
    elif answer.kind == wire.RAISED:
        _end_with(call, answer, lambda raised: call.fail(_as_raised(raised, answer.text)), "the exception")
    elif answer.kind == wire.BAD_CALL:
        call.fail(_unloadable(f"the arguments of {call.name} cannot be unpickled in a worker", answer.text))
    elif answer.kind == wire.BAD_RESULT:
        call.fail(_unloadable(f"the result of {call.name} cannot be pickled", answer.text))
    else:
        call.fail(_unloadable(f"the exception that {call.name} raised cannot be pickled", answer.text))


def _end_with(call: Call, answer: Frame, end: Callable[[Any], bool], noun: str) -> None:
    try:
        value = pickle.loads(answer.body)  # noqa: S301 — it comes from our own worker
    except BaseException as error:  # noqa: BLE001 — unpickling runs foreign code
        detail = f"{type(error).__name__}: {error}" + (f"\n{answer.text}" if answer.text else "")
        call.fail(_unloadable(f"{noun} of {call.name} cannot be unpickled", detail))
    else:
        end(value)


def _as_raised(raised: tuple[BaseException, BaseException | None], trace: str) -> BaseException:
    """The exception as the worker raised it; the traceback, which cannot cross, becomes a note."""
    error, cause = raised
    if cause is not None:
        error.__cause__ = cause
    error.add_note(f"in the worker process:\n{trace.rstrip()}")
    return error


def _unloadable(what: str, why: str) -> UnloadableOutcome:
    return UnloadableOutcome(
        f"{what}: {why}",
        hint="arguments, results and exceptions go to worker processes and back by pickle; "
        "pass a path or an address instead, or use ThreadExecutor",
    )


def lost(call: Call, death: Death) -> InfrastructureLost:
    worker = "the worker process" if death.pid is None else f"worker process {death.pid}"
    if death.exit_code is None:
        return InfrastructureLost(f"{worker} of {call.name} was lost, and nobody saw how")
    if death.exit_code < 0:
        return InfrastructureLost(
            f"{worker} was killed by {_signal_name(-death.exit_code)} under {call.name}", signal=-death.exit_code
        )
    return InfrastructureLost(
        f"{worker} ended with exit code {death.exit_code} under {call.name}", exit_code=death.exit_code
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
