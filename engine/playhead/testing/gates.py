"""A gate: holds calls wherever they run, so that a check says when they go on and never has to wait for a guess.

A call walks up to the gate over the loopback interface, says its name and stays until it is let through. The gate sees
when a call leaves, too, be it by its own end, by cancellation or by the death of its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Self


class Gate:
    """An async context manager. When it closes, whoever still waits is let through."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.left: list[str] = []
        self._changed = asyncio.Condition()
        self._visitors: dict[str, asyncio.StreamWriter] = {}
        self._visits: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None, "a gate is used inside `async with`"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._receive, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None, "a gate is used inside `async with`"
        self._server.close()
        for visitor in self._visitors.values():
            visitor.close()
        if self._visits:
            await asyncio.wait(self._visits)
        await self._server.wait_closed()

    def let_through(self, *names: str) -> None:
        """Let these calls go on. They have arrived."""
        for name in names:
            self._visitors[name].write(b"\n")

    async def arrivals(self, count: int) -> None:
        """Wait until so many calls have arrived since the gate was opened."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.arrived) >= count)

    async def departure(self, name: str) -> None:
        """Wait until that call has left."""
        async with self._changed:
            await self._changed.wait_for(lambda: name in self.left)

    async def arrives_before_it_leaves(self, arriving: str, leaving: str) -> bool:
        """Wait until the one has arrived, or the other has left. Whether it has arrived."""
        async with self._changed:
            await self._changed.wait_for(lambda: arriving in self.arrived or leaving in self.left)
            return arriving in self.arrived

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.current_task()
        assert visit is not None, "a connection is served in a task"
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)
        name = ""
        with contextlib.closing(writer), contextlib.suppress(ConnectionResetError):  # how a killed process may leave
            name = (await reader.readline()).decode().strip()
            if name:  # else it was stopped before it said one
                self._visitors[name] = writer
                await self._note(self.arrived, name)
                await reader.read()  # nothing more is said: it ends when the call leaves
        if name:
            await self._note(self.left, name)

    async def _note(self, book: list[str], name: str) -> None:
        async with self._changed:
            book.append(name)
            self._changed.notify_all()


def wait_at(port: int, name: str) -> str:
    """A call that waits at the gate, and returns its name."""
    with socket.create_connection(("127.0.0.1", port)) as gate:
        gate.sendall(f"{name}\n".encode())
        gate.recv(1)
    return name


async def wait_at_async(port: int, name: str) -> str:
    """A coroutine that waits at the gate, and returns its name."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{name}\n".encode())
        await reader.read(1)
    finally:
        writer.close()
    return name
