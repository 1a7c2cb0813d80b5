"""What becomes of each attempt of a call: its outcome as a record, another attempt, or the loss of its worker. Starts nothing.

An answer counts only if somebody still listens to that launch of the call; what it counts as is decided once, under the
launcher's lock, and what takes time comes before that.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from playhead.core import events as ev
from playhead.core.events import FailureCategory
from playhead.errors import InfrastructureLost, PlayheadError, TaskLost, UpstreamFailed
from playhead.journal.format import WORKER_NOTE, Blob, Record
from playhead.runner import perform as pf
from playhead.runner import steps
from playhead.runner.calls import Call, Stage
from playhead.runner.means import Means
from playhead.runner.upkeep import moment_after

MAX_TASK_LOSSES: Final = 3  # a call that kills its worker must not do so for ever


@dataclass(frozen=True, slots=True)
class Following:
    """Who is told what an attempt leads to. `ended` is called when the outcome counts, without the lock; the others with it held."""

    ended: Callable[[Call, Record], None]
    again: Callable[[Call], None]  # its next attempt may begin at `resting_until`
    relaunch: Callable[[Call], None]  # its worker was lost
    broken: Callable[[BaseException], None]  # something beyond a task: the run must end


class Attempts:
    """Of one run. `lock` is the launcher's."""

    def __init__(self, means: Means, lock: threading.RLock, following: Following) -> None:
        self._means = means
        self._lock = lock
        self._following = following
        self._final = False  # no failure is followed by another attempt any more

    def finalise(self) -> None:
        """From here on each failure is a call's last."""
        self._final = True

    def record_start(self, call: Call) -> None:
        """Once for each launch: a second one is against the lifecycle. The lock is held."""
        if call.recorded_start < call.execution:
            call.recorded_start = call.execution
            self._means.journal.append(steps.started(self._now(), call.key, call.attempt))

    def answered(self, call: Call, execution: int, performed: pf.Performed) -> bool:
        """An attempt has ended. False if nobody listens any more: it was timed out, cancelled, or taken for lost.

        What takes time comes before the lock, and an answer counts only if the call still runs then: so once a call is
        taken for ended, nothing more of it is recorded.
        """
        if not call.is_running(execution):
            return False
        try:
            if performed.category is None:
                answer = self._success(call, performed)
            else:
                answer = self._retrying(call, performed) or self._failure(call, performed)
            with self._lock:
                if not call.is_running(execution):
                    return False
                self.record_start(call)  # its deadline may have come before its worker got to it
                if answer.type == ev.TaskRetrying.TYPE:
                    self._rest(call, answer)
                else:
                    self._end(call, answer)
        except Exception as error:  # noqa: BLE001  # a storage's, or ours: the call would never end
            self._following.broken(error)
        return True

    def cancel(self, call: Call) -> None:
        """It ends here. The lock is held."""
        cancelled = ev.TaskCancelled(at=self._now(), key=call.key, attempt=call.attempt)
        self._end(call, _record(cancelled, None, then=partial(self._following.ended, call)))

    def fail_upstream(self, call: Call, failed: Call) -> None:
        """It does not run: what it needs did not succeed. The lock is held."""
        self._end(call, self._failure(call, pf.failure_of(_upstream_failed(call, failed))))

    def lost(self, call: Call, execution: int, error: InfrastructureLost) -> None:
        """Its worker has died under it."""
        with self._lock:
            if not call.is_running(execution):
                return
            call.losses += 1
            if call.losses >= MAX_TASK_LOSSES:
                lost = TaskLost(
                    f"task {call.key} lost its worker {call.losses} times: the last one {_end_of(error)}",
                    task_key=call.key,
                    hint="does it use more memory than there is, or call a library that crashes? its log lines may tell",
                )
                self.answered(call, execution, pf.failure_of(lost))
            else:
                self.record_start(call)
                event = ev.TaskLost(
                    at=self._now(), key=call.key, attempt=call.attempt, exit_code=error.exit_code, signal=error.signal
                )
                call.stage = Stage.WAITING
                self._means.journal.append(_record(event, None))
                self._following.relaunch(call)

    def not_begun(self, call: Call, execution: int) -> bool:
        """Its worker could not read the arguments, and so began nothing: it is launched again, with them. False: nobody listens."""
        with self._lock:
            if not call.is_running(execution):
                return False
            call.by_value = True
            call.recorded_start = call.execution + 1  # the start that is recorded is the next one's
            call.stage = Stage.WAITING
            self._following.relaunch(call)
            return True

    # --- the answer ----------------------------------------------------------------------------------------------------------

    def _success(self, call: Call, performed: pf.Performed) -> Record:
        payloads, stored = self._means.payloads, performed.stored
        if stored is None:
            payload, mac = payloads.keep(call.key, call.attempt, performed.payload)
            size = payloads.size_told(len(performed.payload))
        else:
            payload, mac = payloads.take(call.key, call.attempt, stored)
            size = payloads.size_told(stored.size)
        then = partial(self._following.ended, call)
        return steps.succeeded(self._now(), call.key, call.attempt, mac, size, payload, then, _note(performed))

    def _failure(self, call: Call, performed: pf.Performed) -> Record:
        assert performed.category is not None
        payload, mac = self._means.payloads.keep(call.key, call.attempt, performed.payload)
        failed = ev.TaskFailed(at=self._now(), key=call.key, attempt=call.attempt, category=performed.category, mac=mac)
        return _record(failed, payload, partial(self._following.ended, call), _note(performed))

    def _retrying(self, call: Call, performed: pf.Performed) -> Record | None:
        """None: the attempt that failed was the last."""
        assert performed.category is not None
        pause = self._retry_pause(call, performed)
        if pause is None:
            return None
        payload, mac = self._means.payloads.keep(call.key, call.attempt, performed.payload)
        at = self._now()
        event = ev.TaskRetrying(
            at=at, key=call.key, attempt=call.attempt, category=performed.category, mac=mac,
            retry_at=moment_after(at, pause),
        )  # fmt: skip
        return _record(event, payload, partial(self._retry, call), _note(performed))

    def _retry_pause(self, call: Call, performed: pf.Performed) -> timedelta | None:
        if performed.category in (FailureCategory.UPSTREAM, FailureCategory.LOST) or self._final:
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

    # --- its record ----------------------------------------------------------------------------------------------------------

    def _rest(self, call: Call, retrying: Record) -> None:
        """The next attempt begins at its time, and not before this is recorded."""
        call.stage = Stage.RESTING
        call.in_executor = None
        call.resting_until = retrying.data["retry_at"]
        self._means.journal.append(retrying)

    def _retry(self, call: Call, _: Record) -> None:
        with self._lock:
            if call.stage is Stage.RESTING:  # else it was cancelled meanwhile
                call.attempt += 1
                self._following.again(call)

    def _end(self, call: Call, outcome: Record) -> None:
        call.stage = Stage.ENDING
        call.in_executor = None
        self._means.journal.append(outcome)

    def _now(self) -> int:
        return self._means.upkeep.now()


def _record(
    event: ev.RunnerEvent,
    payload: bytes | Blob | None,
    then: Callable[[Record], None] | None = None,
    note: dict[str, Any] | None = None,
) -> Record:
    return Record(event.TYPE, event.SCHEMA, ev.encode(event), note, payload, then)


def _note(performed: pf.Performed) -> dict[str, Any] | None:
    """Which worker it was, for the user alone: a worker's name is a host's, mostly, and no server's business."""
    return None if performed.worker is None else {WORKER_NOTE: performed.worker}


def _end_of(lost: InfrastructureLost) -> str:
    if lost.memory_limit is not None:
        return f"was ended when it took nearly all of its memory limit of {lost.memory_limit / 1e9:.3g} GB"
    if lost.signal is not None:
        return f"was killed by {signal.Signals(lost.signal).name}"
    if lost.exit_code is not None:
        return f"ended with exit code {lost.exit_code}"
    return f"went without a trace ({lost.message})"


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
