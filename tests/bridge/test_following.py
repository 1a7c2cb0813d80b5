"""A Playhead log is followed with the library's own readers, subscriptions and projection runners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from eventsourcing.application import LocalNotificationLog
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import NotSupportedError, Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import ApplicationSubscription, Projection, ProjectionRunner
from eventsourcing.system import NotificationLogReader

from playhead.core.names import StreamName
from playhead.log import Log
from playhead.ports.store import Append, NewEvent
from playhead_adapters.stores.eventsourcing.following import PlayheadEvent, PlayheadLog
from tests.bridge import recorders
from tests.log.samples import new

WAIT_SECONDS = 50.0


class Counted(POPOTrackingRecorder):
    """A view: how many events of each type there were."""

    def __init__(self) -> None:
        super().__init__()
        self.types: dict[str, int] = {}

    def count(self, event: PlayheadEvent, tracking: Tracking) -> None:
        with self._database_lock:
            self._assert_tracking_uniqueness(tracking)
            self._insert_tracking(tracking)
            self.types[event.type] = self.types.get(event.type, 0) + 1


class Counting(Projection[Counted]):
    topics = ("playhead/task.succeeded", "playhead/run.succeeded")

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise AssertionError(f"{domain_event} is no event of Playhead")

    @process_event.register
    def _(self, domain_event: PlayheadEvent, tracking: Tracking) -> None:
        self.view.count(domain_event, tracking)


@asynccontextmanager
async def filled(store: str) -> AsyncGenerator[Log]:
    """25 appends of one event, two of which are of another type."""
    async with Log.open(store) as log:
        for number in range(25):
            await log.append(typed(number, "run.ready" if number in (3, 20) else "task.succeeded"))
        yield log


def typed(number: int, kind: str) -> Append:
    template = new(f"default/run/{number % 4}")
    event = NewEvent(type=kind, schema=1, data={"number": number, "ä": [None, 1.5]})
    return Append(
        stream=template.stream,
        events=(event,),
        expected=template.expected,
        append_id=template.append_id,
        actor=template.actor,
        recorded_at=template.recorded_at,
    )


async def a_log(folder: Path) -> str:
    store = f"sqlite://{folder}/log.db"
    async with filled(store):
        return store


async def test_the_librarys_readers_read_it_section_by_section(tmp_path: Path) -> None:
    with PlayheadLog(env={"PLAYHEAD_STORE": await a_log(tmp_path)}) as app:
        reader = NotificationLogReader(LocalNotificationLog(app.recorder, section_size=10), section_size=10)
        found = list(reader.read(start=1))
        assert [notification.id for notification in found] == list(range(1, 26))
        assert [n.id for n in reader.read(start=24)] == [24, 25]
        pages = list(reader.select(start=3, stop=9, topics=("playhead/task.succeeded",), inclusive_of_start=False))
        assert [n.id for page in pages for n in page] == [5, 6, 7, 8, 9]
        section = LocalNotificationLog(app.recorder, section_size=10)["11,20"]
        assert (section.id, section.next_id) == ("11,20", "21,30")
        event: Any = app.mapper.to_domain_event(found[3])
        assert isinstance(event, PlayheadEvent)
        assert (event.originator_id, event.originator_version, event.type) == ("default/run/3", 1, "run.ready")
        assert event.data == {"number": 3, "ä": [None, 1.5]}


async def test_its_streams_are_read_by_their_names(tmp_path: Path) -> None:
    with PlayheadLog(env={"PLAYHEAD_STORE": await a_log(tmp_path)}) as app:
        stream = StreamName("default/run/1")
        versions = [event.originator_version for event in app.recorder.select_events(stream, gt=1, lte=5)]
        assert versions == [2, 3, 4, 5]
        assert [e.originator_version for e in app.recorder.select_events(stream, desc=True, limit=2)] == [6, 5]
        assert [e.originator_version for e in app.recorder.select_events(stream, limit=2)] == [1, 2]
        with pytest.raises(NotSupportedError, match="followed"):
            app.recorder.insert_events([])


async def test_a_projection_runner_follows_it_and_goes_on_where_it_was(tmp_path: Path) -> None:
    env = {"PLAYHEAD_STORE": await a_log(tmp_path)}
    runner = ProjectionRunner(application_class=PlayheadLog, projection_class=Counting, view_class=Counted, env=env)
    with runner:
        runner.wait(25, timeout=WAIT_SECONDS)
        assert runner.projection.view.types == {"task.succeeded": 23}
        assert runner.projection.view.max_tracking_id("PlayheadLog") == 25


async def test_a_subscription_is_told_of_what_others_write_while_it_waits(tmp_path: Path) -> None:
    """In a store that several processes may have open."""
    store = recorders.sqlite(tmp_path)
    async with filled(store) as log:
        with (
            PlayheadLog(env={"PLAYHEAD_STORE": store}) as app,
            ApplicationSubscription(app, gt=await log.head()) as news,
        ):
            seen: list[tuple[str, int]] = []
            follower = Thread(target=lambda: seen.extend(_take(news, 3)), daemon=True)
            follower.start()
            positions = [(await log.append(typed(number, "run.ready"))).last for number in range(3)]
            await asyncio.to_thread(follower.join, WAIT_SECONDS)
        assert seen == [("run.ready", position) for position in positions]


async def test_a_subscription_that_waits_ends_when_it_is_stopped(tmp_path: Path) -> None:
    with PlayheadLog(env={"PLAYHEAD_STORE": await a_log(tmp_path)}) as app:
        subscription = ApplicationSubscription(app, gt=25)
        follower = Thread(target=lambda: list(subscription), daemon=True)
        follower.start()
        subscription.stop()
        follower.join(WAIT_SECONDS)
        assert not follower.is_alive()


def _take(subscription: ApplicationSubscription[str], number: int) -> list[tuple[str, int]]:
    taken: list[tuple[str, int]] = []
    for event, tracking in subscription:
        assert isinstance(event, PlayheadEvent)
        taken.append((event.type, tracking.notification_id))
        if len(taken) == number:
            break
    return taken
