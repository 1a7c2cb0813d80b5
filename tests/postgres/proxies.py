"""Proxies before a PostgreSQL server: one that pools by transaction, one that swallows an answer. They know just enough of the protocol."""

from __future__ import annotations

import asyncio
import struct
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_ASKS_FOR_TLS = (80877103, 80877104)  # SSLRequest and GSSENCRequest
_IDLE = b"I"


@dataclass
class Session:
    """A connection to the server, and what the server said when it was made."""

    reader: StreamReader
    writer: StreamWriter
    greeting: bytes


@dataclass
class Pooler:
    """Gives a server's session to a client for one transaction, and takes the one that was given back last."""

    port: int
    idle: list[Session] = field(default_factory=list[Session])

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        hello = await _hello(reader, writer)
        session = await self._take(hello)
        writer.write(session.greeting)
        self.idle.append(session)
        held: Session | None = None
        while (message := await _message(reader))[:1] != b"X":
            held = held or await self._take(hello)
            held.writer.write(message)
            if message[:1] in {b"Q", b"S"}:  # a query or Sync: the server answers up to "ready for a query"
                answer = await _until_ready(held.reader)
                writer.write(answer)
                await writer.drain()
                if answer[-1:] == _IDLE:
                    self.idle.append(held)
                    held = None

    async def _take(self, hello: bytes) -> Session:
        if self.idle:
            return self.idle.pop()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(hello)
        return Session(reader, writer, await _until_ready(reader))


@dataclass
class Swallower:
    """Passes everything on, but one answer: the server does what it is asked, and nobody hears of it."""

    port: int
    swallows: bytes | None = None  # the answer to the call that has this among its parameters, once

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        hello = await _hello(reader, writer)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            server_writer.write(hello)
            writer.write(await _until_ready(server_reader))
            meant = False
            while (message := await _message(reader))[:1] != b"X":
                meant = meant or (self.swallows is not None and message[:1] == b"B" and self.swallows in message)
                server_writer.write(message)
                if message[:1] in {b"Q", b"S"}:
                    answer = await _until_ready(server_reader)
                    if meant:
                        self.swallows = None
                        return
                    writer.write(answer)
                    await writer.drain()
        finally:
            await _end(server_writer)


@asynccontextmanager
async def listening(proxy: Pooler | Swallower) -> AsyncGenerator[int]:
    """The port of the proxy, for as long as the block lasts."""
    clients: set[asyncio.Task[None]] = set()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            with suppress(IncompleteReadError, ConnectionError):
                await proxy.serve(reader, writer)
        finally:
            await _end(writer)

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        clients.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for session in proxy.idle if isinstance(proxy, Pooler) else ():
            await _end(session.writer)


async def _end(writer: StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _hello(reader: StreamReader, writer: StreamWriter) -> bytes:
    """The client's first message; it is told that there is no TLS."""
    while True:
        head = await reader.readexactly(8)
        length, code = struct.unpack(">ii", head)
        rest = await reader.readexactly(length - 8)
        if code not in _ASKS_FOR_TLS:
            return head + rest
        writer.write(b"N")


async def _message(reader: StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack(">i", head[1:])[0] - 4)


async def _until_ready(reader: StreamReader) -> bytes:
    answer = b""
    while True:
        message = await _message(reader)
        answer += message
        if message[:1] == b"Z":
            return answer
