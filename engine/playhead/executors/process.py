"""The process executor: calls in worker processes of this machine. Each thread of its crew speaks with one worker.

So a death names the one call that it hit, a timeout or a cancellation kills the one worker that is meant, and the next
call finds a fresh one. Arguments and results cross by cloudpickle.
"""

from __future__ import annotations

import pickle
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from playhead.errors import InfrastructureLost, UnloadableOutcome, UsageError
from playhead.executors import worker as wire
from playhead.executors.calls import Call, is_async
from playhead.executors.crew import Crew, Lane
from playhead.executors.deadlines import Deadlines
from playhead.executors.specs import ProcessExecutor, usable_cores
from playhead.executors.worker import Frame
from playhead.executors.workforce import StartMethod, Worker, WorkerDied, Workforce
from playhead.ports.executor import OpenExecutor


@asynccontextmanager
async def open_spec(spec: ProcessExecutor) -> AsyncGenerator[OpenExecutor]:
    """The entry point `process`."""
    if sys.platform == "win32":
        raise UsageError("the process executor needs Linux or macOS", hint="on Windows, run Playhead under WSL")
    method: StartMethod = spec.start_method or ("forkserver" if sys.platform == "linux" else "spawn")
    executor = ProcessCrew("playhead-process", spec.workers or usable_cores(), method)
    try:
        yield executor
    finally:
        await executor.close()


_OURS = __name__.partition(".")[0] + "."


class ProcessCrew(Crew):
    def __init__(self, name: str, width: int, start_method: StartMethod) -> None:
        super().__init__(name, width)
        self._deadlines = Deadlines(name)
        self._workforce = Workforce(start_method)
        self._serving: dict[Call, Worker] = {}
        self._serving_lock = threading.Lock()

    @property
    def shares_memory(self) -> bool:
        return False

    def stop(self, call: Call) -> None:
        """Kill its worker, if it has one. Its place is free when the process is gone."""
        with self._serving_lock:
            worker = self._serving.get(call)
            if worker is not None:
                worker.kill()

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            self._deadlines.close()

    def serve(self, call: Call, worker: Worker) -> bool:
        """From now on, to stop the call is to kill the worker. False if the call has ended already."""
        with self._serving_lock:
            if call.ended:
                return False
            self._serving[call] = worker
        self._deadlines.watch(call)
        return True

    def served(self, call: Call) -> None:
        """The worker is no longer the call's: it will not be killed for it."""
        with self._serving_lock:
            del self._serving[call]

    def _open_lane(self) -> Lane:
        return ProcessLane(self, self._workforce)

    def _last_left(self) -> None:
        self._workforce.close()


class ProcessLane:
    """Has its calls computed by a worker, and replaces it when it is gone."""

    def __init__(self, crew: ProcessCrew, workforce: Workforce) -> None:
        self._crew = crew
        self._workforce = workforce
        self._worker: Worker | None = None

    def run(self, call: Call) -> None:
        if call.ended:
            return
        request = _request(call)
        if request is None:
            return
        try:
            worker = self._living_worker(_shared_module(call))
        except (OSError, WorkerDied) as error:
            self._let_go()
            call.fail(InfrastructureLost(f"no worker process could be started for {call.name}: {error}"))
            return
        if not self._crew.serve(call, worker):
            return
        try:
            answer = worker.ask(request)
        except WorkerDied as death:
            self._let_go()
            call.fail(_lost(call, death))
        else:
            _end(call, answer)
        finally:
            self._crew.served(call)

    def close(self) -> None:
        self._let_go()

    def _living_worker(self, module: str) -> Worker:
        if self._worker is not None and not self._worker.lives():
            self._let_go()
        if self._worker is None:
            self._worker = self._workforce.hire(module)
            self._worker.wait_for_start()
        return self._worker

    def _let_go(self) -> None:
        if self._worker is not None:
            self._worker.dismiss()
            self._worker = None


def _shared_module(call: Call) -> str:
    """The module of the call's function, if it is Playhead's own. A user's may start threads or open connections, and a
    fork must not share those with its siblings: each worker imports it for itself."""
    module: str = getattr(call.fn, "__module__", None) or ""
    return module if module.startswith(_OURS) else ""


def _request(call: Call) -> Frame | None:
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


def _end(call: Call, answer: Frame) -> None:
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


def _lost(call: Call, death: WorkerDied) -> InfrastructureLost:
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
