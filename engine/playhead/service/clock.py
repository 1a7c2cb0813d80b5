"""Time as the operating system has it, and waiting with a limit on any clock."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

import anyio

from playhead.core.names import Micros
from playhead.ports.clock import Clock


class SystemClock(Clock):
    def now(self) -> Micros:
        return Micros(time.time_ns() // 1_000)

    def monotonic(self) -> float:
        # Not CLOCK_BOOTTIME: after a suspension every lease would look expired before one heartbeat could arrive.
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)

    def new_id(self) -> str:
        return secrets.token_hex(16)


async def within(clock: Clock, seconds: float, wait: Callable[[], Awaitable[object]]) -> bool:
    """Wait, but not longer than `seconds` on the clock; whether the wait ended by itself."""
    ended = False
    async with anyio.create_task_group() as both:

        async def limit() -> None:
            await clock.sleep(seconds)
            both.cancel_scope.cancel()

        both.start_soon(limit)
        await wait()
        ended = True
        both.cancel_scope.cancel()
    return ended
