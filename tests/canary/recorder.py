"""A proxy that keeps every byte of what passes between a server and those who ask it. Owns the recording; changes nothing on its way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]

BLOCK_BYTES: Final = 64 * 1024
START_SECONDS: Final = 30.0


class Recording:
    """What passed, one direction of one connection after the other: no word is cut in two by its packets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._directions: list[tuple[str, bytearray]] = []

    def begin(self, direction: str) -> bytearray:
        kept = bytearray()
        with self._lock:
            self._directions.append((direction, kept))
        return kept

    def bytes_of(self, direction: str) -> list[bytes]:
        with self._lock:
            return [bytes(kept) for name, kept in self._directions if name == direction]

    def all(self) -> bytes:
        with self._lock:
            return b"\0\0\0\0".join(bytes(kept) for _, kept in self._directions)


@contextmanager
def recorded(url: str) -> Generator[tuple[str, Recording]]:
    """Another URL for the server at `url`, and what passes through it."""
    address = urlsplit(url)

    async def connect() -> Streams:
        return await asyncio.open_connection(address.hostname, address.port)

    async def listen(met: _Met) -> asyncio.Server:
        return await asyncio.start_server(met, "127.0.0.1", 0)

    with _proxy(connect, listen) as (server, recording):
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}", recording


@contextmanager
def recorded_socket(path: Path) -> Generator[Recording]:
    """Stand between the unix socket at `path` and whoever connects to it from now on."""
    hidden = path.with_suffix(".behind")
    path.rename(hidden)  # who listens on it goes on listening

    async def connect() -> Streams:
        return await asyncio.open_unix_connection(hidden)

    async def listen(met: _Met) -> asyncio.Server:
        return await asyncio.start_unix_server(met, path)

    try:
        with _proxy(connect, listen) as (_, recording):
            yield recording
    finally:
        hidden.rename(path)


_Met = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def _proxy(
    connect: Connect, listen: Callable[[_Met], Awaitable[asyncio.Server]]
) -> Generator[tuple[asyncio.Server, Recording]]:
    """On a loop of its own, in a thread of its own, both gone at the end."""
    recording = Recording()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="recorder", daemon=True)
    thread.start()

    carrying: set[asyncio.Task[None] | None] = set()  # asyncio itself lets go of a handler whose caller has hung up

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying.add(asyncio.current_task())
        try:
            # At the end handlers are cancelled, and one that ends by that would be an error to asyncio.
            with contextlib.suppress(asyncio.CancelledError):
                async with _ended(writer):
                    there = await connect()
                    async with _ended(there[1]):
                        await _carry((reader, writer), there, recording)
        finally:
            carrying.discard(asyncio.current_task())

    async def begin() -> asyncio.Server:
        return await listen(met)

    async def end(server: asyncio.Server) -> None:
        server.close()
        while under_way := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    try:
        server = asyncio.run_coroutine_threadsafe(begin(), loop).result(START_SECONDS)
        try:
            yield server, recording
        finally:
            asyncio.run_coroutine_threadsafe(end(server), loop).result(START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


async def _carry(here: Streams, there: Streams, recording: Recording) -> None:
    """Both directions, each until its end."""
    await asyncio.gather(
        _pump(here[0], there[1], recording.begin("asked")), _pump(there[0], here[1], recording.begin("answered"))
    )


@contextlib.asynccontextmanager
async def _ended(writer: asyncio.StreamWriter) -> AsyncGenerator[None]:
    """At the end the connection is closed, whatever was still to be written."""
    try:
        yield
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while block := await reader.read(BLOCK_BYTES):
            kept += block
            writer.write(block)
            await writer.drain()
        writer.write_eof()
    except (ConnectionError, OSError):
        writer.transport.abort()  # whoever broke off is told to the other side in the same way
