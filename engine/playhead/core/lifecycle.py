"""The lifecycle: what may happen to a run and to a task, as two tables, and the stamp that an event bears. Folds nothing.

`decide`, the fold, the docs and the tests read the tables; what they do not hold is an IllegalEvent.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from playhead.core import events as ev
from playhead.core.names import Epoch, Micros, Seq
from playhead.core.state import RunStatus, TaskStatus

R = RunStatus
T = TaskStatus

# What may happen to a run: (status, event) → status.
RUN_TRANSITIONS: Final[dict[tuple[RunStatus | None, type[ev.Event]], RunStatus]] = {
    (None, ev.RunScheduled): R.SCHEDULED,
    (R.SCHEDULED, ev.RunReady): R.READY,
    (R.SCHEDULED, ev.RunCancelled): R.CANCELLED,
    (R.READY, ev.RunClaimed): R.CLAIMED,
    (R.READY, ev.RunCancelled): R.CANCELLED,
    (R.READY, ev.RunCrashed): R.CRASHED,
    (R.CLAIMED, ev.RunReleased): R.READY,
    (R.CLAIMED, ev.RunStarted): R.RUNNING,
    (R.CLAIMED, ev.RunCancelled): R.CANCELLED,
    (R.CLAIMED, ev.RunCrashed): R.CRASHED,
    (R.RUNNING, ev.RunCancelling): R.CANCELLING,
    (R.RUNNING, ev.RunSucceeded): R.SUCCEEDED,
    (R.RUNNING, ev.RunFailed): R.FAILED,
    (R.RUNNING, ev.RunCancelled): R.CANCELLED,
    (R.RUNNING, ev.RunLost): R.READY,
    (R.RUNNING, ev.RunCrashed): R.CRASHED,
    (R.CANCELLING, ev.RunSucceeded): R.SUCCEEDED,
    (R.CANCELLING, ev.RunFailed): R.FAILED,
    (R.CANCELLING, ev.RunCancelled): R.CANCELLED,
    (R.CANCELLING, ev.RunCrashed): R.CRASHED,
    # `run.forgotten` may also be the first event of a stream; then it says the state itself.
    **{(status, kind): status for status in R if status.terminal for kind in (ev.RunLate, ev.RunForgotten)},
}

# What may happen to a task run; None is "not seen yet", which for an element of a map means submitted.
TASK_TRANSITIONS: Final[dict[tuple[TaskStatus | None, type[ev.TaskEvent]], TaskStatus]] = {
    (None, ev.TaskSubmitted): T.SUBMITTED,
    (T.SUBMITTED, ev.TaskStarted): T.RUNNING,
    (T.SUBMITTED, ev.TaskFailed): T.FAILED,  # something that it needs failed, or its arguments cannot be sent
    (T.SUBMITTED, ev.TaskCancelled): T.CANCELLED,
    (T.RUNNING, ev.TaskStarted): T.RUNNING,  # launched again by a later epoch
    (T.RUNNING, ev.TaskSucceeded): T.SUCCEEDED,
    (T.RUNNING, ev.TaskRetrying): T.RETRYING,
    (T.RUNNING, ev.TaskFailed): T.FAILED,
    (T.RUNNING, ev.TaskCancelled): T.CANCELLED,
    (T.RUNNING, ev.TaskLost): T.SUBMITTED,
    (T.RETRYING, ev.TaskStarted): T.RUNNING,
    (T.RETRYING, ev.TaskCancelled): T.CANCELLED,
}


class Stamp(NamedTuple):
    """What the envelope says of an event: when it was recorded, and which journal record it comes from."""

    recorded_at: Micros
    epoch: Epoch | None = None
    seq: Seq | None = None
