"""A backend over any application recorder of the `eventsourcing` library (9.5): its POPO, SQLite, PostgreSQL and others.

One stored event for each of ours: originator = stream, topic = type, notification id = position, and what the library has
no field for is in its state. What it does not have at all is made here: idempotence by append id (from the stream itself,
read once and remembered) and an outcome for each append (its recorders refuse a whole batch without naming the culprit,
so a refused batch is tried again one append at a time). Its subscriptions are never used: they block a thread.
"""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

import anyio.to_thread
import orjson
from eventsourcing.persistence import (
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    IntegrityError,
    StoredEvent,
    TrackingRecorder,
)
from msgspec.structs import replace

from playhead.core.names import Epoch, LogId, Micros, Position, Seq, StreamName, Version
from playhead.errors import LogError, LogUnusable, OutcomeUnknown, UsageError
from playhead.log import News, OneThread, encode, fits, same_body, without_secrets
from playhead.ports.store import Append, Appended, Conflict, Duplicate, NewEvent, Outcome, Page, Recorded, StoreBackend

KNOWN_APPENDS: Final = (
    200_000  # ids remembered over all streams, about 30 MB; beyond it the stream used longest ago is read again
)
SCAN_EVENTS: Final = 64  # read at a time to find where an event lies in the whole log; it is nearly always the first
READ_EVENTS: Final = 1_000  # read at a time to learn a stream's append ids
ALONE_ATTEMPTS: Final = 3  # for one append that others keep overtaking

_TOPIC = "playhead/"  # before the type, so that what other applications keep in the same recorder is passed over
_LOG_STREAM = "playhead/log"  # holds one event, with the log's id
_LOG_TOPIC = "playhead.log"


class EventSourcingBackend(StoreBackend):
    """Opened by `open_recorder`, or by the URL `eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME=/path/log.db`."""

    def __init__(self, held: _Recorder, thread: OneThread, close: Callable[[], None]) -> None:
        self._held = held
        self._thread = thread
        self._close = close
        self._news = News(held.opened_at)

    @property
    def log_id(self) -> LogId:
        return self._held.log_id

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await self._thread.run(partial(self._held.commit, batch))
        for outcome in outcomes:
            if isinstance(outcome, Appended):
                self._news.tell(outcome.last)
        return outcomes

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        return await anyio.to_thread.run_sync(self._held.read_stream, stream, after, limit)

    async def read_all(self, *, after: Position, limit: int) -> Page:
        return await anyio.to_thread.run_sync(self._held.read_all, after, limit)

    async def head(self) -> Position:
        return await anyio.to_thread.run_sync(self._held.head)

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._news.wait(after, timeout_seconds)

    async def close(self) -> None:
        try:
            await self._thread.run(self._close)
        finally:
            await self._thread.close()


async def open_recorder(
    recorder: ApplicationRecorder, *, close: Callable[[], None] = lambda: None
) -> EventSourcingBackend:
    """A backend over an open recorder with text ids; `close` is called, in a thread, when the backend is closed."""
    thread = OneThread("playhead-log")
    try:
        return EventSourcingBackend(await thread.run(lambda: _Recorder(recorder)), thread, close)
    except BaseException:
        await thread.close()
        raise


async def open_url(url: str) -> StoreBackend:
    """`eventsourcing:<persistence module>?<SETTING>=<value>&...`; the module's other settings come from the environment."""
    module, _, query = url.partition(":")[2].partition("?")
    settings = {**os.environ, **dict(parse_qsl(query, keep_blank_values=True))}
    if not module:
        raise UsageError(
            f"{without_secrets(url)!r} names no persistence module",
            hint="for example eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME=/path/log.db",
        )
    if settings.get("POSTGRES_ENABLE_DB_FUNCTIONS"):
        raise UsageError(
            "POSTGRES_ENABLE_DB_FUNCTIONS is set",
            hint="unset it: with it a reader that follows the log can lose events",
        )
    factory = await anyio.to_thread.run_sync(_factory, url, module, settings)
    try:
        with _told("opened"):
            recorder = await anyio.to_thread.run_sync(factory.application_recorder)
        return await open_recorder(recorder, close=factory.close)
    except BaseException:
        factory.close()
        raise


def _factory(url: str, module: str, settings: Mapping[str, str]) -> InfrastructureFactory[TrackingRecorder]:
    try:
        environment = {**settings, "PERSISTENCE_MODULE": module, "ORIGINATOR_ID_TYPE": "text"}
        return InfrastructureFactory[TrackingRecorder].construct(environment)
    except (InfrastructureFactoryError, OSError) as error:
        raise UsageError(
            f"{without_secrets(url)!r} cannot be opened: {error}", hint="look at the module's name and settings"
        ) from error


@dataclass(slots=True)
class _Known:
    """What is remembered of a stream: its version, and the versions (first, last) that each append brought."""

    version: Version = Version(0)
    appends: dict[str, tuple[Version, Version]] = field(default_factory=dict[str, tuple[Version, Version]])


class _Recorder:
    """The synchronous half. Commits come one at a time, in one thread; reads in any."""

    def __init__(self, recorder: ApplicationRecorder) -> None:
        self._recorder = recorder
        self._streams: OrderedDict[str, _Known] = OrderedDict()
        self._known_appends = 0
        with _told("opened"):
            self.log_id = self._find_log_id() or self._new_log_id()
            self.opened_at = self.head()

    def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        for append in batch:
            encode(append)  # what is not JSON is refused before anything is written
        outcomes: list[Outcome] = []
        for group in _without_repeats(batch):
            try:
                outcomes += self._commit_together(group)
            except IntegrityError:
                self._forget(group)
                outcomes += [self._commit_alone(append) for append in group]
        return outcomes

    def read_stream(self, stream: StreamName, after: Version, limit: int) -> list[Recorded]:
        with _told("read"):
            kept = [_Kept.of(s) for s in self._recorder.select_events(stream, gt=after, limit=limit)]
            positions = self._positions(stream, kept)
            return [one.recorded(positions[one.version]) for one in kept]

    def read_all(self, after: Position, limit: int) -> Page:
        """What other applications have in the recorder counts as scanned, and not towards the limit."""
        events: list[Recorded] = []
        scanned = after
        with _told("read"):
            while len(events) < limit:
                wanted = limit - len(events)
                found = self._recorder.select_notifications(start=scanned, limit=wanted, inclusive_of_start=False)
                events += [_Kept.of(one).recorded(Position(one.id)) for one in found if _is_ours(one)]
                if found:
                    scanned = Position(found[-1].id)
                if len(found) < wanted:
                    break
        return Page(tuple(events), scanned)

    def head(self) -> Position:
        with _told("read"):
            return Position(self._recorder.max_notification_id() or 0)

    def _commit_alone(self, append: Append) -> Outcome:
        for _ in range(ALONE_ATTEMPTS):
            try:
                return self._commit_together([append])[0]
            except IntegrityError:  # overtaken by another writer, or an insert whose answer was lost: look again
                self._forget([append])
        raise OutcomeUnknown(f"other writers to stream {append.stream} are always faster", hint="append it again")

    def _commit_together(self, group: Sequence[Append]) -> list[Outcome]:
        """One insert for the whole group, in which no append comes twice. IntegrityError: nothing was written."""
        floor = self.head()
        versions: dict[str, Version] = {}
        decided: list[Outcome | Version] = []  # a version: accepted, up to here
        stored: list[StoredEvent] = []
        for append in group:
            with _told("read"):
                known = self._know(append.stream)
                duplicate = self._duplicate(append, known)
            actual = versions.get(append.stream, known.version)
            if duplicate is not None:
                decided.append(duplicate)
            elif not fits(append.expected, actual):
                decided.append(Conflict(actual))
            else:
                stored += _stored(append, actual, floor)
                versions[append.stream] = Version(actual + len(append.events))
                decided.append(versions[append.stream])
        positions = iter(self._insert(stored))
        return [
            outcome if not isinstance(outcome, int) else self._accepted(append, outcome, positions)
            for append, outcome in zip(group, decided, strict=True)
        ]

    def _insert(self, stored: Sequence[StoredEvent]) -> Sequence[int]:
        if not stored:
            return ()
        try:
            positions = self._recorder.insert_events(stored)
        except IntegrityError:
            raise
        except Exception as error:
            self._streams.clear()
            self._known_appends = 0
            raise OutcomeUnknown(f"the recorder failed under a commit: {error}", hint="try again") from error
        if positions is None or len(positions) != len(stored):
            raise LogUnusable(
                "the recorder does not tell the positions of what it inserted", hint="use another recorder"
            )
        return positions

    def _accepted(self, append: Append, version: Version, positions: Iterator[int]) -> Appended:
        own = [next(positions) for _ in append.events]
        known = self._know(append.stream)
        known.version = version
        self._known_appends += append.append_id not in known.appends
        known.appends[append.append_id] = (Version(version - len(own) + 1), version)
        return Appended(Position(own[0]), Position(own[-1]), version)

    def _duplicate(self, append: Append, known: _Known) -> Duplicate | None:
        if append.append_id not in known.appends:
            return None
        first, last = known.appends[append.append_id]
        kept = [_Kept.of(s) for s in self._recorder.select_events(append.stream, gt=first - 1, lte=last)]
        positions = self._positions(append.stream, kept)
        events = tuple(NewEvent(type=one.type, schema=one.schema, data=one.data) for one in kept)
        same_numbers = (kept[0].epoch, kept[0].seq) == (append.epoch, append.first_seq)
        same = same_numbers and same_body(encode(replace(append, events=events)), encode(append))
        return Duplicate(positions[first], positions[last], last, same)

    def _know(self, stream: str) -> _Known:
        """What is known of the stream, read from it if nothing is."""
        if stream in self._streams:
            self._streams.move_to_end(stream)
            return self._streams[stream]
        known = _Known()
        while found := self._recorder.select_events(stream, gt=known.version, limit=READ_EVENTS):
            for one in map(_Kept.of, found):
                first, _ = known.appends.get(one.append_id, (one.version, one.version))
                known.appends[one.append_id] = (first, one.version)
            known.version = Version(found[-1].originator_version)
        self._streams[stream] = known
        self._known_appends += len(known.appends)
        while self._known_appends + len(self._streams) > KNOWN_APPENDS and len(self._streams) > 1:
            _, oldest = self._streams.popitem(last=False)
            self._known_appends -= len(oldest.appends)
        return known

    def _forget(self, group: Sequence[Append]) -> None:
        for append in group:
            known = self._streams.pop(append.stream, None)
            self._known_appends -= len(known.appends) if known else 0

    def _positions(self, stream: StreamName, kept: Sequence[_Kept]) -> dict[Version, Position]:
        """Where the stream's events lie in the whole log: behind the head that they were committed on, nearly always at
        once. The recorders have no such index.
        """
        positions: dict[Version, Position] = {}
        scanned = Position(0)
        for one in kept:
            scanned = max(scanned, one.floor)
            while one.version not in positions:
                found = self._recorder.select_notifications(start=scanned, limit=SCAN_EVENTS, inclusive_of_start=False)
                if not found:
                    raise LogUnusable(
                        f"version {one.version} of stream {stream} is not in the recorder's sequence of all events",
                        hint="the recorder's tables are damaged: restore them from a backup",
                    )
                positions |= {Version(n.originator_version): Position(n.id) for n in found if n.originator_id == stream}
                scanned = Position(found[-1].id)
        return positions

    def _find_log_id(self) -> LogId | None:
        found = self._recorder.select_events(_LOG_STREAM, limit=1)
        return LogId(found[0].state.decode()) if found else None

    def _new_log_id(self) -> LogId:
        log_id = LogId(secrets.token_hex(8))
        self._recorder.insert_events(
            [StoredEvent(originator_id=_LOG_STREAM, originator_version=1, topic=_LOG_TOPIC, state=log_id.encode())]
        )
        return log_id


@dataclass(frozen=True, slots=True)
class _Kept:
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
    def of(cls, stored: StoredEvent) -> _Kept:
        return cls(
            StreamName(str(stored.originator_id)),
            Version(stored.originator_version),
            stored.topic.removeprefix(_TOPIC),
            *orjson.loads(stored.state),
        )

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


def _stored(append: Append, before: Version, floor: Position) -> list[StoredEvent]:
    """The append's events for the recorder, from version `before + 1` on. The state's order is that of `_Kept`."""
    return [
        StoredEvent(
            originator_id=append.stream,
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
                ],
                default=dict,
            ),
        )
        for index, event in enumerate(append.events)
    ]


def _is_ours(stored: StoredEvent) -> bool:
    return stored.topic.startswith(_TOPIC)


def _without_repeats(batch: Sequence[Append]) -> list[list[Append]]:
    """The batch cut before each append whose id is in the same part already: that one must find the first in the log."""
    groups: list[list[Append]] = [[]]
    seen: set[tuple[str, str]] = set()
    for append in batch:
        if (append.stream, append.append_id) in seen:
            groups.append([])
            seen.clear()
        groups[-1].append(append)
        seen.add((append.stream, append.append_id))
    return groups


@contextmanager
def _told(what: str) -> Generator[None]:
    """Whatever a recorder and its driver raise inside becomes LogUnusable."""
    try:
        yield
    except LogError:
        raise
    except Exception as error:
        raise LogUnusable(
            f"the recorder cannot be {what}: {error}", hint="look at its database and settings"
        ) from error
