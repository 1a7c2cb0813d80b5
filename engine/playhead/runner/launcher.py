"""Launching calls: who may start now, and with what. The only place that starts tasks.

A call starts when all that it needs has ended, when everything recorded by earlier epochs has been delivered, and while the lease
holds; in the order in which the flow asked. Its outcome (`Attempts`) counts once the journal says so; only then do dependents
start and the flow learns of it. Everything here happens under one lock, in whichever thread brings the news, so that a chain of
tasks needs no help from the flow's thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import Any, Final

from playhead.core.names import Micros, TaskKey
from playhead.flows.context import CurrentRun
from playhead.journal.format import Record
from playhead.runner import perform as pf
from playhead.runner.attempts import Attempts, Following
from playhead.runner.calls import Call, Ending, Stage
from playhead.runner.means import Means
from playhead.runner.pump import Inbox
from playhead.runner.workplace import Workplace

ADDED_TOGETHER: Final = 1_000  # calls of a map: meanwhile no other call can end


class Launcher:
    """See the module. `inbox` takes endings in journal order; `fail` ends the run when something is broken beyond a task."""

    def __init__(self, means: Means, inbox: Inbox, current: CurrentRun, fail: Callable[[BaseException], None]) -> None:
        self._means = means
        self._inbox = inbox
        self._fail = fail
        self._lock = threading.RLock()  # guards all below
        self._calls: dict[TaskKey, Call] = {}
        self._ready: deque[Call] = deque()
        self._in_executor = 0  # calls that were submitted by themselves
        self._width = max(1, means.executor.width)
        self._shifts = 0  # workers that take calls from `_ready` themselves
        self._coming = 0  # those of them that will ask for one at once: they have not begun, or are writing the journal
        self._open = False  # caught up with what is recorded
        self._leased = True
        self._closed = False  # nothing starts any more
        self._cancelling = False  # and what is asked for from now on is cancelled
        self._unended = 0
        self._attempts = Attempts(means, self._lock, Following(self._ended, self._enqueue, self._ready.append, fail))
        self._workplace = Workplace(means, self._attempts, self, current, self._calls)

    # --- what the session and the runner say -----------------------------------------------------------------------------

    @property
    def lock(self) -> threading.RLock:
        return self._lock

    def call_of(self, key: TaskKey) -> Call | None:
        return self._calls.get(key)

    def all_calls(self) -> list[Call]:
        with self._lock:
            return list(self._calls.values())

    def add(self, calls: Sequence[Call], needs: Iterable[tuple[Call, ...]]) -> None:
        """The flow asked for these calls, each of which needs some others. They start when they may.

        Many are added before the first of them starts: else workers would come, find one call ready, and leave again.
        """
        placed = zip(calls, needs, strict=True)
        while some := list(islice(placed, ADDED_TOGETHER)):
            with self._lock:
                for call, its in some:
                    self._add(call, its)
                self._start_ready()

    def _add(self, call: Call, needs: tuple[Call, ...]) -> None:
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

    def start(self) -> None:
        """A batch of outcomes counts: what has become ready by it starts."""
        with self._lock:
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

    def _rested(self, call: Call) -> None:
        with self._lock:
            if call.stage is Stage.RESTING:
                call.stage = Stage.WAITING
                self._ready.append(call)
                self._start_ready()

    def _start_ready(self) -> None:
        while self._ready and self._may_start():
            call = self._ready[0]
            if self._workplace.takes(call):
                if self._shifts >= self._width or self._coming >= len(self._ready):
                    return
                self._open_shift(call)
            elif self._in_executor < self._means.executor.backlog:
                self._ready.popleft()
                if self._launch(call):
                    self._submit(call)
            else:
                return

    def _may_start(self) -> bool:
        return self._open and self._leased and not self._closed

    def _launch(self, call: Call) -> bool:
        """Whether it starts now. Not if what it needs failed, or if it ended while it waited."""
        if call.stage is not Stage.WAITING:
            return False
        for need in call.needs:
            if not need.succeeded:
                self._attempts.fail_upstream(call, need)
                self._means.upkeep.kick()
                return False
        call.stage = Stage.LAUNCHED
        call.execution += 1
        return True

    def _submit(self, call: Call) -> None:
        self._in_executor += 1
        try:
            call.in_executor = self._workplace.submit(call, call.execution)
        except Exception as error:  # noqa: BLE001  # arguments that cannot be read back or sent belong to this task
            self._in_executor -= 1
            self._refuse(call, error)
        else:
            call.in_executor.add_done_callback(partial(self._executor_done, call, call.execution))

    def _open_shift(self, call: Call) -> None:
        """For the first of those that are ready, and what follows it."""
        self._shifts += 1
        self._coming += 1
        try:
            shift = self._workplace.open_shift()
        except Exception as error:  # noqa: BLE001  # the system gives no more threads: the call fails by it
            self._shifts -= 1
            self._coming -= 1
            self._ready.popleft()
            if self._launch(call):
                self._refuse(call, error)
        else:
            shift.add_done_callback(self._shift_done)

    def _refuse(self, call: Call, error: Exception) -> None:
        self._attempts.answered(call, call.execution, pf.failure_of(error))
        self._means.upkeep.kick()

    # --- what workers ask, in their threads --------------------------------------------------------------------------------------

    def next_call(self) -> Call | None:
        with self._lock:
            self._coming -= 1
            while self._ready and self._may_start() and self._workplace.takes(self._ready[0]):
                call = self._ready.popleft()
                if self._launch(call):
                    self._attempts.record_start(call)
                    return call
            self._shifts -= 1
            self._start_ready()  # another kind of call is the next: a new shift stands behind it in the executor's order
            return None

    def begin(self, call: Call, execution: int) -> bool:
        with self._lock:
            if not call.is_running(execution):
                return False
            self._attempts.record_start(call)
            return True

    def leads(self, *, comes_back: bool) -> bool:
        with self._lock:
            self._coming += comes_back
            return not self._ready

    def is_alone(self) -> bool:
        return self._unended == 1

    # --- ending -------------------------------------------------------------------------------------------------------------------

    def _executor_done(self, call: Call, execution: int, future: Future[Any]) -> None:
        try:
            with self._lock:
                self._in_executor -= 1
            if not future.cancelled():
                self._workplace.take_answer(call, execution, future)
            self.start()
        except Exception as error:  # noqa: BLE001  # nobody else hears of it, and the call would never end
            self._fail(error)

    def _shift_done(self, shift: Future[Any]) -> None:
        """It was withdrawn with all others, or no call is ready. What it raised is no call's failure: those were answered."""
        error = None if shift.cancelled() else shift.exception()
        if error is not None:
            self._fail(error)

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
