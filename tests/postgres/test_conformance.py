"""The PostgreSQL log passes the conformance kit of event stores."""

from __future__ import annotations

import pytest

from playhead.testing.stores import STORE_CHECKS, check_store
from tests.postgres.cluster import Cluster

pytestmark = pytest.mark.real


@pytest.mark.parametrize("check", STORE_CHECKS.names)
async def test_it_passes(check: str, postgres: Cluster) -> None:
    for result in await check_store(postgres.new_log(), second=postgres.new_log(), only=[check], quick=True):
        assert result.passed, result.problem
