"""Launching calls: who may start now, what becomes of each attempt, and the record of it. The only place that starts tasks.

A call starts when all that it needs has ended, when everything recorded by earlier epochs has been delivered, and while the lease
holds; in the order in which the flow asked. Its outcome counts once the journal says so; only then do dependents start and the flow
learns of it. Everything here happens under one lock, in whichever thread brings the news, so that a chain of tasks needs no
help from the flow's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any, Final

from playhead.core import events as ev
from playhead.core.events import FailureCategory
from playhead.core.names import Epoch, Micros, RunId, Seq, TaskKey
from playhead.errors import (
    InfrastructureLost,
    PlayheadError,
    TaskLost,
    TaskTimedOut,
    UpstreamFailed,
)
from playhead.flows.context import CurrentRun
from playhead.flows.future import TaskFuture
from playhead.flows.task import Task
from playhead.journal.format import Blob, Record
from playhead.journal.place import JournalPlace
from playhead.journal.writer import JournalWriter
from playhead.ports.executor import ExecutorFuture, OpenExecutor
from playhead.ports.storage import Storage
from playhead.runner import perform as pf
from playhead.runner.binding import substitute
from playhead.runner.calls import Call, Ending, Stage
from playhead.runner.capture import Sink, capturing
from playhead.runner.elsewhere import Errand, performed_of
from playhead.runner.pump import Inbox
from playhead.runner.upkeep import Upkeep, moment_after
from playhead.trust.envelope import record_mac
from playhead.trust.keys import DerivedKey
from playhead.trust.payload import size_class

INLINE_BYTES: Final = 32 * 1024  # a larger payload is an object of its own, so that journals stay quick to read
MAX_TASK_LOSSES: Final = 3  # a call that kills its worker must not do so for ever
AHEAD: Final = 2  # calls handed to the executor for each that can run: enough that no worker waits for the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a run has to work with."""

    run: RunId
    flow: str
    epoch: Epoch
    key: DerivedKey
    storage: Storage
    place: JournalPlace
    journal: JournalWriter
    executor: OpenExecutor
    upkeep: Upkeep
    sink: Sink
    chance: random.Random
    log_prints: bool


class Launcher:
    """See the module. `inbox` takes endings in journal order; `fail` ends the run when something is broken beyond a task."""

    def __init__(self, means: Means, inbox: Inbox, current: CurrentRun, fail: Callable[[BaseException], None]) -> None:
        self._means = means
        self._inbox = inbox
        self._current = current
        self._fail = fail
        self._lock = threading.RLock()
        self._ready: deque[Call] = deque()
        self._in_executor = 0
        self._window = max(1, means.executor.width * AHEAD)
        self._open = False  # caught up with what is recorded
        self._leased = True
        self._closed = False  # nothing starts any more
        self._cancelling = False  # and what is asked for from now on is cancelled
        self._unended = 0
        self._calls: dict[TaskKey, Call] = {}
        self._errands: dict[int, tuple[Errand, bytes]] = {}  # by the identity of their task
        self._blobs = itertools.count(
            1
        )  # so that no two objects of a journal have one name, whoever answers for a call

    # --- what the session and the runner say -----------------------------------------------------------------------------

    @property
    def lock(self) -> threading.RLock:
        return self._lock

    def call_of(self, key: TaskKey) -> Call | None:
        return self._calls.get(key)

    def all_calls(self) -> list[Call]:
        with self._lock:
            return list(self._calls.values())

    @property
    def idle(self) -> bool:
        """Nothing that was asked for is still to end."""
        return self._unended == 0

    def add(self, call: Call, needs: tuple[Call, ...]) -> None:
        """The flow asked for this call. It starts when it may."""
        with self._lock:
            self._calls[call.key] = call
            if call.recorded:
                return
            self._unended += 1
            call.needs = needs
            for need in needs:
                if need.ending is None:
                    call.needed += 1
                    need.dependents.append(call)
            if self._cancelling:
                self._end(call, ev.TaskCancelled(at=self._now(), key=call.key, attempt=call.attempt), None)
                self._means.upkeep.kick()
            elif call.needed == 0:
                self._enqueue(call)

    def open_gate(self) -> None:
        """All recorded outcomes are delivered: what was not recorded may start."""
        with self._lock:
            self._open = True
            self._start_ready()

    def lease(self, *, holds: bool) -> None:
        """While the lease does not hold nothing starts; what runs goes on."""
        with self._lock:
            self._leased = holds
            self._start_ready()

    def close(self) -> None:
        """Start nothing more, and let go of what runs without recording anything."""
        with self._lock:
            self._closed = True
            running = [call.in_executor for call in self._calls.values() if call.in_executor is not None]
        for future in running:
            future.cancel()

    def cancel_all(self) -> None:
        """Every call that has not ended is cancelled, and recorded so. A thread cannot be stopped: its result is not listened to."""
        with self._lock:
            self._closed = self._cancelling = True
            self._ready.clear()
            ended = [
                call for call in self._calls.values() if call.stage in (Stage.WAITING, Stage.RESTING, Stage.LAUNCHED)
            ]
            running = [call.in_executor for call in ended if call.in_executor is not None]
            for call in ended:
                self._end(call, ev.TaskCancelled(at=self._now(), key=call.key, attempt=call.attempt), None)
        for future in running:
            future.cancel()
        self._means.upkeep.kick()

    # --- starting ------------------------------------------------------------------------------------------------------------

    def _enqueue(self, call: Call) -> None:
        if call.resting_until is not None and call.resting_until > self._means.upkeep.now():
            call.stage = Stage.RESTING
            self._means.upkeep.call_at(Micros(call.resting_until), partial(self._rested, call))
            return
        call.stage = Stage.WAITING
        self._ready.append(call)
        self._start_ready()

    def _rested(self, call: Call) -> None:
        with self._lock:
            if call.stage is Stage.RESTING:
                call.stage = Stage.WAITING
                self._ready.append(call)
                self._start_ready()

    def _start_ready(self) -> None:
        while self._ready and self._open and self._leased and not self._closed and self._in_executor < self._window:
            call = self._ready.popleft()
            if call.stage is Stage.WAITING:
                self._start(call)

    def _start(self, call: Call) -> None:
        failed = next((need for need in call.needs if not need.succeeded), None)
        if failed is not None:
            performed = pf.failure_of(_upstream_failed(call, failed))
            self._end(call, *self._failure(call, performed))
            self._means.upkeep.kick()
            return
        call.stage = Stage.LAUNCHED
        call.execution += 1
        self._in_executor += 1
        try:
            call.in_executor = self._submit(call, call.execution)
        except Exception as error:  # noqa: BLE001  # arguments that cannot be read back or sent belong to this task
            self._in_executor -= 1
            self._answered(call, call.execution, pf.failure_of(error))
            self._means.upkeep.kick()
        else:
            call.in_executor.add_done_callback(partial(self._executor_done, call, call.execution))

    def _submit(self, call: Call, execution: int) -> ExecutorFuture[Any]:
        executor, task = self._means.executor, call.task
        if executor.shares_memory:
            here = self._perform_here_async if task.is_async else self._perform_here
            return executor.submit(here, call, execution, _timeout=task.timeout)
        args, kwargs = self._values(call)
        errand, crossing = self._errand(task)
        self._record_start(call)
        return executor.submit(errand.there, crossing, args, kwargs, call.key, call.attempt, _timeout=task.timeout)

    def _record_start(self, call: Call) -> None:
        """Once for each launch: a second one is against the lifecycle."""
        if call.recorded_start < call.execution:
            call.recorded_start = call.execution
            self._means.journal.append(
                _record(ev.TaskStarted(at=self._now(), key=call.key, attempt=call.attempt), None)
            )

    def _values(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not call.needs:  # every future among the arguments is one of these
            return call.args, call.kwargs

        def value_of(future: TaskFuture[Any]) -> Any:
            upstream = self._calls[future.key]
            assert upstream.ending is not None
            return upstream.ending.value(upstream.key)

        return substitute(call.args, value_of), substitute(call.kwargs, value_of)

    def _errand(self, task: Task[..., Any]) -> tuple[Errand, bytes]:
        known = self._errands.get(id(task))
        if known is None:
            run = self._current
            errand = Errand(task, run.id, run.flow, run.scheduled_for, self._log_prints(task))
            known = self._errands[id(task)] = (errand, errand.to_bytes())
        return known

    def _info(self, call: Call) -> pf.CallInfo:
        current = CurrentRun(self._current.id, self._current.flow, self._current.scheduled_for, call.attempt, call.key)
        return pf.CallInfo(current, self._log_prints(call.task))

    def _log_prints(self, task: Task[..., Any]) -> bool:
        return task.log_prints if task.log_prints is not None else self._means.log_prints

    # --- in the worker's thread -------------------------------------------------------------------------------------------------

    def _perform_here(self, call: Call, execution: int) -> None:
        if not self._begin(call, execution):
            return
        info = self._info(call)
        with capturing(self._means.sink, log_prints=info.log_prints):
            try:
                args, kwargs = self._values(call)
            except Exception as error:  # noqa: BLE001  # an argument that does not read back belongs to this task
                performed = pf.failure_of(error)
            else:
                performed = pf.perform(call.task, args, kwargs, info)
        if self._answered(call, execution, performed):
            self._means.journal.commit()

    async def _perform_here_async(self, call: Call, execution: int) -> None:
        if not self._begin(call, execution):
            return
        info = self._info(call)
        with capturing(self._means.sink, log_prints=info.log_prints):
            try:
                args, kwargs = self._values(call)
            except Exception as error:  # noqa: BLE001  # as above
                performed = pf.failure_of(error)
            else:
                performed = await pf.perform_async(call.task, args, kwargs, info)
        if len(performed.payload) > INLINE_BYTES:
            await asyncio.to_thread(self._answered, call, execution, performed)
        else:
            self._answered(call, execution, performed)
        self._means.upkeep.kick()

    def _begin(self, call: Call, execution: int) -> bool:
        with self._lock:
            if not _is_running(call, execution):
                return False
            self._record_start(call)
            return True

    # --- ending -------------------------------------------------------------------------------------------------------------------

    def _executor_done(self, call: Call, execution: int, future: Future[Any]) -> None:
        """The executor's own answer: what its worker could not say itself."""
        try:
            with self._lock:
                self._in_executor -= 1
            if not future.cancelled():
                self._take_answer(call, execution, future)
            with self._lock:
                self._start_ready()
        except Exception as error:  # noqa: BLE001  # nobody else hears of it, and the call would never end
            self._fail(error)

    def _take_answer(self, call: Call, execution: int, future: Future[Any]) -> None:
        error = future.exception()
        if isinstance(error, InfrastructureLost):
            self._lost(call, execution, error)
        elif error is not None:
            if isinstance(error, TaskTimedOut):
                error = TaskTimedOut(
                    f"task {call.key} ran longer than its timeout of {call.task.timeout}", task_key=call.key
                )
            if self._answered(call, execution, pf.failure_of(error)):
                self._means.upkeep.kick()
        elif not self._means.executor.shares_memory:
            performed = performed_of(future.result())
            if performed.lines:
                self._means.sink(performed.lines)
            self._answered(call, execution, performed)
            self._means.upkeep.kick()

    def _answered(self, call: Call, execution: int, performed: pf.Performed) -> bool:
        """An attempt has ended. False if nobody listens any more: it was timed out, cancelled, or taken for lost.

        What takes time comes before the lock, and an answer counts only if the call still runs then: so once a call is
        taken for ended, nothing more of it is recorded.
        """
        if not _is_running(call, execution):
            return False
        try:
            if performed.category is None:
                answer, payload = self._success(call, performed)
            else:
                answer, payload = self._retrying(call, performed) or self._failure(call, performed)
            with self._lock:
                if not _is_running(call, execution):
                    return False
                self._record_start(call)  # its deadline may have come before its worker got to it
                if isinstance(answer, ev.TaskRetrying):
                    self._rest(call, answer, payload)
                else:
                    self._end(call, answer, payload)
        except Exception as error:  # noqa: BLE001  # a storage's, or ours: the call would never end
            self._fail(error)
        return True

    def _success(self, call: Call, performed: pf.Performed) -> tuple[ev.TaskEvent, bytes | Blob]:
        payload, mac = self._payload(call, performed.payload)
        size = size_class(len(performed.payload))
        return ev.TaskSucceeded(at=self._now(), key=call.key, attempt=call.attempt, mac=mac, size=size), payload

    def _failure(self, call: Call, performed: pf.Performed) -> tuple[ev.TaskEvent, bytes | Blob]:
        assert performed.category is not None
        payload, mac = self._payload(call, performed.payload)
        failed = ev.TaskFailed(at=self._now(), key=call.key, attempt=call.attempt, category=performed.category, mac=mac)
        return failed, payload

    def _retrying(self, call: Call, performed: pf.Performed) -> tuple[ev.TaskEvent, bytes | Blob] | None:
        """None: the attempt that failed was the last."""
        assert performed.category is not None
        pause = self._retry_pause(call, performed)
        if pause is None:
            return None
        payload, mac = self._payload(call, performed.payload)
        at = self._now()
        event = ev.TaskRetrying(
            at=at, key=call.key, attempt=call.attempt, category=performed.category, mac=mac,
            retry_at=moment_after(at, pause),
        )  # fmt: skip
        return event, payload

    def _retry_pause(self, call: Call, performed: pf.Performed) -> timedelta | None:
        if performed.category in (FailureCategory.UPSTREAM, FailureCategory.LOST) or self._closed:
            return None
        error = performed.error
        if error is None:
            from playhead.trust.failure import load_failure

            error = load_failure(performed.payload).exception
        policy = call.task.retry
        try:
            return policy.pause(call.attempt, self._means.chance) if policy.wants(error, call.attempt) else None
        except Exception:  # noqa: BLE001  # a rule of the user's that raises cannot ask for another attempt
            return None

    def _rest(self, call: Call, event: ev.TaskRetrying, payload: bytes | Blob) -> None:
        """The next attempt begins at its time, and not before this is recorded."""
        call.stage = Stage.RESTING
        call.in_executor = None
        call.resting_until = event.retry_at
        self._means.journal.append(_record(event, payload, then=partial(self._retry, call)))

    def _retry(self, call: Call, _: Seq) -> None:
        with self._lock:
            if call.stage is Stage.RESTING:  # else it was cancelled meanwhile
                call.attempt += 1
                self._enqueue(call)

    def _lost(self, call: Call, execution: int, error: InfrastructureLost) -> None:
        with self._lock:
            if not _is_running(call, execution):
                return
            call.losses += 1
            if call.losses >= MAX_TASK_LOSSES:
                lost = TaskLost(
                    f"task {call.key} lost its worker {call.losses} times: the last one {_end_of(error)}",
                    task_key=call.key,
                    hint="does it use more memory than there is, or call a library that crashes? its log lines may tell",
                )
                self._answered(call, execution, pf.failure_of(lost))
            else:
                self._record_start(call)
                event = ev.TaskLost(
                    at=self._now(), key=call.key, attempt=call.attempt, exit_code=error.exit_code, signal=error.signal
                )
                call.stage = Stage.WAITING
                self._means.journal.append(_record(event, None))
                self._ready.append(call)
        self._means.upkeep.kick()

    def _payload(self, call: Call, payload: bytes) -> tuple[bytes | Blob, str]:
        digest = sha256(payload)
        mac = record_mac(self._means.key, self._means.run, call.key, call.attempt, self._means.epoch, digest.digest())
        if len(payload) <= INLINE_BYTES:
            return payload, mac
        path = self._means.place.blob(call.key, call.attempt, f"{next(self._blobs)}")
        self._means.storage.create_if_absent(path, payload)
        return Blob(path, digest.hexdigest(), len(payload)), mac

    def _end(self, call: Call, event: ev.TaskEvent, payload: bytes | Blob | None) -> None:
        call.stage = Stage.ENDING
        call.in_executor = None
        record = _record(event, payload)
        ended = Record(record.type, record.schema, record.data, None, payload, partial(self._ended, call, record))
        self._means.journal.append(ended)

    def _ended(self, call: Call, record: Record, seq: Seq) -> None:
        """The outcome counts: dependents may start, and the flow learns of it."""
        with self._lock:
            call.ending = Ending(record, self._means.storage)
            call.stage = Stage.ENDED
            self._unended -= 1
            self._inbox.put(call)
            dependents, call.dependents = call.dependents, []
            for dependent in dependents:
                dependent.needed -= 1
                if dependent.needed == 0 and dependent.stage is Stage.WAITING:
                    self._enqueue(dependent)
            self._start_ready()

    def _now(self) -> int:
        return self._means.upkeep.now()


def _end_of(lost: InfrastructureLost) -> str:
    if lost.signal is not None:
        return f"was killed by {signal.Signals(lost.signal).name}"
    if lost.exit_code is not None:
        return f"ended with exit code {lost.exit_code}"
    return f"went without a trace ({lost.message})"


def _record(event: ev.RunnerEvent, payload: bytes | Blob | None, then: Callable[[Seq], None] | None = None) -> Record:
    return Record(event.TYPE, event.SCHEMA, ev.encode(event), None, payload, then)


def _is_running(call: Call, execution: int) -> bool:
    """Whether somebody still listens to this launch of the call."""
    return call.stage is Stage.LAUNCHED and call.execution == execution


def _upstream_failed(call: Call, failed: Call) -> UpstreamFailed:
    """Names what the call needs, and has as its cause what failed first: of a long chain each link keeps that alone."""
    error = UpstreamFailed(
        f"task {call.key} did not run: it needs {failed.key}, which did not succeed", task_key=call.key
    )
    assert failed.ending is not None
    try:
        cause = failed.ending.error(failed.key)
    except PlayheadError as unreadable:
        cause = unreadable
    error.__cause__ = cause.__cause__ if isinstance(cause, UpstreamFailed) and cause.__cause__ is not None else cause
    return error
