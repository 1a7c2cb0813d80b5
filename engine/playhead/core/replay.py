"""Replay: recorded events to states. Owns the way from the log's envelopes to the fold; reads nothing by itself."""

from __future__ import annotations

from collections.abc import Iterable

from playhead.core import events as ev
from playhead.core.lifecycle import Stamp, evolve
from playhead.core.state import RunState
from playhead.ports.store import NewEvent, Recorded


def stamp_of(recorded: Recorded) -> Stamp:
    return Stamp(recorded.recorded_at, recorded.epoch, recorded.seq)


def event_of(recorded: Recorded) -> ev.Event:
    """The event in the envelope. Raises UnknownEvent."""
    return ev.decode(recorded.type, recorded.schema, recorded.data)


def to_append(event: ev.Event) -> NewEvent:
    return NewEvent(type=event.TYPE, schema=event.SCHEMA, data=ev.encode(event))


def replay(recorded: Iterable[Recorded], state: RunState | None = None) -> RunState | None:
    """The state after these events of one run's stream, starting from `state`."""
    for item in recorded:
        state = evolve(state, event_of(item), stamp_of(item))
    return state
