"""How often a client may ask: a bucket for each, which fills steadily. Owns the buckets; knows nothing of HTTP's requests.

A bucket is one number, the moment at which it will be full again: a request takes a part of it by moving that moment on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from playhead.server.answers import ComeBack

# Clients; of more, the one that came first is forgotten, and begins with a full bucket again
MAX_BUCKETS: Final = 10_000

ROUNDING: Final = 0.001  # of a request: sums of moments are rounded, and the last of a burst must not fail by that


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """A machine with 200 runs asks some 50 times a second when nothing happens (heartbeats), and gathers what happens into reports."""

    per_second: float = 1_000.0  # a third of what one core answers: no client alone keeps the others waiting
    burst: int = 5_000  # a fleet that comes back at once after a restart


class Rates:
    def __init__(self, limits: RateLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 1.0 / limits.per_second
        self._most = (limits.burst + ROUNDING) * self._each
        self._limits = limits
        self._clock = clock
        self._full_at: dict[object, float] = {}

    def take(self, client: object) -> None:
        """One request of the client. ComeBack, 429, code "too_many_requests": its bucket is empty."""
        now = self._clock()
        full_at = max(now, self._full_at.get(client, now)) + self._each
        if full_at - now > self._most:
            raise ComeBack(
                f"more than {self._limits.per_second:g} requests a second came from this client",
                code="too_many_requests",
                status=429,
                seconds=math.ceil(full_at - now - self._most),
                hint="ask less often, and again after the seconds in Retry-After",
            )
        if client not in self._full_at and len(self._full_at) >= MAX_BUCKETS:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[client] = full_at

    def __len__(self) -> int:
        return len(self._full_at)
