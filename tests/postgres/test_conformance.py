"""The PostgreSQL log passes the suite of store backends, check by check and on one log."""

from __future__ import annotations

import pytest

from playhead.testing.places import place_at
from playhead.testing.stores import STORE_CHECKS, check_store
from tests.postgres.cluster import Cluster

pytestmark = pytest.mark.real


@pytest.mark.parametrize("check", STORE_CHECKS.names)
async def test_it_passes(check: str, postgres: Cluster) -> None:
    (result,) = await check_store(place_at(postgres.new_log()), only=[check])
    assert result.passed, result.problem
