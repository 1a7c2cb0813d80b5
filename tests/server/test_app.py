"""The app by itself, through raw HTTP: what is described, what is refused and how, and that no input is echoed."""

from __future__ import annotations

import asyncio
import errno
import inspect
import io
import logging
import re
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from playhead import errors as e
from playhead.errors import PlayheadError
from playhead.ports import server as port
from playhead.ports.access import Guarded
from playhead.ports.store import Recorded
from playhead.server import boundary
from playhead.server.answers import STATUS, status_of
from playhead.server.app import create_app
from playhead.server.boundary import MAX_BODY_BYTES
from playhead.wire import ERROR_TYPES
from tests.server.scripted import HEX, RUN, ScriptedApi, recorded
from tests.server.serving import serving

CANARY = "CANARYword"
HEARTBEAT = orjson.dumps({"epoch": 1, "grant": HEX})

BAD_BODIES: list[tuple[str, Any]] = [
    ("/api/runs", {"run": CANARY, "flow": CANARY + "!", "seal": CANARY}),
    ("/api/runs", {CANARY: 1}),
    ("/api/runs", [CANARY]),
    ("/api/runs", CANARY),
    (f"/api/runs/{RUN}/report", {"epoch": CANARY, "grant": CANARY, "origin": 1, "first_seq": 0, "events": [[CANARY]]}),
    (f"/api/runs/{RUN}/report", {"epoch": 1, "grant": HEX, "origin": 1, "first_seq": 0, "events": []}),
    (f"/api/runs/{RUN}/heartbeat", {"epoch": 1, "grant": HEX, CANARY: {CANARY: CANARY}}),
    (f"/api/runs/{RUN}/start", {"epoch": 1, "grant": HEX, "storage": HEX, "python": CANARY, "key_scheme": 1}),
    (f"/api/runs/{RUN}/release", {"claim": HEX, "epoch": 1, "reason": CANARY}),
    (f"/api/runs/{RUN}/report", {"epoch": 1, "grant": HEX, "origin": 1, "first_seq": -1, "events": [["t", 1, {}]]}),
    (f"/api/runs/{RUN}/heartbeat", {"epoch": True, "grant": HEX}),
    (f"/api/runs/{RUN}/heartbeat", {"epoch": "1", "grant": HEX}),
    (f"/api/runs/{RUN}/heartbeat", {"epoch": 1.5, "grant": HEX}),
    (f"/api/runs/{RUN}/heartbeat", {"epoch": 0, "grant": HEX}),
    (f"/api/runs/{RUN}/heartbeat", {"epoch": 10**18, "grant": HEX}),
    ("/api/agents", {"joined": {"agent": CANARY + "/", "labels": {CANARY: 1}}}),
    ("/api/flows", {"flow": "f", "schedule": {CANARY: CANARY}}),
]
BAD_QUERIES = [
    f"/api/runs?state={CANARY}",
    f"/api/runs?flow={CANARY}%20x",
    f"/api/runs?prefix={CANARY}",
    "/api/runs?limit=0",
    f"/api/runs?limit={port.MAX_PAGE + 1}",
    f"/api/runs?page={'p' * 300}",
    f"/api/runs/{RUN}?at={CANARY}",
    f"/api/runs/{RUN}?tasks={CANARY}",
    f"/api/runs/{RUN}/history?after_version=-1",
    f"/api/flows?after={CANARY}",
    f"/api/events?cursor={CANARY * 100}",
]


@asynccontextmanager
async def raw(api: Guarded) -> AsyncGenerator[aiohttp.ClientSession]:
    async with serving(api) as url, aiohttp.ClientSession(url) as session:
        yield session


async def error_in(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/json"
    body = orjson.loads(await response.read())
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "code", "message", "hint", "fields"}
    return dict(body["error"])


async def test_openapi_describes_every_method_of_the_port_and_its_errors() -> None:
    async with raw(ScriptedApi()) as session, session.get("/openapi.json") as response:
        described = orjson.loads(await response.read())
    operations = [(path, operation) for path, methods in described["paths"].items() for operation in methods.values()]
    methods = {name for name, _ in inspect.getmembers(port.ServerApi, inspect.isfunction) if not name.startswith("_")}
    named = {operation["operationId"] for _, operation in operations}
    assert {name.removesuffix("_view") for name in named} == methods | {"health"}
    assert all(path.startswith("/api/") for path, _ in operations)
    error = {"$ref": "#/components/schemas/ErrorAnswer"}
    for _, operation in operations:
        assert operation["responses"]["default"]["content"]["application/json"]["schema"] == error
    report = described["paths"]["/api/runs/{run}/report"]["post"]
    assert report["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/ReportRequest")
    assert [(p["name"], p["in"]) for p in report["parameters"]] == [("run", "path")]
    following = described["paths"]["/api/events"]["get"]
    wanted = [("cursor", "query"), ("stream", "query"), ("type", "query"), ("last-event-id", "header")]
    assert [(p["name"], p["in"]) for p in following["parameters"]] == wanted
    assert list(following["responses"]["200"]["content"]) == ["text/event-stream"]
    named_schemas = set(re.findall(r'"#/components/schemas/([^"]+)"', orjson.dumps(described).decode()))
    assert named_schemas == set(described["components"]["schemas"])


@pytest.mark.parametrize(("path", "body"), BAD_BODIES)
async def test_a_body_of_the_wrong_shape_is_refused_by_place_and_kind_only(path: str, body: object) -> None:
    api = ScriptedApi()
    async with raw(api) as session, session.post(path, data=orjson.dumps(body)) as response:
        said = await response.text()
        error = await error_in(response)
    assert response.status == 422
    assert error["code"] == "bad_request"
    assert CANARY not in said
    assert not api.calls


async def test_a_body_that_is_no_json_or_too_deep_is_refused() -> None:
    async with raw(ScriptedApi()) as session:
        for body in (b"", b"{", CANARY.encode(), b"\xff\xfe", b'{"epoch":' + b"[" * 100_000, b"[" * 300 + b"]" * 300):
            async with session.post(f"/api/runs/{RUN}/heartbeat", data=body) as response:
                assert response.status == 422
                assert (await error_in(response))["fields"] == {"problems": ["body: json_invalid"]}


async def test_a_whole_number_may_have_a_fraction_of_zero() -> None:
    """To JSON and to OpenAPI 1.0 is an integer."""
    api = ScriptedApi()
    async with raw(api) as session:
        body = b'{"epoch":1.0,"grant":"%s"}' % HEX.encode()
        async with session.post(f"/api/runs/{RUN}/heartbeat", data=body) as response:
            assert response.status == 200
        async with session.post(f"/api/runs/{RUN}/heartbeat", data=body[:-1] + b',"more":1}') as response:
            assert response.status == 422
    assert api.calls == [("heartbeat", (RUN, port.HeartbeatRequest(epoch=1, grant=HEX)))]


async def test_a_405_names_what_can_be_done() -> None:
    async with raw(ScriptedApi()) as session:
        for path, allowed in [("/api/runs", "GET, POST"), ("/api/runs/embedded", "POST"), (f"/api/runs/{RUN}", "GET")]:
            async with session.delete(path) as response:
                assert (response.status, response.headers["allow"]) == (405, allowed)


async def test_deep_data_inside_an_event_is_refused() -> None:
    data = b'{"epoch":1,"grant":"%s","origin":1,"first_seq":0,"events":[["task.started",1,{"a":%s}]]}'
    api = ScriptedApi()
    async with raw(api) as session:
        body = data % (HEX.encode(), b"[" * 5_000 + b"]" * 5_000)
        async with session.post(f"/api/runs/{RUN}/report", data=body) as response:
            assert response.status == 422
    assert not api.calls


@pytest.mark.parametrize("path", BAD_QUERIES)
async def test_a_query_of_the_wrong_shape_is_refused_by_place_and_kind_only(path: str) -> None:
    api = ScriptedApi()
    async with raw(api) as session, session.get(path) as response:
        said = await response.text()
        error = await error_in(response)
    assert response.status == 422
    assert error["fields"]["problems"][0].startswith("query.")
    assert CANARY not in said
    assert not api.calls


async def test_problems_are_bounded() -> None:
    body = orjson.dumps({"epoch": 1, "grant": HEX} | {f"{CANARY}{i}": i for i in range(10_000)})
    async with raw(ScriptedApi()) as session, session.post(f"/api/runs/{RUN}/heartbeat", data=body) as response:
        assert len((await error_in(response))["fields"]["problems"]) == 20


async def test_unknown_paths_and_methods_are_errors_of_the_same_shape() -> None:
    async with raw(ScriptedApi()) as session:
        for method, path, status, code in [
            ("GET", "/api/nothing", 404, "no_such_route"),
            ("GET", "/", 404, "no_such_route"),
            ("GET", f"/{CANARY}", 404, "no_such_route"),
            ("DELETE", "/api/runs", 405, "no_such_method"),
            ("GET", f"/api/runs/{RUN}/report", 405, "no_such_method"),
        ]:
            async with session.request(method, path) as response:
                assert response.status == status
                assert (await error_in(response))["code"] == code
                assert CANARY not in await response.text()


async def test_a_body_beyond_the_limit_is_refused_and_the_connection_serves_on() -> None:
    api = ScriptedApi()
    path = f"/api/runs/{RUN}/heartbeat"
    padded = HEARTBEAT + b" " * (MAX_BODY_BYTES - len(HEARTBEAT))

    async def chunked(size: int) -> AsyncGenerator[bytes]:
        for _ in range(size // 65_536):
            yield b" " * 65_536

    async with raw(api) as session:
        async with session.post(path, data=io.BytesIO(padded)) as response:
            assert response.status == 200
        for body in (io.BytesIO(padded + b" "), chunked(MAX_BODY_BYTES + 65_536)):
            async with session.post(path, data=body) as response:
                assert response.status == 413
                assert (await error_in(response))["code"] == "too_large"
        async with session.post(path, data=HEARTBEAT) as response:
            assert response.status == 200
    assert len(api.calls) == 2


@pytest.mark.parametrize(
    ("method", "origin", "status"),
    [("POST", "https://elsewhere.example", 403), ("POST", "null", 403), ("POST", "{url}", 200), ("GET", "null", 200)],
)
async def test_another_sites_page_cannot_command(method: str, origin: str, status: int) -> None:
    api = ScriptedApi()
    path = f"/api/runs/{RUN}/cancel" if method == "POST" else f"/api/runs/{RUN}"
    async with serving(api) as url, aiohttp.ClientSession(url, headers={"origin": origin.format(url=url)}) as session:
        response = await session.request(method, path)
    assert response.status == status
    assert len(api.calls) == (status == 200)


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "BODY_SECONDS", 0.01)

    async def stalled() -> AsyncGenerator[bytes]:
        yield b"{"
        await answered.wait()

    answered = asyncio.Event()
    async with raw(ScriptedApi()) as session, session.post(f"/api/runs/{RUN}/heartbeat", data=stalled()) as response:
        assert response.status == 408
        answered.set()


async def test_an_error_that_nobody_foresaw_shows_its_text_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    api = ScriptedApi()
    api.fails = ValueError(CANARY)
    with caplog.at_level(logging.DEBUG):
        async with raw(api) as session:
            for path in ("/api/info", f"/api/runs/{RUN}", f"/api/runs/{RUN}/history", "/api/events"):
                async with session.get(path) as response:
                    assert response.status == 500
                    assert (await error_in(response))["code"] == "internal"
    assert CANARY not in caplog.text
    assert caplog.text.count("ValueError at ") == 4


async def test_nor_does_one_in_the_middle_of_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Breaking(ScriptedApi):
        async def history(self, run: str, *, after_version: int = 0) -> AsyncGenerator[Recorded]:
            for position in range(1, 1_000):
                yield recorded(position)
            raise ValueError(CANARY)

    with caplog.at_level(logging.DEBUG):
        async with raw(Breaking()) as session, session.get(f"/api/runs/{RUN}/history") as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):  # broken off, and not as if it were whole
                await response.read()
    assert CANARY not in caplog.text
    assert "ValueError at " in caplog.text


async def test_every_class_of_the_tree_has_a_status() -> None:
    for cls in ERROR_TYPES.values():
        assert any(base in STATUS for base in cls.__mro__), cls
    assert status_of(e.NotFound("run", RUN)) == 404
    assert status_of(e.BadSchedule("no such zone")) == 422
    assert status_of(e.Refused("no", code="not_ready")) == 409
    assert status_of(e.EpochOver("over")) == 410
    assert status_of(e.CursorRefused("another log")) == 409
    assert status_of(e.OutcomeUnknown("?")) == 503


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 507),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 507),
        (OSError(errno.EIO, "Input/output error"), 503),
        (None, 503),
    ],
)
async def test_a_full_disk_has_a_status_of_its_own(cause: OSError | None, status: int) -> None:
    error = e.LogUnusable("the log cannot be written")
    error.__cause__ = cause
    api = ScriptedApi()
    api.fails = error
    async with raw(api) as session, session.get("/api/health") as response:
        assert response.status == status


def test_sqlite_says_full_in_its_own_way() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    error: PlayheadError = e.LogUnusable("the log cannot be written")
    error.__cause__ = full
    assert status_of(error) == 507


async def test_health_is_short() -> None:
    async with raw(ScriptedApi()) as session, session.get("/api/health") as response:
        assert orjson.loads(await response.read()) == {"version": "0.1.0", "position": 0}


def test_an_app_is_made_without_a_loop() -> None:
    assert len(create_app(ScriptedApi()).state.streams) == 0
