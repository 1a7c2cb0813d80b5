"""The options of the simulation: how many seeds the long lane lives through, and from which on."""

from __future__ import annotations

import pytest

DEFAULT_SEEDS = 200
FIRST_SEED = 100_000  # far from those of the fast lane


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seeds", type=int, default=DEFAULT_SEEDS, help="how many worlds to live through")
    group.addoption("--first-seed", type=int, default=FIRST_SEED, help="the first of them")


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """The seeds of the long lane."""
    first = int(request.config.getoption("--first-seed", FIRST_SEED) or 0)
    count = int(request.config.getoption("--seeds", DEFAULT_SEEDS) or 0)
    return range(first, first + count)
