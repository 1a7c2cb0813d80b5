"""Commits to a recorder: one insert for a batch, and an outcome for each append. Called by one thread at a time.

A recorder refuses a whole insert without naming who was in the way. Most refusals are foreseen: the stream's version and its append
ids are remembered. An insert that is refused all the same met another writer, or is the library's own second try after an answer that
was lost: then the streams are read on, and the batch is decided again, in which only those that are really in conflict stay behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    StoredEvent,
)
from msgspec.structs import replace

from playhead.core.names import Position, Version
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log import encode, fits, same_body
from playhead.ports.store import Append, Appended, Conflict, Duplicate, NewEvent, Outcome
from playhead_adapters.stores.eventsourcing.memory import Memory
from playhead_adapters.stores.eventsourcing.reader import Reader
from playhead_adapters.stores.eventsourcing.rows import Originators, stored_events

# For a batch that others overtake; after that each append goes alone, which is quicker than they are
TOGETHER_ATTEMPTS: Final = 3
ALONE_ATTEMPTS: Final = 3  # for one append that others keep overtaking

# What recorders raise that take events of one stream only. A lost connection is none of these.
_REFUSALS: Final = (ProgrammingError, NotSupportedError, NotImplementedError, ValueError, TypeError)

_Tried = set[Position]  # the floors of inserts whose answer was a refusal: an append that has one of them is our own


class Writer:
    def __init__(self, recorder: ApplicationRecorder, originators: Originators, reader: Reader) -> None:
        self._recorder = recorder
        self._originators = originators
        self._reader = reader
        self._memory = Memory(reader)
        # Whether an insert may hold events of several streams; found out by the first that is refused
        self._mixes = True

    def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        for append in batch:
            encode(append)  # what is not JSON is refused before anything is written
        parts = _without_repeats(batch) if self._mixes else _of_one_stream(batch)
        return [outcome for part in parts for outcome in self._commit_part(part)]

    def _commit_part(self, part: Sequence[Append]) -> list[Outcome]:
        tried: _Tried = set()
        for _ in range(TOGETHER_ATTEMPTS):
            try:
                return self._commit_together(part, tried)
            except _Overtaken:
                self._memory.catch_up(append.stream for append in part)
            except _OneStreamOnly:
                outcomes = [outcome for one in _of_one_stream(part) for outcome in self._commit_part(one)]
                self._mixes = False  # not before this went well: a recorder that refuses everything has another trouble
                return outcomes
        return [self._commit_alone(append, tried) for append in part]

    def _commit_alone(self, append: Append, tried: _Tried) -> Outcome:
        for _ in range(ALONE_ATTEMPTS):
            try:
                return self._commit_together([append], tried)[0]
            except _Overtaken:
                self._memory.catch_up([append.stream])
        raise OutcomeUnknown(f"other writers to stream {append.stream} are always faster", hint="append it again")

    def _commit_together(self, part: Sequence[Append], tried: _Tried) -> list[Outcome]:
        """One insert for the whole part, in which no append comes twice."""
        floor = self._reader.head()
        self._memory.look(floor)
        versions: dict[str, Version] = {}
        decided: list[Outcome | Version] = []  # a version: accepted, up to here
        stored: list[StoredEvent] = []
        for append in part:
            decision = self._decide(append, versions.get(append.stream), tried)
            if isinstance(decision, int):
                stored += stored_events(append, decision, floor, self._originators)
                decision = versions[append.stream] = Version(decision + len(append.events))
            decided.append(decision)
        positions = iter(self._insert(stored, tried, floor, mixed=len(versions) > 1))
        return [
            outcome if not isinstance(outcome, int) else self._accepted(append, outcome, positions)
            for append, outcome in zip(part, decided, strict=True)
        ]

    def _decide(self, append: Append, in_batch: Version | None, tried: _Tried) -> Outcome | Version:
        """What becomes of it; a version is that of the stream on which it may be written. `in_batch`: what the batch made of it."""
        known = self._memory.of(append.stream)
        if append.append_id in known.appends:
            return self._known_already(append, tried)
        actual = known.version if in_batch is None else in_batch
        if fits(append.expected, actual):
            return actual
        ahead = isinstance(append.expected, int) and append.expected > actual
        if ahead and self._memory.may_be_behind(append.stream) and self._memory.catch_up([append.stream]):
            raise _Overtaken  # whoever expects that version has seen it: it is our memory that is behind
        return Conflict(actual)

    def _insert(self, stored: Sequence[StoredEvent], tried: _Tried, floor: Position, *, mixed: bool) -> Sequence[int]:
        if not stored:
            return ()
        try:
            positions = self._recorder.insert_events(stored)
        except IntegrityError as error:
            tried.add(floor)
            raise _Overtaken from error
        except Exception as error:
            self._memory.forget()
            if mixed and isinstance(error, _REFUSALS):
                raise _OneStreamOnly from error
            raise OutcomeUnknown(f"the recorder failed under a commit: {error}", hint="try again") from error
        if positions is None or len(positions) != len(stored):
            raise LogUnusable(
                "the recorder does not tell the positions of what it inserted", hint="use another recorder"
            )
        self._memory.wrote(positions)
        return positions

    def _accepted(self, append: Append, version: Version, positions: Iterator[int]) -> Appended:
        own = [next(positions) for _ in append.events]
        last = Position(own[-1])
        self._memory.add(append.stream, append.append_id, Version(version - len(own) + 1), version, last)
        return Appended(Position(own[0]), last, version)

    def _known_already(self, append: Append, tried: _Tried) -> Duplicate | Appended:
        first, last = self._memory.of(append.stream).appends[append.append_id]
        kept = self._reader.kept(append.stream, Version(first - 1), upto=last)
        positions = self._reader.positions(append.stream, kept)
        events = tuple(NewEvent(type=one.type, schema=one.schema, data=one.data) for one in kept)
        same_numbers = (kept[0].epoch, kept[0].seq) == (append.epoch, append.first_seq)
        same = same_numbers and same_body(encode(replace(append, events=events)), encode(append))
        if (
            same and kept[0].floor in tried
        ):  # written by our insert, though it was refused: its answer was lost on the way
            return Appended(positions[first], positions[last], last)
        return Duplicate(positions[first], positions[last], last, same)


class _Overtaken(Exception):
    """Nothing was written by this insert: a stream has moved, by another writer or by an earlier try of this very insert."""


class _OneStreamOnly(Exception):
    """The recorder does not take events of several streams in one insert."""


def _without_repeats(batch: Sequence[Append]) -> list[list[Append]]:
    """The batch cut before each append whose id is in the same part already: that one must find the first in the log."""
    parts: list[list[Append]] = [[]]
    seen: set[tuple[str, str]] = set()
    for append in batch:
        if (append.stream, append.append_id) in seen:
            parts.append([])
            seen.clear()
        parts[-1].append(append)
        seen.add((append.stream, append.append_id))
    return parts


def _of_one_stream(batch: Sequence[Append]) -> list[list[Append]]:
    """The batch cut wherever the stream changes, and before repeats."""
    return [part for _, run in groupby(batch, attrgetter("stream")) for part in _without_repeats(list(run))]
