"""Requests to a server that is away, flaky, somebody else's, or slow: what is asked again, how often, and what is said."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.client.http import HttpServer
from playhead.client.patience import Patience
from playhead.client.transport import Splitter
from playhead.errors import (
    LogError,
    LogUnusable,
    OutcomeUnknown,
    ServerError,
    ServerRefused,
    ServerUnreachable,
    UsageError,
)
from playhead.ports.server import HeartbeatRequest, ReportRequest
from playhead.wire import error_to_wire
from tests.server.scripted import HEX, RUN, ScriptedApi
from tests.server.serving import ONCE, QUICK, serving


@asynccontextmanager
async def answering(*answers: bytes | None) -> AsyncGenerator[tuple[str, Callable[[], int]]]:
    """A server of raw answers, one for each connection (None: it hangs up), the last one again and again; and their number."""
    accepted = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        answer = answers[min(accepted, len(answers) - 1)]
        accepted += 1
        await reader.readuntil(b"\r\n\r\n")
        if answer is not None:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}", lambda: accepted


def response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


INFO = b'{"version":"1","log_id":"l","position":0,"cursor":"0","now":1,"lease_seconds":15.0}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "127.0.0.1:80", "ftp://x", "http://", "http://x:port", "http://x:99999", "http://x?a=b", "unix:",
     "unix://", "unix:///", "unix://host/path", "http://[::1", "sqlite:///x.db"],
)  # fmt: skip
def test_an_address_of_another_form_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a server") as raised:
        HttpServer(url)
    assert "unix://" in (raised.value.hint or "")


async def test_no_server_is_named_with_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with HttpServer(url, patience=QUICK) as http:
        with pytest.raises(ServerUnreachable, match=url) as raised:
            await http.info()
    assert "playhead up" in (raised.value.hint or "")


async def test_no_socket_is_named_too(tmp_path: Path) -> None:
    async with HttpServer(f"unix://{tmp_path}/none", patience=QUICK) as http:
        with pytest.raises(ServerUnreachable, match="none"):
            await http.info()
        with pytest.raises(ServerUnreachable, match="none"):
            await anext(http.history(RUN))


async def test_a_request_whose_fate_is_unknown_is_asked_again() -> None:
    async with answering(None, None, response(200, INFO)) as (url, asked), HttpServer(url, patience=QUICK) as http:
        assert (await http.info()).log_id == "l"
        assert asked() == 3


async def test_it_is_asked_a_bounded_number_of_times() -> None:
    async with answering(None) as (url, asked), HttpServer(url, patience=QUICK) as http:
        with pytest.raises(ServerUnreachable):
            await http.heartbeat(RUN, HeartbeatRequest(epoch=1, grant=HEX))
        assert asked() == QUICK.tries
        with pytest.raises(ServerUnreachable):
            await anext(http.history(RUN))
        assert asked() <= 3 * QUICK.tries  # aiohttp repeats a GET once by itself


async def test_commands_are_asked_again_too() -> None:
    beat = response(200, b'{"lease_seconds":15.0,"cancelling":false}')
    async with answering(None, beat) as (url, asked), HttpServer(url, patience=QUICK) as http:
        assert not (await http.heartbeat(RUN, HeartbeatRequest(epoch=1, grant=HEX))).cancelling
        assert asked() == 2


@pytest.mark.parametrize("error", [LogUnusable("the database is away"), OutcomeUnknown("the connection was lost")])
async def test_a_server_whose_log_is_away_is_asked_again_as_one_that_is_away(error: LogError) -> None:
    """Behind a balancer it may be another that answers next: a runner that begins must not end by that."""
    away = response(503, orjson.dumps({"error": error_to_wire(error)}))
    async with answering(away, away, response(200, INFO)) as (url, asked), HttpServer(url, patience=QUICK) as http:
        assert (await http.info()).log_id == "l"
        assert asked() == 3
    async with answering(away) as (url, asked), HttpServer(url, patience=QUICK) as http:
        with pytest.raises(type(error), match=error.message):
            await http.info()
        assert asked() == QUICK.tries


async def test_a_server_that_never_answers_is_unreachable() -> None:
    api = ScriptedApi()
    api.info = asyncio.Event().wait  # type: ignore[assignment,method-assign]  # waits for ever
    async with serving(api) as url, HttpServer(url, patience=Patience(tries=1, request_seconds=0.01)) as http:
        with pytest.raises(ServerUnreachable, match="TimeoutError"):
            await http.info()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_without_a_server_is_asked_again(status: int) -> None:
    gateway = response(status, b"<html>bad gateway</html>")
    async with answering(gateway, response(200, INFO)) as (url, asked), HttpServer(url, patience=QUICK) as http:
        assert (await http.info()).log_id == "l"
        assert asked() == 2
    async with answering(gateway) as (url, _), HttpServer(url, patience=ONCE) as http:
        with pytest.raises(ServerUnreachable, match=str(status)):
            await http.info()


@pytest.mark.parametrize(
    "answer", [response(404, b"<html>"), response(301, b""), response(500, b"[1]"), response(400, b"{}")]
)
async def test_what_is_not_playhead_is_refused_once(answer: bytes) -> None:
    async with answering(answer) as (url, asked), HttpServer(url, patience=QUICK) as http:
        with pytest.raises(ServerRefused, match="does not answer as a Playhead server") as raised:
            await http.info()
        assert raised.value.code == "not_playhead"
        assert asked() == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b"[{}]", b'{"version":1}'])
async def test_a_good_status_with_a_strange_body_is_an_error(body: bytes) -> None:
    async with answering(response(200, body)) as (url, _), HttpServer(url, patience=QUICK) as http:
        for ask in (http.info, http.flows, http.agents):
            with pytest.raises(ServerError, match="not the"):
                await ask()


@pytest.mark.parametrize("body", [b"<html>", b"{}\n", b"<html>\n", b'{"position":1}', b"[]\n"])
async def test_a_strange_history_is_an_error(body: bytes) -> None:
    async with answering(response(200, body)) as (url, _), HttpServer(url, patience=QUICK) as http:
        with pytest.raises(ServerError, match=r"not an event|not the history"):
            await anext(http.history(RUN))


async def test_a_large_body_is_sent_whole() -> None:
    big = ReportRequest(
        epoch=1, grant=HEX, origin=1, first_seq=0,
        events=tuple(("task.submitted", 1, {"at": 1, "key": "k", "name": "n", "after": ["x" * 500] * 10}) for _ in range(500)),
    )  # fmt: skip
    api = ScriptedApi()
    async with serving(api) as url, HttpServer(url, patience=QUICK) as http:
        await http.report(RUN, big)
    assert api.calls == [("report", (RUN, big))]


async def test_concurrent_requests_share_few_connections() -> None:
    api = ScriptedApi()
    async with serving(api) as url, HttpServer(url, patience=ONCE) as http:
        answers = await asyncio.gather(*(http.flow(f"flow-{i}") for i in range(500)))
    assert len(answers) == len(api.calls) == 500


def test_delays_grow_to_a_limit_and_are_random() -> None:
    patience = Patience(first_delay=0.1, most_delay=5.0)
    for failures, full in [(1, 0.1), (2, 0.2), (5, 1.6), (7, 5.0), (10_000, 5.0)]:
        delays = [patience.delay(failures) for _ in range(500)]
        assert 0 <= min(delays) < full / 4, "the whole of it is chance"
        assert full * 3 / 4 < max(delays) <= full


@given(st.binary(max_size=60), st.sampled_from([b"\n", b"\n\n"]), st.lists(st.integers(1, 7)))
def test_a_stream_is_cut_the_same_however_it_comes(text: bytes, separator: bytes, sizes: list[int]) -> None:
    text = text.replace(b"a", b"\n")
    splitter, rest = Splitter(separator), text
    pieces: list[bytes] = []
    for size in [*sizes, len(text) + 1]:
        pieces += splitter.feed(rest[:size])
        rest = rest[size:]
    assert pieces == text.split(separator)[:-1]
