"""Whether a log is what its backend promises: order, versions, ids, vocabulary, each run's story, and the hash chain. Reads only.

It reads the log once for its events, and once more for its chain where there is one. What it remembers grows with the streams and with
the runs that have not ended, and not with the events: the ids of a run's appends are compared until the run has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from playhead.core import events as ev
from playhead.core.lifecycle import RUN_TRANSITIONS
from playhead.core.names import LogId, Position, StreamName, Version
from playhead.core.replay import Replay, event_of
from playhead.core.state import RunStatus
from playhead.errors import IllegalEvent, LogUnusable, UnknownEvent
from playhead.ports.store import Capability, Recorded, StoreBackend
from playhead.upkeep.chained import Chain
from playhead.upkeep.offers import forgetting, restoring
from playhead.upkeep.pages import appends_upto, events_upto
from playhead.upkeep.progress import Progress, unheard
from playhead.upkeep.runs import RUN_STREAMS

SHOWN: Final = 100  # findings in full: whoever has more has one cause for them, and the number says the rest

_RESTORE: Final = "keep a copy of the log as it is, and restore it from a backup"
_REPORT: Final = "the store breaks its contract: try `playhead store check` on an empty one of its kind, and report it"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: where, what, and what to do."""

    what: str
    hint: str
    position: int | None = None
    stream: str | None = None
    version: int | None = None


@dataclass(slots=True)
class Verified:
    """What was looked at, and what was found. `chained_from`: the position from where on the chain covers everything; None: nowhere.
    `link`: the chain's last one, by which a copy, or this log later, can be compared."""

    log_id: LogId
    head: Position
    events: int = 0
    streams: int = 0
    chained_from: int | None = None
    link: str | None = None
    found: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def sound(self) -> bool:
        return self.found == 0

    def note(self, finding: Finding) -> None:
        self.found += 1
        if len(self.findings) < SHOWN:
            self.findings.append(finding)


async def verify(backend: StoreBackend, *, progress: Progress = unheard) -> Verified:
    """Look through the log up to its present head. What is appended meanwhile is not looked at."""
    head = await backend.head()
    result = Verified(backend.log_id, head)
    try:
        await _verify_events(backend, result, progress)
        if Capability.CHAINED in backend.capabilities:
            await _verify_chain(backend, result, progress)
    except LogUnusable as error:  # a row that cannot be read: behind it nothing can be told
        result.note(Finding(error.message, error.hint or _RESTORE))
    return result


async def _verify_events(backend: StoreBackend, result: Verified, progress: Progress) -> None:
    holes = _Holes(backend)
    streams: dict[StreamName, _Stream] = {}
    last = Position(0)
    async for page in events_upto(backend, result.head, progress):
        for event in page:
            if event.position <= last:
                result.note(_at(event, f"position {event.position} comes behind {last}", _REPORT))
            elif event.position > last + 1:
                await holes.look(last + 1, event.position - 1, result)
            last = event.position
            streams.setdefault(event.stream, _Stream()).add(event, result)
            result.events += 1
    if last < result.head:
        await holes.look(last + 1, result.head, result)
    result.streams = len(streams)


class _Holes:
    """Positions without an event: a finding where the store says that it has none, unless they were forgotten."""

    def __init__(self, backend: StoreBackend) -> None:
        self._dense = Capability.DENSE in backend.capabilities
        self._source = restoring(backend)
        self._forgets = forgetting(backend)
        self._ranges: Sequence[tuple[int, int, bytes | None]] | None = None

    async def look(self, first: int, last: int, result: Verified) -> None:
        if not self._dense or await self._forgotten(first, last):
            return
        result.note(Finding(f"positions {first} to {last} are gone, and were not forgotten", _RESTORE, first))

    async def _forgotten(self, first: int, last: int) -> bool:
        if self._source is not None:
            if self._ranges is None:
                self._ranges = await self._source.forgotten()
            return any(begin <= first and last <= end for begin, end, _ in self._ranges)
        if self._forgets is not None:
            return all([await self._forgets.is_forgotten(Position(each)) for each in {first, last}])
        return False


class _Stream:
    """One stream while it passes: its version, the appends that it had, and a run's story as far as it is told."""

    __slots__ = ("_append", "_ended", "_ids", "_replay", "_version")

    def __init__(self) -> None:
        self._version = Version(0)
        self._append = ""
        self._ids: set[int] | None = set()  # hashes, eight bytes each; None once nothing new is to be expected
        self._replay: Replay | None = None  # of a run that has not ended, and whose story held so far
        self._ended: RunStatus | None = None

    def add(self, event: Recorded, result: Verified) -> None:
        first = self._version == 0
        follows = event.version == self._version + 1
        if not follows and not (first and _is_tombstone(event)):
            result.note(_at(event, f"version {event.version} follows on {self._version}", _RESTORE))
        self._version = event.version
        self._note_append(event, result)
        if event.stream.startswith(RUN_STREAMS):
            self._tell(event, result, first=first)
        else:
            try:
                event_of(event)
            except UnknownEvent as error:
                result.note(_at(event, error.message, _UNKNOWN))

    def _note_append(self, event: Recorded, result: Verified) -> None:
        if event.append_id == self._append and event.index > 0:
            return
        self._append = event.append_id
        if self._ids is not None:
            if hash(event.append_id) in self._ids:
                result.note(_at(event, f"append id {event.append_id!r} is in the stream twice", _REPORT))
            self._ids.add(hash(event.append_id))

    def _tell(self, event: Recorded, result: Verified, *, first: bool) -> None:
        if first:
            self._replay = Replay()
        if self._ended is not None:
            if (self._ended, ev.EVENT_TYPES.get(event.type)) not in RUN_TRANSITIONS:
                result.note(_at(event, f"{event.type} comes after the run's end: it was {self._ended}", _RESTORE))
        elif self._replay is not None:
            try:
                self._replay.add([event])
            except (UnknownEvent, IllegalEvent) as error:
                hint = _UNKNOWN if isinstance(error, UnknownEvent) else _RESTORE
                result.note(_at(event, error.message, hint))
                self._replay = self._ids = None  # what comes behind would be refused for the same cause
                return
            status = self._replay.status()
            if (
                status is not None and status.terminal
            ):  # nothing but late facts can come: its tasks need not be remembered
                self._ended, self._replay, self._ids = status, None, None


_UNKNOWN: Final = "upgrade Playhead if a newer one wrote it; if none did, keep a copy and restore the log from a backup"


async def _verify_chain(backend: StoreBackend, result: Verified, progress: Progress) -> None:
    source = restoring(backend)
    if source is None:
        return
    chain = Chain(await source.forgotten())
    async for page in appends_upto(source, result.head, progress):
        for kept in page:
            if (what := chain.add(kept)) is not None:
                result.note(Finding(what, _RESTORE, kept.last, kept.append.stream, kept.version))
    chain.end(result.head)
    result.chained_from, result.link = chain.begun_at, chain.link.hex() if chain.begun_at is not None else None


def _is_tombstone(event: Recorded) -> bool:
    return event.type == ev.RunForgotten.TYPE and event.data.get("events") == event.version - 1


def _at(event: Recorded, what: str, hint: str) -> Finding:
    return Finding(what, hint, event.position, event.stream, event.version)
