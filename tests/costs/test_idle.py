"""What a server at rest wakes up for: counted in timers, as a process that sleeps costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import Final, TypeVarTuple

from playhead.client.http import HttpServer
from playhead.home import Home
from playhead.hosting import HomeLock, own
from playhead.server.app import create_app
from playhead.server.serve import serve
from playhead.settings import Settings

Ts = TypeVarTuple("Ts")

# Uvicorn's date, the log's look for what others wrote, the sweep of leases; one to spare
MOST_WAKEUPS_A_SECOND: Final = 4.0
TURNS: Final = 1_000  # of the loop: whatever goes on after the answer has come to rest


class TimedLoop(asyncio.SelectorEventLoop):
    """A loop that keeps every timer that was set, with its delay in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._timers: list[tuple[asyncio.TimerHandle, float]] = []

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        self._timers.append((handle, when - self.time()))
        return handle

    def pending(self) -> list[float]:
        """The delays of the timers that are neither over nor cancelled."""
        return [delay for handle, delay in self._timers if not handle.cancelled() and handle.when() > self.time()]


def test_a_server_at_rest_wakes_a_few_times_a_second(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        delays = runner.run(_at_rest(tmp_path))
    assert delays, "no timer at all: this looks in the wrong place"
    assert sum(1 / delay for delay in delays) <= MOST_WAKEUPS_A_SECOND, sorted(delays)


async def _at_rest(folder: Path) -> list[float]:
    home = Home.open(Settings.load({"home": folder}, env={}), env={})
    lock = HomeLock(home.lock_path)
    assert lock.try_take()
    async with own(home, lock) as api, serve(create_app(api), uds=folder / "s") as url:
        async with HttpServer(url) as client:
            await client.info()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TimedLoop)
        return loop.pending()
