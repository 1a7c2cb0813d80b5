"""Connections that are lost, a server that crashes, a log that was put back: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import psycopg
import pytest

from playhead.core.names import Position, StreamName, Version
from playhead.errors import LogError, LogUnusable, OutcomeUnknown, UsageError
from playhead.log import Log, chain, encode
from playhead.ports.store import Append, Appended, Conflict, Duplicate, Recorded
from playhead_adapters.stores.postgres import PostgresBackend, open_url
from playhead_adapters.stores.postgres.address import parse
from tests.log.samples import new
from tests.postgres.cluster import Cluster
from tests.postgres.proxies import Swallower, listening

pytestmark = pytest.mark.real

PATIENCE_SECONDS = 50.0
A = StreamName("default/run/a")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[PostgresBackend]:
    backend = await open_url(url)
    try:
        yield backend
    finally:
        await backend.close()


def terminate(postgres: Cluster, where: str) -> int:
    """End the sessions of servers' for which this holds; how many."""
    return len(
        postgres.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            f"WHERE application_name = 'playhead' AND pid <> pg_backend_pid() AND ({where})"
        )
    )


async def everything(backend: PostgresBackend) -> list[Recorded]:
    return list((await backend.read_all(after=Position(0), limit=100_000)).events)


async def test_a_connection_lost_before_the_commit_is_settled_by_the_same_batch(postgres: Cluster) -> None:
    """The log's head is held by somebody else, so that the commit waits while its connection is ended."""
    url = postgres.new_log()
    async with opened(url) as backend:
        batch = [new(A, append_id="one"), new(A, append_id="two")]
        schema = parse(url).schema
        waiting = "wait_event_type = 'Lock'"
        with psycopg.connect(postgres.url()) as other:
            other.execute(f"SELECT FROM {schema}.head FOR UPDATE".encode())
            work = asyncio.create_task(backend.commit(batch))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not terminate(postgres, waiting):
                    await asyncio.sleep(0.02)
                with pytest.raises(OutcomeUnknown):
                    await work
        assert await everything(backend) == []
        assert [type(outcome) for outcome in await backend.commit(batch)] == [Appended, Appended]


@asynccontextmanager
async def through_a_swallower(url: str, postgres: Cluster) -> AsyncGenerator[tuple[PostgresBackend, Swallower]]:
    proxy = Swallower(postgres.port)
    async with (
        listening(proxy) as port,
        opened(urlsplit(url)._replace(netloc=f"owner@127.0.0.1:{port}").geturl()) as backend,
    ):
        yield backend, proxy


async def test_a_connection_lost_after_the_commit_is_settled_by_the_same_batch(postgres: Cluster) -> None:
    async with through_a_swallower(postgres.new_log(), postgres) as (backend, proxy):
        batch = [new(A, append_id="one"), new(A, 2, append_id="two", expected=Version(1))]
        proxy.swallows = b"two"
        with pytest.raises(OutcomeUnknown):
            await backend.commit(batch)
        assert await backend.commit(batch) == [
            Duplicate(Position(1), Position(1), Version(1), same=True),
            Duplicate(Position(2), Position(3), Version(3), same=True),
        ]
        assert len(await everything(backend)) == 3


async def test_the_log_settles_what_it_does_not_know_by_itself(postgres: Cluster) -> None:
    async with through_a_swallower(postgres.new_log(), postgres) as (backend, proxy), Log.open(backend) as log:
        await log.append(new(A, append_id="one"))
        proxy.swallows = b"two"
        ack = await log.append(new(A, append_id="two"))
        assert (ack.version, ack.duplicate) == (2, True)


async def test_news_of_another_server_arrive_also_when_the_listener_was_lost(postgres: Cluster) -> None:
    url = postgres.new_log()
    async with opened(url) as writer, opened(url) as reader:
        for _ in range(2):
            head = await reader.head()
            async with asyncio.timeout(PATIENCE_SECONDS):
                waiting = asyncio.create_task(reader.wait_for_news(head, 10 * PATIENCE_SECONDS))
                await writer.commit([new(A)])
                await waiting
                while not terminate(postgres, "query LIKE 'LISTEN %' OR query LIKE '%FROM head%'"):
                    await asyncio.sleep(0.02)


async def test_reads_outlive_their_connections(postgres: Cluster) -> None:
    async with opened(postgres.new_log()) as backend:
        await backend.commit([new(A, 3)])
        await asyncio.gather(*(everything(backend) for _ in range(8)))
        assert terminate(postgres, "state = 'idle'") >= 1
        assert len(await everything(backend)) == 3


async def test_what_strangers_notify_is_not_believed(postgres: Cluster) -> None:
    """Whoever may connect to the database may notify on any channel: words, or positions that the log does not have."""
    url = postgres.new_log()
    async with opened(url) as writer, opened(url) as reader:
        for payload in ("a word", "9" * 6000, "999999999"):
            await heard_of_a_commit(writer, reader)  # it listens
            postgres.execute(f"NOTIFY {parse(url).channel}, '{payload}'")
            await heard_of_a_commit(writer, reader)  # which was told behind it
            waiting = asyncio.create_task(reader.wait_for_news(await reader.head(), 10 * PATIENCE_SECONDS))
            for _ in range(3):
                await reader.head()
            assert not waiting.done()
            waiting.cancel()


async def heard_of_a_commit(writer: PostgresBackend, reader: PostgresBackend) -> None:
    head = await reader.head()
    await writer.commit([new(A)])
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.wait_for_news(head, 10 * PATIENCE_SECONDS)


async def test_a_server_that_stands_still_is_given_up_in_bounded_time(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections are open, and nothing answers: SIGSTOP to the processes of this log's sessions."""
    monkeypatch.setattr("playhead_adapters.stores.postgres.connections.CLIENT_SECONDS", 0.5)
    async with opened(postgres.new_log()) as backend:
        await backend.commit([new(A, append_id="one")])
        await everything(backend)
        stopped = [pid for (pid,) in postgres.execute(_SESSIONS) if isinstance(pid, int)]
        assert len(stopped) >= 2
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            batch = [new(A, append_id="two")]
            async with asyncio.timeout(PATIENCE_SECONDS):
                with pytest.raises(OutcomeUnknown):
                    await backend.commit(batch)
                assert [event.append_id for event in await everything(backend)] == ["one"], "on another connection"
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        monkeypatch.undo()
        (outcome,) = await backend.commit(batch)
        assert isinstance(outcome, Appended | Duplicate)
        assert [event.append_id for event in await everything(backend)] == ["one", "two"]


_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'playhead' AND pid <> pg_backend_pid()"


async def test_a_name_that_postgresql_cannot_keep_meets_its_own_append_alone(postgres: Cluster) -> None:
    """It is a UsageError, which the log tells one append of a batch from the others by, and no fault of the log."""
    nul = StreamName("default/run/\0")
    async with opened(postgres.new_log()) as backend:
        with pytest.raises(UsageError, match="NUL"):
            await backend.commit([new(nul)])
        assert await backend.read_stream(nul, after=Version(0), limit=1) == []
        with pytest.raises(UsageError):
            await backend.forget(nul, upto=Version(1))
        assert await backend.commit([new(A, expected=Version(-1))]) == [Conflict(Version(0))], "no stream has that"


async def test_several_servers_on_one_log_write_one_history(postgres: Cluster) -> None:
    """Three of them at once, half of it over each other's versions; a reader that follows misses nothing."""
    url = postgres.new_log()
    async with opened(url) as one, opened(url) as two, opened(url) as three:
        backends = [one, two, three]
        acknowledged: list[tuple[Append, Appended]] = []
        done = asyncio.Event()
        followed: list[Recorded] = []

        async def write(number: int) -> None:
            backend, version = backends[number], Version(0)
            for turn in range(25):
                batch = [new(A, 2, expected=version), new(f"default/run/{number}", 1 + turn % 3)]
                for append, outcome in zip(batch, await backend.commit(batch), strict=True):
                    match outcome:
                        case Appended():
                            acknowledged.append((append, outcome))
                            version = outcome.version if append.stream == A else version
                        case Conflict(actual):
                            version = actual
                        case Duplicate():
                            raise AssertionError("each id was used once")

        async def follow() -> None:
            after = Position(0)
            while True:
                ended = done.is_set()
                page = await three.read_all(after=after, limit=7)
                followed.extend(page.events)
                if ended and page.scanned == after:
                    return
                after = page.scanned

        following = asyncio.create_task(follow())
        try:
            await asyncio.gather(*(write(number) for number in range(3)))
        finally:
            done.set()
            await following
        whole = await everything(one)
        assert followed == whole
        assert [event.position for event in whole] == list(range(1, len(whole) + 1))
        assert len(whole) == sum(len(append.events) for append, _ in acknowledged)
        versions = [event.version for event in whole if event.stream == A]
        assert versions == list(range(1, len(versions) + 1))
        before = chain.FIRST
        for kept in await one.read_kept(after=Position(0), limit=100_000):
            said = chain.digest(kept.append, encode(kept.append))
            before = chain.link(before, said, last=kept.last, version=kept.version)
            assert kept.link == before


async def test_what_was_acknowledged_outlives_a_crash_of_the_server_under_load(postgres: Cluster) -> None:
    url = postgres.new_log()
    async with Log.open(url) as log:
        acknowledged: set[str] = set()
        crashed = asyncio.Event()

        async def write(number: int) -> None:
            turn = 0
            while not crashed.is_set() or turn < 5:
                append = new(f"default/run/{number}", append_id=f"{number}-{turn}")
                await until_acknowledged(log, append)
                acknowledged.add(append.append_id)
                turn += 1

        async def crash() -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(acknowledged) < 100:
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(postgres.crash)
            crashed.set()

        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(crash(), *(write(number) for number in range(10)))
        kept = [event.append_id for event in (await log.read_all(after=Position(0), limit=100_000)).events]
        assert len(kept) == len(set(kept)), "nothing is there twice"
        assert acknowledged == set(kept)


async def until_acknowledged(log: Log, append: Append) -> None:
    while True:
        try:
            await log.append(append)
        except LogError:
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_server_takes_no_part_in_a_log_that_was_put_back(postgres: Cluster) -> None:
    """An older copy is put in the log's place, which then goes on without this server until it is further than before."""
    url = postgres.new_log()
    schema = parse(url).schema
    async with opened(url) as backend:
        await backend.commit([new(A, append_id="kept")])
        postgres.execute(f"CREATE TABLE {schema}.copy AS SELECT * FROM {schema}.head")
        await backend.commit([new(A, append_id="lost")])
        postgres.execute(f"DELETE FROM {schema}.appends WHERE position > 1")
        postgres.execute(f"UPDATE {schema}.head SET (position, link) = (SELECT position, link FROM {schema}.copy)")
        async with opened(url) as other:
            await other.commit([new(A, 5, append_id="another history")])
        terminate(postgres, "true")
        with pytest.raises(LogUnusable, match="an older copy was put in its place"):
            await backend.read_all(after=Position(0), limit=1)
        with pytest.raises((LogUnusable, OutcomeUnknown)):
            await backend.commit([new(A, append_id="of the old history")])
        with pytest.raises(LogUnusable, match="start this server again"):
            await backend.commit([new(A, append_id="of the old history")])
    async with opened(url) as again:
        assert [event.append_id for event in await everything(again)] == ["kept"] + 5 * ["another history"]
