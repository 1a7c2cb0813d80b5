"""Fixtures that tests of several folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.postgres.cluster import Cluster, running_cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One PostgreSQL for the whole session. Who uses it carries the marker `real`, and leaves it running."""
    try:
        running = running_cluster()
        cluster = running.__enter__()
    except LookupError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        yield cluster
    finally:
        running.__exit__(None, None, None)
