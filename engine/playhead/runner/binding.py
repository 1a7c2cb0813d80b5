"""Futures in the arguments of a call: finding them, and putting values in their place. Pure.

They may stand anywhere in lists, tuples, named tuples, sets, dicts (as values), dataclasses, and in these in one another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from playhead.core.names import TaskKey
from playhead.flows.future import TaskFuture, TaskFutures

MAX_DEPTH: Final = 64  # deeper nesting is a cycle or a mistake

_LEAVES: Final = (str, bytes, int, float, bool, type(None))


def find_futures(value: Any, depth: int = 0) -> Iterator[TaskFuture[Any] | TaskFutures[Any]]:
    """The futures in the value, in order; a whole map counts as one."""
    if isinstance(value, _LEAVES) or depth > MAX_DEPTH:
        return
    if isinstance(value, TaskFuture | TaskFutures):
        yield value
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from find_futures(item, depth + 1)
    elif isinstance(value, dict):
        for item in value.values():
            yield from find_futures(item, depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from find_futures(getattr(value, field.name, None), depth + 1)


def substitute(value: Any, value_of: Callable[[TaskFuture[Any]], Any], depth: int = 0) -> Any:
    """The value with each future replaced by its own value; parts without futures are passed on as they are."""
    if isinstance(value, _LEAVES) or depth > MAX_DEPTH:
        return value
    if isinstance(value, TaskFuture):
        return value_of(value)
    if isinstance(value, TaskFutures):
        return [value_of(future) for future in value]
    if next(find_futures(value, depth), None) is None:
        return value
    if isinstance(value, dict):
        return type(value)((key, substitute(item, value_of, depth + 1)) for key, item in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(substitute(item, value_of, depth + 1) for item in value))
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(substitute(item, value_of, depth + 1) for item in value)
    changed = {
        field.name: substitute(getattr(value, field.name), value_of, depth + 1)
        for field in dataclasses.fields(value)
        if field.init
    }
    return dataclasses.replace(value, **changed)


def upstream_keys(*values: Any) -> tuple[TaskKey, ...]:
    """The keys of all futures in the values, each once, in order."""
    return tuple(dict.fromkeys(future.key for value in values for future in find_futures(value)))


def all_futures(*values: Any) -> list[TaskFuture[Any]]:
    """Every single future in the values, the elements of maps included, each once."""
    found: dict[int, TaskFuture[Any]] = {}
    for value in values:
        for future in find_futures(value):
            for single in future if isinstance(future, TaskFutures) else (future,):
                found[id(single)] = single
    return list(found.values())


def is_mappable(value: Any) -> bool:
    """Whether `map` goes over this argument: iterables do; strings, bytes and mappings are single values."""
    if isinstance(value, TaskFuture | TaskFutures):
        return True
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes | bytearray | Mapping)
