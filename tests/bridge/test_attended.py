"""The bridge on the library's PostgreSQL module never waits without end: for an insert, a lock, or a server that says nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Final

import anyio
import psycopg
import pytest
from eventsourcing.postgres import PostgresApplicationRecorder

from playhead.core.names import Position
from playhead.errors import LogUnusable, OutcomeUnknown
from playhead.log import Log
from playhead_adapters.stores.eventsourcing import open_recorder, open_url
from playhead_adapters.stores.eventsourcing import postgres as attended
from tests.bridge import recorders
from tests.log.samples import new
from tests.postgres.cluster import Cluster

pytestmark = pytest.mark.real

LARGE: Final = 16_000_000  # letters: four times what the sockets' buffers take


@pytest.mark.parametrize("events", [1, 5_000])
async def test_an_insert_that_no_socket_takes_at_once(postgres: Cluster, events: int) -> None:
    async with Log.open(recorders.postgres(postgres)) as log:
        text = "x" * (LARGE // events)
        ack = await log.append(new("default/run/a", events, data={"text": text}))
        assert ack.version == events
        page = await log.read_all(after=Position(0), limit=1)
        assert page.events[0].data == {"text": text}


async def test_the_same_by_a_recorder_that_was_open_before(postgres: Cluster) -> None:
    factory, recorder = recorders.opened("eventsourcing.postgres", **recorders.settings_of(postgres))
    async with Log.open(await open_recorder(recorder, close=factory.close)) as log:
        ack = await log.append(new(data={"text": "x" * LARGE}))
        assert ack.version == 1


async def test_a_connection_that_is_being_made_while_the_log_is_opened_is_not_used(postgres: Cluster) -> None:
    """The pool grows by one: its making began before ours were asked for, and ends after."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(psycopg.Connection[Any]):
        @classmethod
        def connect(cls, conninfo: str = "", **settings: Any) -> Slow:
            begun.set()
            assert go_on.wait(30)
            return super().connect(conninfo, **settings)

    settings = {**recorders.settings_of(postgres), "POSTGRES_POOL_SIZE": "1", "POSTGRES_MAX_OVERFLOW": "2"}
    factory, recorder = recorders.opened("eventsourcing.postgres", **settings)
    assert isinstance(recorder, PostgresApplicationRecorder)
    pool = recorder.datastore.pool
    pool.connection_class = Slow
    with pool.connection(), pool.connection():  # as many as its opening may have made
        other = asyncio.create_task(asyncio.to_thread(lambda: pool.putconn(pool.getconn())))
        assert await asyncio.to_thread(begun.wait, 30)
    await other  # served by the one that was returned
    opening = asyncio.create_task(open_recorder(recorder, close=factory.close))
    await asyncio.sleep(0.2)
    go_on.set()
    store = await opening
    pool.wait()
    made = [pool.getconn() for _ in range(3)]
    assert {type(connection) for connection in made} == {attended.AttendedConnection}
    for connection in made:
        pool.putconn(connection)
    await store.close()


async def test_a_table_that_somebody_locks_is_told_when_the_log_is_opened(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attended, "LOCK_SECONDS", 1)
    url = recorders.postgres(postgres, name="locked")
    await (await open_url(url)).close()
    with psycopg.connect(postgres.url()) as other:
        other.execute("LOCK TABLE locked_events IN EXCLUSIVE MODE")
        with pytest.raises(LogUnusable, match="lock timeout"):
            await open_url(url)
        other.rollback()
    await (await open_url(url)).close()


async def test_the_users_own_limit_on_locks_stays(postgres: Cluster) -> None:
    postgres.execute("CREATE ROLE patient SUPERUSER LOGIN")
    postgres.execute("ALTER ROLE patient SET lock_timeout = '77s'")
    for user, limit in (("patient", "77s"), ("owner", f"{attended.LOCK_SECONDS}s")):
        with attended.AttendedConnection.connect(postgres.url(user=user)) as connection:
            assert connection.execute("SHOW lock_timeout").fetchall() == [(limit,)]


async def test_a_server_that_says_nothing_is_given_up_and_the_append_goes_another_way(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attended, "SILENT_SECONDS", 1.0)
    async with Log.open(recorders.postgres(postgres, name="silent")) as log:
        await log.append(new())
        with stopped(postgres, "%silent_events%"):
            ack = await log.append(new())
        assert ack.version == 2
        assert len((await log.read_all(after=Position(0), limit=10)).events) == 2


@contextmanager
def stopped(cluster: Cluster, last: str) -> Generator[None]:
    """The processes whose last statement was like this, for as long as the block lasts."""
    statement = f"SELECT pid FROM pg_stat_activity WHERE query LIKE '{last}' AND pid != pg_backend_pid()"
    pids = [int(str(pid)) for (pid,) in cluster.execute(statement)]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_connections_that_are_terminated_lose_nothing_and_write_nothing_twice(postgres: Cluster) -> None:
    """Under eight writers, whenever the first of them has written five more: in the middle of whatever the others do."""
    others = "backend_type = 'client backend' AND pid != pg_backend_pid()"
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
    written: dict[str, list[str]] = {f"default/run/{number}": [] for number in range(8)}
    async with Log.open(recorders.postgres(postgres, name="cut")) as log:

        async def write(stream: str) -> None:
            for turn in range(20):
                append = new(stream)
                while append.append_id not in written[stream]:
                    with suppress(OutcomeUnknown, LogUnusable):  # then the same again
                        await log.append(append)
                        written[stream].append(append.append_id)
                if stream == "default/run/0" and turn % 5 == 4:
                    assert await asyncio.to_thread(postgres.execute, cut), "nobody was terminated"

        async with anyio.create_task_group() as writers:
            for stream in written:
                writers.start_soon(write, stream)
        found = (await log.read_all(after=Position(0), limit=1_000)).events
    assert [event.position for event in found] == sorted({event.position for event in found})
    for stream, ids in written.items():
        events = [event for event in found if event.stream == stream]
        assert [(event.version, event.append_id) for event in events] == list(enumerate(ids, 1))
