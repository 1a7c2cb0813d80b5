"""What people and programs are shown of a run: the shape of `show RUN --json`, made from a state. Times are ISO 8601, UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from playhead.core.events import CrashReason, FailureCategory, Origin
from playhead.core.state import MapState, Reference, RunState, RunStatus, TaskState, TaskStatus
from playhead.core.tasks import element_of


class View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordRef(View):
    """Where on the user's side the value is: record `seq` of the journal of `epoch`."""

    epoch: int
    seq: int


class ErrorView(View):
    """What went wrong. The server knows the category; type, message and traceback are added on the user's side."""

    category: FailureCategory
    record: RecordRef | None = None
    type: str | None = None
    message: str | None = None
    traceback: str | None = None


class TaskView(View):
    key: str
    name: str
    state: TaskStatus
    attempt: int
    upstream: tuple[str, ...]
    started_at: str | None
    ended_at: str | None
    error: ErrorView | None
    record: RecordRef | None = None  # of its newest outcome


class MapView(View):
    """A map of calls: how wide it is, and how many of its elements are in each state."""

    key: str
    name: str
    width: int


class RunView(View):
    run_id: str
    flow: str
    state: RunStatus
    attempt: int  # the epoch: how many runners have been granted this run
    origin: Origin
    created_at: str
    scheduled_for: str
    started_at: str | None
    ended_at: str | None
    # Since then the log holds nothing else of it: no tasks, no history. Absent where that is not so.
    forgotten_at: Annotated[str | None, Field(exclude_if=lambda at: at is None)] = None
    agent: str | None
    executor: str
    run_config: str
    labels: tuple[str, ...]
    version: int
    losses: int
    crash: CrashReason | None
    error: ErrorView | None
    failed_task: str | None
    counts: dict[str, int]  # task runs in each state
    result: RecordRef | None
    storage: str
    key_id: str
    seal: str
    maps: tuple[MapView, ...]
    tasks: tuple[TaskView, ...]


class RunSummary(View):
    """A row of `runs`."""

    run_id: str
    flow: str
    state: RunStatus
    attempt: int
    origin: Origin
    scheduled_for: str
    started_at: str | None
    ended_at: str | None
    agent: str | None
    executor: str
    run_config: str
    labels: tuple[str, ...]
    counts: dict[str, int]
    storage: str
    key_id: str
    python: str | None = None


def iso(micros: int | None) -> str | None:
    """A moment as ISO 8601 with microseconds and Z, or None."""
    if micros is None:
        return None
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_second(seconds)}.{rest:06}Z"


@lru_cache(
    maxsize=1_000
)  # the tasks of a run begin and end in few different seconds, and a moment's words take a microsecond
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def run_view(state: RunState, *, tasks: bool = True) -> RunView:
    head = state.head
    error = None
    if head.category is not None:
        error = ErrorView(category=head.category, record=_ref(head.outcome))
    return RunView(
        run_id=head.run,
        flow=head.flow,
        state=head.status,
        attempt=head.epoch,
        origin=head.origin,
        created_at=iso(head.created_at) or "",
        scheduled_for=iso(head.scheduled_for) or "",
        started_at=iso(head.started_at),
        ended_at=iso(head.ended_at),
        forgotten_at=iso(head.forgotten_at),
        agent=head.agent,
        executor=head.executor,
        run_config=head.run_config,
        labels=head.labels,
        version=state.version,
        losses=head.losses,
        crash=head.crash,
        error=error,
        failed_task=head.failed_task,
        counts=counts_of(state),
        result=_ref(head.outcome) if head.status is RunStatus.SUCCEEDED else None,
        storage=head.storage,
        key_id=head.key_id,
        seal=head.seal,
        maps=tuple(MapView(key=mapped.key, name=mapped.name, width=mapped.width) for mapped in maps_of(state)),
        tasks=tuple(_task_view(task) for task in tasks_of(state)) if tasks else (),
    )


def run_summary(state: RunState) -> RunSummary:
    head = state.head
    return RunSummary(
        run_id=head.run,
        flow=head.flow,
        state=head.status,
        attempt=head.epoch,
        origin=head.origin,
        scheduled_for=iso(head.scheduled_for) or "",
        started_at=iso(head.started_at),
        ended_at=iso(head.ended_at),
        agent=head.agent,
        executor=head.executor,
        run_config=head.run_config,
        labels=head.labels,
        counts=counts_of(state),
        storage=head.storage,
        key_id=head.key_id,
        python=head.python,
    )


def counts_of(state: RunState) -> dict[str, int]:
    return {status.value: number for status, number in zip(TaskStatus, state.counts, strict=True) if number}


def maps_of(state: RunState) -> list[MapState]:
    """All maps in the order in which the flow asked for them."""
    return sorted(state.maps.values(), key=lambda mapped: mapped.order)


def tasks_of(state: RunState) -> Iterator[TaskState]:
    """All task runs in the order in which the flow asked for them, elements of maps included.

    Each is put in its place: to sort a hundred thousand would stop all other threads for a tenth of a second.
    """
    touched: dict[int, dict[int, TaskState]] = {mapped.order: {} for mapped in state.maps.values()}
    alone: dict[int, TaskState] = {}
    for task in state.tasks.values():
        elements = touched.get(task.order)
        if elements is None:
            alone[task.order] = task
        else:
            elements[_index(task)] = task
    maps = {mapped.order: mapped for mapped in state.maps.values()}
    for order in range(state.asked):
        mapped = maps.get(order)
        if mapped is None:
            yield alone[order]
        else:
            elements = touched[order]
            yield from (elements.get(index) or element_of(mapped, index) for index in range(mapped.width))


def error_of(task: TaskState) -> FailureCategory | None:
    """What kind of failure is shown of the task; None: none is."""
    return task.category if task.status in (TaskStatus.FAILED, TaskStatus.RETRYING) else None


def _index(element: TaskState) -> int:
    return int(element.key.rpartition(".")[2])


def _task_view(task: TaskState) -> TaskView:
    category = error_of(task)
    error = ErrorView(category=category, record=_ref(task.record)) if category is not None else None
    return TaskView(
        key=task.key,
        name=task.name,
        state=task.status,
        attempt=task.attempt,
        upstream=task.upstream,
        started_at=iso(task.started_at),
        ended_at=iso(task.ended_at),
        error=error,
        record=_ref(task.record),
    )


def _ref(reference: Reference | None) -> RecordRef | None:
    return RecordRef(epoch=reference.epoch, seq=reference.seq) if reference else None
