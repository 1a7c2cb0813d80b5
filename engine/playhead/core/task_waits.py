"""What the tasks of a run wait for that are not computed yet: other tasks, a time, or room in the executor. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import Final

from playhead.core.names import TaskKey
from playhead.core.state import MapState, RunState, TaskState, TaskStatus
from playhead.core.tasks import task_of
from playhead.core.views import View, iso, tasks_of

MAX_TASKS: Final = 20  # told of at once
MAX_ON: Final = 20  # calls named that one task waits for


class TaskWaitsFor(StrEnum):
    TASKS = "tasks"  # those in `on`
    TIME = "time"  # its next attempt may begin at `until`
    EXECUTOR = "executor"  # all that it needs is there: room in the executor
    RESULT = "result"  # it is being computed
    NOTHING = "nothing"  # it has ended


class TaskWaiting(View):
    key: str
    name: str
    state: TaskStatus
    attempt: int
    waits_for: TaskWaitsFor
    on: tuple[str, ...]  # calls, or whole maps, that have not succeeded yet: the first 20
    until: str | None


def first_waiting(state: RunState) -> tuple[TaskWaiting, ...]:
    """The first 20 that wait, as the flow asked for them."""
    waiting = (task for task in tasks_of(state) if task.status in (TaskStatus.SUBMITTED, TaskStatus.RETRYING))
    return tuple(task_waiting(state, task) for task in islice(waiting, MAX_TASKS))


def task_waiting(state: RunState, task: TaskState) -> TaskWaiting:
    on = tuple(islice(_unfinished(state, task), MAX_ON)) if task.status is TaskStatus.SUBMITTED else ()
    return TaskWaiting(
        key=task.key,
        name=task.name,
        state=task.status,
        attempt=task.attempt,
        waits_for=_waits_for(task, on),
        on=on,
        until=iso(task.retry_at) if task.status is TaskStatus.RETRYING else None,
    )


def _waits_for(task: TaskState, on: tuple[str, ...]) -> TaskWaitsFor:
    match task.status:
        case TaskStatus.SUBMITTED:
            return TaskWaitsFor.TASKS if on else TaskWaitsFor.EXECUTOR
        case TaskStatus.RETRYING:
            return TaskWaitsFor.TIME
        case TaskStatus.RUNNING:
            return TaskWaitsFor.RESULT
        case _:
            return TaskWaitsFor.NOTHING


def _unfinished(state: RunState, task: TaskState) -> Iterator[str]:
    for key in task.upstream:
        mapped = state.maps.get(key)
        if _is_map_unfinished(state, mapped) if mapped is not None else not _has_succeeded(state, key):
            yield key


def _is_map_unfinished(state: RunState, mapped: MapState) -> bool:
    return not all(_has_succeeded(state, TaskKey(f"{mapped.key}.{index}")) for index in range(mapped.width))


def _has_succeeded(state: RunState, key: TaskKey) -> bool:
    task = task_of(state, key)
    return task is not None and task.status is TaskStatus.SUCCEEDED
