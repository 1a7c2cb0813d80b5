"""What an event of a task run makes of the task's state, and what an element of a map is before anything happened to it.

Pure. A change gives None where the event does not fit its task: whoever folds knows the story and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace
from rpds import HashTrieMap

from playhead.core import events as ev
from playhead.core.names import Epoch, Seq, TaskKey
from playhead.core.state import MapState, RunState, TaskState, TaskStatus, reference

# An enum's member is a slow attribute in Python 3.11, and these are asked for with each event.
_SUBMITTED, _RUNNING, _RETRYING = TaskStatus.SUBMITTED, TaskStatus.RUNNING, TaskStatus.RETRYING

TaskChange = Callable[[TaskState, TaskStatus, Any, Epoch | None, Seq | None], TaskState | None]


def task_of(state: RunState, key: TaskKey) -> TaskState | None:
    """The task run of that key; an element of a map to which nothing has happened yet is submitted."""
    task = state.tasks.get(key)
    if task is not None:
        return task
    return element_in(state.maps, key)


def element_in(maps: HashTrieMap[TaskKey, MapState], key: TaskKey) -> TaskState | None:
    """The element of that key, "parse.17" for number 17 of the map "parse", before anything happened to it; None if there is none."""
    base, dot, index = key.rpartition(".")
    mapped = maps.get(TaskKey(base)) if dot else None
    if mapped is None or not index.isdecimal() or (index[0] == "0" and index != "0") or int(index) >= mapped.width:
        return None
    return _element(mapped, key, index)


def element_of(mapped: MapState, index: int) -> TaskState:
    """Element `index` of a map, before anything happened to it."""
    return _element(mapped, TaskKey(f"{mapped.key}.{index}"), str(index))


def _element(mapped: MapState, key: TaskKey, index: str) -> TaskState:
    upstream = mapped.after
    if mapped.each:
        upstream += tuple(TaskKey(f"{other}.{index}") for other in mapped.each)
    return TaskState(key, mapped.name, mapped.order, _SUBMITTED, upstream)


def _launched(
    task: TaskState, status: TaskStatus, event: ev.TaskStarted, epoch: Epoch | None, seq: Seq | None
) -> TaskState | None:
    expected = task.attempt + (task.status is _RETRYING)
    relaunched = task.status is _RUNNING and (epoch or 0) <= (task.epoch or 0)
    if event.attempt != expected or relaunched:
        return None
    return replace(task, status=status, attempt=event.attempt, epoch=epoch, started_at=event.at, retry_at=None)


def _lost(
    task: TaskState, status: TaskStatus, event: ev.TaskLost, epoch: Epoch | None, seq: Seq | None
) -> TaskState | None:
    if event.attempt != task.attempt:
        return None
    return replace(task, status=status, losses=task.losses + 1, epoch=None)


def _succeeded(
    task: TaskState, status: TaskStatus, event: ev.TaskSucceeded, epoch: Epoch | None, seq: Seq | None
) -> TaskState | None:
    if event.attempt != task.attempt:
        return None
    return replace(task, status=status, ended_at=event.at, record=reference(epoch, seq), size=event.size, category=None)


def _retrying(
    task: TaskState, status: TaskStatus, event: ev.TaskRetrying, epoch: Epoch | None, seq: Seq | None
) -> TaskState | None:
    if event.attempt != task.attempt:
        return None
    return replace(task, status=status, category=event.category, record=reference(epoch, seq), retry_at=event.retry_at)


def _failed(
    task: TaskState, status: TaskStatus, event: ev.TaskFailed, epoch: Epoch | None, seq: Seq | None
) -> TaskState | None:
    if event.attempt != task.attempt:
        return None
    return replace(task, status=status, ended_at=event.at, category=event.category, record=reference(epoch, seq))


def _cancelled(
    task: TaskState, status: TaskStatus, event: ev.TaskCancelled, epoch: Epoch | None, seq: Seq | None
) -> TaskState | None:
    return replace(task, status=status, ended_at=event.at, retry_at=None)


# Typed by the models; a lean event, with the same fields, comes this way too.
TASK_CHANGES: Final[dict[type[ev.TaskEvent], TaskChange]] = {
    ev.TaskStarted: _launched,
    ev.TaskLost: _lost,
    ev.TaskSucceeded: _succeeded,
    ev.TaskRetrying: _retrying,
    ev.TaskFailed: _failed,
    ev.TaskCancelled: _cancelled,
}
