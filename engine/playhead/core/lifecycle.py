"""The lifecycle: two transition tables, and `evolve`, which folds one event into a run's state.

Pure: no clock, no randomness, nothing awaited or logged. The docs and the tests read the tables. An event that a table
does not allow is an IllegalEvent that carries the story so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from rpds import HashTrieMap

from playhead.core import events as ev
from playhead.core.names import Epoch, Micros, RunId, Seq, TaskKey, Version
from playhead.core.state import (
    STATUS_ORDER,
    MapState,
    Reference,
    RunHead,
    RunState,
    RunStatus,
    TaskState,
    TaskStatus,
)
from playhead.errors import IllegalEvent

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
    **{(status, ev.RunLate): status for status in R if status.terminal},
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


def evolve(state: RunState | None, event: ev.Event, stamp: Stamp) -> RunState:
    """The state after the event. Raises IllegalEvent where the tables or the journal's numbering do not allow it."""
    if stamp.epoch is not None and isinstance(event, ev.RunnerEvent):
        state = _count_record(_existing(state, event), event, stamp.epoch, stamp.seq)
    if isinstance(event, ev.TaskEvent):
        return _evolve_work(_existing(state, event), event, stamp)
    if isinstance(event, ev.JournalAdopted):
        return _adopted(_existing(state, event), event, stamp)
    if not isinstance(event, ev.RunEvent):
        raise IllegalEvent(f"{event.TYPE} does not belong into a run's stream")
    return _evolve_run(state, event, stamp)


def _adopted(state: RunState, event: ev.JournalAdopted, stamp: Stamp) -> RunState:
    if not state.status.leased or stamp.seq not in (None, 0):
        raise _illegal(state, event)
    return _next(state, head=replace(state.head, story=_told(state, event)))


def fold(events: Iterable[tuple[ev.Event, Stamp]], state: RunState | None = None) -> RunState | None:
    """The state after all of the events."""
    for event, stamp in events:
        state = evolve(state, event, stamp)
    return state


# --- the run itself ---------------------------------------------------------------------------------------------------


def _evolve_run(state: RunState | None, event: ev.RunEvent, stamp: Stamp) -> RunState:
    status = RUN_TRANSITIONS.get((state.status if state else None, type(event)))
    if status is None:
        raise _illegal(state, event)
    if state is None:
        assert isinstance(event, ev.RunScheduled)
        return _created(event, stamp)
    change = _HEAD_CHANGES.get(type(event))
    head = replace(state.head, status=status, story=_told(state, event))
    if change is not None:
        head = change(head, event, stamp)
    if status.terminal and not state.status.terminal:
        at = event.at if isinstance(event, ev.RunOutcome) else stamp.recorded_at
        head = replace(head, ended_at=Micros(at))
    reported = state.reported
    if isinstance(event, ev.RunClaimed):
        reported = (*reported, *([0] * (event.epoch - len(reported))))
    return RunState(Version(state.version + 1), head, state.tasks, state.maps, state.counts, reported, state.asked)


def _created(event: ev.RunScheduled, stamp: Stamp) -> RunState:
    head = RunHead(
        run=RunId(event.run),
        flow=event.flow,
        seal=event.seal,
        origin=event.origin,
        schedule_id=event.schedule_id,
        scheduled_for=Micros(event.scheduled_for),
        executor=event.executor,
        run_config=event.run_config,
        labels=event.labels,
        storage=event.storage,
        key_id=event.key_id,
        python=event.python,
        status=RunStatus.SCHEDULED,
        created_at=stamp.recorded_at,
        story=(event.TYPE,),
    )
    return RunState(Version(1), head, HashTrieMap(), HashTrieMap(), (0,) * len(TaskStatus), (), 0)


def _claimed(head: RunHead, event: ev.Event, stamp: Stamp) -> RunHead:
    assert isinstance(event, ev.RunClaimed)
    if event.epoch != head.epoch + 1:
        raise IllegalEvent(
            f"run {head.run} is at epoch {head.epoch}, so epoch {event.epoch} cannot be next", story=head.story
        )
    return replace(head, epoch=Epoch(event.epoch), claim=event.claim, grant=event.grant, agent=event.agent)


def _started(head: RunHead, event: ev.Event, stamp: Stamp) -> RunHead:
    return replace(head, started_at=head.started_at if head.started_at is not None else stamp.recorded_at)


def _released(head: RunHead, event: ev.Event, stamp: Stamp) -> RunHead:
    assert isinstance(event, ev.RunReleased)
    drained = event.reason is ev.ReleaseReason.DRAINING
    return replace(head, releases=head.releases + (not drained))


def _lost(head: RunHead, event: ev.Event, stamp: Stamp) -> RunHead:
    assert isinstance(event, ev.RunLost)
    counts = event.reason is not ev.LossReason.DRAINED
    return replace(head, losses=head.losses + counts, last_loss=event.reason)


def _succeeded(head: RunHead, event: ev.Event, stamp: Stamp) -> RunHead:
    assert isinstance(event, ev.RunSucceeded)
    return replace(head, outcome=_reference(stamp), size=event.size)


def _failed(head: RunHead, event: ev.Event, stamp: Stamp) -> RunHead:
    assert isinstance(event, ev.RunFailed)
    task = TaskKey(event.task) if event.task is not None else None
    return replace(head, outcome=_reference(stamp), failed_task=task, category=event.category)


def _crashed(head: RunHead, event: ev.Event, stamp: Stamp) -> RunHead:
    assert isinstance(event, ev.RunCrashed)
    return replace(head, crash=event.reason)


_HEAD_CHANGES: Final[dict[type[ev.Event], Callable[[RunHead, ev.Event, Stamp], RunHead]]] = {
    ev.RunClaimed: _claimed,
    ev.RunStarted: _started,
    ev.RunReleased: _released,
    ev.RunLost: _lost,
    ev.RunSucceeded: _succeeded,
    ev.RunFailed: _failed,
    ev.RunCrashed: _crashed,
}


# --- its tasks ----------------------------------------------------------------------------------------------------------


def _evolve_work(state: RunState, event: ev.TaskEvent, stamp: Stamp) -> RunState:
    if not state.status.leased:
        raise _illegal(state, event)
    kind = type(event)  # exact: these classes have no subclasses, and asking a model class by isinstance is slow
    if kind in _OF_THE_FLOW:
        return _next(state)
    if kind is ev.TaskMapped:
        return _mapped(state, event)
    before = task_of(state, TaskKey(event.key))
    status = TASK_TRANSITIONS.get((before.status if before else None, kind))
    if status is None:
        raise _illegal(state, event, before)
    if before is None:
        return _submitted(state, event, status)
    return _with_task(state, before, _TASK_CHANGES[kind](state, before, status, event, stamp))


def _submitted(state: RunState, event: ev.TaskEvent, status: TaskStatus) -> RunState:
    assert isinstance(event, ev.TaskSubmitted)
    if event.key in state.maps:
        raise _illegal(state, event)
    upstream = tuple(TaskKey(key) for key in event.after)
    after = TaskState(TaskKey(event.key), event.name, state.asked, status, upstream)
    return _with_task(state, None, after, asked=state.asked + 1)


def task_of(state: RunState, key: TaskKey) -> TaskState | None:
    """The task run of that key; an element of a map to which nothing has happened yet is submitted."""
    task = state.tasks.get(key)
    if task is not None:
        return task
    base, dot, index = key.rpartition(".")
    mapped = state.maps.get(TaskKey(base)) if dot and index.isdecimal() and (index == "0" or index[0] != "0") else None
    if mapped is None or int(index) >= mapped.width:
        return None
    return element_of(mapped, int(index))


def element_of(mapped: MapState, index: int) -> TaskState:
    """Element `index` of a map, before anything happened to it."""
    upstream = mapped.after + tuple(TaskKey(f"{key}.{index}") for key in mapped.each)
    return TaskState(TaskKey(f"{mapped.key}.{index}"), mapped.name, mapped.order, TaskStatus.SUBMITTED, upstream)


def _mapped(state: RunState, event: ev.TaskEvent) -> RunState:
    assert isinstance(event, ev.TaskMapped)
    key = TaskKey(event.key)
    if key in state.maps or task_of(state, key) is not None or _any_element(state, key, event.width):
        raise _illegal(state, event)
    after, each = (tuple(TaskKey(k) for k in keys) for keys in (event.after, event.each))
    mapped = MapState(key, event.name, state.asked, event.width, after, each)
    counts = _moved(state.counts, None, TaskStatus.SUBMITTED, event.width)
    return RunState(
        Version(state.version + 1),
        state.head,
        state.tasks,
        state.maps.insert(key, mapped),
        counts,
        state.reported,
        state.asked + 1,
    )


def _any_element(state: RunState, key: TaskKey, width: int) -> bool:
    """Whether a call of its own has the key of an element of this map: then one key would name two calls."""
    return bool(state.tasks) and any(TaskKey(f"{key}.{index}") in state.tasks for index in range(width))


def _launched(state: RunState, task: TaskState, status: TaskStatus, event: ev.TaskEvent, stamp: Stamp) -> TaskState:
    assert isinstance(event, ev.TaskStarted)
    expected = task.attempt + (task.status is TaskStatus.RETRYING)
    relaunched = task.status is TaskStatus.RUNNING and (stamp.epoch or 0) <= (task.epoch or 0)
    if event.attempt != expected or relaunched:
        raise _illegal(state, event, task)
    return task._replace(
        status=status, attempt=event.attempt, epoch=stamp.epoch, started_at=Micros(event.at), retry_at=None
    )


def _task_lost(state: RunState, task: TaskState, status: TaskStatus, event: ev.TaskEvent, stamp: Stamp) -> TaskState:
    assert isinstance(event, ev.TaskLost)
    _same_attempt(state, task, event, event.attempt)
    return task._replace(status=status, losses=task.losses + 1, epoch=None)


def _task_succeeded(
    state: RunState, task: TaskState, status: TaskStatus, event: ev.TaskEvent, stamp: Stamp
) -> TaskState:
    assert isinstance(event, ev.TaskSucceeded)
    _same_attempt(state, task, event, event.attempt)
    return task._replace(
        status=status, ended_at=Micros(event.at), record=_reference(stamp), size=event.size, category=None
    )


def _retrying(state: RunState, task: TaskState, status: TaskStatus, event: ev.TaskEvent, stamp: Stamp) -> TaskState:
    assert isinstance(event, ev.TaskRetrying)
    _same_attempt(state, task, event, event.attempt)
    return task._replace(
        status=status, category=event.category, record=_reference(stamp), retry_at=Micros(event.retry_at)
    )


def _task_failed(state: RunState, task: TaskState, status: TaskStatus, event: ev.TaskEvent, stamp: Stamp) -> TaskState:
    assert isinstance(event, ev.TaskFailed)
    _same_attempt(state, task, event, event.attempt)
    return task._replace(status=status, ended_at=Micros(event.at), category=event.category, record=_reference(stamp))


def _task_cancelled(
    state: RunState, task: TaskState, status: TaskStatus, event: ev.TaskEvent, stamp: Stamp
) -> TaskState:
    return task._replace(status=status, ended_at=Micros(event.at), retry_at=None)


_TASK_CHANGES: Final[
    dict[type[ev.TaskEvent], Callable[[RunState, TaskState, TaskStatus, ev.TaskEvent, Stamp], TaskState]]
] = {
    ev.TaskStarted: _launched,
    ev.TaskLost: _task_lost,
    ev.TaskSucceeded: _task_succeeded,
    ev.TaskRetrying: _retrying,
    ev.TaskFailed: _task_failed,
    ev.TaskCancelled: _task_cancelled,
}

_OF_THE_FLOW: Final = frozenset({ev.FactRecorded, ev.TimerSet, ev.TimerFired})  # facts, which change no task


def _same_attempt(state: RunState, task: TaskState, event: ev.TaskEvent, attempt: int) -> None:
    if attempt != task.attempt:
        raise _illegal(state, event, task)


def _with_task(state: RunState, before: TaskState | None, after: TaskState, asked: int | None = None) -> RunState:
    counts = state.counts
    if before is None or before.status is not after.status:
        counts = _moved(counts, before.status if before else None, after.status, 1)
    return RunState(
        Version(state.version + 1),
        state.head,
        state.tasks.insert(after.key, after),
        state.maps,
        counts,
        state.reported,
        state.asked if asked is None else asked,
    )


def _moved(counts: tuple[int, ...], old: TaskStatus | None, new: TaskStatus, number: int) -> tuple[int, ...]:
    changed = list(counts)
    if old is not None:
        changed[STATUS_ORDER[old]] -= number
    changed[STATUS_ORDER[new]] += number
    return tuple(changed)


# --- shared ---------------------------------------------------------------------------------------------------------------


def _count_record(state: RunState, event: ev.Event, epoch: Epoch, seq: Seq | None) -> RunState:
    """One more record of that epoch's journal is in the log; they come in the journal's order, without gaps."""
    if not 1 <= epoch <= len(state.reported) or seq is None or seq != state.reported[epoch - 1]:
        raise IllegalEvent(
            f"record {seq} of epoch {epoch} cannot be next in run {state.head.run}: {state.next_seq(epoch)} is",
            story=(*state.head.story, event.TYPE),
        )
    reported = (*state.reported[: epoch - 1], seq + 1, *state.reported[epoch:])
    return RunState(state.version, state.head, state.tasks, state.maps, state.counts, reported, state.asked)


def _next(state: RunState, *, head: RunHead | None = None) -> RunState:
    return RunState(
        Version(state.version + 1),
        head or state.head,
        state.tasks,
        state.maps,
        state.counts,
        state.reported,
        state.asked,
    )


def _reference(stamp: Stamp) -> Reference | None:
    return Reference(stamp.epoch, stamp.seq) if stamp.epoch is not None and stamp.seq is not None else None


def _told(state: RunState, event: ev.Event) -> tuple[str, ...]:
    return (*state.head.story, event.TYPE)


def _existing(state: RunState | None, event: ev.Event) -> RunState:
    if state is None:
        raise IllegalEvent(f"{event.TYPE} cannot be the first event of a run")
    return state


def _illegal(state: RunState | None, event: ev.Event, task: TaskState | None = None) -> IllegalEvent:
    if state is None:
        return IllegalEvent(f"{event.TYPE} cannot be the first event of a run")
    story = (*state.head.story, event.TYPE)
    if not isinstance(event, ev.TaskEvent):
        return IllegalEvent(
            f"{event.TYPE} is not allowed in run {state.head.run}, which is {state.status}", story=story
        )
    is_now = f"which is {task.status} at attempt {task.attempt}" if task else "which the run has not asked for"
    if isinstance(event, ev.TaskSubmitted | ev.TaskMapped):
        is_now = "whose key is taken"
    if not state.status.leased:
        is_now = f"in a run that is {state.status}"
    return IllegalEvent(
        f"{event.TYPE} is not allowed for task {event.key} of run {state.head.run}, {is_now}", story=story
    )
