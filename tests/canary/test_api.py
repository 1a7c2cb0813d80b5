"""No answer of the API, and no line that the server logs, repeats what was asked: a marked word in each place of each request.

Whoever sends a secret by mistake, in a name or in a field that is not declared, must not find it in a proxy's or a server's log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from pydantic import JsonValue

from playhead.log import Log
from playhead.ports.server import AgentHello
from playhead.server.app import create_app
from playhead.server.routes.lean import LeanRoute
from playhead.service import Service
from tests.canary.words import MARK, find_mark
from tests.server.scripted import HEX, JOINED, REGISTERED, RUN, SCHEDULED, ScriptedApi
from tests.server.serving import serving
from tests.stores import new_backend

FITS = f"{MARK}.fits"  # the pattern of names
UNFIT = f"{MARK} does/not fit: ä"
WORDS = (FITS, MARK, UNFIT, MARK * 200)
KEPT = (FITS, MARK)  # where a name is declared
WORD = re.compile(r"[A-Za-z0-9_.:~/+-]{0,512}")
SENTENCES = (
    "0 6 * * *",  # a schedule's
    # What `why` says is made of words of the core, of names and of numbers.
    "its runner at agent brisk-otter is at work: 0 tasks are computed, 1 waits",
)
HEADERS = (
    "User-Agent",
    "Cookie",
    "Last-Event-ID",
    "Referer",
    "Accept",
    "X-Forwarded-For",
    "X-Request-ID",
    "Host",
    "Origin",
)

ROUTES = [route for route in create_app(ScriptedApi()).routes if isinstance(route, LeanRoute)]
EPOCH = {"epoch": 1, "grant": HEX}
GOOD: dict[str, Any] = {
    "register_flow": REGISTERED.model_dump(mode="json"),
    "ask_run": {"run": RUN, "flow": "crawl", "seal": HEX, "labels": ["gpu"], "at": 5},
    "ask_preset": {"flow": "crawl", "preset": "nightly", "nonce": HEX, "at": 5},
    "begin_embedded": {
        "scheduled": SCHEDULED.model_dump(mode="json"), "agent": "embedded", "claim": HEX, "grant": HEX, "python": "3.11",
        "key_scheme": 1,
    },
    "join": AgentHello(joined=JOINED).model_dump(mode="json"),
    "claim": {"agent": "brisk-otter", "claim": HEX},
    "release": {"claim": HEX, "epoch": 1, "reason": "draining"},
    "died": {"epoch": 1, "signal": 9, "drained": False},
    "start": {**EPOCH, "storage": HEX, "python": "3.11", "key_scheme": 1},
    "heartbeat": EPOCH,
    "reconcile": {"journals": [{"epoch": 1, "grant": HEX}], "python": "3.11"},
    "create_token": {"name": "visitor", "scope": "viewer", "digest": "0" * 64, "lifetime_seconds": 60},
    "report": {
        **EPOCH, "origin": 1, "first_seq": 0,
        "events": [["task.submitted", 1, {"at": 5, "key": "one", "name": "one", "after": ["two"]}]],
    },
}  # fmt: skip


@asynccontextmanager
async def opened() -> AsyncGenerator[aiohttp.ClientSession]:
    """A server with a flow, an agent and a run of its own."""
    async with (
        Log.open(await new_backend()) as log,
        Service(log) as service,
        serving(service) as url,
        aiohttp.ClientSession(url) as session,
    ):
        for path, name in (("/api/flows", "register_flow"), ("/api/agents", "join"), ("/api/runs", "ask_run")):
            async with session.post(path, json=GOOD[name]) as answer:
                assert answer.status < 300, await answer.text()
        yield session


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What the server's side says at its lowest level, searched at the end. (The client's library is no part of it.)"""
    caplog.set_level(1)
    yield
    lines = [record for record in caplog.records if not record.name.startswith(("aiohttp", "asyncio"))]
    said = [logging.Formatter().format(record) for record in lines]
    assert [line for line in said if list(find_mark(line.encode()))] == []


def test_every_command_is_tried() -> None:
    assert {route.name for route in ROUTES if route.body is not None} == set(GOOD)


async def test_a_word_in_the_path_is_not_repeated() -> None:
    async with opened() as session:
        for route, word in product(ROUTES, WORDS):
            path = route.path
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", quote(word, safe=""))
            await _check(session, route.method, path, body=GOOD.get(route.name))
            await _check(session, route.method, f"{path}/{quote(word)}")
        for word in WORDS:
            await _check(session, "DELETE", f"/{quote(word, safe='')}")


async def test_a_word_in_the_query_is_not_repeated() -> None:
    async with opened() as session:
        for route, word in product(ROUTES, WORDS):
            for name in (*(route.query.model_fields if route.query else ()), word):
                await _check(session, route.method, f"{_path(route)}?{quote(name)}={quote(word, safe='')}")


async def test_a_word_in_a_header_is_not_repeated() -> None:
    async with opened() as session:
        for route, name in product(ROUTES, HEADERS):
            await _check(session, route.method, _path(route), body=GOOD.get(route.name), headers={name: quote(UNFIT)})


@pytest.mark.parametrize("name", GOOD)
async def test_a_word_in_a_field_is_not_repeated(name: str) -> None:
    """In each place of each command's body: as its value, beside it under a name that is not declared, and as such a name."""
    route = next(route for route in ROUTES if route.name == name)
    async with opened() as session:
        for word in WORDS:
            for body in _planted(GOOD[name], word):
                await _check(session, route.method, _path(route), body=body, may_be_kept=word in KEPT)


async def test_every_text_of_an_answer_is_a_word_of_the_vocabulary() -> None:
    """Names, ids, times, states: nothing that could be a sentence, whatever field it is in."""
    async with opened() as session:
        await _begin(session)
        read = 0
        for route in ROUTES:
            if route.method == "GET" and route.media_type == "application/json":
                async with session.get(_path(route)) as answer:
                    texts = list(_texts(orjson.loads(await answer.read())))
                assert [text for text in texts if not WORD.fullmatch(text) and text not in SENTENCES] == [], route.path
                read += len(texts)
        assert read > 100


async def _begin(session: aiohttp.ClientSession) -> None:
    """The run has a runner, and a task."""
    async with session.post(f"/api/runs/{RUN}/claim", json=GOOD["claim"]) as answer:
        grant = (await answer.json())["grant"]
    for name in ("start", "report"):
        body = {**GOOD[name], "grant": grant}
        if name == "report":
            body["events"] = [
                ["journal.adopted", 1, {"at": 4}],
                ["task.submitted", 1, {"at": 5, "key": "one", "name": "one"}],
            ]
        async with session.post(f"/api/runs/{RUN}/{name}", json=body) as answer:
            assert answer.status == 200, await answer.text()


def _texts(body: JsonValue) -> Iterator[str]:
    """Each string of a JSON document, names of fields included."""
    if isinstance(body, dict):
        for name, value in body.items():
            yield name
            yield from _texts(value)
    elif isinstance(body, list):
        for value in body:
            yield from _texts(value)
    elif isinstance(body, str):
        yield body


async def _check(
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    *,
    body: object = None,
    headers: dict[str, str] | None = None,
    may_be_kept: bool = False,
) -> None:
    """Ask, and search the whole answer. `may_be_kept`: a declared name that fits is a fact, and told like one."""
    data = orjson.dumps(body) if body is not None else None
    async with session.request(method, path, data=data, headers=headers) as answer:
        if answer.ok and (may_be_kept or answer.content_type == "text/event-stream"):
            return
        text = await answer.read()
    head = repr(answer.raw_headers).encode()
    assert list(find_mark(head + text)) == [], f"{method} {path} {body} {answer.status}"


def _path(route: LeanRoute) -> str:
    named = {"run": RUN, "name": "crawl", "agent": "brisk-otter"}
    return route.path.format(**{name: named[name] for name in route.param_convertors})


def _planted(body: JsonValue, word: str) -> Iterator[JsonValue]:
    """The body with the word in one place, for each of its places."""
    if isinstance(body, dict):
        for name, value in body.items():
            yield from ({**body, name: changed} for changed in _planted(value, word))
        yield {**body, word: 1}
        yield {**body, "extra": word}
    elif isinstance(body, list):
        for index, value in enumerate(body):
            yield from ([*body[:index], changed, *body[index + 1 :]] for changed in _planted(value, word))
        yield [*body, word]
    yield word
    yield {word: word}
