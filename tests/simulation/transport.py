"""The client's transport on the simulated network. Owns what aiohttp does elsewhere; retries, errors and streams above it are the real
client's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import aiohttp
import pytest

from playhead.client import http
from playhead.client.patience import Patience
from playhead.client.transport import Query, Transport
from tests.simulation.network import GIVE_UP_SECONDS, SILENCE_SECONDS, Connection, Network
from tests.simulation.server import Head, Request

GOOD = range(200, 300)  # statuses


def over(network: Network, patch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection to a server from now on has it over this network."""

    class SimulatedTransport(Transport):
        async def open(self) -> None:
            """There is no session to open."""

        async def close(self) -> None:
            """And none to close."""

        async def _ask_once(self, method: str, path: str, query: Query, body: bytes | None) -> bytes:
            answer = await asyncio.wrap_future(network.ask(Request(method, path, tuple(query), body)))
            if answer.status not in GOOD:
                raise self._refusal(_as_response(answer.head), answer.body)
            return answer.body

        @asynccontextmanager
        async def stream(self, path: str, *, query: Query = ()) -> AsyncGenerator[AsyncIterator[bytes]]:
            connection = network.connect(Request("GET", path, tuple(query)))
            try:
                head = await connection.next()
                assert isinstance(head, Head), "an answer has a beginning"
                if head.status not in GOOD:
                    body = b"".join([chunk async for chunk in _chunks(connection)])
                    raise self._refusal(_as_response(head), body)
                yield _chunks(connection)
            finally:
                connection.close()

    patient = partial(Patience, request_seconds=GIVE_UP_SECONDS, silence_seconds=SILENCE_SECONDS, most_delay=2.0)
    patch.setattr(http, "Transport", SimulatedTransport)
    patch.setattr(http, "Patience", patient)


def _as_response(head: Head) -> aiohttp.ClientResponse:
    """What a refusal is read from: status and headers."""
    return cast("aiohttp.ClientResponse", head)


async def _chunks(connection: Connection) -> AsyncIterator[bytes]:
    while (chunk := await connection.next()) is not None:
        assert isinstance(chunk, bytes), "an answer begins once"
        yield chunk
