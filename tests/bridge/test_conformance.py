"""The bridge passes the suite of store backends on PostgreSQL and on a module of somebody else's.

On POPO and SQLite it does in tests/conformance.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.core.names import Position
from playhead.log import Log
from playhead.testing.stores import STORE_CHECKS, check_store
from tests.bridge import recorders
from tests.log.samples import new
from tests.postgres.cluster import Cluster

LONG = "a_long_log_is_read_page_by_page"  # 100,000 events: tests/conformance does it on POPO and SQLite
MOST = tuple(name for name in STORE_CHECKS.names if name != LONG)
FOLLOWED = tuple(name for name in MOST if "wait" in name or "news" in name or "subscri" in name or "wake" in name)


@pytest.mark.real
@pytest.mark.timeout(170)
async def test_on_postgresql(postgres: Cluster) -> None:
    results = await check_store(recorders.postgres(postgres), quick=True, only=MOST)
    assert [result for result in results if not result.passed] == []


@pytest.mark.real
async def test_on_postgresql_followed_by_its_subscription(postgres: Cluster) -> None:
    """Which declares that it wakes, and is held to it."""
    assert FOLLOWED
    results = await check_store(f"{recorders.postgres(postgres)}&SUBSCRIBE=yes", quick=True, only=FOLLOWED)
    assert [result for result in results if not result.passed] == []


@pytest.mark.real
@pytest.mark.timeout(170)
async def test_on_sqlalchemy(tmp_path: Path) -> None:
    results = await check_store(recorders.sqlalchemy(tmp_path), quick=True, only=MOST)
    assert [result for result in results if not result.passed] == []


async def test_two_logs_fit_into_one_database_by_name(tmp_path: Path) -> None:
    urls = [recorders.sqlalchemy(tmp_path, name=name) for name in ("one", "other")]
    async with Log.open(urls[0]) as one, Log.open(urls[1]) as other:
        await one.append(new())
        assert one.log_id != other.log_id
        assert (await other.read_all(after=Position(0))).events == ()
