"""The records of a call's ordinary course: it started, it succeeded. Made for every task of a map, so straight from their fields.

Each is what its event, encoded, would be; a test holds that. Nothing is checked here: a key was when it was given out, and
attempts, MACs and sizes are of our own making.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playhead.core.events import TaskStarted, TaskSucceeded
from playhead.core.names import TaskKey
from playhead.journal.format import Blob, Record


def started(at: int, key: TaskKey, attempt: int) -> Record:
    """`task.started`"""
    fields: dict[str, Any] = {"at": at, "key": key}
    if attempt != 1:  # fields at their default are left out
        fields["attempt"] = attempt
    return Record(TaskStarted.TYPE, TaskStarted.SCHEMA, fields)


def succeeded(
    at: int,
    key: TaskKey,
    attempt: int,
    mac: str,
    size: int,
    payload: bytes | Blob,
    then: Callable[[Record], None],
    note: dict[str, Any] | None = None,
) -> Record:
    """`task.succeeded`, with the result that it is about."""
    fields: dict[str, Any] = {"at": at, "key": key}
    if attempt != 1:
        fields["attempt"] = attempt
    fields["mac"] = mac
    fields["size"] = size
    return Record(TaskSucceeded.TYPE, TaskSucceeded.SCHEMA, fields, note, payload, then)
