"""A balancer of TCP connections over servers on this machine. Owns who gets the next connection; reads nothing of what it carries.

In turn, and past those where nothing listens. A connection lives on one server: when either end breaks, so does the other.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

PIECE_BYTES: Final = 64 * 1024


class Balancer:
    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turn = itertools.count()
        self._stop = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def run(self, listening: threading.Event) -> None:
        async with await asyncio.start_server(self._carry, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            listening.set()
            await self._stop.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    def stop(self) -> None:
        self._stop.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            behind = await self._connected()
            if behind is not None:
                there, back = _pipe(reader, behind[1]), _pipe(behind[0], writer)
                both = [asyncio.ensure_future(there), asyncio.ensure_future(back)]
                try:
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for each in both:
                        each.cancel()
                    behind[1].close()
        writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next server at which anybody listens."""
        first = next(self._turn)
        for number in range(len(self._ports)):
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self._ports[(first + number) % len(self._ports)])
        return None


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()


@contextmanager
def balancing(ports: Sequence[int]) -> Generator[Balancer]:
    """A balancer in a thread of its own, while the block runs."""
    listening = threading.Event()
    made: list[tuple[asyncio.AbstractEventLoop, Balancer]] = []

    async def serve() -> None:
        balancer = Balancer(ports)
        made.append((asyncio.get_running_loop(), balancer))
        await balancer.run(listening)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="balancer")
    thread.start()
    assert listening.wait(30)
    loop, balancer = made[0]
    try:
        yield balancer
    finally:
        loop.call_soon_threadsafe(balancer.stop)
        thread.join(30)
