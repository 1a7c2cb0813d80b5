"""Packed tasks: task states as bytes, by key, each read when it is asked for. Owns the bytes of a task; knows no rule of tasks.

A run as it was, or as it is found at work, is asked for its counts and for few of its tasks. To put a hundred thousand in their places by
their keys takes less than half of the time in which they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from playhead.core.names import TaskKey
from playhead.core.state import TaskState

READ_AT_ONCE: Final = 500  # where many are asked for: each go holds the interpreter for less than a millisecond


def pack(task: TaskState) -> bytes:
    return _ENCODER.encode(task)


class PackedTasks:
    """What `pack` made of each, by the task's key. Nobody changes it."""

    __slots__ = ("_packed",)

    def __init__(self, packed: dict[TaskKey, bytes]) -> None:
        """Takes the dict over."""
        self._packed = packed

    def get(self, key: TaskKey) -> TaskState | None:
        packed = self._packed.get(key)
        return _TASK.decode(packed) if packed is not None else None

    def those(self, keys: Iterable[TaskKey]) -> Iterator[TaskState]:
        """The tasks of these keys, all of which are there."""
        rest = map(self._packed.__getitem__, keys)
        while some := list(islice(rest, READ_AT_ONCE)):
            # Read in one go, as the list that they are when its head is put before them.
            yield from _TASKS.decode(b"\xdd" + len(some).to_bytes(4, "big") + b"".join(some))

    def __iter__(self) -> Iterator[TaskKey]:
        return iter(self._packed)

    def __contains__(self, key: TaskKey) -> bool:
        return key in self._packed

    def __len__(self) -> int:
        return len(self._packed)


_ENCODER: Final = msgspec.msgpack.Encoder()
_TASK: Final = msgspec.msgpack.Decoder(TaskState)
_TASKS: Final = msgspec.msgpack.Decoder(list[TaskState])
