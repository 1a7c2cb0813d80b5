"""The bridge where the library's recorders differ from our port: no append ids, no positions by stream, whole batches only."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    Notification,
    OperationalError,
    ProgrammingError,
    StoredEvent,
)
from eventsourcing.popo import POPOApplicationRecorder

from playhead.core.names import Position, StreamName, Version
from playhead.errors import LogUnusable, OutcomeUnknown, UsageError
from playhead.log import Log
from playhead.ports.store import Ack, Appended, Capability, Conflict, Duplicate, Page
from playhead_adapters.stores.eventsourcing import backend as backend_module
from playhead_adapters.stores.eventsourcing import memory, open_recorder, open_url, writer
from tests.log.samples import new

A = StreamName("default/run/a")


class Recorder(POPOApplicationRecorder):
    """Counts its inserts and reads, and fails as it is told to: before or after the events are in."""

    def __init__(self) -> None:
        super().__init__()
        self.inserts: list[int] = []
        self.reads = 0
        self.before: list[Exception] = []
        self.after: list[Exception] = []

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        self.inserts.append(len(stored_events))
        if self.before:
            raise self.before.pop()
        positions = super().insert_events(stored_events, **kwargs)
        if self.after:
            raise self.after.pop()
        return positions

    def select_events(self, originator_id: UUID | str, **kwargs: Any) -> Sequence[StoredEvent]:
        self.reads += 1
        return super().select_events(originator_id, **kwargs)


def stranger(version: int) -> StoredEvent:
    return StoredEvent(
        originator_id="another application's", originator_version=version, topic="its:Event", state=b"\xff\x00"
    )


async def test_a_batch_is_one_insert() -> None:
    recorder = Recorder()
    backend = await open_recorder(recorder)
    await backend.commit([new("default/run/a", 2), new("default/run/b"), new("default/run/a", 3)])
    assert recorder.inserts == [1, 6]  # the first is the log's id
    await backend.close()


async def test_what_other_applications_keep_there_is_passed_over() -> None:
    recorder = Recorder()
    recorder.insert_events([stranger(version) for version in (1, 2)])
    backend = await open_recorder(recorder)
    await backend.commit([new(count=2)])
    recorder.insert_events([stranger(version) for version in range(3, 200)])
    await backend.commit([new(count=2)])
    events = await backend.read_stream(A, after=Version(0), limit=10)
    assert [(event.version, event.position) for event in events] == [(1, 4), (2, 5), (3, 203), (4, 204)]
    page = await backend.read_all(after=Position(0), limit=3)
    assert ([event.position for event in page.events], page.scanned) == ([4, 5, 203], 203)
    assert await backend.head() == 204
    await backend.close()


async def test_another_writer_on_the_stream_is_a_conflict_for_that_append_alone() -> None:
    recorder = Recorder()
    one, other = await open_recorder(recorder), await open_recorder(recorder)
    await one.commit([new("default/run/a"), new("default/run/b")])
    await other.commit([new("default/run/a", 2)])  # which the first does not know
    outcomes = await one.commit(
        [new("default/run/b"), new("default/run/a", expected=Version(1)), new("default/run/a"), new("default/run/c")]
    )
    assert outcomes == [
        Appended(Position(6), Position(6), Version(2)),
        Conflict(Version(3)),
        Appended(Position(7), Position(7), Version(4)),
        Appended(Position(8), Position(8), Version(1)),
    ]
    await one.close()
    await other.close()


async def test_a_batch_whose_answer_was_lost_is_answered_as_the_first_time() -> None:
    """Also where a true conflict is beside it; and under an id that was there before, it is a duplicate as ever."""
    recorder = Recorder()
    backend = await open_recorder(recorder)
    known = new("default/run/a")
    await backend.commit([known])
    recorder.after = [IntegrityError("already there")]
    batch = [new("default/run/b", 2), known, new("default/run/a", expected=Version(0)), new("default/run/a")]
    assert await backend.commit(batch) == [
        Appended(Position(3), Position(4), Version(2)),
        Duplicate(Position(2), Position(2), Version(1), True),
        Conflict(Version(2)),  # where the stream stands by now
        Appended(Position(5), Position(5), Version(2)),
    ]
    await backend.close()


async def test_one_who_has_seen_more_than_the_writer_remembers_is_no_conflict() -> None:
    recorder = Recorder()
    one, other = await open_recorder(recorder), await open_recorder(recorder)
    await one.commit([new()])
    await other.commit([new(count=3)])
    assert await one.commit([new(expected=Version(4))]) == [Appended(Position(6), Position(6), Version(5))]
    assert await one.commit([new(expected=Version(9))]) == [Conflict(Version(5))]
    await one.close()
    await other.close()


@pytest.mark.parametrize("moved", [1, 10])
async def test_conflicts_with_another_writer_cost_the_rest_of_a_batch_one_more_insert(moved: int) -> None:
    """Of 100 appends to as many streams: those whose stream has moved fail, and the others are written together."""
    recorder = Recorder()
    one, other = await open_recorder(recorder), await open_recorder(recorder)
    names = [f"default/run/{number:03}" for number in range(100)]
    await one.commit([new(name) for name in names])
    await other.commit([new(name) for name in names[:moved]])
    recorder.inserts.clear()
    outcomes = await one.commit([new(name, expected=Version(1)) for name in names])
    assert outcomes[:moved] == [Conflict(Version(2))] * moved
    assert all(isinstance(outcome, Appended) for outcome in outcomes[moved:])
    assert recorder.inserts == [100, 100 - moved]
    await one.close()
    await other.close()


async def test_conflicts_cost_no_reads_where_nobody_else_has_written() -> None:
    recorder = Recorder()
    backend = await open_recorder(recorder)
    names = [f"default/run/{number}" for number in range(10)]
    await backend.commit([new(name) for name in names])
    recorder.reads = 0
    for version in range(1, 4):
        batch = [new(name, expected=Version(version + (name == names[version]))) for name in names]
        outcomes = await backend.commit(batch)
        assert [type(outcome) for outcome in outcomes].count(Conflict) == version
    assert recorder.reads == 0
    recorder.insert_events([stranger(1)])
    assert await backend.commit([new(names[0], expected=Version(9))]) == [Conflict(Version(4))]
    assert recorder.reads == 1
    await backend.close()


class Beside(Recorder):
    """Somebody else's insert comes between a commit's look at the head and its own insert."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[StoredEvent] = []

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        if self.first:
            super().insert_events([self.first.pop()])
        return super().insert_events(stored_events, **kwargs)


async def test_what_was_written_beside_a_commit_is_looked_for_by_the_next() -> None:
    recorder, another = Beside(), Recorder()
    backend, elsewhere = await open_recorder(recorder), await open_recorder(another)
    for one in (backend, elsewhere):
        await one.commit([new("default/run/a"), new("default/run/b")])
    await elsewhere.commit([new("default/run/b")])
    recorder.first = list(another.select_events(StreamName("default/run/b"), gt=1))
    await backend.commit([new("default/run/a")])
    assert await backend.commit([new("default/run/b", expected=Version(2))]) == [
        Appended(Position(6), Position(6), Version(3))
    ]
    await backend.close()
    await elsewhere.close()


class OneStreamOnly(Recorder):
    """Refuses an insert for several streams before it writes anything, as KurrentDB's does."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        if len({stored.originator_id for stored in stored_events}) > 1:
            raise ProgrammingError("cannot atomically store events in more than one stream")
        return super().insert_events(stored_events, **kwargs)


async def test_a_recorder_that_takes_one_stream_at_a_time_is_given_one() -> None:
    recorder = OneStreamOnly()
    backend = await open_recorder(recorder)
    streams = ["default/run/a", "default/run/a", "default/run/b", "default/run/a"]
    for turn in range(2):
        outcomes = await backend.commit([new(stream) for stream in streams])
        assert [o.version for o in outcomes if isinstance(o, Appended)] == [
            3 * turn + 1,
            3 * turn + 2,
            turn + 1,
            3 * turn + 3,
        ]
    assert recorder.inserts == [1, *[2, 1, 1] * 2]
    await backend.close()


async def test_a_recorder_that_refuses_everything_is_not_taken_for_one_of_single_streams() -> None:
    recorder = Recorder()
    backend = await open_recorder(recorder)
    recorder.before = [ProgrammingError("no such table")] * 2
    with pytest.raises(OutcomeUnknown, match="no such table"):
        await backend.commit([new("default/run/a"), new("default/run/b")])
    recorder.inserts.clear()
    await backend.commit([new("default/run/a"), new("default/run/b")])
    assert recorder.inserts == [2]
    await backend.close()


class UuidsOnly(Recorder):
    """Takes no other originators, as many modules do."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        for stored in stored_events:
            self._check(stored.originator_id)
        return super().insert_events(stored_events, **kwargs)

    def select_events(self, originator_id: UUID | str, **kwargs: Any) -> Sequence[StoredEvent]:
        self._check(originator_id)
        return super().select_events(originator_id, **kwargs)

    def _check(self, originator_id: object) -> None:
        if not isinstance(originator_id, UUID):
            raise DataError("not a UUID")


async def test_streams_keep_their_names_where_originators_are_uuids() -> None:
    recorder = UuidsOnly()
    backend = await open_recorder(recorder)
    first = new("default/run/a", 2)
    await backend.commit([first, new("default/flow/ä b")])
    assert [event.stream for event in await backend.read_stream(A, after=Version(0), limit=10)] == [A, A]
    await backend.close()
    backend = await open_recorder(recorder)
    page = await backend.read_all(after=Position(0), limit=10)
    assert [event.stream for event in page.events] == [A, A, "default/flow/ä b"]
    assert await backend.commit([first]) == [Duplicate(Position(2), Position(3), Version(2), True)]
    await backend.close()


async def test_a_log_that_was_begun_under_names_is_not_begun_again_under_uuids() -> None:
    """Only what says that text is no originator does that, and no trouble that passes."""
    recorder = Recorder()
    await (await open_recorder(recorder)).close()

    class Away(UuidsOnly):
        def _check(self, originator_id: object) -> None:
            if not isinstance(originator_id, UUID):
                raise OperationalError("the database is away")

    away = Away()
    with pytest.raises(LogUnusable, match="the database is away"):
        await open_recorder(away)
    assert away.inserts == []


async def test_a_missing_version_is_told_and_not_passed_over() -> None:
    """The library's recorders take any version."""
    recorder = Recorder()
    backend = await open_recorder(recorder)
    await backend.commit([new(count=2)])
    (stored,) = recorder.select_events(A, gt=1)
    recorder.insert_events([StoredEvent(originator_id=A, originator_version=5, topic=stored.topic, state=stored.state)])
    with pytest.raises(LogUnusable, match="version 5 where its version 3 belongs"):
        await backend.read_stream(A, after=Version(0), limit=10)
    await backend.close()


async def test_another_process_is_heard_of_at_once_where_that_was_asked_for() -> None:
    recorder = Recorder()
    one, other = await open_recorder(recorder, subscribe=True), await open_recorder(recorder)
    assert (set(one.capabilities), set(other.capabilities)) == ({Capability.WAKES}, set())
    head = await one.head()
    waiting = asyncio.ensure_future(one.wait_for_news(head, 3600.0))
    await other.commit([new()])
    async with asyncio.timeout(30):
        await waiting
    assert await one.head() > head
    await one.close()
    await other.close()


async def test_a_recorder_without_a_subscription_says_so(tmp_path: Path) -> None:
    url = f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={tmp_path}/log.db&SUBSCRIBE=yes"
    with pytest.raises(UsageError, match="does not support subscriptions"):
        await open_url(url)


def test_a_program_that_leaves_its_subscription_open_ends_all_the_same() -> None:
    program = """
import asyncio
from eventsourcing.popo import POPOApplicationRecorder
from playhead_adapters.stores.eventsourcing import open_recorder
asyncio.run(open_recorder(POPOApplicationRecorder(), subscribe=True))
print("ends")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "ends\n"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("eventsourcing:", "names no persistence module"),
        ("eventsourcing:no.such.module", "'no.such.module' cannot be opened"),
        ("eventsourcing:eventsourcing.popo?SUBSCRIBE=perhaps", "SUBSCRIBE is neither yes nor no"),
        (
            "eventsourcing:eventsourcing.postgres?POSTGRES_ENABLE_DB_FUNCTIONS=yes",
            "POSTGRES_ENABLE_DB_FUNCTIONS is set",
        ),
        ("eventsourcing:eventsourcing.postgres?POSTGRES_PASSWORD=canary", "'eventsourcing.postgres' cannot be opened"),
    ],
)
async def test_a_url_that_cannot_be_opened_says_why_and_shows_no_password(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        await open_url(url)
    assert "canary" not in str(refused.value)


async def test_a_stream_that_was_forgotten_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KNOWN_APPENDS", 3)
    backend = await open_recorder(Recorder())
    appends = [new(f"default/run/{number}") for number in range(10)]
    first = [(await backend.commit([append]))[0] for append in appends]
    again = [(await backend.commit([append]))[0] for append in appends]
    assert again == [Duplicate(o.first, o.last, o.version, True) for o in first if isinstance(o, Appended)]
    assert len(again) == 10
    await backend.close()


async def test_an_insert_whose_answer_was_lost_is_settled() -> None:
    """The library tries again by itself, and reports a conflict, which it is not: the append is answered as the first time."""
    recorder = Recorder()
    async with Log.open(await open_recorder(recorder)) as log:
        recorder.after = [IntegrityError("already there")]
        assert await log.append(new(count=2)) == Ack(Position(2), Position(3), Version(2))
        recorder.after = [OperationalError("lost the connection")]
        assert await log.append(new(count=2)) == Ack(Position(4), Position(5), Version(4), duplicate=True)
        assert [event.version async for page in log.read_stream(A) for event in page] == [1, 2, 3, 4]


async def test_an_insert_that_failed_is_tried_again() -> None:
    recorder = Recorder()
    async with Log.open(await open_recorder(recorder)) as log:
        recorder.before = [OperationalError("not there")]
        ack = await log.append(new(count=2))
        assert (ack.version, ack.duplicate) == (2, False)


async def test_a_stream_that_others_always_reach_first() -> None:
    recorder = Recorder()
    backend = await open_recorder(recorder)
    recorder.before = [IntegrityError("overtaken")] * (writer.TOGETHER_ATTEMPTS + writer.ALONE_ATTEMPTS)
    with pytest.raises(OutcomeUnknown, match="always faster"):
        await backend.commit([new()])
    assert (await backend.commit([new()]))[0] == Appended(Position(2), Position(2), Version(1))
    await backend.close()


async def test_a_recorder_that_cannot_be_read_is_told() -> None:
    class Broken(POPOApplicationRecorder):
        def max_notification_id(self) -> int | None:
            raise OperationalError("the database is away")

    with pytest.raises(LogUnusable, match="the database is away"):
        await open_recorder(Broken())


class Slow(Recorder):
    """Reads all its events when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go_on = threading.Event(), threading.Event()

    def select_notifications(self, *args: Any, **kwargs: Any) -> Sequence[Notification]:
        self.reading.set()
        assert self.go_on.wait(30)
        return super().select_notifications(*args, **kwargs)


async def test_it_is_closed_when_the_reads_under_way_have_ended() -> None:
    """Also those whose callers were cancelled. SQLite takes the process along where a connection is closed under a read."""
    recorder, closed = Slow(), threading.Event()
    backend = await open_recorder(recorder, close=closed.set)
    reads: list[asyncio.Future[Page]] = []
    for _ in range(2):
        recorder.reading.clear()
        reads.append(asyncio.ensure_future(backend.read_all(after=Position(0), limit=10)))
        assert await asyncio.to_thread(recorder.reading.wait, 30)
    reads[0].cancel()
    closing = asyncio.ensure_future(backend.close())
    with pytest.raises(LogUnusable, match="is closed"):
        while True:  # until it has begun to close, a head is still told
            await backend.head()
    assert not closed.is_set()
    recorder.go_on.set()
    await closing
    assert closed.is_set()
    assert (await reads[1]).events == ()


async def test_a_read_that_does_not_end_is_told_when_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "READS_SECONDS", 0.05)
    recorder, closed = Slow(), threading.Event()
    backend = await open_recorder(recorder, close=closed.set)
    read = asyncio.ensure_future(backend.read_all(after=Position(0), limit=10))
    assert await asyncio.to_thread(recorder.reading.wait, 30)
    with pytest.raises(LogUnusable, match=r"1 reads have not ended for 0\.05 s"):
        await backend.close()
    assert not closed.is_set()
    recorder.go_on.set()
    await read


async def test_nothing_of_the_library_is_left_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with Log.open(f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={tmp_path}/bridge.db") as log:
        await log.append(new())
    left = {thread.name for thread in set(threading.enumerate()) - before if "playhead" in thread.name}
    assert left == set()
