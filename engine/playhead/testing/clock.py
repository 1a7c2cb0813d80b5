"""A clock that moves only when it is told to: for tests and simulations of whatever takes a `Clock`."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from typing import Final

from playhead.core.names import Micros
from playhead.ports.clock import Clock

START: Final = Micros(1_700_000_000_000_000)  # 2023-11-14 22:13:20 UTC
SETTLE_TURNS: Final = 20  # of the event loop after each waking, for what was woken to go to sleep again


class VirtualClock(Clock):
    """Both clocks begin together; `jump` moves only the wall clock, as a person or a time server would. Ids are seeded."""

    def __init__(self, start: Micros = START, *, seed: int = 0) -> None:
        self._wall = start
        self._elapsed = 0.0
        self._random = random.Random(seed)
        self._turn = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> Micros:
        return Micros(self._wall + round(self._elapsed * 1_000_000))

    def monotonic(self) -> float:
        return self._elapsed

    def new_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._turn), woken))
            await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass: sleepers wake in the order of their times, each at its own time, those who sleep again too."""
        end = self._elapsed + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():  # else its sleeper was cancelled
                self._elapsed = max(self._elapsed, at)
                woken.set_result(None)
                await self._settle()
        self._elapsed = end

    def stall(self, seconds: float) -> None:
        """Let time pass and wake nobody, as in a process that is stopped. Who was due by then is woken by the next `advance`."""
        self._elapsed += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back where `seconds` is negative."""
        self._wall = Micros(self._wall + round(seconds * 1_000_000))

    async def _settle(self) -> None:
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
