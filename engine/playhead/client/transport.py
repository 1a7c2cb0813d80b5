"""Requests to one server: one session with its connections, a bounded number of tries, and errors by their class.

Knows no method of the port. Whatever goes wrong below HTTP is `ServerUnreachable`, with the address and what to do.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, cast
from urllib.parse import urlsplit

import aiohttp
import orjson
from yarl import URL

from playhead.client.patience import Patience
from playhead.credentials import Credential
from playhead.errors import (
    LogUnusable,
    OutcomeUnknown,
    PlayheadError,
    ServerError,
    ServerRefused,
    ServerUnreachable,
    Unauthenticated,
    UsageError,
)
from playhead.wire import error_from_wire

log = logging.getLogger("playhead.client")

Query = Sequence[tuple[str, str]]

MAX_CONNECTIONS: Final = 100  # to one server from one process
IDLE_SECONDS: Final = 30.0  # a connection is kept; the server keeps it longer
READ_BYTES: Final = 256 * 1024  # buffered of one answer before the server is made to wait
MAX_PIECE_BYTES: Final = 64 * 1024 * 1024  # of a stream: a page of 1,000 events with 60 KB each
LARGE_BODY_BYTES: Final = 256 * 1024
NOT_NOW: Final = frozenset({429, 503})  # with Retry-After
MAX_TOLD_SECONDS: Final = 60.0  # of waiting because a server said so: who asks for more is asked too early once
GATEWAY: Final = frozenset({502, 503, 504})  # a proxy's word that nobody is behind it now


class Transport:
    """`credential` goes along with every request; None: with none."""

    def __init__(self, url: str, patience: Patience, credential: Credential | None = None) -> None:
        self.url = url
        self.patience = patience
        self._credential = credential
        self._headers = _headers(credential)
        base, self._socket = _address(url)
        self._root = f"{URL(base)}/api"  # quoted once, here: to have it done for each request took a fifth of its time
        self._limits = aiohttp.ClientTimeout(total=patience.request_seconds, sock_connect=patience.connect_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        assert self._session is None, "opened twice"
        if self._socket is not None:
            connector: aiohttp.BaseConnector = aiohttp.UnixConnector(
                self._socket, limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS
            )
        else:
            connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=READ_BYTES, headers=_NAMELESS
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(self, method: str, path: str, *, query: Query = (), body: bytes | None = None) -> bytes:
        """The body of a good answer. Asks again where the fate of a request is not known, and where the server's log cannot be used: the
        next of several servers may be able to. Raises what the server refused with."""
        failures = 0
        while True:
            presented = self.presented
            try:
                return await self._ask_once(method, path, query, body)
            except Unauthenticated:
                if not await self.renewed(presented):
                    raise
                continue
            except (ServerUnreachable, LogUnusable, OutcomeUnknown) as error:
                failures += 1
                if failures >= self.patience.tries:
                    raise
                pause = self.pause_after(error, failures)
            await asyncio.sleep(pause)

    def pause_after(self, error: PlayheadError | None, failures: int) -> float:
        """Seconds to wait after so many failures in a row, of which this was the last: as long as the server asked for, and more."""
        return self.patience.delay(failures) + (error.seconds if isinstance(error, ToldToWait) else 0.0)

    @property
    def presented(self) -> str | None:
        """By which header the next request says who asks."""
        return None if self._credential is None else self._credential.header

    async def renewed(self, refused: str | None) -> bool:
        """Whether there is another token by now than the one that was refused. Then it is worth asking again."""
        if self._credential is not None and self.presented == refused:
            try:
                await asyncio.to_thread(self._credential.renew)
            except PlayheadError as error:
                log.warning("%s", error.message)
            self._headers = _headers(self._credential)
        return self.presented != refused

    async def _ask_once(self, method: str, path: str, query: Query, body: bytes | None) -> bytes:
        try:
            async with self._request(method, path, query, body, self._limits) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise self._unreachable(error) from error
        if response.status >= 300:
            raise self._refusal(response, answer)
        return answer

    @asynccontextmanager
    async def stream(self, path: str, *, query: Query = ()) -> AsyncGenerator[AsyncIterator[bytes]]:
        """One try at an answer that is read as it comes, in chunks. Its silence counts, not its length."""
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self.patience.connect_seconds, sock_read=self.patience.silence_seconds
        )
        try:
            async with self._request("GET", path, query, None, limits) as response:
                if response.status >= 300:
                    raise self._refusal(response, await response.read())
                yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise self._unreachable(error) from error

    def _request(
        self, method: str, path: str, query: Query, body: bytes | None, limits: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            raise UsageError("this connection to a server is not open", hint="use it inside `async with`")
        return self._session.request(
            method,
            URL(self._root + path, encoded=True),
            params=query or None,
            data=_payload(body),
            headers=self._headers[body is not None and len(body) > 0],
            timeout=limits,
            allow_redirects=False,
        )

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return ServerUnreachable(
                f"the server at {self.url} has a certificate that is not trusted here: {error.certificate_error}",
                hint="if it is from an authority of your own, set SSL_CERT_FILE to a file with the authority's certificate",
            )
        return ServerUnreachable(f"the server at {self.url} cannot be reached: {_reason(error)}", hint=_HINT)

    def _refusal(self, response: aiohttp.ClientResponse, answer: bytes) -> PlayheadError:
        """What a bad answer says; ServerUnreachable where a proxy says that nobody is behind it, or the server that it cannot now."""
        status = response.status
        error = error_of(answer, status=status)
        seconds = _told_seconds(response.headers.get("retry-after", "")) if status in NOT_NOW else None
        if seconds is not None:
            said = error.message if error is not None else f"HTTP {status}"
            hint = error.hint if error is not None else None
            return ToldToWait(f"the server at {self.url} does not answer this now: {said}", seconds=seconds, hint=hint)
        if error is not None:
            return error
        if status in GATEWAY:
            return ServerUnreachable(f"the server behind {self.url} cannot be reached: HTTP {status}", hint=_HINT)
        return ServerRefused(
            f"what listens at {self.url} does not answer as a Playhead server does: HTTP {status}",
            code="not_playhead",
            status=status,
            hint="check the address: --server or PLAYHEAD_SERVER",
        )


class ToldToWait(ServerUnreachable):
    """The server has said in how many seconds it may answer this."""

    def __init__(self, message: str, *, seconds: float, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


def _told_seconds(value: str) -> float | None:
    """What a `Retry-After` asks for, as far as we obey it. Its other form, a date, is no server's of ours."""
    return min(float(value), MAX_TOLD_SECONDS) if value.isascii() and value.isdigit() else None


def error_of(answer: bytes, *, status: int) -> PlayheadError | None:
    """The error that a body carries, if it carries one of ours."""
    try:
        body: object = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
    carried: object = cast("dict[str, object]", body).get("error") if isinstance(body, dict) else None
    return error_from_wire(cast("dict[str, object]", carried), status=status) if isinstance(carried, dict) else None


def _reason(error: Exception) -> str:
    """In the system's words where it has some: aiohttp's own speak of its settings."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    return str(cause) or type(cause).__name__


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body is written in pieces, so that the loop is not held up by all of it at once."""
    return io.BytesIO(body) if body and len(body) > LARGE_BODY_BYTES else body or None


class Splitter:
    """Cuts a stream into the pieces that stand before each separator. `rest` is what follows the last one."""

    def __init__(self, separator: bytes) -> None:
        self._separator = separator
        self._buffer = bytearray()
        self._searched = 0

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The pieces that the chunk completes. Raises ServerError where one has grown beyond any page."""
        pieces: list[bytes] = []
        buffer, separator = self._buffer, self._separator
        buffer += chunk
        while (end := buffer.find(separator, self._searched)) >= 0:
            pieces.append(bytes(buffer[:end]))
            del buffer[: end + len(separator)]
            self._searched = 0
        self._searched = max(0, len(buffer) - len(separator) + 1)
        if len(buffer) > MAX_PIECE_BYTES:
            raise ServerError(
                f"the server sent a single message of more than {MAX_PIECE_BYTES} bytes",
                hint="check that the address is that of a Playhead server",
            )
        return pieces


def _address(url: str) -> tuple[str, str | None]:
    """The base of every request's URL, and the socket's path where it is a unix socket."""
    try:
        parts = urlsplit(url)
        well_formed = parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:
        raise _bad_address(url) from None
    if parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1:
        return "http://localhost", parts.path
    if parts.scheme in ("http", "https") and parts.hostname and well_formed:
        return url.rstrip("/"), None
    raise _bad_address(url)


def _bad_address(url: str) -> UsageError:
    return UsageError(
        f"{url!r} is not the address of a server", hint="write http://HOST:PORT, https://HOST, or unix:///PATH"
    )


def _headers(credential: Credential | None) -> tuple[dict[str, str] | None, dict[str, str]]:
    """Those of a request without a body, and with one. Made once for all requests."""
    who = {} if credential is None else {"authorization": credential.header}
    return who or None, {**who, "content-type": "application/json"}


_NAMELESS: Final = {"user-agent": "playhead"}  # in place of the library's, which tells Python's version
_HINT: Final = "start one with `playhead up`, or name another with --server or PLAYHEAD_SERVER"
