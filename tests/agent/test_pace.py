"""How agents come back to a server that was away: each after a bounded pause that is left to chance, so that they do not come at once."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from playhead.agent.pace import Pace

AGENTS = 100
AWAY_SECONDS = 60.0  # so long that the bound of a pause has stopped growing


@pytest.fixture(autouse=True)
def chance() -> None:
    random.seed(4)


def test_a_pause_is_anything_up_to_a_bound_that_doubles_and_stops_growing() -> None:
    pace = Pace()
    for tries, most in ((1, 0.25), (2, 0.5), (4, 2.0), (6, 8.0), (7, 10.0), (1_000_000, 10.0)):
        pauses = [pace.retry(tries) for _ in range(500)]
        assert 0 <= min(pauses) < most / 10, "the whole of it is chance"
        assert most * 0.9 < max(pauses) <= most


def test_a_hundred_agents_come_back_spread_over_the_bound_and_none_later() -> None:
    """On a clock of their own: all lose the server at 0, it is back after a minute, and each asks when its pause is over."""
    pace = Pace()
    returns = sorted(_back_at(pace) - AWAY_SECONDS for _ in range(AGENTS))
    assert returns[-1] <= pace.retry_most_seconds
    by_tenth = Counter(int(10 * at / pace.retry_most_seconds) for at in returns)
    assert max(by_tenth.values()) <= AGENTS // 3, "a third of them in one second would still be a crowd"
    assert len(by_tenth) >= 7


def test_a_server_that_is_back_at_once_is_found_at_once() -> None:
    pace = Pace()
    assert max(pace.retry(1) for _ in range(AGENTS)) <= 0.25


def _back_at(pace: Pace) -> float:
    """When the agent's first request after the server's return is sent."""
    at, tries = 0.0, 0
    while at < AWAY_SECONDS:
        tries += 1
        at += pace.retry(tries)
    return at
