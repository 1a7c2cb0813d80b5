"""How a task is tried again. Owns the policy's values and arithmetic; knows no clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from playhead.errors import UsageError

RetryDelay = timedelta | Sequence[timedelta] | Callable[[int], timedelta]
RetryOn = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]

MAX_RETRIES: Final = 10_000  # a retry for ever hides a failure for ever


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`count` retries after the first attempt; attempt n + 1 begins `delay` after attempt n failed.

    `delay`: one duration, one for each retry (the last repeats), or a function of the number of the retry, from 1.
    `jitter`: the delay is multiplied by a random factor between 1 - jitter and 1 + jitter.
    `on`: which failures are tried again: exception types, or a function that says so. None: every Exception.
    """

    count: int = 0
    delay: RetryDelay = timedelta(0)
    jitter: float = 0.0
    on: RetryOn | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.count <= MAX_RETRIES:
            raise UsageError(f"retries={self.count} is not between 0 and {MAX_RETRIES}")
        if not 0.0 <= self.jitter <= 1.0:
            raise UsageError(f"retry_jitter={self.jitter} is not between 0 and 1")
        if self.delay == () or self.delay == []:
            raise UsageError(
                "retry_delay is an empty sequence", hint="give one timedelta for each retry, or leave it out"
            )

    def wants(self, error: BaseException, attempt: int) -> bool:
        """Whether attempt `attempt`, which failed with `error`, is followed by another."""
        if attempt > self.count:
            return False
        match self.on:
            case None:
                return isinstance(error, Exception)
            case type() | tuple():
                return isinstance(error, self.on)
            case predicate:
                return bool(predicate(error))

    def pause(self, attempt: int, chance: random.Random) -> timedelta:
        """How long to wait after failed attempt `attempt`, from 1."""
        match self.delay:
            case timedelta() as same:
                base = same
            case Sequence() as each:
                base = each[min(attempt, len(each)) - 1]
            case function:
                base = function(attempt)
        if self.jitter:
            base *= 1 + chance.uniform(-self.jitter, self.jitter)
        return max(base, timedelta(0))
