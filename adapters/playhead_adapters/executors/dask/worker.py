"""What runs on a Dask worker: a parcel of calls, one after the other. Owns which calls are running here, and can stop them.

A parcel is one Dask task. It is a coroutine on the worker's loop, so that it can be let go whatever its call does; functions run in
threads of ours beside the worker's own. A thread cannot be stopped: it is written off, as by the thread executor, or the whole
worker is ended, where that harms nobody else. Errors of a call are answers here: what Dask sees never fails by a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Coroutine, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, NamedTuple

from playhead.executors import worker as wire
from playhead.executors.worker import Frame, dumps
from playhead_adapters.executors.dask import versions
from playhead_adapters.executors.dask.library import cloudpickle, distributed, distributed_threads

MAX_THREADS: Final = 1_000  # at a time: Dask admits as many calls as the worker has threads, the others are written off
# Calls stopped before they came: their parcel was on its way, and is here long before so many
MAX_REMEMBERED: Final = 100_000
# Of a parcel: from then on it begins no call but its first, and the others find a free worker
PATIENCE_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 0.01  # for an answer of a few bytes to leave


class Request(NamedTuple):
    """A call on its way. `number` is unique in its executor. `timeout_seconds` counts from when the call begins."""

    number: int
    kind: bytes
    body: bytes
    timeout_seconds: float | None = None


class Answer(NamedTuple):
    number: int
    frame: Frame
    seconds: float  # that the call took


class Answers(NamedTuple):
    """Of a parcel. `worker`: its name, and its address where that is something else."""

    worker: str
    of_calls: list[Answer]


_running: dict[tuple[str, int], _Run] = {}
_withdrawn: OrderedDict[tuple[str, int], None] = OrderedDict()
_threads: Any = distributed_threads.ThreadPoolExecutor(
    MAX_THREADS, thread_name_prefix="playhead"
)  # Dask's, as its threads are daemons


async def compute(executor: str, runners_versions: str, parcel: bytes) -> Answers:
    """Run the calls in their order; a Dask task. `executor` names whose they are.

    One that was stopped has no answer, nor have those that were not come to in time: they are not as short as was thought.
    """
    here = distributed.get_worker()
    versions.check(runners_versions, here.address)  # it may have come after all were asked
    requests: list[Request] = pickle.loads(parcel)  # noqa: S301 — it comes from the runner, whose cluster this is
    answers: list[Answer] = []
    waiting = deque(requests)
    until = time.monotonic() + PATIENCE_SECONDS
    while waiting and (not answers or time.monotonic() < until):
        run = _Run(executor, waiting, answers, until)
        if needs_care(waiting[0]):
            await run.one()
        else:
            await run.many()
    name = str(here.name)
    return Answers(name if here.address in name else f"{name} at {here.address}", answers)


def needs_care(request: Request) -> bool:
    """Whether the call is to be run by itself: it has a deadline, or is a coroutine."""
    return request.timeout_seconds is not None or request.kind == wire.COROUTINE


def stop(executor: str, numbers: Sequence[int]) -> list[int]:
    """Stop these calls of the executor's, if they are here or come later. Returns those whose thread goes on for nobody."""
    left: list[int] = []
    for number in numbers:
        run = _running.get((executor, number))
        if run is None:
            _withdrawn[executor, number] = None
            if len(_withdrawn) > MAX_REMEMBERED:
                _withdrawn.popitem(last=False)
        elif not run.stop(number):
            left.append(number)
    return left


def end_process() -> None:
    """Kill this worker, as soon as the answer to this is out; its nanny starts another."""
    asyncio.get_running_loop().call_later(ANSWER_SECONDS, os.kill, os.getpid(), signal.SIGKILL)


class _Run:
    """A stretch of a parcel: one call, or several functions in one thread. What it runs now, and whether it was written off."""

    def __init__(self, executor: str, waiting: deque[Request], answers: list[Answer], until: float) -> None:
        self._executor = executor
        self._waiting = waiting
        self._answers = answers
        self._until = until
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # guards the next two: the call that is stopped must be the one that was meant
        self._current: Request | None = None
        self._written_off = False
        self._work: asyncio.Future[Any] | None = None

    async def one(self) -> None:
        """Run the first call, with its deadline."""
        request = self._waiting.popleft()
        if not self._begin(request):
            return
        if request.kind == wire.COROUTINE:
            self._work = asyncio.ensure_future(_answer_async(request))
        else:
            call = partial(_answer, request)
            self._work = self._loop.run_in_executor(_threads, copy_context().run, call)
        deadline: asyncio.TimerHandle | None = None
        if request.timeout_seconds is not None:
            deadline = self._loop.call_later(request.timeout_seconds, _tell_expired, self._executor, request.number)
        try:
            self._end(request, await self._work)
        except asyncio.CancelledError:
            if not self._written_off:
                raise  # it is the worker that closes
        finally:
            if deadline is not None:
                deadline.cancel()

    async def many(self) -> None:
        """Run functions in one thread, until one comes that needs care, or the thread is written off."""
        self._work = self._loop.run_in_executor(_threads, self._in_thread, copy_context())
        try:
            await self._work
        except asyncio.CancelledError:
            if not self._written_off:
                raise  # as above

    def stop(self, number: int) -> bool:
        """Stop the call of that number, if it is the one that runs. False if its thread goes on."""
        with self._lock:
            request = self._current
            if request is None or request.number != number or self._work is None:
                return True
            self._written_off = True
            _running.pop((self._executor, number), None)
        self._work.cancel()
        return request.kind == wire.COROUTINE

    def _in_thread(self, context: Context) -> None:
        while self._waiting and not needs_care(self._waiting[0]):
            request = self._waiting.popleft()
            if self._begin(request) and not self._end(request, context.copy().run(_answer, request)):
                return  # written off meanwhile: the rest of the parcel is another thread's
            if time.monotonic() > self._until:
                return

    def _begin(self, request: Request) -> bool:
        """False: it was stopped before it came."""
        name = self._executor, request.number
        if name in _withdrawn:
            _withdrawn.pop(name, None)
            return False
        with self._lock:
            self._current = request
            _running[name] = self
        return True

    def _end(self, request: Request, answer: Answer) -> bool:
        """False: nobody listens to this stretch any longer."""
        with self._lock:
            if self._written_off:
                return False
            self._current = None
            _running.pop((self._executor, request.number), None)
            self._answers.append(answer)
            return True


def _tell_expired(executor: str, number: int) -> None:
    """Tell the runner that a call has run too long. It decides what becomes of it, and says so by `stop`."""
    distributed.get_worker().log_event(executor, {"expired": number})


def _answer(request: Request) -> Answer:
    """Run a function to its end."""
    began = time.perf_counter()
    try:
        fn, args, kwargs = pickle.loads(request.body)  # noqa: S301 — as above
    except BaseException as error:  # noqa: BLE001 — unpickling runs foreign code, which may raise anything
        return _answered(request, began, Frame(wire.BAD_CALL, _named(error)))
    try:
        value = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 — whatever the call raises is its outcome
        return _answered(request, began, _raised(error))
    return _answered(request, began, _result(value))


async def _answer_async(request: Request) -> Answer:
    began = time.perf_counter()
    try:
        fn, args, kwargs = pickle.loads(request.body)  # noqa: S301 — as above
    except BaseException as error:  # noqa: BLE001 — as above
        return _answered(request, began, Frame(wire.BAD_CALL, _named(error)))
    work: Coroutine[Any, Any, Any] = fn(*args, **kwargs)
    try:
        value = await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return _answered(request, began, _raised(error))
    except BaseException as error:  # noqa: BLE001 — a SystemExit that leaves a task would end the worker's loop
        return _answered(request, began, _raised(error))
    return _answered(request, began, _result(value))


def _answered(request: Request, began: float, frame: Frame) -> Answer:
    _flush()
    return Answer(request.number, frame, time.perf_counter() - began)


def _result(value: Any) -> Frame:
    try:
        return Frame(wire.RESULT, body=dumps(value))
    except BaseException as error:  # noqa: BLE001 — pickling runs foreign code
        return Frame(wire.BAD_RESULT, _named(error))


def _raised(error: BaseException) -> Frame:
    """The exception with its traceback as text: a traceback does not pickle."""
    trace = error.__traceback__
    text = "".join(traceback.format_exception(type(error), error, trace.tb_next if trace else None))
    for cause in (error.__cause__, None):  # a cause that does not pickle is still in the text
        with contextlib.suppress(BaseException):
            return Frame(wire.RAISED, text, _dumped((error, cause)))
    return Frame(wire.BAD_RAISED, text)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it is untyped
    """Pickles exceptions in their own way. Dask has tblib take over for all of them, process-wide: its way loses what a class
    sets in its constructor, and needs tblib to be read.
    """

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, BaseException):
            return obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return super().reducer_override(obj)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] — it is untyped


def _dumped(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _flush() -> None:
    """What the call printed must not be lost if the next one kills this process."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
