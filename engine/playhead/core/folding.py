"""Folding: a run's events into its state. `evolve` is a fold of one event; a `Folding` takes any number of them.

Pure: no clock, no randomness, nothing awaited or logged. An event that the lifecycle's tables do not allow is an IllegalEvent
that carries the story so far.

A state is immutable, and to make one anew for each of ten thousand events takes most of a fold's time. So a folding keeps what has
changed in a plain dict, and makes one state of it at the end. Events may be models or lean ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from rpds import HashTrieMap

from playhead.core import events as ev
from playhead.core import heads
from playhead.core.lean import LeanEvent
from playhead.core.lifecycle import RUN_TRANSITIONS, TASK_TRANSITIONS, Stamp
from playhead.core.names import Epoch, Micros, Seq, TaskKey, Version
from playhead.core.state import MapState, RunHead, RunState, RunStatus, TaskState, TaskStatus
from playhead.core.table import TaskTable
from playhead.core.tasks import TASK_CHANGES, TaskChange, element_in
from playhead.errors import IllegalEvent

AnyEvent = ev.Event | LeanEvent


def evolve(state: RunState | None, event: ev.Event, stamp: Stamp) -> RunState:
    """The state after the event. Raises IllegalEvent where the tables or the journal's numbering do not allow it."""
    folding = Folding(state)
    folding.add(event, *stamp)
    after = folding.state()
    assert after is not None
    return after


def fold(events: Iterable[tuple[ev.Event, Stamp]], state: RunState | None = None) -> RunState | None:
    """The state after all of the events."""
    folding = Folding(state)
    for event, stamp in events:
        folding.add(event, *stamp)
    return folding.state()


class Folding:
    """A run while events are folded into it. After a refusal it is of no more use: the event may have been taken in part."""

    __slots__ = ("_asked", "_changed", "_counts", "_head", "_leased", "_maps", "_reported", "_tasks", "_version")

    def __init__(self, state: RunState | None = None) -> None:
        self._changed: dict[TaskKey, TaskState] = {}  # what `_tasks` does not have yet
        self._version = int(state.version) if state is not None else 0  # to name each number a Version costs a call
        self._head: RunHead | None = state.head if state is not None else None
        self._leased = state is not None and state.status.leased
        self._tasks = state.tasks if state is not None else TaskTable()
        self._maps: HashTrieMap[TaskKey, MapState] = state.maps if state is not None else HashTrieMap()
        self._counts = dict(zip(TaskStatus, state.counts if state is not None else _NONE_YET, strict=True))
        self._reported = list(state.reported) if state is not None else []
        self._asked = state.asked if state is not None else 0

    def add(self, event: AnyEvent, recorded_at: Micros, epoch: Epoch | None = None, seq: Seq | None = None) -> None:
        """Fold the event in: what it is, when it was recorded, and which journal record it comes from. Raises IllegalEvent."""
        if (step := _TASK_STEPS.get(event.TYPE)) is not None:
            if epoch is not None:
                self._count_record(event, epoch, seq)
            self._add_to_task(event, step, epoch, seq)
        else:
            self._add_to_run(event, Stamp(recorded_at, epoch, seq))
        self._version += 1

    def state(self) -> RunState | None:
        """The state after what was added so far; None if the run has no event."""
        if self._head is None:
            return None
        if self._changed:
            self._tasks = self._tasks.updated(self._changed)
            self._changed = {}
        return RunState(
            Version(self._version),
            self._head,
            self._tasks,
            self._maps,
            tuple(self._counts.values()),
            tuple(self._reported),
            self._asked,
        )

    def status(self) -> RunStatus | None:
        """The run's state after what was added so far; cheaper than `state`."""
        return self._head.status if self._head is not None else None

    # --- tasks: where a fold spends its time --------------------------------------------------------------------------

    def _add_to_task(self, event: Any, step: _TaskStep, epoch: Epoch | None, seq: Seq | None) -> None:
        key: TaskKey = event.key
        before = self._changed.get(key) or self._task(key)
        status = step.after.get(before.status if before is not None else None)
        if status is None or not self._leased:
            raise self._illegal(event, before)
        if before is None:
            after: TaskState | None = self._submitted(event, status)
        else:
            after = step.change(before, status, event, epoch, seq)
            self._counts[before.status] -= 1
        if after is None:
            raise self._illegal(event, before)
        self._counts[status] += 1
        self._changed[key] = after

    def _submitted(self, event: ev.TaskSubmitted, status: TaskStatus) -> TaskState | None:
        if event.key in self._maps:
            return None
        order, self._asked = self._asked, self._asked + 1
        return TaskState(TaskKey(event.key), event.name, order, status, tuple(map(TaskKey, event.after)))

    def _task(self, key: TaskKey) -> TaskState | None:
        """The task run of that key, unless it has changed; an element of a map to which nothing has happened is submitted."""
        return self._tasks.get(key) or element_in(self._maps, key)

    def _add_map(self, event: ev.TaskMapped) -> None:
        key = TaskKey(event.key)
        taken = key in self._maps or key in self._changed or self._task(key) is not None
        if taken or not self._leased or self._has_element(key, event.width):
            raise self._illegal(event)
        after, each = (tuple(map(TaskKey, keys)) for keys in (event.after, event.each))
        self._maps = self._maps.insert(key, MapState(key, event.name, self._asked, event.width, after, each))
        self._counts[TaskStatus.SUBMITTED] += event.width
        self._asked += 1

    def _has_element(self, key: TaskKey, width: int) -> bool:
        """Whether a call of its own has the key of an element of this map: then one key would name two calls."""
        if not self._tasks and not self._changed:
            return False
        elements = (TaskKey(f"{key}.{index}") for index in range(width))
        return any(element in self._tasks or element in self._changed for element in elements)

    # --- the run itself ---------------------------------------------------------------------------------------------------

    def _add_to_run(self, event: Any, stamp: Stamp) -> None:
        kind = ev.EVENT_TYPES[event.TYPE]
        if not issubclass(kind, ev.RunEvent):
            raise IllegalEvent(f"{event.TYPE} does not belong into a run's stream")
        if stamp.epoch is not None and issubclass(kind, ev.RunnerEvent):
            self._count_record(event, stamp.epoch, stamp.seq)
        if kind is ev.TaskMapped:
            self._add_map(event)
        elif kind in _LEAVE_NO_TRACE:
            if not self._leased:
                raise self._illegal(event)
        elif kind is ev.JournalAdopted:
            self._adopted(event, stamp)
        elif kind is ev.RunForgotten:
            self._forgotten(event, stamp)
        else:
            self._move(kind, event, stamp)

    def _move(self, kind: type[ev.RunEvent], event: Any, stamp: Stamp) -> None:
        """An event of the run's table."""
        head = self._head
        status = RUN_TRANSITIONS.get((head.status if head is not None else None, kind))
        if status is None:
            raise self._illegal(event)
        self._head = heads.created(event, stamp) if head is None else heads.changed(head, status, kind, event, stamp)
        self._leased = status.leased
        if kind is ev.RunClaimed:
            self._reported += [0] * (event.epoch - len(self._reported))

    def _adopted(self, event: Any, stamp: Stamp) -> None:
        if self._head is None or not self._leased or stamp.seq not in (None, 0):
            raise self._illegal(event)
        self._head = heads.told(self._head, event.TYPE)

    def _forgotten(self, event: ev.RunForgotten, stamp: Stamp) -> None:
        """The same state, whether or not the events before are still there."""
        head = self._head
        if head is not None:
            after = RUN_TRANSITIONS.get((head.status, ev.RunForgotten))
            if after is not RunStatus(event.state) or (event.run, event.events) != (head.run, self._version):
                raise self._illegal(event)
        self._head, self._leased, self._version = heads.forgotten(event, stamp), False, event.events
        self._tasks, self._maps, self._changed = TaskTable(), HashTrieMap(), {}
        self._counts, self._reported, self._asked = dict.fromkeys(TaskStatus, 0), [], 0

    # --- shared -------------------------------------------------------------------------------------------------------------

    def _count_record(self, event: AnyEvent, epoch: Epoch, seq: Seq | None) -> None:
        """One more record of that epoch's journal is in the log; they come in the journal's order, without gaps."""
        if not 1 <= epoch <= len(self._reported) or seq != self._reported[epoch - 1]:
            if self._head is None:
                raise self._illegal(event)
            expected = self._reported[epoch - 1] if 1 <= epoch <= len(self._reported) else 0
            raise IllegalEvent(
                f"record {seq} of epoch {epoch} cannot be next in run {self._head.run}: {expected} is",
                story=(*self._head.story, event.TYPE),
            )
        self._reported[epoch - 1] += 1

    def _illegal(self, event: Any, task: TaskState | None = None) -> IllegalEvent:
        head = self._head
        if head is None:
            return IllegalEvent(f"{event.TYPE} cannot be the first event of a run")
        story = (*head.story, event.TYPE)
        kind = ev.EVENT_TYPES[event.TYPE]
        if not issubclass(kind, ev.TaskEvent):
            return IllegalEvent(f"{event.TYPE} is not allowed in run {head.run}, which is {head.status}", story=story)
        is_now = f"which is {task.status} at attempt {task.attempt}" if task else "which the run has not asked for"
        if kind in (ev.TaskSubmitted, ev.TaskMapped):
            is_now = "whose key is taken"
        if not self._leased:
            is_now = f"in a run that is {head.status}"
        return IllegalEvent(
            f"{event.TYPE} is not allowed for task {event.key} of run {head.run}, {is_now}", story=story
        )


class _TaskStep(NamedTuple):
    """What one type of event does to a task: status before to status after, and the change. Submission changes no task."""

    after: dict[TaskStatus | None, TaskStatus]
    change: TaskChange


def _task_step(kind: type[ev.TaskEvent]) -> _TaskStep:
    after = {before: after for (before, event), after in TASK_TRANSITIONS.items() if event is kind}
    return _TaskStep(after, TASK_CHANGES.get(kind, _no_change))


def _no_change(task: TaskState, status: TaskStatus, event: Any, epoch: Epoch | None, seq: Seq | None) -> None:
    """A submission is only of what is not there yet."""


# By type name, which models and lean events both have.
_TASK_STEPS: Final = {kind.TYPE: _task_step(kind) for _, kind in TASK_TRANSITIONS}

_NONE_YET: Final = (0,) * len(TaskStatus)

_LEAVE_NO_TRACE: Final = frozenset({ev.FactRecorded, ev.TimerSet, ev.TimerFired})  # facts, which change no task
