"""An event of ours as a stored event of the library, and back. Owns that form; reads and writes nothing.

The form is that of release 0.1.0: the state is a JSON list of what the library has no field for. Where the recorder knows only UUIDs,
the stream's name is its last item, and the originator is made of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

import orjson
from eventsourcing.persistence import StoredEvent

from playhead.core.names import Epoch, LogId, Micros, Position, Seq, StreamName, Version
from playhead.ports.store import Append, Recorded

LOG_STREAM: Final = StreamName("playhead/log")  # holds one event, with the log's id
_LOG_TOPIC: Final = "playhead.log"
_TOPIC: Final = "playhead/"  # before the type, so that what other applications keep in the same recorder is passed over
_NAMES: Final = UUID("2b0f4b0e-63a5-5d0c-9c11-7a3b1f5e8d42")  # of streams, where originators are UUIDs


@dataclass(frozen=True, slots=True)
class Originators:
    """How a stream is named to the recorder: by its own name, or by a UUID made of it. Reading gives the name back in either case."""

    uuids: bool

    def of(self, stream: StreamName) -> str | UUID:
        return uuid5(_NAMES, stream) if self.uuids else stream


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored event of ours, unfolded. `floor` is the head of the log that its commit began on."""

    stream: StreamName
    version: Version
    type: str
    schema: int
    data: Mapping[str, Any]
    actor: str
    recorded_at: Micros
    append_id: str
    index: int
    epoch: Epoch | None
    seq: Seq | None
    floor: Position

    @classmethod
    def of(cls, stored: StoredEvent) -> Kept:
        fields, name = orjson.loads(stored.state), str(stored.originator_id)
        if len(fields) == _FIELDS + 1:
            name = fields.pop()
        return cls(StreamName(name), Version(stored.originator_version), stored.topic.removeprefix(_TOPIC), *fields)

    def recorded(self, position: Position) -> Recorded:
        return Recorded(
            position=position,
            stream=self.stream,
            version=self.version,
            recorded_at=self.recorded_at,
            type=self.type,
            schema=self.schema,
            actor=self.actor,
            data=self.data,
            append_id=self.append_id,
            index=self.index,
            epoch=self.epoch,
            seq=self.seq,
        )


_FIELDS: Final = 9  # of a state, without the stream's name


def stored_events(append: Append, before: Version, floor: Position, originators: Originators) -> list[StoredEvent]:
    """The append's events for the recorder, from version `before + 1` on. The state's order is that of `Kept`."""
    originator, name = originators.of(append.stream), [append.stream] if originators.uuids else []
    return [
        StoredEvent(
            originator_id=originator,
            originator_version=before + 1 + index,
            topic=f"{_TOPIC}{event.type}",
            state=orjson.dumps(
                [
                    event.schema,
                    event.data,
                    append.actor,
                    append.recorded_at,
                    append.append_id,
                    index,
                    append.epoch,
                    None if append.first_seq is None else append.first_seq + index,
                    floor,
                    *name,
                ],
                default=dict,
            ),
        )
        for index, event in enumerate(append.events)
    ]


def is_ours(stored: StoredEvent) -> bool:
    return stored.topic.startswith(_TOPIC)


def naming_event(log_id: LogId, originators: Originators) -> StoredEvent:
    """The first event that a log writes: its id."""
    return StoredEvent(
        originator_id=originators.of(LOG_STREAM), originator_version=1, topic=_LOG_TOPIC, state=log_id.encode()
    )


def named_by(stored: StoredEvent) -> LogId:
    return LogId(stored.state.decode())
