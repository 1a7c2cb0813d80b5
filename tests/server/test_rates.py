"""Who is a client, and how often it may ask: by numbers, through a server, and obeyed by our own client."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from playhead.client.http import HttpServer
from playhead.client.transport import ToldToWait
from playhead.errors import ServerUnreachable
from playhead.server.answers import ComeBack
from playhead.server.clients import client_of
from playhead.server.rates import MAX_BUCKETS, RateLimits, Rates
from playhead.server.serve import ServeLimits
from tests.server.raw import connected
from tests.server.scripted import ScriptedApi
from tests.server.serving import ONCE, QUICK, as_if_elsewhere, serving

GET = b"GET /api/info HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Hand:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (None, None),
        (("127.0.0.1", 1), None),
        (("127.9.9.9", 1), None),
        (("::1", 1), None),
        (("::ffff:127.0.0.1", 1), None),
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
    ],
)
def test_a_client_is_an_address_elsewhere(peer: Any, client: str | None) -> None:
    assert client_of({"client": peer, "headers": []}) == client
    with_token = client_of({"client": peer, "headers": [(b"authorization", b"Bearer x")]})
    assert with_token == client if client else with_token is not None


def test_behind_a_proxy_on_this_machine_it_is_a_token() -> None:
    known = [
        client_of({"client": ("127.0.0.1", 1), "headers": [(b"host", b"x"), (b"authorization", token)]})
        for token in (b"Bearer a", b"Bearer b", b"Bearer a")
    ]
    assert known[0] == known[2] != known[1]
    assert b"Bearer" not in repr(known).encode()


def test_a_bucket_gives_its_burst_and_then_fills_steadily() -> None:
    clock = Hand()
    buckets = Rates(RateLimits(per_second=10, burst=5), clock)
    for _ in range(5):
        buckets.take("a")
    with pytest.raises(ComeBack) as raised:
        buckets.take("a")
    assert (raised.value.status, raised.value.code, raised.value.seconds) == (429, "too_many_requests", 1)
    buckets.take("b")  # another client is not kept waiting
    clock.now += 0.25
    buckets.take("a")
    buckets.take("a")
    with pytest.raises(ComeBack):
        buckets.take("a")
    clock.now += 1_000
    for _ in range(5):  # and no more than full
        buckets.take("a")
    with pytest.raises(ComeBack):
        buckets.take("a")


def test_a_whole_burst_is_taken_at_any_moment() -> None:
    """A sum that passes a power of two is rounded, and may be further from where it began than what was added."""
    clock = Hand()
    for tenth in range(100):
        clock.now = 2**16 - 10 + tenth / 10
        Rates(RateLimits(per_second=0.001, burst=1), clock).take("a")


def test_the_seconds_are_those_after_which_it_is_answered() -> None:
    clock = Hand()
    buckets = Rates(RateLimits(per_second=0.25, burst=1), clock)
    buckets.take("a")
    with pytest.raises(ComeBack) as raised:
        buckets.take("a")
    assert raised.value.seconds == 4
    clock.now += 4
    buckets.take("a")


def test_buckets_are_bounded() -> None:
    buckets = Rates(RateLimits(), Hand())
    for client in range(MAX_BUCKETS + 10):
        buckets.take(client)
    assert len(buckets) == MAX_BUCKETS


@pytest.fixture
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_elsewhere(monkeypatch)


@pytest.mark.usefixtures("_elsewhere")
@pytest.mark.parametrize("path", ["/api/info", "/openapi.json"])  # by the shortcut, and the long way
async def test_a_request_too_many_is_told_when_to_come_back(path: str) -> None:
    api = ScriptedApi()
    bears = ServeLimits(rates=RateLimits(per_second=1 / 7, burst=2))
    async with serving(api, bears=bears) as url, connected(url) as raw:
        for _ in range(2):
            raw.send(GET)
            assert (await raw.answer()).status == 200
        raw.send(GET.replace(b"/api/info", path.encode()))
        answer = await raw.answer()
    assert answer.status == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 7
    error = orjson.loads(answer.body)["error"]
    assert (error["code"], error["type"]) == ("too_many_requests", "ServerRefused")
    assert "Retry-After" in error["hint"]
    assert len(api.calls) == 2


async def test_who_is_on_this_machine_may_ask_as_often_as_it_can() -> None:
    bears = ServeLimits(rates=RateLimits(per_second=0.001, burst=1))
    async with serving(ScriptedApi(), bears=bears) as url, HttpServer(url, patience=ONCE) as http:
        for _ in range(20):
            await http.info()


@pytest.mark.usefixtures("_elsewhere")
async def test_our_client_waits_as_long_as_it_was_told() -> None:
    bears = ServeLimits(rates=RateLimits(per_second=2, burst=1))
    async with serving(ScriptedApi(), bears=bears) as url, HttpServer(url, patience=QUICK) as http:
        await http.info()
        began = time.monotonic()
        await http.info()
        assert time.monotonic() - began >= 1.0


@pytest.mark.usefixtures("_elsewhere")
async def test_to_who_does_not_ask_again_the_server_is_away() -> None:
    bears = ServeLimits(rates=RateLimits(per_second=0.001, burst=1))
    async with serving(ScriptedApi(), bears=bears) as url, HttpServer(url, patience=ONCE) as http:
        await http.info()
        with pytest.raises(ServerUnreachable, match="requests a second") as raised:
            await http.info()
        assert isinstance(raised.value, ToldToWait)
        assert raised.value.seconds == 60  # of the thousand that the server asks for
