"""Between a row of `appends` and its events. Owns the two forms of an append id and how a row is unfolded; runs no SQL.

Who reads gives the names that stand behind a row's numbers: see `names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, cast

from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version
from playhead.log.appends import Bodies, decode, unfold
from playhead.log.sqlite.faults import damaged
from playhead.ports.store import Append, Kept, NewEvent, Recorded

# Named as what they are where SQLite hands them out: to call Position and the like takes a tenth of an event's time.
# Position, stream's number, version, count of events, recorded at, actor's number, epoch, first record, append id, body.
Row = tuple[Position, int, Version, int, Micros, int, Epoch | None, Seq | None, str | bytes, bytes]

_HEX_ID_LENGTH: Final = 32


def packed(append_id: str) -> str | bytearray:
    """As it is kept: half the bytes, twice (row and index), for the ids that most appends have, 32 hexadecimal digits.

    In a bytearray, which Python's sqlite3 binds as it is; for bytes it first looks for an adapter, as it does for None.
    """
    if len(append_id) == _HEX_ID_LENGTH:
        try:
            found = bytearray.fromhex(append_id)
        except ValueError:
            return append_id
        if found.hex() == append_id:  # no space in it, and no capital letter, that would be lost
            return found
    return append_id


def unpacked(kept: str | bytes) -> str:
    return kept.hex() if isinstance(kept, bytes) else kept


class Rows:
    """Unfolds rows of one log. Remembers the last one that a page ended in, since the next page begins in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cut = _NO_ROW  # its position and its events

    def events(
        self,
        rows: Iterable[Row],
        names: Mapping[int, str],
        *,
        after: int,
        limit: int,
        by: Literal["position", "version"],
    ) -> list[Recorded]:
        """Up to `limit` of the rows' events, in order, whose position or version is beyond `after`. LogUnusable: a row does not hold
        what it says."""
        events: list[Recorded] = []
        for row in rows:
            position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body = row
            if count == 1:  # made here: to call for it takes as long as to make it
                try:
                    ((kind, schema, data),) = decode(body)
                except ValueError:
                    self._bodies(position, count, body)  # says what is wrong with it
                    raise
                event = Recorded(
                    position=position,
                    stream=cast(StreamName, names[stream]),
                    version=version,
                    recorded_at=recorded_at,
                    type=kind,
                    schema=schema,
                    actor=names[actor],
                    data=data,
                    append_id=append_id.hex() if isinstance(append_id, bytes) else append_id,
                    index=0,
                    epoch=epoch,
                    seq=first_seq,
                )
                events.append(event)
            else:
                last = position if by == "position" else version
                events += self._of_many(row, names, skip=max(0, after - (last - count)), limit=limit - len(events))
            if len(events) == limit:
                break
        return events

    def _of_many(self, row: Row, names: Mapping[int, str], *, skip: int, limit: int) -> list[Recorded]:
        """Up to `limit` of the row's events without the first `skip`."""
        position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body = row
        bodies = self._bodies(position, count, body)
        end = min(count, skip + limit)
        self._cut = (position, bodies) if end < count else _NO_ROW
        first = skip - count + 1  # what to add to the number of the row's last event
        return unfold(
            bodies[skip:end] if skip or end < count else bodies,
            first=position + first,
            first_version=version + first,
            stream=cast(StreamName, names[stream]),
            recorded_at=recorded_at,
            actor=names[actor],
            append_id=unpacked(append_id),
            epoch=epoch,
            first_seq=None if first_seq is None else Seq(first_seq + skip),
            first_index=skip,
        )

    def kept(self, row: Row, link: bytes | None, names: Mapping[int, str]) -> Kept:
        """The row as a copy takes it over. LogUnusable as for `events`."""
        position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body = row
        append = Append(
            stream=cast(StreamName, names[stream]),
            events=tuple(
                NewEvent(type=kind, schema=schema, data=data)
                for kind, schema, data in self._bodies(position, count, body)
            ),
            expected=Version(version - count),
            append_id=unpacked(append_id),
            actor=names[actor],
            recorded_at=recorded_at,
            epoch=epoch,
            first_seq=first_seq,
        )
        return Kept(append=append, last=position, version=version, link=link)

    def _bodies(self, position: int, count: int, body: bytes) -> Bodies:
        known, bodies = self._cut  # one look: other threads read, too
        if known == position:
            return bodies
        try:
            bodies = decode(body)
        except ValueError as error:
            raise damaged(self._path, f"the append at position {position} cannot be read: {error}") from error
        if len(bodies) != count:
            raise damaged(self._path, f"the append at position {position} holds {len(bodies)} events and not {count}")
        return bodies


_NO_ROW: Final[tuple[int, Bodies]] = (0, [])
