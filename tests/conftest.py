"""What tests of several folders share: the option --store, whose meaning is in `tests/stores.py`, and the session's PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest

from tests import stores
from tests.postgres.cluster import Cluster, running_cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("playhead").addoption(
        "--store",
        help=f"URL of the store in which the engine's tests open their logs, with {stores.NEW} for a log's name",
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        stores.choose(config.getoption("--store"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    if config.getoption("--store") is None:
        return
    for item in items:
        if mark := item.get_closest_marker("own_store"):
            item.add_marker(pytest.mark.skip(reason=f"is of its own store by nature: {mark.args[0]}"))


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
