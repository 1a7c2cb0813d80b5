"""Replay: recorded events to states. Owns the way from the log's envelopes to the fold; reads nothing by itself."""

from __future__ import annotations

from collections.abc import Iterable

from playhead.core import events as ev
from playhead.core.folding import Folding
from playhead.core.lean import lean_event
from playhead.core.lifecycle import Stamp
from playhead.core.state import RunState, RunStatus
from playhead.ports.store import NewEvent, Recorded


def stamp_of(recorded: Recorded) -> Stamp:
    return Stamp(recorded.recorded_at, recorded.epoch, recorded.seq)


def event_of(recorded: Recorded) -> ev.Event:
    """The event in the envelope. Raises UnknownEvent."""
    return ev.decode(recorded.type, recorded.schema, recorded.data)


def to_append(event: ev.Event) -> NewEvent:
    return NewEvent(type=event.TYPE, schema=event.SCHEMA, data=ev.encode(event))


class Replay:
    """Recorded events of one run's stream on their way into its state, from `state` on."""

    def __init__(self, state: RunState | None = None) -> None:
        self._folding = Folding(state)

    def add(self, events: Iterable[Recorded], /) -> None:
        """The stream's next events. Raises UnknownEvent and IllegalEvent; after that the replay is of no more use."""
        add = self._folding.add
        for item in events:
            add(lean_event(item.type, item.schema, item.data), item.recorded_at, item.epoch, item.seq)

    def state(self) -> RunState | None:
        """The state after what was added so far; None if there was no event."""
        return self._folding.state()

    def status(self) -> RunStatus | None:
        """The run's state after what was added so far, without a state being made."""
        return self._folding.status()


def replay(recorded: Iterable[Recorded], state: RunState | None = None) -> RunState | None:
    """The state after these events of one run's stream, starting from `state`."""
    story = Replay(state)
    story.add(recorded)
    return story.state()
