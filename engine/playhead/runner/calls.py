"""A call in the flow: what was asked, how far it has come, how it ended. Values and small transitions; launches nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum, auto
from functools import partial
from typing import Any

from playhead.core import events as ev
from playhead.core.names import TaskKey
from playhead.core.state import TaskStatus
from playhead.errors import StorageError, TaskCancelled, UnloadableOutcome
from playhead.flows.future import TaskFuture
from playhead.flows.task import Task
from playhead.journal.format import Blob, Record
from playhead.journal.reader import payload_bytes
from playhead.ports.executor import ExecutorFuture
from playhead.ports.storage import Storage
from playhead.trust.failure import load_failure
from playhead.trust.payload import load


class Stage(Enum):
    WAITING = auto()  # for calls that it needs, or for its turn
    RESTING = auto()  # between two attempts
    LAUNCHED = auto()
    ENDING = auto()  # its outcome is on the way into the journal
    ENDED = auto()


class Ending:
    """A recorded outcome. Every consumer reads a value of its own from it, so that no task sees what another did to its argument.

    It keeps the payload and not the record, which is twice as large: there is one for each task for as long as its run lasts.
    """

    __slots__ = ("_payload", "_storage", "status")

    def __init__(self, record: Record, storage: Storage) -> None:
        self._payload = record.payload
        self.status = _STATUS[record.type]
        self._storage = storage

    @property
    def payload(self) -> bytes | Blob | None:
        """As it was recorded."""
        return self._payload

    @property
    def is_large(self) -> bool:
        """It is an object of its own, which a reader without the run's key can read."""
        return isinstance(self._payload, Blob) and self._payload.key is None

    def value(self, key: TaskKey) -> Any:
        """The result. Raises StorageError or TrustError when it cannot be read, UnloadableOutcome when it cannot be unpickled."""
        payload = payload_bytes(self._storage, self._payload, where=f"task {key}")
        try:
            return load(payload, f"the result of task {key}")
        except UnloadableOutcome:
            raise
        except Exception as error:
            raise UnloadableOutcome(f"the result of task {key} cannot be read back: {error!r}", task_key=key) from error

    def error(self, key: TaskKey) -> BaseException:
        """The failure, as it reads back."""
        if self.status is TaskStatus.CANCELLED:
            return TaskCancelled(f"task {key} was cancelled", task_key=key)
        return load_failure(payload_bytes(self._storage, self._payload, where=f"task {key}")).exception


_STATUS: Mapping[str, TaskStatus] = {
    ev.TaskSucceeded.TYPE: TaskStatus.SUCCEEDED,
    ev.TaskFailed.TYPE: TaskStatus.FAILED,
    ev.TaskCancelled.TYPE: TaskStatus.CANCELLED,
}


class Call:
    """One task run in this runner. Guarded by the launcher's lock, except for the future, which is the flow thread's."""

    __slots__ = (
        "args",
        "attempt",
        "by_value",
        "delivered",
        "dependents",
        "ending",
        "execution",
        "failure",
        "future",
        "in_executor",
        "key",
        "kwargs",
        "landed",
        "losses",
        "needed",
        "needs",
        "recorded",
        "recorded_start",
        "resting_until",
        "stage",
        "task",
    )

    def __init__(
        self, key: TaskKey, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], future: TaskFuture[Any]
    ) -> None:
        self.key = key
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.stage = Stage.WAITING
        self.attempt = 1
        self.losses = 0
        self.by_value = False  # a worker could not read its arguments where they are
        self.execution = 0  # grows with each launch here: an answer of an older one is not listened to
        self.recorded_start = 0  # the launch whose start was recorded last
        self.needs: tuple[Call, ...] = ()
        self.needed = 0  # how many of them have not ended
        self.dependents: list[Call] = []
        self.in_executor: ExecutorFuture[Any] | None = None
        self.ending: Ending | None = None
        self.recorded = False  # an earlier epoch recorded the ending
        self.resting_until: int | None = None
        self.delivered = False
        self.failure: BaseException | None = None  # as the flow got it
        # For whoever waits for the delivery, whatever became of the future
        self.landed: asyncio.Future[None] | None = None

    def is_running(self, execution: int) -> bool:
        """Whether somebody still listens to this launch of it."""
        return self.stage is Stage.LAUNCHED and self.execution == execution

    @property
    def counts(self) -> bool:
        """Whether its ending does."""
        return self.ending is not None

    @property
    def has_large_result(self) -> bool:
        return self.ending is not None and self.ending.is_large

    @property
    def succeeded(self) -> bool:
        return self.ending is not None and self.ending.status is TaskStatus.SUCCEEDED

    @property
    def awaited(self) -> bool:
        return self.landed is not None or self.future.awaited

    def deliver(self) -> None:
        """Complete the future with what reads back. Flow's thread only."""
        assert self.ending is not None
        self.delivered = True
        if self.landed is not None and not self.landed.done():
            self.landed.set_result(None)
        if self.ending.status is not TaskStatus.SUCCEEDED:
            self._fail(self.ending.error(self.key))
        elif self.ending.is_large and not self.future.awaited and not self.future.done():
            # Most of what is large goes to other tasks: the flow reads it when it asks, and else never has it in memory.
            self.future.set_result_later(partial(self.ending.value, self.key))
        elif not self.future.done():
            try:
                value = self.ending.value(self.key)
            except StorageError:
                raise
            except Exception as error:  # noqa: BLE001  # whatever unpickling a user's value raises belongs to that task
                self._fail(error)
            else:
                self.future.set_result(value)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, StopIteration | KeyboardInterrupt | SystemExit):
            # A future cannot carry these: they would stop the loop instead of the flow.
            wrapped = UnloadableOutcome(f"task {self.key} ended by {type(error).__name__}: {error}", task_key=self.key)
            wrapped.__cause__ = error
            error = wrapped
        self.failure = error
        if not self.future.done():
            self.future.set_exception(error)
            self.future._log_traceback = False  # unseen failures are the session's to report
