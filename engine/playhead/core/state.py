"""What folding a run's events gives: the run's head, its tasks, and how far each journal was reported. Values only.

A state is immutable and shares what did not change with the state before it, so that the state of a run with 100,000 tasks
evolves without a copy, and every version of it can be kept. They are msgspec structs, which change a field in a tenth of the time of
a named tuple; `gc=False`, because nothing that they hold leads back to them. In a snapshot they are arrays (`array_like`): `core.pieces`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
from rpds import HashTrieMap

from playhead.core.events import CrashReason, FailureCategory, LossReason, Origin
from playhead.core.names import Epoch, Micros, RunId, Seq, TaskKey, Version
from playhead.core.table import TaskTable


class RunStatus(StrEnum):
    SCHEDULED = "scheduled"
    READY = "ready"
    CLAIMED = "claimed"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CRASHED = "crashed"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL

    @property
    def leased(self) -> bool:
        """A runner may be alive and hold the lease."""
        return self in (RunStatus.RUNNING, RunStatus.CANCELLING)


TERMINAL: Final = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.CRASHED})


class TaskStatus(StrEnum):
    SUBMITTED = "submitted"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in (TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED)


class Reference(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a record is: number `seq` in the journal of `epoch`. Never a byte offset: their differences are sizes."""

    epoch: Epoch
    seq: Seq


def reference(epoch: Epoch | None, seq: Seq | None) -> Reference | None:
    """The record that an event comes from; None where it comes from none."""
    return Reference(epoch, seq) if epoch is not None and seq is not None else None


class TaskState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One task run."""

    key: TaskKey
    name: str
    order: int  # in which order the flow asked for it
    status: TaskStatus
    upstream: tuple[TaskKey, ...] = ()
    attempt: int = 1  # counts the task's own failures, plus one
    epoch: Epoch | None = None  # of its newest launch; (attempt, epoch) names an execution
    losses: int = 0
    started_at: Micros | None = None
    ended_at: Micros | None = None
    retry_at: Micros | None = None
    category: FailureCategory | None = None
    record: Reference | None = None  # the record of its newest outcome, a failed attempt included
    size: int | None = None


class MapState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A map of calls; its elements get a TaskState of their own when something happens to them."""

    key: TaskKey
    name: str
    order: int
    width: int
    after: tuple[TaskKey, ...]
    each: tuple[TaskKey, ...]


class RunHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The run without its tasks."""

    run: RunId
    flow: str
    seal: str
    origin: Origin
    schedule_id: str | None
    scheduled_for: Micros
    executor: str
    run_config: str
    labels: tuple[str, ...]
    storage: str
    key_id: str
    python: str | None
    preset_id: str | None
    nonce: str | None
    status: RunStatus
    created_at: Micros
    story: tuple[str, ...]  # types of the run's own events so far; tasks are left out
    epoch: Epoch = Epoch(0)
    claim: str | None = None
    grant: str | None = None
    agent: str | None = None
    runner: str | None = None  # digest of the bearer token of the newest epoch's runner
    losses: int = 0
    releases: int = 0
    started_at: Micros | None = None  # of the first epoch that began
    ended_at: Micros | None = None
    forgotten_at: Micros | None = None  # since then the log holds nothing else of the run
    outcome: Reference | None = None
    failed_task: TaskKey | None = None
    category: FailureCategory | None = None
    crash: CrashReason | None = None
    last_loss: LossReason | None = None
    size: int | None = None


class RunState(msgspec.Struct, frozen=True, gc=False):
    """A run at one version of its stream.

    `reported[e - 1]` is the number of records of epoch e's journal that are in the log; `counts` are the task runs in each
    status, in the order of `TaskStatus`, elements of maps included.
    """

    version: Version
    head: RunHead
    tasks: TaskTable
    maps: HashTrieMap[TaskKey, MapState]
    counts: tuple[int, ...]
    reported: tuple[int, ...]
    asked: int  # calls asked for so far, a map as one

    @property
    def status(self) -> RunStatus:
        return self.head.status

    def next_seq(self, epoch: int) -> Seq:
        return Seq(self.reported[epoch - 1] if 1 <= epoch <= len(self.reported) else 0)

    def count(self, status: TaskStatus) -> int:
        return self.counts[STATUS_ORDER[status]]


STATUS_ORDER: Final = {status: index for index, status in enumerate(TaskStatus)}
