"""Pieces: a run's state in bytes, each with what changed since the one before it. Owns their form; knows neither file nor log.

A state of 100,000 tasks is some megabytes, and 60 of them along a run would be 60 times that. So a piece holds the run's head whole, and
of tasks and maps those only that changed; joined from a whole one on, pieces are the state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from itertools import islice
from typing import Final

import msgspec
from rpds import HashTrieMap

from playhead.core.events import CrashReason, FailureCategory, LossReason, Origin
from playhead.core.names import TaskKey, Version
from playhead.core.packed import PackedTasks, pack
from playhead.core.state import MapState, Reference, RunHead, RunState, RunStatus, TaskState, TaskStatus
from playhead.core.table import TaskTable

# Of the fold: one more whenever the same events are folded to another state, or read models keep the old one
RULES: Final = 1
PART_TASKS: Final = 2_000  # in one go of encoding or decoding, which holds the interpreter for a millisecond or two


class Piece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: Version
    head: RunHead
    maps: tuple[MapState, ...]
    counts: tuple[int, ...]
    reported: tuple[int, ...]
    asked: int
    tasks: tuple[bytes, ...]  # each a `Tasks`


class Tasks(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Some tasks, packed, and their keys, so that whoever joins pieces reads no task."""

    keys: list[TaskKey]
    packed: list[bytes]


def whole_piece(state: RunState) -> bytes:
    """All of the state."""
    return _encoded(state, state.tasks.values(), state.maps.values())


def piece_of(state: RunState, changed: Collection[TaskKey]) -> bytes:
    """The state, but of its tasks and maps only those of these keys: all that changed since the piece before, and maybe others."""
    tasks = state.tasks.those(changed)
    maps = (mapped for key in changed if (mapped := state.maps.get(key)) is not None)
    return _encoded(state, tasks, maps)


def joined(pieces: Sequence[bytes]) -> RunState:
    """The state of the last of these pieces; the first is a whole one. Raises ValueError: they are not of this form."""
    tasks: dict[TaskKey, bytes] = {}
    maps: dict[TaskKey, MapState] = {}
    newest: Piece | None = None
    for raw in pieces:
        newest = _PIECE.decode(raw)
        maps |= {mapped.key: mapped for mapped in newest.maps}
        for part in newest.tasks:
            some = _TASKS.decode(part)
            tasks.update(zip(some.keys, some.packed, strict=True))
    assert newest is not None, "there is no state without a piece"
    return RunState(
        version=newest.version,
        head=newest.head,
        tasks=TaskTable(packed=PackedTasks(tasks)),
        maps=HashTrieMap(maps),
        counts=newest.counts,
        reported=newest.reported,
        asked=newest.asked,
    )


def _encoded(state: RunState, tasks: Iterable[TaskState], maps: Iterable[MapState]) -> bytes:
    rest = iter(tasks)
    parts: list[bytes] = []
    while part := list(islice(rest, PART_TASKS)):
        parts.append(_ENCODER.encode(Tasks([task.key for task in part], list(map(pack, part)))))
    piece = Piece(state.version, state.head, tuple(maps), state.counts, state.reported, state.asked, tuple(parts))
    return _ENCODER.encode(piece)


def _form() -> str:
    """What the bytes depend on: the fields and words of all that is in them, and the rules of the fold."""
    structs = (Piece, Tasks, RunHead, MapState, TaskState, Reference)
    words: tuple[type[Enum], ...] = (RunStatus, TaskStatus, Origin, CrashReason, LossReason, FailureCategory)
    fields = [
        (kind.__name__, [(f.name, str(f.type), repr(f.default)) for f in msgspec.structs.fields(kind)])
        for kind in structs
    ]
    members = [(kind.__name__, [member.value for member in kind]) for kind in words]
    return hashlib.sha256(repr((RULES, fields, members)).encode()).hexdigest()[:16]


FORM: Final = _form()

_ENCODER: Final = msgspec.msgpack.Encoder()
_PIECE: Final = msgspec.msgpack.Decoder(Piece)
_TASKS: Final = msgspec.msgpack.Decoder(Tasks)
