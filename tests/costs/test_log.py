"""What the log and a fold cost, by counting: states made, rows decoded, reads and looks into the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from playhead.core import events as ev
from playhead.core import folding
from playhead.core.decide import Report, decide
from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version, run_stream
from playhead.core.replay import Replay, to_append
from playhead.core.state import TaskStatus
from playhead.log import Log, tail
from playhead.log.memory import MemoryBackend
from playhead.log.sqlite import rows, url_for
from playhead.log.sqlite.file import open_writer
from playhead.log.sqlite.names import Names
from playhead.log.sqlite.readers import READERS
from playhead.log.sqlite.writer import Writer
from playhead.ports.store import Append, Expect
from tests.core.samples import GRANT, MAC, RUN, RUNNING, after
from tests.log.backends import Around

MAPPED = ev.TaskMapped(at=1, key="parse", name="parse", width=500)
STEPS: tuple[ev.RunnerEvent, ...] = (
    MAPPED,
    *(ev.TaskStarted(at=2, key=f"parse.{i}") for i in range(500)),
    *(ev.TaskSucceeded(at=3, key=f"parse.{i}", mac=MAC, size=1) for i in range(500)),
)


def counted(patch: pytest.MonkeyPatch, where: Any, name: str) -> list[str]:
    """Calls of that function or class from here on."""
    calls: list[str] = []
    real: Callable[..., Any] = getattr(where, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return real(*args, **kwargs)

    patch.setattr(where, name, call)
    return calls


def append_of(events: Sequence[ev.Event], append_id: str, first_seq: int | None = None) -> Append:
    return Append(
        stream=run_stream(RUN),
        events=tuple(to_append(event) for event in events),
        expected=Expect.ANY,
        append_id=append_id,
        actor="runner/1",
        recorded_at=Micros(1),
        epoch=None if first_seq is None else Epoch(1),
        first_seq=None if first_seq is None else Seq(first_seq),
    )


def test_a_report_of_a_thousand_events_makes_one_state(monkeypatch: pytest.MonkeyPatch) -> None:
    running = after(*RUNNING)
    made = counted(monkeypatch, folding, "RunState")
    report = Report(epoch=Epoch(1), grant=GRANT, origin=Epoch(1), first_seq=Seq(0), events=STEPS, now=Micros(1))
    assert decide(running, report).after.count(TaskStatus.SUCCEEDED) == 500
    assert len(made) == 1


async def test_a_replay_over_many_pages_makes_one_state_and_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Log.open(MemoryBackend()) as log:
        await log.append(append_of(RUNNING, "a"))
        await log.append(append_of(STEPS, "b", 0))
        monkeypatch.setattr("playhead.log.engine.READ_EVENTS", 100)
        made, models = counted(monkeypatch, folding, "RunState"), counted(monkeypatch, ev, "decode")
        story = Replay()
        async for events in log.read_stream(run_stream(RUN)):
            story.add(events)
        assert story.state() is not None
    assert (len(made), len(models)) == (1, 0)


async def test_an_append_is_decoded_once_by_a_reader_that_takes_it_in_pages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with Log.open(url_for(tmp_path / "log.db")) as log:
        await log.append(append_of(RUNNING, "a"))
        await log.append(append_of(STEPS, "b", 0))
        decoded = counted(monkeypatch, rows, "decode")
        seen = 0
        async with log.subscribe(after=Position(0)) as pages:
            monkeypatch.setattr("playhead.log.engine.PAGE_EVENTS", 100)
            async for page in pages:
                seen += len(page.events)
                if seen == len(RUNNING) + len(STEPS):
                    break
    assert len(decoded) == 2


class Watched:
    """A connection whose statements are kept, with their values."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.asked: list[tuple[str, Sequence[object]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        self.asked.append((sql, values))
        return self._connection.execute(sql, values)


@pytest.fixture
def watched(tmp_path: Path) -> Generator[Watched]:
    with closing(open_writer(tmp_path / "log.db", busy_seconds=0, max_bytes=None)) as connection:
        yield Watched(connection)


def test_nothing_of_an_append_asks_sqlite3_for_an_adapter(watched: Watched, tmp_path: Path) -> None:
    """It looks for one for bytes and None, in Python, which takes as long as the row itself."""
    writer = Writer(tmp_path / "log.db", cast(sqlite3.Connection, watched))
    writer.write([append_of(RUNNING, "ab" * 16), append_of(STEPS, "b", 0)])
    kinds = {type(value) for _, values in watched.asked for value in values}
    assert kinds == {int, str, bytearray}


def test_a_hundred_appends_are_five_statements(watched: Watched, tmp_path: Path) -> None:
    """Begin, a look whether somebody else wrote, two inserts, commit: none for each append."""
    writer = Writer(tmp_path / "log.db", cast(sqlite3.Connection, watched))
    writer.write([append_of([ev.RunReady()], "first")])
    watched.asked.clear()
    writer.write([append_of([ev.RunReady()], str(number)) for number in range(100)])
    assert len(watched.asked) == 5, watched.asked


async def test_an_event_for_those_who_follow_is_made_without_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes as long as the event, where an append brings one."""
    lists = counted(monkeypatch, tail, "recorded")
    async with Log.open(MemoryBackend()) as log, log.subscribe(after=Position(0)) as pages:
        for number in range(10):
            await log.append(append_of([ev.RunReady()], str(number)))
        page = await anext(aiter(pages))
    assert [event.append_id for event in page.events] == [str(number) for number in range(10)]
    assert lists == []


async def test_a_name_is_looked_up_once_by_each_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And not for each row, which takes half as long as the rest of it."""
    async with Log.open(url_for(tmp_path / "log.db")) as log:
        for number in range(100):
            await log.append(append_of([ev.RunReady()], str(number)))
        looked_up = counted(monkeypatch, Names, "__missing__")
        monkeypatch.setattr("playhead.log.engine.PAGE_EVENTS", 10)
        seen = 0
        async with log.subscribe(after=Position(0)) as pages:
            async for page in pages:
                seen += len(page.events)
                if seen == 100:
                    break
    assert 0 < len(looked_up) <= 2 * READERS


async def test_a_stream_of_a_few_thousand_events_is_a_few_reads() -> None:
    backend = Around(MemoryBackend())
    async with Log.open(backend) as log:
        for number in range(4):
            await log.append(append_of([ev.RunReady()] * 1_000, str(number)))
        pages = [len(events) async for events in log.read_stream(run_stream(RUN))]
        assert pages == [2_000, 2_000]
        assert [page async for page in log.read_stream(StreamName("none"), after=Version(0))] == []
