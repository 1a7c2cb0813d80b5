"""Signs of life in PostgreSQL: read by what was counted since, forgotten after a day, and none is missed when their table was lost (L1)."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from playhead.ports.store import Leading
from playhead_adapters.stores.postgres.address import parse
from playhead_adapters.stores.postgres.backend import PostgresBackend, open_url
from tests.postgres.cluster import Cluster

pytestmark = pytest.mark.real

MANY = 3_000


@pytest.fixture
def url(postgres: Cluster) -> str:
    return postgres.new_log()


@pytest.fixture
async def store(url: str) -> AsyncGenerator[PostgresBackend]:
    backend = await open_url(url)
    yield backend
    await backend.close()


@pytest.fixture
def table(url: str) -> str:
    return f"{parse(url).schema}.signs"


async def test_what_was_counted_since_is_all_that_is_read(store: PostgresBackend) -> None:
    await store.hear([f"run/{number}/1" for number in range(MANY)])
    counted = await store.heard(after=0)
    assert len(counted.keys) == MANY
    await store.hear(["run/7/1", "agent/otter"])
    assert (await store.heard(after=counted.upto)).keys == {"run/7/1", "agent/otter"}
    assert (await store.heard(after=counted.upto + 1)).keys == set()


async def test_what_nobody_counted_for_a_day_is_forgotten_some_with_each_that_is_counted(
    store: PostgresBackend, postgres: Cluster, table: str
) -> None:
    await store.hear([f"old/{number}" for number in range(150)])
    postgres.execute(f"UPDATE {table} SET at = at - interval '25 hours'")
    left = {f"old/{number}" for number in range(150)}
    for number in range(2):
        await store.hear([f"new/{number}"])
        before, left = left, {key for key in (await store.heard(after=0)).keys if key.startswith("old/")}
        assert len(left) < len(before)
    assert not left
    assert (await store.heard(after=0)).keys == {"new/0", "new/1"}


@pytest.mark.parametrize("clock_is_put_back", [False, True])
async def test_what_is_counted_when_the_table_was_lost_is_told_whatever_was_read_before(
    store: PostgresBackend, postgres: Cluster, table: str, clock_is_put_back: bool
) -> None:
    await store.hear(["run/1/1"])
    upto = (await store.heard(after=0)).upto
    postgres.execute(f"TRUNCATE {table}")
    assert (await store.heard(after=upto)).keys == set()
    if clock_is_put_back:
        postgres.execute(f"INSERT INTO {table} (key, number, at) VALUES ('', 5, now())")
    await store.hear(["run/1/1"])
    counted = await store.heard(after=upto)
    assert counted.keys == {"run/1/1"}
    assert (counted.upto < upto) is clock_is_put_back


async def test_a_count_from_before_the_table_was_lost_takes_the_lead_from_nobody(
    store: PostgresBackend, postgres: Cluster, table: str
) -> None:
    """It was on its way meanwhile, and others have counted on: its number must not come again."""
    stale = await store.lead("one", after=0)
    assert stale is not None
    postgres.execute(f"TRUNCATE {table.replace('signs', 'leader')}")
    assert await store.leading() is None
    assert await store.lead("one", after=stale) is None
    first = await store.lead("two", after=0)
    assert first is not None
    assert first > stale
    assert await store.lead("one", after=stale) is None
    assert await store.leading() == Leading("two", first)
