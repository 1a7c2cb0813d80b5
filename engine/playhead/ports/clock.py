"""The port of time and of new ids: whoever needs either takes a clock, so that tests and simulations own both."""

from __future__ import annotations

from typing import Protocol

from playhead.core.names import Micros


class Clock(Protocol):
    """Two clocks that need not agree, a way to wait, and ids that nobody else has."""

    def now(self) -> Micros:
        """The wall clock: may jump in both directions. For what people read and for due times, never for durations."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never backwards. For durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on the monotonic clock; at once for 0 or less."""
        ...

    def new_id(self) -> str:
        """32 random hexadecimal digits."""
        ...
