"""Names and web pages: under which names a listening server answers, by TCP and by a unix socket, and to which pages of a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from playhead.core.tokens import Scope
from playhead.errors import ServerRefused, UsageError
from playhead.server.app import create_app
from playhead.server.hosts import MAX_KNOWN, Hosts
from playhead.server.serve import serve
from playhead.server.sites import check_site
from tests.server.raw import connected
from tests.server.scripted import RUN, ScriptedApi
from tests.server.serving import serving

OURS = [
    "localhost", "LOCALHOST:1", "localhost.:4317", "a.localhost", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:4317",
    "[::ffff:127.0.0.1]", "playhead.example.com", "PlayHead.Example.Com.:443", "10.1.2.3:4317", "[fd00::2]",
]  # fmt: skip
FOREIGN = [
    "evil.example", "evil.example:4317", "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost", "0.0.0.0", "[::]",
    "10.1.2.4", "[fd00::3]", "playhead.example.com.evil.example", "example.com", "2130706433", "127.1",
]  # fmt: skip
NO_HOST = [
    "",
    "localhost:port",
    "localhost:123456",
    "a b",
    "[::1",
    "user@localhost",
    "http://localhost",
    "localhost/x",
    "é",
    ".",
    "%6c",
]
ALLOWED = ("playhead.example.com", "10.1.2.3", "[fd00::2]")


def refused(*hosts: str) -> ServerRefused | None:
    """What a server with the allowed hosts says to a request with these `Host` headers."""
    scope = {"headers": [(b"host", host.encode("latin-1")) for host in hosts], "server": ("192.0.2.1", 4317)}
    try:
        Hosts(ALLOWED, own="Bound.example").check(scope)
    except ServerRefused as error:
        return error
    return None


@pytest.mark.parametrize("host", OURS)
def test_our_names_are_answered(host: str) -> None:
    assert refused(host) is None


@pytest.mark.parametrize("host", FOREIGN)
def test_any_other_name_is_refused_with_what_to_do(host: str) -> None:
    error = refused(host)
    assert error is not None
    assert (error.status, error.code) == (421, "foreign_host")
    assert "--allowed-host" in str(error.hint)
    assert host not in error.message


@pytest.mark.parametrize(
    "hosts", [(), ("localhost", "localhost"), ("localhost", "evil.example"), *((host,) for host in NO_HOST)]
)
def test_a_request_names_one_host(hosts: tuple[str, ...]) -> None:
    error = refused(*hosts)
    assert error is not None
    assert (error.status, error.code) == (400, "no_host")


@pytest.mark.parametrize(
    "path", ["/api/health", "/openapi.json"]
)  # by the shortcut, and the long way; neither needs a token
async def test_the_server_looks_at_it_whichever_way_a_request_takes(path: str) -> None:
    async with serving(_entered(), allowed_hosts=ALLOWED, require_tokens=True) as url, connected(url) as raw:
        for lines, status in [
            ("host: playhead.example.com\r\n", 200),
            ("host: evil.example\r\n", 421),
            ("", 400),
            ("host: localhost\r\nhost: evil.example\r\n", 400),
            ("host: localhost\r\n", 200),
        ]:
            raw.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
            answer = await raw.answer()
            assert answer.status == status
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_refused_name_reaches_no_route_by_any_method() -> None:
    api = ScriptedApi()
    async with serving(api) as url, aiohttp.ClientSession(headers={"host": "evil.example"}) as session:
        for method, path in [("POST", f"/api/runs/{RUN}/cancel"), ("GET", "/api/events"), ("OPTIONS", "/api/runs")]:
            async with session.request(method, url + path) as response:
                assert response.status == 421
    assert not api.calls


async def test_the_name_that_it_listens_on_is_its_own_and_a_wildcard_is_none() -> None:
    for host, given, status in [
        ("127.0.0.2", "127.0.0.2", 200),
        ("0.0.0.0", "0.0.0.0", 421),
        ("0.0.0.0", "127.0.0.1", 200),
    ]:
        async with (
            serve(create_app(_entered(), require_tokens=True), host, 0) as url,
            aiohttp.ClientSession(url, headers={"host": given}) as session,
            session.get("/api/health") as response,
        ):
            assert response.status == status, (host, given)


def _entered() -> ScriptedApi:
    """Somebody has a token, so that it may be served to others."""
    api = ScriptedApi()
    api.admission.let_in("anna", Scope.ADMIN)
    return api


async def test_through_a_unix_socket_every_name_is_good(tmp_path: Path) -> None:
    async with serving(ScriptedApi(), road="unix", folder=tmp_path) as url, connected(url) as raw:
        raw.send(b"GET /api/info HTTP/1.1\r\nhost: anything at all\r\n\r\n")
        assert (await raw.answer()).status == 200


@pytest.mark.parametrize("name", ["http://x.example", "x.example:80", "", "*", "*.example.com", "a b", "x/y", "-x"])
def test_an_allowed_host_is_a_name_alone(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be an allowed host"):
        Hosts([name])


def test_what_is_remembered_is_bounded() -> None:
    hosts = Hosts()
    for port in range(2 * MAX_KNOWN):
        hosts.check({"headers": [(b"host", b"localhost:%d" % port)], "server": ("127.0.0.1", 1)})
    assert len(hosts._known) == MAX_KNOWN  # pyright: ignore[reportPrivateUsage]  # nothing else shows it


# --- web pages -----------------------------------------------------------------------------------------------------------

HOST = "playhead.example.com"
OUR_PAGES: list[dict[str, str]] = [
    {},
    {"origin": "http://playhead.example.com"},
    {"origin": "https://playhead.example.com"},  # a proxy before us speaks TLS
    {"origin": "HTTP://PLAYHEAD.example.com"},
    {"origin": "http://playhead.example.com:80"},
    {"origin": "http://playhead.example.com", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
]
OTHER_PAGES: list[dict[str, str]] = [
    {"origin": "null"},
    {"origin": ""},
    {"origin": "https://evil.example"},
    {"origin": "http://playhead.example.com:8080"},
    {"origin": "http://playhead.example.com.evil.example"},
    {"origin": "http://sub.playhead.example.com"},
    {"origin": "playhead.example.com"},
    {"origin": "://playhead.example.com"},
    {"origin": "file://"},
    {"origin": "chrome-extension://playhead.example.com"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "what is to come"},
    {"origin": "http://playhead.example.com", "sec-fetch-site": "cross-site"},
]


def asked_by(method: str, headers: dict[str, str]) -> ServerRefused | None:
    given = [(b"host", HOST.encode())] + [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        check_site({"method": method, "headers": given})
    except ServerRefused as error:
        return error
    return None


@pytest.mark.parametrize("headers", OUR_PAGES)
def test_programs_and_pages_from_here_may_change_things(headers: dict[str, str]) -> None:
    assert asked_by("POST", headers) is None


@pytest.mark.parametrize("headers", OTHER_PAGES)
def test_another_sites_page_may_not(headers: dict[str, str]) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "what is to come"):
        error = asked_by(method, headers)
        assert error is not None
        assert (error.status, error.code) == (403, "foreign_origin")
    assert asked_by("GET", headers) is None


async def sent(api: ScriptedApi, method: str, path: str, headers: dict[str, str]) -> int:
    async with (
        serving(api) as url,
        aiohttp.ClientSession(url) as session,
        session.request(method, path, headers=headers) as response,
    ):
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        return response.status


async def test_a_foreign_page_reaches_no_route_whichever_way_its_request_takes() -> None:
    api = ScriptedApi()
    for method, path in [("POST", f"/api/runs/{RUN}/cancel"), ("POST", "/api/nothing"), ("DELETE", "/api/runs")]:
        assert await sent(api, method, path, {"origin": "https://evil.example"}) == 403
    assert not api.calls


async def test_an_origin_is_not_ours_because_both_are_empty() -> None:
    app, answers = create_app(ScriptedApi()), list[Any]()

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    for headers in (
        [(b"origin", b"http://")],
        [(b"origin", b"null"), (b"host", b"")],
        [(b"origin", b""), (b"host", b"")],
    ):
        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/api/runs/{RUN}/cancel",
            "headers": headers,
            "query_string": b"",
        }
        await app(scope, receive, send)
        assert answers[-2]["status"] == 403, headers


async def test_a_browser_is_told_nothing_that_lets_another_page_read() -> None:
    """An answer without CORS headers is kept from the page; so is the answer to the question whether it may ask."""
    page = {"origin": "https://evil.example"}
    assert await sent(ScriptedApi(), "OPTIONS", "/api/runs", {**page, "access-control-request-method": "POST"}) == 403
    for path in ("/api/runs", "/openapi.json", "/api/events"):
        assert await sent(ScriptedApi(), "GET", path, {**page, "sec-fetch-site": "cross-site"}) == 200
