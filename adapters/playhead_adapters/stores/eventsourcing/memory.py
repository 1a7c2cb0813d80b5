"""What a writer remembers of its streams: their versions, and which append ids they hold. Owns that memory and its limit; reads a
stream where it knows nothing of it, and decides nothing.

It also knows whether others may have written since a stream was looked at: the log has then grown by more than the writer's own inserts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from playhead.core.names import Position, StreamName, Version
from playhead_adapters.stores.eventsourcing.reader import Reader

# Ids remembered over all streams, about 30 MB; beyond it the stream used longest ago is read again
KNOWN_APPENDS: Final = 200_000
READ_EVENTS: Final = 1_000  # read at a time to learn a stream's append ids


@dataclass(slots=True)
class Known:
    """Of one stream: its version, and the versions (first, last) that each append brought. `upto`: it was so at this head of the log."""

    version: Version = Version(0)
    upto: Position = Position(0)
    appends: dict[str, tuple[Version, Version]] = field(default_factory=dict[str, tuple[Version, Version]])


class Memory:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._streams: OrderedDict[StreamName, Known] = OrderedDict()
        self._appends = 0
        self._head = Position(0)  # of the log, where all that lies behind `_strange` is our own
        self._strange = Position(0)  # up to here others may have written

    def look(self, head: Position) -> None:
        """The log has this head now."""
        if head != self._head:
            self._head = self._strange = head

    def wrote(self, positions: Sequence[int]) -> None:
        """Our own insert took these. A gap is as good as others' events: it may be some."""
        if positions[0] != self._head + 1 or positions[-1] - positions[0] + 1 != len(positions):
            self._strange = Position(positions[-1])
        self._head = Position(positions[-1])

    def of(self, stream: StreamName) -> Known:
        """What is known of the stream, read from it if nothing is."""
        known = self._streams.get(stream)
        if known is not None:
            self._streams.move_to_end(stream)
            return known
        known = self._streams[stream] = Known()
        try:
            self._read_on(stream, known)
        except BaseException:
            del self._streams[stream]
            self._appends -= len(known.appends)
            raise
        self._keep_within_the_limit()
        return known

    def add(self, stream: StreamName, append_id: str, first: Version, last: Version, position: Position) -> None:
        """An append that has just been written; the position is that of its last event."""
        known = self.of(stream)
        self._note(known, append_id, first, last)
        known.upto = position
        self._keep_within_the_limit()

    def may_be_behind(self, stream: StreamName) -> bool:
        """Whether others may have written to it since it was looked at."""
        return self.of(stream).upto < self._strange

    def catch_up(self, streams: Iterable[StreamName]) -> bool:
        """Read what others have added to these streams since; whether anything was new."""
        before = {stream: self.of(stream).version for stream in set(streams)}
        for stream in before:
            self._read_on(stream, self.of(stream))
        return any(self.of(stream).version > version for stream, version in before.items())

    def forget(self) -> None:
        """What is known may be wrong: all of it is read again."""
        self._streams.clear()
        self._appends = 0

    def _read_on(self, stream: StreamName, known: Known) -> None:
        more = True
        while more:
            found = self._reader.kept(stream, known.version, limit=READ_EVENTS)
            for one in found:
                first, _ = known.appends.get(one.append_id, (one.version, one.version))
                self._note(known, one.append_id, first, one.version)
            more = len(found) == READ_EVENTS
        known.upto = self._head

    def _note(self, known: Known, append_id: str, first: Version, last: Version) -> None:
        self._appends += append_id not in known.appends
        known.appends[append_id] = (first, last)
        known.version = last

    def _keep_within_the_limit(self) -> None:
        while self._appends + len(self._streams) > KNOWN_APPENDS and len(self._streams) > 1:
            _, oldest = self._streams.popitem(last=False)
            self._appends -= len(oldest.appends)
