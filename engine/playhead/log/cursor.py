"""A cursor: a place in one log, as text that a client keeps. Owns its form and when it is refused; reads only to check it.

`<log id>:<position>:<mark>`. The mark is made of the append id at that position, so that a cursor from before a restore
is noticed even where somebody copied the log's file under its old id.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from playhead.core.names import LogId, Position
from playhead.errors import CursorRefused
from playhead.ports.store import EventStore, Recorded

MARK_DIGITS: Final = 8  # 32 bits: a restored log is taken for the old one once in four thousand million times

_FORM = re.compile(r"(?P<log>[A-Za-z0-9_.-]{1,64}):(?P<position>\d{1,19}):(?P<mark>[0-9a-f]{8}|)")
_HINT = "follow from the beginning, or from the position that the newest query answered with"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to `position` (included) has been seen."""

    log_id: LogId
    position: Position
    mark: str  # `mark_of` the append id there; "" at position 0, and where the position is a gap

    def __str__(self) -> str:
        return f"{self.log_id}:{self.position}:{self.mark}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """CursorRefused: this is no cursor."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise CursorRefused("this is not a cursor", hint="a cursor is given back as it was received")
        return cls(LogId(form["log"]), Position(int(form["position"])), form["mark"])

    @classmethod
    def at(cls, log_id: LogId, event: Recorded) -> Cursor:
        """The cursor of a reader that has seen this event; needs no look into the store."""
        return cls(log_id, event.position, mark_of(event.append_id))


async def cursor_at(store: EventStore, position: Position) -> Cursor:
    """The cursor of a reader that has scanned up to `position`, whether or not an event is there."""
    return Cursor(store.log_id, position, await store.first_bytes(position))


async def check_cursor(store: EventStore, cursor: Cursor) -> Position:
    """The position to read on from. CursorRefused: it is of another log, or of a history that this log does not have."""
    if cursor.log_id != store.log_id:
        raise CursorRefused(f"the cursor is of another log, this is log {store.log_id}", hint=_HINT)
    head = await store.head()
    if cursor.position > head:
        raise CursorRefused(f"the cursor is at position {cursor.position}, the log ends at {head}", hint=_HINT)
    if not await has_seen(store, cursor.position, cursor.mark):
        raise CursorRefused(
            f"at position {cursor.position} this log holds another event than the one the cursor saw", hint=_HINT
        )
    return cursor.position


async def has_seen(store: EventStore, position: Position, mark: str) -> bool:
    """Whether what is noted of that position is what stands there. Of what was forgotten nothing is left that could differ."""
    return mark == await store.first_bytes(position) or await store.is_forgotten(position)


def mark_of(append_id: str) -> str:
    """First bytes of the append id's SHA-256: ids of one writer begin alike, and may hold letters unfit for a header."""
    return hashlib.sha256(append_id.encode()).hexdigest()[:MARK_DIGITS]
