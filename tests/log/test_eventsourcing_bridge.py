"""The bridge where the library's recorders differ from our port: no append ids, no positions by stream, whole batches only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from playhead.core.names import Position, StreamName, Version
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log import Log
from playhead.ports.store import Appended, Conflict, Duplicate
from playhead_adapters.stores import eventsourcing as bridge
from playhead_adapters.stores.eventsourcing import open_recorder
from tests.log.samples import new

A = StreamName("default/run/a")


class Recorder(POPOApplicationRecorder):
    """Counts its inserts, and fails as it is told to: before or after the events are in."""

    def __init__(self) -> None:
        super().__init__()
        self.inserts: list[int] = []
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


async def test_a_stream_that_was_forgotten_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "KNOWN_APPENDS", 3)
    backend = await open_recorder(Recorder())
    appends = [new(f"default/run/{number}") for number in range(10)]
    first = [(await backend.commit([append]))[0] for append in appends]
    again = [(await backend.commit([append]))[0] for append in appends]
    assert again == [Duplicate(o.first, o.last, o.version, True) for o in first if isinstance(o, Appended)]
    assert len(again) == 10
    await backend.close()


async def test_an_insert_whose_answer_was_lost_is_settled() -> None:
    """Reported as a conflict, which it is not: the append finds itself in its stream."""
    recorder = Recorder()
    async with Log.open(await open_recorder(recorder)) as log:
        for error in (IntegrityError("already there"), OperationalError("lost the connection")):
            recorder.after = [error]
            ack = await log.append(new(count=2))
            assert ack.duplicate
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
    recorder.before = [IntegrityError("overtaken")] * (bridge.ALONE_ATTEMPTS + 1)
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


async def test_nothing_of_the_library_is_left_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with Log.open(f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={tmp_path}/bridge.db") as log:
        await log.append(new())
    left = {thread.name for thread in set(threading.enumerate()) - before if "playhead" in thread.name}
    assert left == set()
