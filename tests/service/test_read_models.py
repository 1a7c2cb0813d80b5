"""The read models: made again they are the same bytes, and what cannot be trusted is made again (S8)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from playhead.core import events as ev
from playhead.core.names import Position, StreamName, Version
from playhead.core.schedules import MICROS
from playhead.errors import LogUnusable, UnknownEvent
from playhead.log import Log
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.server import DiedRequest, RunFilter
from playhead.ports.store import Append, NewEvent, Page
from playhead.service import Service
from playhead.testing.clock import VirtualClock
from tests.service.world import ADOPTED, SUCCEEDED, World, agent, embedded, flow, open_world, run_id, submitted
from tests.stores import new_backend

TABLES = ("flows", "agents", "runs", "forgotten")


def dump(views: Path) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(views) as connection:
        rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
        rows["seen"] = connection.execute("SELECT schema, log_id, position, mark FROM seen").fetchall()
    connection.close()
    return rows


async def busy_day(world: World) -> None:
    """Some of everything that the read models show."""
    schedule = ev.Schedule(id="5c" * 8, every_seconds=60, anchor=0)
    claimed = await world.running(1)
    await world.service.register_flow(flow("timed", schedule=schedule))
    await world.service.register_flow(flow("timed", seal="aa" * 8, schedule=schedule))
    await world.service.begin_embedded(embedded(2))
    await world.service.join(agent("stoat"))
    await world.report(claimed, 0, ADOPTED, submitted("a"))
    await world.clock.advance(65)
    await world.until("run.lost")
    again = await world.claim(1, agent="stoat")
    await world.start(again)
    await world.report(again, 2, submitted("b"), origin=1)
    await world.report(again, 0, ADOPTED, SUCCEEDED)
    await world.ask(3, at=world.clock.now() + 10**6 * MICROS)
    await world.ask(4)
    await world.service.cancel(run_id(4))
    await world.ask(5)
    await world.start(await world.claim(5))
    await world.service.died(run_id(5), DiedRequest(epoch=1, exit_code=1))
    await world.service.drain("otter")
    await world.service.leave("stoat")
    await world.service.register_flow(flow("timed", seal="bb" * 8))
    await world.seen()


async def test_made_again_from_the_log_they_are_the_same_bytes(tmp_path: Path) -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock, views=tmp_path / "live.db") as world:
        await busy_day(world)
    async with open_world(records, clock=clock, views=tmp_path / "again.db") as world:
        await world.seen()
    live, again = dump(tmp_path / "live.db"), dump(tmp_path / "again.db")
    assert live == again
    assert {table: len(rows) for table, rows in live.items()} == {
        "flows": 2,
        "agents": 2,
        "runs": 6,
        "forgotten": 0,
        "seen": 1,
    }


@pytest.mark.own_store("it cuts the records into pieces")
async def test_followed_in_pieces_they_are_the_same_bytes(tmp_path: Path) -> None:
    """A service that is stopped after each event goes on from its position, whatever state it had kept."""
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock, views=tmp_path / "live.db") as world:
        await busy_day(world)
    part = MemoryRecords(log_id=records.log_id)
    for recorded in records.events:
        part.events.append(recorded)
        part.streams.setdefault(recorded.stream, []).append(recorded)
        async with Log.open(MemoryBackend(part)) as log, Service(log, read_models=tmp_path / "parts.db", clock=clock):
            assert await log.head() == recorded.position
    live, parts = dump(tmp_path / "live.db"), dump(tmp_path / "parts.db")
    assert live == parts


@pytest.mark.own_store("it counts the reads of a backend in memory")
async def test_what_was_kept_is_not_read_again(tmp_path: Path) -> None:
    records, clock = MemoryRecords(), VirtualClock()
    async with open_world(records, clock=clock, views=tmp_path / "views.db") as world:
        await busy_day(world)
    asked: list[int] = []

    class Counting(MemoryBackend):
        async def read_all(self, *, after: Position, limit: int) -> Page:
            if limit > 1:
                asked.append(after)
            return await super().read_all(after=after, limit=limit)

    async with (
        Log.open(Counting(records)) as log,
        Service(log, read_models=tmp_path / "views.db", clock=clock) as again,
    ):
        assert len((await again.runs(RunFilter())).runs) == 6
        assert asked == []


def _other_schema(path: Path) -> None:
    _execute(path, "UPDATE seen SET schema = schema + 1")


def _states_of_another_form(path: Path) -> None:
    _execute(path, "UPDATE seen SET form = 'another'")


def _position_beyond_the_head(path: Path) -> None:
    _execute(path, "UPDATE seen SET position = position + 1000")


def _mark_of_another_history(path: Path) -> None:
    _execute(path, "UPDATE seen SET mark = 'ffffffff'")


def _other_log(path: Path) -> None:
    _execute(path, "UPDATE seen SET log_id = 'another'")


def _no_tables(path: Path) -> None:
    _execute(path, "DROP TABLE seen")


def _cut_short(path: Path) -> None:
    _execute(path, "UPDATE seen SET clean = 0")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwritten(path: Path) -> None:
    """In the middle, where nobody looks on opening: only the check of a file that was not closed finds it."""
    _execute(path, "UPDATE seen SET clean = 0")
    data = bytearray(path.read_bytes())
    page = int.from_bytes(data[16:18], "big")
    for start in range(2 * page, len(data), page):
        data[start : start + 100] = b"\xff" * 100
    path.write_bytes(bytes(data))


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"something else entirely" * 1000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "harm",
    [
        _other_schema,
        _states_of_another_form,
        _position_beyond_the_head,
        _mark_of_another_history,
        _other_log,
        _no_tables,
        _cut_short,
        _overwritten,
        _not_a_database,
        _empty,
    ],
)
async def test_what_cannot_be_trusted_is_made_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    records, clock, views = MemoryRecords(), VirtualClock(), tmp_path / "views.db"
    async with open_world(records, clock=clock, views=views) as world:
        await busy_day(world)
    before = dump(views)
    _execute(views, "UPDATE runs SET flow = 'canary'")  # a mark on the old file: gone when it was made again
    harm(views)
    async with open_world(records, clock=clock, views=views):
        pass
    assert dump(views) == before


@pytest.mark.own_store("it makes two logs with one id")
async def test_a_restored_log_with_the_same_id_is_noticed(tmp_path: Path) -> None:
    records, views = MemoryRecords(), tmp_path / "views.db"
    async with open_world(records, views=views) as world:
        await world.service.register_flow(flow())
        await world.service.register_flow(flow("lost"))
        await world.seen()
    restored = MemoryRecords(log_id=records.log_id)
    async with open_world(restored, clock=VirtualClock(seed=1)) as world:
        await world.service.register_flow(flow())
        await world.service.register_flow(flow("other"))
    async with open_world(restored, views=views) as world:
        assert [view.flow for view in await world.service.flows()] == ["census", "other"]


async def test_an_event_of_a_newer_version_stops_the_service_on_entering() -> None:
    async with Log.open(await new_backend()) as log:
        await append_unknown(log)
        with pytest.raises(UnknownEvent, match="upgrade"):
            async with Service(log):
                raise AssertionError("it must not open")


async def test_an_event_of_a_newer_version_stops_a_service_that_runs() -> None:
    with pytest.raises(BaseExceptionGroup) as stopped:
        async with open_world() as world:
            await append_unknown(world.log)
            await world.until("never")
    assert stopped.group_contains(UnknownEvent)


async def append_unknown(log: object) -> None:
    assert isinstance(log, Log)
    await log.append(
        Append(
            stream=StreamName(f"default/run/{run_id(1)}"),
            events=(NewEvent(type="run.teleported", schema=1, data={}),),
            expected=Version(0),
            append_id="a",
            actor="server",
            recorded_at=VirtualClock().now(),
        )
    )


async def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnusable, match=r"views\.db cannot be used") as refused:
        async with open_world(views=tmp_path / "file" / "views.db"):
            raise AssertionError("it must not open")
    assert refused.value.hint is not None


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_world():
            raise ZeroDivisionError
