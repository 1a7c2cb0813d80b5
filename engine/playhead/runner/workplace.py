"""Where calls are performed: in the executor's workers of this process, on its loop, or in processes elsewhere.

Owns what a call is given, and how its answer comes back. Which call may start is the launcher's, what an answer means the
attempts'. In this process a worker works a *shift*: it performs what is ready, one call after the other, so that a small call
costs neither a submission nor a wake-up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from playhead.core.names import TaskKey
from playhead.errors import InfrastructureLost, TaskTimedOut
from playhead.flows.context import CurrentRun
from playhead.flows.future import TaskFuture
from playhead.flows.task import Task
from playhead.journal.format import Blob
from playhead.journal.reader import payload_bytes
from playhead.ports.executor import ClusterExecutor, ExecutorFuture
from playhead.runner import perform as pf
from playhead.runner import references
from playhead.runner.attempts import Attempts
from playhead.runner.binding import substitute
from playhead.runner.calls import Call
from playhead.runner.capture import capturing, line
from playhead.runner.elsewhere import Errand, performed_of
from playhead.runner.means import Means
from playhead.runner.references import Depot, Stored, Unseen


class Queue(Protocol):
    """What a worker asks of the launcher."""

    def next_call(self) -> Call | None:
        """The next call, launched; None ends the worker's shift."""
        ...

    def begin(self, call: Call, execution: int) -> bool:
        """A call that was submitted by itself begins. False: nobody listens to it any more."""
        ...

    def leads(self, *, comes_back: bool) -> bool:
        """Whether a worker that has made an answer is to write the journal itself: only if it has nothing better to do.
        `comes_back`: it asks for the next call right after that, whatever is said here."""
        ...

    def is_alone(self) -> bool:
        """Whether nothing is asked for but the one call that asks this."""
        ...


class Workplace:
    def __init__(
        self, means: Means, attempts: Attempts, queue: Queue, current: CurrentRun, calls: Mapping[TaskKey, Call]
    ) -> None:
        self._means = means
        self._attempts = attempts
        self._queue = queue
        self._current = current
        self._calls = calls
        self._errands: dict[int, tuple[Errand, bytes]] = {}  # by the identity of their task
        executor = means.executor
        self._cluster = executor if isinstance(executor, ClusterExecutor) else None
        self._depot = _depot_for(self._cluster, means)
        self._hands = self._depot is not None  # large arguments by reference

    def takes(self, call: Call) -> bool:
        """Whether a shift performs it. A coroutine runs on the executor's loop, and a deadline is kept by the executor."""
        return self._means.executor.shares_memory and not call.task.is_async and call.task.timeout is None

    def open_shift(self) -> ExecutorFuture[Any]:
        """Have a worker ask for calls."""
        return self._means.executor.submit(self._work)

    def submit(self, call: Call, execution: int) -> ExecutorFuture[Any]:
        """Hand the one call to the executor. Raises what makes that impossible. The launcher's lock is held."""
        executor, task = self._means.executor, call.task
        if executor.shares_memory:
            here = self._perform_on_loop if task.is_async else self._perform_alone
            return executor.submit(here, call, execution, _timeout=task.timeout)
        if self._hands and not call.by_value and any(need.has_large_result for need in call.needs):
            handed = references.hand((call.args, call.kwargs), self._payload_of)
            errand, crossing = self._errand(task)
            self._attempts.record_start(call)
            return self._send(task, errand.there_by_reference, crossing, handed, call.key, call.attempt)
        args, kwargs = self._values(call)
        errand, crossing = self._errand(task)
        self._attempts.record_start(call)
        return self._send(task, errand.there, crossing, args, kwargs, call.key, call.attempt)

    def _send(self, task: Task[..., Any], there: Callable[..., Any], *args: Any) -> ExecutorFuture[Any]:
        """To a worker elsewhere, of the kind that the task asks for where the executor has kinds."""
        if self._cluster is None or not (task.resources or task.priority):
            return self._means.executor.submit(there, *args, _timeout=task.timeout)
        return self._cluster.submit_placed(
            there, *args, _resources=task.resources, _priority=task.priority, _timeout=task.timeout
        )

    def take_answer(self, call: Call, execution: int, future: Future[Any]) -> None:
        """The executor's own answer: what its worker could not say itself."""
        error = future.exception()
        if isinstance(error, InfrastructureLost):
            self._attempts.lost(call, execution, error)
        elif error is not None:
            if isinstance(error, TaskTimedOut):
                error = TaskTimedOut(
                    f"task {call.key} ran longer than its timeout of {call.task.timeout}", task_key=call.key
                )
            if not self._attempts.answered(call, execution, pf.failure_of(error)):
                return
        elif not self._means.executor.shares_memory:
            performed = performed_of(future.result(), getattr(future, "worker", None))
            if isinstance(performed, Unseen):
                if self._attempts.not_begun(call, execution):
                    self._tell_unseen(performed)
                return
            if performed.lines:
                self._means.sink(performed.lines)
            self._attempts.answered(call, execution, performed)
        else:
            return  # the worker has answered for itself
        self._means.upkeep.kick()

    # --- in a worker's thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """One shift."""
        with capturing(self._means.sink, log_prints=self._means.log_prints):
            while (call := self._queue.next_call()) is not None:
                answered = self._perform(call, call.execution)
                leads = self._queue.leads(comes_back=True)
                if answered:
                    self._see_to_the_journal(leads=leads)

    def _perform_alone(self, call: Call, execution: int) -> None:
        if self._queue.begin(call, execution):
            with capturing(self._means.sink, log_prints=self._means.log_prints):
                answered = self._perform(call, execution)
            if answered:
                self._see_to_the_journal(leads=self._queue.leads(comes_back=False))

    def _perform(self, call: Call, execution: int) -> bool:
        try:
            args, kwargs = self._values(call)
        except Exception as error:  # noqa: BLE001  # an argument that does not read back belongs to this task
            performed = pf.failure_of(error)
        else:
            performed = pf.perform(call.task, args, kwargs, self._info(call))
        return self._attempts.answered(call, execution, performed)

    async def _perform_on_loop(self, call: Call, execution: int) -> None:
        if not self._queue.begin(call, execution):
            return
        with capturing(self._means.sink, log_prints=self._means.log_prints):
            try:
                args, kwargs = self._values(call)
            except Exception as error:  # noqa: BLE001  # as above
                performed = pf.failure_of(error)
            else:
                performed = await pf.perform_async(call.task, args, kwargs, self._info(call))
        if len(performed.payload) > references.INLINE_BYTES:
            await asyncio.to_thread(self._attempts.answered, call, execution, performed)
        else:
            self._attempts.answered(call, execution, performed)
        self._see_to_the_journal(leads=self._queue.is_alone())

    def _see_to_the_journal(self, *, leads: bool) -> None:
        """Write one batch here, or have the upkeep write."""
        if not leads or self._means.journal.commit_some(1):
            self._means.upkeep.kick()

    # --- what a call is given -------------------------------------------------------------------------------------------------

    def _values(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not call.needs:  # every future among the arguments is one of these
            return call.args, call.kwargs

        def value_of(future: TaskFuture[Any]) -> Any:
            upstream = self._calls[future.key]
            assert upstream.ending is not None
            return upstream.ending.value(upstream.key)

        return substitute(call.args, value_of), substitute(call.kwargs, value_of)

    def _payload_of(self, key: TaskKey) -> bytes | Stored:
        """The result of a call by reference, or the bytes of a small one."""
        ending = self._calls[key].ending
        assert ending is not None
        match ending.payload:
            case Blob(path, digest, size, None):
                return Stored(path, digest, size)
            case payload:
                return payload_bytes(self._means.storage, payload, where=f"task {key}")

    def _tell_unseen(self, unseen: Unseen) -> None:
        """From now on arguments go through this process. Said once, in the run's log lines."""
        if self._hands:
            self._hands = False
            text = f"a worker does not see the run's storage, so large arguments go through the runner: {unseen.why}"
            self._means.sink(line("WARNING", "playhead.runner", text, None))

    def _info(self, call: Call) -> pf.CallInfo:
        current = CurrentRun(self._current.id, self._current.flow, self._current.scheduled_for, call.attempt, call.key)
        return pf.CallInfo(current, self._log_prints(call.task))

    def _log_prints(self, task: Task[..., Any]) -> bool:
        return task.log_prints if task.log_prints is not None else self._means.log_prints

    def _errand(self, task: Task[..., Any]) -> tuple[Errand, bytes]:
        known = self._errands.get(id(task))
        if known is None:
            run = self._current
            errand = Errand(task, run.id, run.flow, run.scheduled_for, self._log_prints(task), self._depot)
            known = self._errands[id(task)] = (errand, errand.to_bytes())
        return known


def _depot_for(cluster: ClusterExecutor | None, means: Means) -> Depot | None:
    """Where the executor's workers write large results down; None where the runner does."""
    if cluster is None or cluster.persist == "runner":
        return None
    return means.payloads.depot(insists=cluster.persist == "worker")
