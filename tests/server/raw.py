"""HTTP by hand, over a socket: for requests that no client library would send, and answers as they come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

LIMIT_SECONDS: Final = 30.0  # for an answer that comes at all
SMALL_BUFFER: Final = 65_536


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def pause(self) -> None:
        """Read nothing any more."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    async def drain(self) -> None:
        await self._writer.drain()

    async def answer(self, within_seconds: float = LIMIT_SECONDS) -> Answer:
        """The next answer, whole; of one without a length, its head. ConnectionError where the server ended instead."""
        async with asyncio.timeout(within_seconds):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").rstrip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            except asyncio.IncompleteReadError as error:
                raise ConnectionError(f"ended after {error.partial[:80]!r}") from error
        return Answer(int(first.split()[1]), headers, body)

    async def ended(self, within_seconds: float = LIMIT_SECONDS) -> bytes:
        """What still comes until the server ends the connection, however it does that."""
        rest = b""
        async with asyncio.timeout(within_seconds):
            try:
                while chunk := await self.reader.read(65_536):
                    rest += chunk
            except ConnectionError:
                pass
        return rest


@asynccontextmanager
async def connected(url: str, *, small: bool = False) -> AsyncGenerator[Raw]:
    """A connection to the server at `url`. `small`: the kernel keeps little of what nobody reads here."""
    parts = urlsplit(url)
    family = socket.AF_UNIX if parts.scheme == "unix" else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    if small:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    connection.setblocking(False)
    where = parts.path if family == socket.AF_UNIX else (parts.hostname, parts.port)
    await asyncio.get_running_loop().sock_connect(connection, where)
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
