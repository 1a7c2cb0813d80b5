"""Snapshots of long runs: states on the way, so that any version is folded from nearby. Owns which are kept, and that none lies.

They are in the read models' file, which may be thrown away, and never in the log: an answer from a snapshot is the one that a fold from
the first event gives, and what cannot be trusted is forgotten and made again. Short runs have none.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread

from playhead.core import events as ev
from playhead.core.names import StreamName, TaskKey, Version
from playhead.core.pieces import joined, piece_of, whole_piece
from playhead.core.replay import Replay, event_of
from playhead.core.state import RunState
from playhead.ports.store import EventStore, Recorded
from playhead.service.read_models import Change, ReadModels, Row

EVERY: Final = 5_000  # events from one snapshot to the next: folded in some hundredths of a second
AT_ONCE: Final = 1  # states that are joined or kept: more threads would be no sooner done, and take the interpreter from the loop in turns
MAX_AGAIN: Final = 1.5  # times the tasks that there are may be read for a state; else its snapshot is a whole one

_NEWEST: Final = Version(2**62)  # beyond every version


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of a snapshot without reading it."""

    version: Version
    event: str
    weight: int


class Snapshots:
    """Used while store and read models are open."""

    def __init__(self, store: EventStore, models: ReadModels, *, every: int = EVERY) -> None:
        self._store = store
        self._models = models
        self._every = every
        self._at_work = anyio.CapacityLimiter(AT_ONCE)
        self._newest: dict[StreamName, Snapshot] = {}  # of each run that has one
        self._trails: dict[StreamName, _Trail] = {}  # of runs that were kept since we are at work, and go on

    async def open(self) -> None:
        """Learn which there are."""
        for row in await self._models.rows("newest_snapshots"):
            self._newest[StreamName(row["stream"])] = _of(row)

    async def offer(self, stream: StreamName, state: RunState, events: Sequence[Recorded]) -> None:
        """Keep the state, if the newest snapshot of its run is far behind. It has seen these events, which are the stream's next, and
        maybe later ones."""
        if state.head.forgotten_at is not None:
            await self.forget(stream)
            return
        before = self._newest.get(stream, _NONE)
        trail = self._trails.get(stream)
        if trail is not None and not trail.add(events):
            trail = None
        if state.version >= before.version + self._every:
            trail = trail or await self._trail(stream, before, state)
            if trail is not None and await self._read_on(stream, trail, state.version):
                await self._keep(stream, state, before, trail.changed, trail.newest)
                trail = _Trail(trail.newest)
        if trail is None or state.status.terminal:
            self._trails.pop(stream, None)
        else:
            self._trails[stream] = trail

    async def latest(self, stream: StreamName, upto: Version | None = None) -> RunState | None:
        """The newest state that is kept, up to a version; None if there is none that can be trusted."""
        if stream not in self._newest:
            return None
        found = await self._found(stream, upto)
        return found[0] if found is not None else None

    async def at(self, stream: StreamName, version: Version) -> RunState | None:
        """The state at a version that the stream has; snapshots that are missing on the way are made. None: the events up to there are
        gone, or went while they were read."""
        found = await self._found(stream, version) if version > self._every else None
        state, before = found if found is not None else (None, _NONE)
        fold = Replay(state)
        changed: set[TaskKey] = set()
        async for events in self._store.read_stream(stream, after=before.version, upto=version):
            fold.add(events)
            newest = events[-1]
            changed |= _keys(events)
            if newest.version >= before.version + self._every and version >= newest.version + self._every:
                between = fold.state()
                assert between is not None, "a version that was read has a state"
                before = await self._keep(stream, between, before, changed, newest)
                changed = set()
        state = fold.state()
        return state if state is not None and state.version == version else None

    async def forget(self, stream: StreamName) -> None:
        """Drop the snapshots of a run: it is gone, or they cannot be trusted."""
        self._trails.pop(stream, None)
        if self._newest.pop(stream, None) is not None:
            await self._models.change(Change("forget_snapshots", {"stream": stream}))

    async def _trail(self, stream: StreamName, before: Snapshot, state: RunState) -> _Trail | None:
        """A new trail, from the event on that the snapshot before is of; where there is none the state is kept whole, and its own event
        is enough. None: the log has another event there, or none."""
        first = before.version or state.version
        async for events in self._store.read_stream(stream, after=Version(first - 1), upto=first):
            if before.version and _name(events[0]) != before.event:
                break
            return _Trail(events[0])
        await self.forget(stream)
        return None

    async def _read_on(self, stream: StreamName, trail: _Trail, upto: Version) -> bool:
        """Take the trail on to that version; whether the log has it."""
        if trail.newest.version < upto:
            async for events in self._store.read_stream(stream, after=trail.newest.version, upto=upto):
                trail.add(events)
        return trail.newest.version == upto

    async def _found(self, stream: StreamName, upto: Version | None) -> tuple[RunState, Snapshot] | None:
        values = {"stream": stream, "upto": upto if upto is not None else _NEWEST}
        rows = await self._models.rows("snapshot_upto", **values)
        if not rows:
            return None
        found = _of(rows[-1])
        state = await anyio.to_thread.run_sync(_joined, rows, limiter=self._at_work)
        if state is None or state.version != found.version or not await self._is_there(stream, found):
            await self.forget(stream)
            return None
        return state, found

    async def _is_there(self, stream: StreamName, snapshot: Snapshot) -> bool:
        """Whether the log's event of that version is the one that the snapshot was made with."""
        async for events in self._store.read_stream(stream, after=Version(snapshot.version - 1), upto=snapshot.version):
            return _name(events[0]) == snapshot.event
        return False

    async def _keep(
        self, stream: StreamName, state: RunState, before: Snapshot, changed: Collection[TaskKey], newest: Recorded
    ) -> Snapshot:
        """Keep the state as what changed since the snapshot before, or whole where it comes to the same."""
        tasks = min(state.tasks.held, sum(state.counts))
        weight = before.weight + len(changed)
        whole = not before.version or weight > MAX_AGAIN * tasks + self._every
        piece, checksum = await anyio.to_thread.run_sync(
            _checked, state, None if whole else changed, limiter=self._at_work
        )
        kept = Snapshot(state.version, _name(newest), tasks if whole else weight)
        values = {
            "stream": stream,
            "version": kept.version,
            "since": 0 if whole else before.version,
            "event": kept.event,
            "weight": kept.weight,
            "checksum": checksum,
            "piece": piece,
        }
        if not await self._models.change(Change("keep_snapshot", values)):
            self._newest.pop(stream, None)  # what it goes on from was forgotten meanwhile: the next one is whole
        elif kept.version > self._newest.get(stream, _NONE).version:
            self._newest[stream] = kept
        return kept


class _Trail:
    """Which tasks and maps may have changed in a run since its newest snapshot, or since an earlier one, up to an event."""

    __slots__ = ("changed", "newest")

    def __init__(self, newest: Recorded) -> None:
        self.newest = newest
        self.changed: set[TaskKey] = set()

    def add(self, events: Sequence[Recorded]) -> bool:
        """Take on what of these events is new. False: some between are missing, and the trail is of no more use."""
        new = [recorded for recorded in events if recorded.version > self.newest.version]
        if not new:
            return True
        follows = new[0].version == self.newest.version + 1
        self.changed |= _keys(new)
        self.newest = new[-1]
        return follows


def _of(row: Row) -> Snapshot:
    return Snapshot(Version(row["version"]), row["event"], row["weight"])


def _checked(state: RunState, changed: Collection[TaskKey] | None) -> tuple[bytes, int]:
    """The piece of what changed, or a whole one, and its checksum."""
    piece = whole_piece(state) if changed is None else piece_of(state, changed)
    return piece, zlib.crc32(piece)


def _joined(rows: Sequence[Row]) -> RunState | None:
    """None: something of it is missing or damaged."""
    if rows[0]["since"] != 0 or any(zlib.crc32(row["piece"]) != row["checksum"] for row in rows):
        return None
    try:
        return joined([row["piece"] for row in rows])
    except ValueError:
        return None


def _keys(events: Sequence[Recorded]) -> set[TaskKey]:
    """The tasks and maps that these events may have changed."""
    return {TaskKey(_key(recorded)) for recorded in events if recorded.type in _ABOUT_TASKS}


def _key(recorded: Recorded) -> str:
    if recorded.schema == _ABOUT_TASKS[recorded.type]:
        return str(recorded.data["key"])
    event = event_of(recorded)  # an older schema, whose fields may have had other names
    assert isinstance(event, ev.TaskEvent), "a type keeps its place in the vocabulary"
    return event.key


def _name(recorded: Recorded) -> str:
    """What no other event of the stream's version has, were it written anew after the log was put back from an older copy."""
    return f"{recorded.position} {recorded.recorded_at} {recorded.append_id} {recorded.index}"


_ABOUT_TASKS: Final = {kind.TYPE: kind.SCHEMA for kind in ev.EVENT_TYPES.values() if issubclass(kind, ev.TaskEvent)}

_NONE: Final = Snapshot(Version(0), "", 0)
