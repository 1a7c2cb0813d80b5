"""The other way: a Playhead log, read as the `eventsourcing` library reads an application's sequence. Writes nothing.

A persistence module of the library: with `PERSISTENCE_MODULE=playhead_adapters.stores.eventsourcing.following` and `PLAYHEAD_STORE` an
application's recorder is the log, and the library's notification logs, readers, subscriptions and projection runners follow it.
`PlayheadLog` is such an application. Each event is a `PlayheadEvent`, whose topic is `playhead/` and its type; the streams of other
applications that a bridged recorder holds do not appear.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar
from uuid import UUID

import orjson
from eventsourcing.application import Application
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    Notification,
    NotSupportedError,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, register_topic

from playhead.core.names import Position, StreamName, Version
from playhead.log import open_backend
from playhead.ports.store import Recorded, StoreBackend

TOPIC: Final = "playhead/"  # before an event's type
READ_EVENTS: Final = 1_000  # of the log in one read, where a topic is looked for
LOOK_SECONDS: Final = 0.5  # between looks whether a subscription was stopped, and for what other processes wrote

T = TypeVar("T")


@dataclass(frozen=True)
class PlayheadEvent:
    """An event of the log, as a domain event of the library."""

    originator_id: str  # the stream
    originator_version: int
    type: str
    schema: int
    data: Mapping[str, Any]
    actor: str
    recorded_at: int  # microseconds since 1970
    append_id: str


class PlayheadLog(Application[str]):
    """`PlayheadLog(env={"PLAYHEAD_STORE": url})`: to be followed, and never saved to. Close it as any application."""

    name = "PlayheadLog"

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        return super().construct_env(name, {**(env or {}), InfrastructureFactory.PERSISTENCE_MODULE: __name__})


class PlayheadRecorder(ApplicationRecorder):
    """Reads an open backend, in an event loop of its own, for callers in any thread."""

    def __init__(self, url: str) -> None:
        self._loop = _LoopThread()
        self._backend: StoreBackend = self._loop.run(open_backend(url))

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> NoReturn:
        raise NotSupportedError("a Playhead log is followed, and not written to, by the library")

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        found: list[StoredEvent] = []
        for event in self._stream(StreamName(str(originator_id)), Version(gt or 0)):
            if (lte is not None and event.version > lte) or (not desc and limit is not None and len(found) >= limit):
                break
            found.append(_stored(event))
        if desc:
            found.reverse()
        return found[:limit]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        found: list[Notification] = []
        after = Position(max(0, (start or 1) - 1 if inclusive_of_start else start or 0))
        while len(found) < limit:
            read = READ_EVENTS if topics else limit - len(found)
            page = self._loop.run(self._backend.read_all(after=after, limit=read))
            for event in page.events:
                if stop is not None and event.position > stop:
                    return found
                if (not topics or TOPIC + event.type in topics) and len(found) < limit:
                    found.append(_notification(event))
            if len(page.events) < read:
                break
            after = page.scanned
        return found

    def max_notification_id(self) -> int | None:
        return self._loop.run(self._backend.head()) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> PlayheadSubscription:
        return PlayheadSubscription(self, gt, topics)

    def news(self, after: int) -> Iterator[Recorded]:
        """What lies behind `after`, a page of it; nothing, after a moment, where there is nothing yet."""
        page = self._loop.run(self._backend.read_all(after=Position(after), limit=READ_EVENTS))
        if not page.events:
            self._loop.run(self._backend.wait_for_news(Position(after), LOOK_SECONDS))
        return iter(page.events)

    def close(self) -> None:
        try:
            self._loop.run(self._backend.close())
        finally:
            self._loop.close()

    def _stream(self, stream: StreamName, after: Version) -> Iterator[Recorded]:
        while events := self._loop.run(self._backend.read_stream(stream, after=after, limit=READ_EVENTS)):
            yield from events
            after = events[-1].version


class PlayheadSubscription(Subscription[PlayheadRecorder]):
    """Ends when it is stopped, from any thread, within `LOOK_SECONDS`. Has no thread of its own."""

    def __init__(self, recorder: PlayheadRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._after = gt or 0
        self._page: Iterator[Recorded] = iter(())

    def __next__(self) -> Notification:
        while not self._has_been_stopped:
            for event in self._page:
                self._after = event.position
                if not self._topics or TOPIC + event.type in self._topics:
                    return _notification(event)
            self._page = self._recorder.news(self._after)
        raise StopIteration


class PlayheadFactory(InfrastructureFactory[TrackingRecorder]):
    """What an application asks for its recorder. Views and trackings belong into a persistence module of the follower's own."""

    PLAYHEAD_STORE = "PLAYHEAD_STORE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        self._opened: list[PlayheadRecorder] = []

    def application_recorder(self) -> PlayheadRecorder:
        url = self.env.get(self.PLAYHEAD_STORE)
        if not url:
            raise InfrastructureFactoryError(f"{self.PLAYHEAD_STORE} is not set: it is the URL of the log to follow")
        self._opened.append(PlayheadRecorder(url))
        return self._opened[-1]

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        raise NotSupportedError(f"a Playhead log keeps no {purpose} for the library")

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> TrackingRecorder:
        raise NotSupportedError("a Playhead log keeps no tracking: give the projection a persistence module of its own")

    def process_recorder(self) -> ProcessRecorder:
        raise NotSupportedError("a Playhead log keeps no tracking: give the projection a persistence module of its own")

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()


class _LoopThread:
    """An event loop in a daemon thread, which keeps no program from ending."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="playhead-following", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _notification(event: Recorded) -> Notification:
    stored = _stored(event)
    return Notification(
        id=event.position,
        originator_id=stored.originator_id,
        originator_version=stored.originator_version,
        topic=stored.topic,
        state=stored.state,
    )


def _stored(event: Recorded) -> StoredEvent:
    register_topic(TOPIC + event.type, PlayheadEvent)
    state = {
        "type": event.type,
        "schema": event.schema,
        "data": event.data,
        "actor": event.actor,
        "recorded_at": event.recorded_at,
        "append_id": event.append_id,
    }
    return StoredEvent(
        originator_id=event.stream,
        originator_version=event.version,
        topic=TOPIC + event.type,
        state=orjson.dumps(state, default=dict),
    )
