"""Reading a recorder: streams, the whole log, and where in it a stream's events lie. Writes nothing; may be called in any thread."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from eventsourcing.persistence import ApplicationRecorder

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import LogError, LogUnusable
from playhead.ports.store import Page, Recorded
from playhead_adapters.stores.eventsourcing.rows import LOG_STREAM, Kept, Originators, is_ours, named_by

SCAN_EVENTS: Final = 64  # read at a time to find where an event lies in the whole log; it is nearly always the first


class Reader:
    def __init__(self, recorder: ApplicationRecorder, originators: Originators) -> None:
        self._recorder = recorder
        self._originators = originators

    def log_id(self) -> LogId | None:
        """As it is written in the log; None in one that is empty. Raises what the recorder does."""
        found = self._recorder.select_events(self._originators.of(LOG_STREAM), limit=1)
        return named_by(found[0]) if found else None

    def head(self) -> Position:
        with told("read"):
            return Position(self._recorder.max_notification_id() or 0)

    def all(self, after: Position, limit: int) -> Page:
        """What other applications have in the recorder counts as scanned, and not towards the limit."""
        events: list[Recorded] = []
        scanned = after
        with told("read"):
            while len(events) < limit:
                wanted = limit - len(events)
                found = self._recorder.select_notifications(start=scanned, limit=wanted, inclusive_of_start=False)
                events += [Kept.of(one).recorded(Position(one.id)) for one in found if is_ours(one)]
                if found:
                    scanned = Position(found[-1].id)
                if len(found) < wanted:
                    break
        return Page(tuple(events), scanned)

    def stream(self, stream: StreamName, after: Version, limit: int) -> list[Recorded]:
        kept = self.kept(stream, after, limit=limit)
        positions = self.positions(stream, kept)
        return [one.recorded(positions[one.version]) for one in kept]

    def kept(
        self, stream: StreamName, after: Version, *, upto: Version | None = None, limit: int | None = None
    ) -> list[Kept]:
        """The stream's events without their positions. LogUnusable: a version is missing, which no recorder here looks for."""
        with told("read"):
            found = self._recorder.select_events(self._originators.of(stream), gt=after, lte=upto, limit=limit)
            kept = [Kept.of(one) for one in found]
        for expected, one in enumerate(kept, after + 1):
            if (one.version, one.stream) != (expected, stream):
                raise LogUnusable(
                    f"stream {stream} has {one.stream} version {one.version} where its version {expected} belongs",
                    hint="something else wrote into the recorder's tables: restore them from a backup",
                )
        return kept

    def positions(self, stream: StreamName, kept: Sequence[Kept]) -> dict[Version, Position]:
        """Where the stream's events lie in the whole log: behind the head that they were committed on, nearly always at
        once. The recorders have no such index.
        """
        originator = self._originators.of(stream)
        positions: dict[Version, Position] = {}
        scanned = Position(0)
        for one in kept:
            scanned = max(scanned, one.floor)
            while one.version not in positions:
                with told("read"):
                    found = self._recorder.select_notifications(
                        start=scanned, limit=SCAN_EVENTS, inclusive_of_start=False
                    )
                if not found:
                    raise LogUnusable(
                        f"version {one.version} of stream {stream} is not in the recorder's sequence of all events",
                        hint="the recorder's tables are damaged: restore them from a backup",
                    )
                positions |= {
                    Version(n.originator_version): Position(n.id) for n in found if n.originator_id == originator
                }
                scanned = Position(found[-1].id)
        return positions


@contextmanager
def told(what: str) -> Generator[None]:
    """Whatever a recorder and its driver raise inside becomes LogUnusable."""
    try:
        yield
    except LogError:
        raise
    except Exception as error:
        raise LogUnusable(
            f"the recorder cannot be {what}: {error}", hint="look at its database and settings"
        ) from error
