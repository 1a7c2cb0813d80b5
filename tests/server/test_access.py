"""Who may ask what: every route and method of the app, with every scope and every kind of bad token, on both ways through it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp
import orjson
import pytest
from starlette.applications import Starlette

from playhead.client.http import HttpServer
from playhead.core.names import run_stream
from playhead.core.tokens import SECRET_BYTES, Scope, Token
from playhead.errors import Unauthenticated
from playhead.ports.server import ClaimRequest, DiedRequest, TokenRequest
from playhead.server.access import MAY, OPEN
from playhead.server.app import create_app
from playhead.server.openapi import Json, described
from playhead.server.routes.lean import LeanRoute
from playhead.server.streams import StreamLimits
from tests.server.scripted import ScriptedApi, recorded
from tests.server.serving import ONCE, serving
from tests.service.world import World, agent, flow, open_world, run_id

Way = Literal["short", "long"]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

# What each scope is for, by the names of the operations: written down a second time, so that a slip in the table is seen.
LOOKS: Final = {"info", "health", "flows", "flow", "runs", "run_view", "why", "history", "agents", "events"}
ASKS: Final = {"register_flow", "ask_run", "ask_preset", "begin_embedded", "cancel"}
KEEPS: Final = {"join", "agent_beat", "drain", "leave", "claim", "release", "died"}
RUNS: Final = {"start", "heartbeat", "report"}
MENDS: Final = {"reconcile"}
LETS_IN: Final = {"create_token", "tokens", "revoke_token"}
FOR: Final[dict[str, set[str]]] = {
    "viewer": LOOKS,
    "client": LOOKS | ASKS,
    "agent": KEEPS | {"info", "health", "runs", "run_view", "agents", "events"},
    "runner": RUNS | {"health", "history"},
    "admin": LOOKS | ASKS | KEEPS | RUNS | MENDS | LETS_IN,
}

RUN, OTHER_RUN = run_id(1), run_id(2)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        assert self.status >= 400, f"this was let in, and answered with {self.status}"
        return str(orjson.loads(self.body)["error"]["code"])


def token(name: str, fill: int = 1) -> Token:
    return Token(name, bytes([fill]) * SECRET_BYTES)


def runner(run: str, fill: int = 1) -> Token:
    return Token(run, bytes([fill]) * SECRET_BYTES, of_runner=True)


@asynccontextmanager
async def guarded_world(*, required: bool = True) -> AsyncGenerator[tuple[World, Starlette]]:
    """A run in its second epoch, another in its first, and a token of each kind."""
    async with open_world() as world:
        for scope in ("viewer", "client", "agent", "admin", "revoked", "ended"):
            admitted = scope if scope in FOR else "admin"
            asked = {"name": scope, "scope": admitted, "digest": token(scope).digest}
            seconds = 1 if scope == "ended" else 3600
            await world.service.create_token(TokenRequest.model_validate(asked | {"lifetime_seconds": seconds}))
        await world.service.revoke_token("revoked")
        await world.service.register_flow(flow())
        await world.service.join(agent())
        for number, epochs in ((1, 2), (2, 1)):
            await world.ask(number)
            for epoch in range(1, epochs + 1):
                claim = ClaimRequest(agent="otter", claim=f"{epoch:016x}", runner=runner(run_id(number), epoch).digest)
                await world.start(await world.service.claim(run_id(number), claim))
                if epoch < epochs:
                    await world.service.died(run_id(number), DiedRequest(epoch=epoch, signal=9))
        await world.clock.advance(1)
        yield world, create_app(world.service, require_tokens=required)


async def ask(app: Starlette, method: str, path: str, presented: str | None) -> Answer:
    """One request, without a server. Whoever asks for a stream goes away at once."""
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 4317), "headers": [(b"host", b"127.0.0.1")],
    }  # fmt: skip
    if presented is not None:
        scope["headers"].append((b"authorization", presented.encode()))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


def take(way: Way, patch: pytest.MonkeyPatch) -> None:
    if way == "long":
        patch.setattr("playhead.server.shortcut._Table.find", _finds_none)


def _finds_none(_table: object, _scope: object) -> None:
    """As for a request that does not fit."""


def path_of(pattern: str) -> str:
    names = {"{run}": RUN, "{agent}": "otter", "{name}": "census"}
    return re.sub(r"\{\w+\}", lambda found: names[found[0]], pattern)


def lean_routes(app: Starlette) -> list[LeanRoute]:
    return [route for route in app.routes if isinstance(route, LeanRoute)]


def presented() -> dict[str, str | None]:
    mistyped = token("admin").text[:-1] + ("a" if token("admin").text[-1] != "a" else "b")
    return {
        "viewer": f"Bearer {token('viewer').text}",
        "client": f"bearer {token('client').text}",
        "agent": f"Bearer {token('agent').text}",
        "admin": f"Bearer {token('admin').text}",
        "runner": f"Bearer {runner(RUN, 2).text}",
        "nothing": None,
        "revoked": f"Bearer {token('revoked').text}",
        "ended": f"Bearer {token('ended').text}",
        "mistyped": f"Bearer {mistyped}",
        "cut short": f"Bearer {token('admin').text[:-9]}",
        "another's": f"Bearer {token('admin', 9).text}",
        "of nobody": f"Bearer {token('nobody').text}",
        "a word": "Bearer hello",
        "empty": "Bearer ",
        "basic": "Basic YTpi",
        "not ascii": "Bearer playhead_token_\xe9",
        "very long": f"Bearer {token('admin').text}" + "a" * 10_000,
        "of the epoch before": f"Bearer {runner(RUN, 1).text}",
        "of an unknown run": f"Bearer {runner(run_id(3), 1).text}",
        "of another run": f"Bearer {runner(OTHER_RUN, 1).text}",
    }


REFUSED: Final = {
    "nothing": (401, "token_required"),
    "revoked": (401, "token_revoked"),
    "ended": (401, "token_ended"),
    "mistyped": (401, "token_malformed"),
    "cut short": (401, "token_malformed"),
    "another's": (401, "token_unknown"),
    "of nobody": (401, "token_unknown"),
    "a word": (401, "token_malformed"),
    "empty": (401, "token_malformed"),
    "basic": (401, "token_malformed"),
    "not ascii": (401, "token_malformed"),
    "very long": (401, "token_malformed"),
    "of the epoch before": (410, "epoch_over"),
    "of an unknown run": (410, "epoch_over"),
}


def test_every_route_of_the_app_is_in_the_table_and_nothing_else() -> None:
    app = create_app(ScriptedApi())
    routes = {(route.method, route.pattern) for route in lean_routes(app)}
    rest = {(method, route.path) for route in app.routes if route not in lean_routes(app) for method in route.methods}  # type: ignore[attr-defined]  # they are Starlette's own routes
    assert routes == set(MAY)
    assert rest - {("HEAD", "/openapi.json")} <= OPEN
    assert routes | rest >= OPEN
    assert set(FOR) == {scope.value for scope in Scope}
    assert set().union(*FOR.values()) == {route.name for route in lean_routes(app)}


@pytest.mark.parametrize("way", ["short", "long"])
async def test_every_route_method_and_token(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    take(way, monkeypatch)
    wrong: list[object] = []
    async with guarded_world() as (_, app):
        routes = {(route.method, route.pattern): route.name for route in lean_routes(app)}
        for name in ("embedded", "preset"):
            routes["GET", f"/api/runs/{name}"] = "run_view"  # of a run that is not there
        for pattern in sorted({pattern for _, pattern in routes}):
            for method in METHODS:
                for kind, header in presented().items():
                    answer = await ask(app, method, path_of(pattern), header)
                    if not as_expected(answer, kind, routes.get((method, pattern)), pattern):
                        wrong.append((method, pattern, kind, answer.status, answer.body))
    assert wrong == []


def as_expected(answer: Answer, kind: str, operation: str | None, pattern: str) -> bool:
    """Refused as a whole, refused for this, or let through to whatever the request itself deserves."""
    if kind == "nothing" and operation == "health":
        return answer.status == 200
    if kind in REFUSED:
        return (answer.status, answer.code) == REFUSED[kind] and challenged(answer)
    if operation is None:
        return answer.status == 405
    scope = "runner" if kind == "of another run" else kind
    if operation in FOR[scope] and not (kind == "of another run" and "{run}" in pattern):
        unknown = "{name}" in pattern or pattern.endswith(("/embedded", "/preset"))
        return answer.status not in (401, 403, 405, 410) and (answer.status != 404 or unknown)
    return (answer.status, answer.code) == (403, "forbidden") and "insufficient_scope" in answer.headers[
        "www-authenticate"
    ]


def challenged(answer: Answer) -> bool:
    """RFC 6750: no error is named where nothing was presented."""
    if answer.status != 401:
        return "www-authenticate" not in answer.headers
    challenge = answer.headers["www-authenticate"]
    return challenge.startswith('Bearer realm="playhead"') and ("error=" in challenge) is (
        answer.code != "token_required"
    )


@pytest.mark.parametrize("way", ["short", "long"])
async def test_where_no_token_is_required_one_that_comes_is_checked_all_the_same(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(way, monkeypatch)
    async with guarded_world(required=False) as (_, app):
        for route in lean_routes(app):
            path = path_of(route.pattern)
            assert (await ask(app, route.method, path, None)).status not in (401, 403, 410), path
            for kind, expected in REFUSED.items():
                if kind != "nothing":
                    answer = await ask(app, route.method, path, presented()[kind])
                    assert (answer.status, answer.code) == expected, (path, kind)
            if route.name not in FOR["viewer"]:
                assert (await ask(app, route.method, path, presented()["viewer"])).status == 403, path


async def test_an_unknown_path_tells_nothing_to_whoever_has_no_token() -> None:
    async with guarded_world() as (_, app):
        for path in (
            "/",
            "/api",
            "/api/nothing",
            "/api/runs/x/y/z",
            "/docs",
            "//api/info",
            "/API/info",
            "/api/health/",
        ):
            assert (await ask(app, "GET", path, None)).code == "token_required", path
        assert (await ask(app, "GET", "/openapi.json", None)).status == 200


async def test_a_refusal_shows_no_token_and_no_part_of_one() -> None:
    async with guarded_world() as (_, app):
        for header in presented().values():
            answer = await ask(app, "GET", "/api/tokens", header)
            for word in (header or "").split()[1:]:
                assert word[-20:] not in answer.body.decode() or len(word) < 20
                assert word[-20:] not in str(answer.headers) or len(word) < 20


async def test_a_body_is_not_read_before_its_sender_is_known() -> None:
    async with guarded_world() as (_, app):
        scope = {
            "type": "http", "method": "POST", "path": "/api/runs", "root_path": "", "query_string": b"",
            "headers": [(b"content-length", b"1000000")],
        }  # fmt: skip

        async def receive() -> Any:
            raise AssertionError("the body was asked for")

        statuses: list[int] = []

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        await app(scope, receive, send)
        assert statuses[0] == 401


# --- streams ------------------------------------------------------------------------------------------------------------


QUICK_BEATS: Final = StreamLimits(heartbeat_seconds=0.01)


@pytest.mark.parametrize("idle", [True, False])
async def test_a_stream_ends_with_the_reason_when_its_token_counts_no_more(idle: bool) -> None:
    """Within a heartbeat where nothing happens; and no page is handed out in between."""
    api = ScriptedApi()
    header = {"authorization": f"Bearer {api.admission.let_in('anna', Scope.VIEWER).text}"}
    limits = QUICK_BEATS if idle else StreamLimits(heartbeat_seconds=3600)
    async with serving(api, limits=limits) as url, aiohttp.ClientSession(url, headers=header) as session:
        async with session.get("/api/events") as response:
            await response.content.readuntil(b": open\n\n")
            api.admission.scopes.clear()
            if not idle:
                await api.add(recorded(1))
            said = b"".join([chunk async for chunk in response.content.iter_any()])
        assert b"event: error" in said
        assert b"token_unknown" in said
        assert b"run.ready" not in said
        async with session.get("/api/events") as response:
            assert response.status == 401


async def test_a_revoked_token_ends_the_stream_of_its_client() -> None:
    async with (
        guarded_world() as (world, _),
        serving(world.service, limits=QUICK_BEATS) as url,
        HttpServer(url, patience=ONCE, token=token("viewer")) as http,
    ):
        reached = asyncio.Event()

        async def follow() -> None:
            async with http.events() as pages:
                async for page in pages:
                    if any(event.stream == run_stream(OTHER_RUN) for event in page.events):
                        reached.set()

        following = asyncio.create_task(follow())
        await reached.wait()
        await world.service.revoke_token("viewer")
        with pytest.raises(Unauthenticated, match="'viewer' was revoked"):
            await following


def test_the_description_tells_of_tokens() -> None:
    document: Json = described(lean_routes(create_app(ScriptedApi())))
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if (method.upper(), path) in OPEN:
                assert operation["security"] == [{}]
            else:
                (security,) = operation["security"]
                assert {Scope(word) for word in security["bearer"]} == MAY[method.upper(), path]
