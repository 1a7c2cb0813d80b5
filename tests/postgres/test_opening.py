"""What is refused when a PostgreSQL log is opened, or later: servers that lose what they acknowledged, proxies, newer formats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from playhead.core.names import Position
from playhead.errors import LogUnusable
from playhead.ports.store import Appended
from playhead_adapters.stores.postgres import PostgresBackend, open_url
from playhead_adapters.stores.postgres.address import Address, parse
from playhead_adapters.stores.postgres.connections import connect
from playhead_adapters.stores.postgres.migrations import FORMAT, STEPS, Step, open_log
from tests.log.samples import new
from tests.postgres.cluster import Cluster
from tests.postgres.proxies import Pooler, listening

pytestmark = pytest.mark.real

PATIENCE_SECONDS = 30.0


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[PostgresBackend]:
    backend = await open_url(url)
    try:
        yield backend
    finally:
        await backend.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return when this holds; for what a server does a moment after it was told to."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("synchronous_commit = off", "would lose what it acknowledged: synchronous_commit is off"),
        ("default_transaction_read_only = on", "is read-only"),
    ],
)
async def test_a_database_that_cannot_keep_a_log_is_refused(setting: str, problem: str, postgres: Cluster) -> None:
    database = postgres.new_database()
    postgres.execute(f"ALTER DATABASE {database} SET {setting}")
    with pytest.raises(LogUnusable, match=problem) as refused:
        await open_url(postgres.url(database))
    assert refused.value.hint


async def test_a_database_that_cannot_hold_every_name_is_refused(postgres: Cluster) -> None:
    with pytest.raises(LogUnusable, match="is encoded in SQL_ASCII"):
        await open_url(postgres.url(postgres.new_database(encoding="SQL_ASCII")))


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_does_not_flush_is_refused_also_when_it_is_changed_under_a_log(
    setting: str, postgres: Cluster
) -> None:
    url = postgres.new_log()

    def change(statement: str, value: str) -> Callable[[], bool]:
        postgres.execute(statement)
        postgres.execute("SELECT pg_reload_conf()")
        return lambda: postgres.execute(f"SHOW {setting}") == [(value,)]

    async with opened(url) as backend:
        before = await backend.head()
        try:
            await until(change(f"ALTER SYSTEM SET {setting} = off", "off"))
            with pytest.raises(LogUnusable, match=f"{setting} is off"):
                await open_url(url)
            with pytest.raises(LogUnusable, match="would lose what it acknowledged"):
                await commit_until_refused(backend)
        finally:
            await until(change(f"ALTER SYSTEM RESET {setting}", "on"))
        head = await backend.head()
        assert head >= before
        await commit_until_taken(backend)


async def commit_until_refused(backend: PostgresBackend) -> None:
    """A session hears of a changed setting between two statements, and not at once."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            await backend.commit([new()])


async def commit_until_taken(backend: PostgresBackend) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await backend.commit([new()])
            except LogUnusable:
                continue
            return


async def test_what_is_durable_stays_so_when_the_configuration_changes(postgres: Cluster) -> None:
    """A session keeps the `synchronous_commit` that it was checked with."""
    database = postgres.new_database()
    async with opened(postgres.url(database)) as backend:
        try:
            postgres.execute("ALTER SYSTEM SET synchronous_commit = off")
            postgres.execute("SELECT pg_reload_conf()")
            await until(lambda: postgres.execute("SHOW synchronous_commit") == [("off",)])
            (outcome,) = await backend.commit([new()])
            assert isinstance(outcome, Appended)
        finally:
            postgres.execute("ALTER SYSTEM RESET synchronous_commit")
            postgres.execute("SELECT pg_reload_conf()")
            await until(lambda: postgres.execute("SHOW synchronous_commit") == [("on",)])


async def test_servers_that_begin_a_log_at_the_same_moment_begin_one(postgres: Cluster) -> None:
    for _ in range(5):
        url = postgres.new_log()
        backends = await asyncio.gather(*(open_url(url) for _ in range(4)))
        for backend in backends:
            await backend.close()
        assert len({backend.log_id for backend in backends}) == 1


async def test_a_proxy_that_pools_by_transaction_is_refused(postgres: Cluster) -> None:
    url = postgres.new_log()
    async with listening(Pooler(postgres.port)) as port:
        parts = urlsplit(url)
        with pytest.raises(LogUnusable, match="gives each transaction another session"):
            await open_url(parts._replace(netloc=f"owner@127.0.0.1:{port}").geturl())
    async with opened(url) as backend:
        assert await backend.head() == 0, "without it the same log is fine"


async def test_nobody_there_is_told_without_the_password(postgres: Cluster) -> None:
    with pytest.raises(LogUnusable, match="cannot be reached") as refused:
        await open_url("postgresql://me:geheim@127.0.0.1:1/db")
    assert "geheim" not in str(refused.value)
    with pytest.raises(LogUnusable, match='database "no_such_database" does not exist'):
        await open_url(postgres.url("no_such_database"))


async def migrated(address: Address, *steps: Step) -> None:
    connection = await connect(address)
    try:
        await open_log(connection, address, (*STEPS, *steps))
    finally:
        await connection.close()


async def test_a_newer_server_migrates_while_older_ones_work(postgres: Cluster) -> None:
    url = postgres.new_log()
    column = Step(b"ALTER TABLE appends ADD COLUMN made_up integer", compatible=FORMAT)
    async with opened(url) as older:
        await older.commit([new(append_id="before")])
        writing = asyncio.create_task(commit_many(older))
        await asyncio.gather(*(migrated(parse(url), column) for _ in range(3)))
        await writing
        assert len((await older.read_all(after=Position(0), limit=100)).events) == 21
    async with opened(url) as again:
        assert await again.head() == 21, "an older server may also be started"


async def commit_many(backend: PostgresBackend) -> None:
    for number in range(20):
        await backend.commit([new(append_id=f"under way {number}")])


async def test_an_older_server_is_turned_away_by_a_format_that_it_cannot_bear(postgres: Cluster) -> None:
    url = postgres.new_log()
    async with opened(url) as older:
        await older.commit([new(append_id="before")])
        await migrated(parse(url), Step(b"ALTER TABLE appends ADD COLUMN made_up integer", compatible=FORMAT + 1))
        with pytest.raises(LogUnusable, match="of a format that this version does not know") as refused:
            await older.commit([new(append_id="behind")])
        assert "upgrade" in str(refused.value.hint)
        assert await older.head() == 1
    with pytest.raises(LogUnusable, match="of a format that this version does not know"):
        await open_url(url)


async def test_what_a_log_takes_up_is_told(postgres: Cluster) -> None:
    async with opened(postgres.new_log()) as backend:
        before = await backend.sizes()
        await backend.commit([new(count=500) for _ in range(20)])
        after = await backend.sizes()
        assert backend.format == FORMAT
        assert before["tables"] < after["tables"]
        assert after["indexes"] > 0
