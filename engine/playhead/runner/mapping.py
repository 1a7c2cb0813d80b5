"""What a map goes over: which arguments are columns and which are shared, and what each element needs. Pure, once futures of
lists have their value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from playhead.core.events import MAX_WIDTH
from playhead.core.names import TaskKey
from playhead.errors import MisusedCall
from playhead.flows.context import CallRequest
from playhead.flows.future import TaskFuture, TaskFutures
from playhead.flows.task import Unmapped
from playhead.runner.binding import find_futures, is_mappable

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
ListOf = Callable[[TaskFuture[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A map's calls. `aligned` are maps whose element i is needed by element i, and by that alone beside what is shared; None:
    futures of all sorts stand in the iterables, so that each element has upstream keys of its own."""

    elements: tuple[Arguments, ...]
    shared: tuple[Any, ...]
    aligned: tuple[TaskFutures[Any], ...] | None


def mapping_of(base: TaskKey, request: CallRequest, list_of: ListOf) -> Mapping:
    """Read the arguments of a map. `list_of` waits for a future whose value is mapped over. MisusedCall: the lengths differ."""
    names = [*range(len(request.args)), *request.kwargs]
    values = [*request.args, *request.kwargs.values()]
    columns: dict[int | str, Sequence[Any]] = {}
    shared: dict[int | str, Any] = {}
    aligned: dict[TaskKey, TaskFutures[Any]] = {}
    mixed = False
    for name, value in zip(names, values, strict=True):
        it: Any = value
        if isinstance(value, Unmapped):
            shared[name] = it.value
        elif isinstance(value, TaskFutures):
            columns[name] = it
            aligned[value.key] = it
        elif isinstance(value, TaskFuture):
            columns[name] = list_of(it)
        elif is_mappable(value):
            columns[name] = list(it)
            mixed = mixed or bool(find_futures(columns[name]))
        else:
            shared[name] = value
    width = _width(base, columns)
    cells = {name: columns[name] if name in columns else repeat(shared[name], width) for name in names}
    rows = list(zip(*(cells[index] for index in range(len(request.args))), strict=True)) or [()] * width
    by_name = [
        dict(zip(request.kwargs, row, strict=True))
        for row in zip(*(cells[name] for name in request.kwargs), strict=True)
    ]
    elements = tuple(zip(rows, by_name or ({} for _ in range(width)), strict=True))
    return Mapping(elements, tuple(shared.values()), None if mixed else tuple(aligned.values()))


def _width(base: TaskKey, columns: dict[int | str, Sequence[Any]]) -> int:
    widths = {len(column) for column in columns.values()}
    if len(widths) != 1:
        sizes = ", ".join(f"{name}: {len(column)}" for name, column in columns.items()) or "none"
        raise MisusedCall(
            f"map of {base} needs iterables of one length, and there are {sizes}",
            hint="wrap an argument that every element gets whole in `unmapped(...)`",
        )
    width = widths.pop()
    if width > MAX_WIDTH:
        raise MisusedCall(
            f"map of {base} over {width} elements is wider than {MAX_WIDTH}", hint="give each task a list of elements"
        )
    return width
