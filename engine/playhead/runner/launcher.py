"""Launching calls: who may start now, and with what. The only place that starts tasks.

A call starts when all that it needs has ended, when everything recorded by earlier epochs has been delivered, and while the lease
holds; in the order in which the flow asked. Its outcome (`Attempts`) counts once the journal says so; only then do dependents
start and the flow learns of it. Everything here happens under one lock, in whichever thread brings the news, so that a chain of
tasks needs no help from the flow's thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from playhead.core.names import Micros, TaskKey
from playhead.errors import InfrastructureLost, TaskTimedOut
from playhead.flows.context import CurrentRun
from playhead.flows.future import TaskFuture
from playhead.flows.task import Task
from playhead.journal.format import Record
from playhead.ports.executor import ExecutorFuture
from playhead.runner import payloads
from playhead.runner import perform as pf
from playhead.runner.attempts import Attempts, Following
from playhead.runner.binding import substitute
from playhead.runner.calls import Call, Ending, Stage
from playhead.runner.capture import capturing
from playhead.runner.elsewhere import Errand, performed_of
from playhead.runner.means import Means
from playhead.runner.pump import Inbox

AHEAD: Final = 2  # calls handed to the executor for each that can run: enough that no worker waits for the next


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
        self._attempts = Attempts(means, self._lock, Following(self._ended, self._enqueue, self._relaunch, fail))

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
                self._attempts.cancel(call)
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
            self._attempts.finalise()
            running = [call.in_executor for call in self._calls.values() if call.in_executor is not None]
        for future in running:
            future.cancel()

    def cancel_all(self) -> None:
        """Every call that has not ended is cancelled, and recorded so. A thread cannot be stopped: its result is not listened to."""
        with self._lock:
            self._closed = self._cancelling = True
            self._attempts.finalise()
            self._ready.clear()
            ended = [
                call for call in self._calls.values() if call.stage in (Stage.WAITING, Stage.RESTING, Stage.LAUNCHED)
            ]
            running = [call.in_executor for call in ended if call.in_executor is not None]
            for call in ended:
                self._attempts.cancel(call)
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

    def _relaunch(self, call: Call) -> None:
        self._ready.append(call)

    def _start_ready(self) -> None:
        while self._ready and self._open and self._leased and not self._closed and self._in_executor < self._window:
            call = self._ready.popleft()
            if call.stage is Stage.WAITING:
                self._start(call)

    def _start(self, call: Call) -> None:
        failed = next((need for need in call.needs if not need.succeeded), None)
        if failed is not None:
            self._attempts.fail_upstream(call, failed)
            self._means.upkeep.kick()
            return
        call.stage = Stage.LAUNCHED
        call.execution += 1
        self._in_executor += 1
        try:
            call.in_executor = self._submit(call, call.execution)
        except Exception as error:  # noqa: BLE001  # arguments that cannot be read back or sent belong to this task
            self._in_executor -= 1
            self._attempts.answered(call, call.execution, pf.failure_of(error))
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
        self._attempts.record_start(call)
        return executor.submit(errand.there, crossing, args, kwargs, call.key, call.attempt, _timeout=task.timeout)

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
        if self._attempts.answered(call, execution, performed):
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
        if len(performed.payload) > payloads.INLINE_BYTES:
            await asyncio.to_thread(self._attempts.answered, call, execution, performed)
        else:
            self._attempts.answered(call, execution, performed)
        self._means.upkeep.kick()

    def _begin(self, call: Call, execution: int) -> bool:
        with self._lock:
            if not call.is_running(execution):
                return False
            self._attempts.record_start(call)
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
            self._attempts.lost(call, execution, error)
            self._means.upkeep.kick()
        elif error is not None:
            if isinstance(error, TaskTimedOut):
                error = TaskTimedOut(
                    f"task {call.key} ran longer than its timeout of {call.task.timeout}", task_key=call.key
                )
            if self._attempts.answered(call, execution, pf.failure_of(error)):
                self._means.upkeep.kick()
        elif not self._means.executor.shares_memory:
            performed = performed_of(future.result())
            if performed.lines:
                self._means.sink(performed.lines)
            self._attempts.answered(call, execution, performed)
            self._means.upkeep.kick()

    def _ended(self, call: Call, record: Record) -> None:
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
