"""Futures in the arguments of a call: finding them, and putting values in their place. Pure.

They may stand anywhere in lists, tuples, named tuples, sets, dicts (as values), dataclasses, and in these in one another.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from playhead.core.names import TaskKey
from playhead.errors import MisusedCall
from playhead.flows.future import TaskFuture, TaskFutures

MAX_DEPTH: Final = 64  # deeper nesting is a cycle or a mistake

_LEAVES: Final = frozenset({str, bytes, int, float, bool, type(None)})  # most of what calls are given
_FUTURES: Final = (TaskFuture, TaskFutures)


def find_futures(value: Any, depth: int = 0) -> list[TaskFuture[Any] | TaskFutures[Any]]:
    """The futures in the value, in order (in a set: of their keys, as a set's own differs in each process); a whole map counts as
    one. MisusedCall: one is the key of a dict, where no value can take its place."""
    found: list[TaskFuture[Any] | TaskFutures[Any]] = []
    if type(value) not in _LEAVES:
        _collect(value, found, depth, {}, _FUTURES)
    return found


def find_all(*values: Any) -> list[TaskFuture[Any] | TaskFutures[Any]]:
    """The futures in all of these values, as `find_futures` finds them in each."""
    return [future for value in values if value for future in find_futures(value)]


def _collect(value: Any, found: list[Any], depth: int, seen: dict[int, Any], kinds: tuple[type, ...]) -> None:
    """`seen` are the containers that were looked into, kept so that no other object gets their address."""
    if type(value) in _LEAVES or depth > MAX_DEPTH:
        return
    it: Any = value
    if isinstance(value, kinds):
        found.append(it)
        return
    parts = _parts(it)
    if not parts or id(it) in seen:
        return
    seen[id(it)] = it
    first = len(found)
    for part in parts:
        if type(part) not in _LEAVES:
            _collect(part, found, depth + 1, seen, kinds)
    if isinstance(value, set | frozenset):
        found[first:] = sorted(found[first:], key=lambda future: future.key)


def substitute(
    value: Any, value_of: Callable[[Any], Any], depth: int = 0, *, kinds: tuple[type, ...] = _FUTURES
) -> Any:
    """The value with each future replaced by its own value; parts without futures are passed on as they are. `kinds`: what stands
    for a value, where that is something else.
    """
    # As it is: a type checker narrows what isinstance looked at, and a user's containers may hold anything
    it: Any = value
    if type(value) in _LEAVES:
        return it
    found: list[Any] = []
    _collect(it, found, depth, {}, kinds)
    if not found:
        return it
    if isinstance(value, TaskFutures):
        return [value_of(future) for future in it]
    if isinstance(value, kinds):
        return value_of(it)
    return _rebuilt(it, [substitute(part, value_of, depth + 1, kinds=kinds) for part in _parts(it)])


def _parts(value: Any) -> Sequence[Any]:
    """What a container holds, in its order: a dict's values, a dataclass' fields; nothing for everything else."""
    it: Any = value
    if isinstance(value, list | tuple | set | frozenset):
        return list(it)
    if isinstance(value, dict):
        for key in it:
            if isinstance(key, TaskFuture):
                raise MisusedCall(
                    f"the future of task {key.key} is the key of a dict",
                    hint="await it first: tasks take futures as values",
                )
        return list(it.values())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    return ()


def _rebuilt(value: Any, parts: Sequence[Any]) -> Any:
    """A container of the same kind with these parts in place of its own."""
    it: Any = value
    kind: Any = value.__class__
    if isinstance(value, dict):
        changed: Any = copy.copy(
            it
        )  # what kind of dict it is, a constructor cannot tell: a defaultdict's takes no pairs
        changed.update(zip(it, parts, strict=True))
        return changed
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return kind(*parts)
    if isinstance(value, list | tuple | set | frozenset):
        return kind(parts)
    fields = dataclasses.fields(it)
    return dataclasses.replace(
        it, **{field.name: part for field, part in zip(fields, parts, strict=True) if field.init}
    )


def upstream_keys(found: Iterable[TaskFuture[Any] | TaskFutures[Any]]) -> tuple[TaskKey, ...]:
    """The keys of these futures, each once, in order."""
    return tuple(dict.fromkeys(future.key for future in found))


def single_futures(found: Iterable[TaskFuture[Any] | TaskFutures[Any]]) -> Iterable[TaskFuture[Any]]:
    """Each of these futures, the elements of maps one by one, and each once."""
    singles: dict[int, TaskFuture[Any]] = {}
    for future in found:
        for single in future if isinstance(future, TaskFutures) else (future,):
            singles[id(single)] = single
    return singles.values()


def is_mappable(value: Any) -> bool:
    """Whether `map` goes over this argument: iterables do; strings, bytes and mappings are single values."""
    if isinstance(value, TaskFuture | TaskFutures):
        return True
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes | bytearray | Mapping)
