"""A run's view as JSON text, in parts: what the model `RunView` would be written as, byte for byte. Owns that text and no field of it.

A hundred thousand models take seconds to make and to write, and a server has no use for them: it shows them as text only. So tasks
and maps are written from structs (record 71), some at a time, and whoever asks for the next part lets others run between two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import replace
from pydantic_core import to_json
from rpds import HashTrieMap

from playhead.core.events import FailureCategory
from playhead.core.names import TaskKey
from playhead.core.state import MapState, Reference, RunState, TaskState, TaskStatus
from playhead.core.views import error_of, iso, maps_of, run_view, tasks_of

PART_ITEMS: Final = 500  # tasks or maps in a part: a millisecond or two

_NO_MAPS: Final[HashTrieMap[TaskKey, MapState]] = HashTrieMap()
_MAPS: Final = b'"maps":['
_TASKS: Final = b'],"tasks":['
_END: Final = b"]}"


def run_json(state: RunState, *, tasks: bool = True) -> Iterator[bytes]:
    """The parts, in order; each is made when it is asked for."""
    text = to_json(run_view(replace(state, maps=_NO_MAPS), tasks=False))
    head, maps, rest = text.rpartition(_MAPS)
    assert rest == _TASKS + _END, "maps and tasks are the last of a view's fields"
    yield head + maps
    yield from _listed(_map(mapped) for mapped in maps_of(state))
    yield _TASKS
    if tasks:
        yield from _listed(map(_task, tasks_of(state)))
    yield _END


def _listed(items: Iterable[msgspec.Struct]) -> Iterator[bytes]:
    """What stands between the brackets of a list."""
    rest, comma = iter(items), b""
    while some := list(islice(rest, PART_ITEMS)):
        yield comma + _ENCODER.encode(some)[1:-1]
        comma = b","


class _Record(msgspec.Struct, frozen=True, gc=False):
    """As `RecordRef`."""

    epoch: int
    seq: int


class _Error(msgspec.Struct, frozen=True, gc=False):
    """As `ErrorView`; what only the user's side knows of it is never in a server's answer."""

    category: FailureCategory
    record: _Record | None
    type: None = None
    message: None = None
    traceback: None = None


class _Task(msgspec.Struct, frozen=True, gc=False):
    """As `TaskView`."""

    key: str
    name: str
    state: TaskStatus
    attempt: int
    upstream: tuple[TaskKey, ...]
    started_at: str | None
    ended_at: str | None
    error: _Error | None
    record: _Record | None


class _Map(msgspec.Struct, frozen=True, gc=False):
    """As `MapView`."""

    key: str
    name: str
    width: int


def _task(task: TaskState) -> _Task:
    record = _record(task.record)
    category = error_of(task)
    return _Task(
        task.key,
        task.name,
        task.status,
        task.attempt,
        task.upstream,
        iso(task.started_at),
        iso(task.ended_at),
        _Error(category, record) if category is not None else None,
        record,
    )


def _map(mapped: MapState) -> _Map:
    return _Map(mapped.key, mapped.name, mapped.width)


def _record(reference: Reference | None) -> _Record | None:
    return _Record(reference.epoch, reference.seq) if reference is not None else None


_ENCODER: Final = msgspec.json.Encoder()
