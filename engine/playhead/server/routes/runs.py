"""Runs: ask for one, list, look at one now or at an earlier version, read its history, cancel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from playhead.core.events import Moment
from playhead.core.names import Key, Name
from playhead.core.state import RunStatus
from playhead.core.views import RunView
from playhead.core.waiting import RunWaiting
from playhead.errors import PlayheadError
from playhead.ports.server import (
    MAX_PAGE,
    Accepted,
    EmbeddedRunRequest,
    PresetRequest,
    ReconcileRequest,
    RunFilter,
    RunPage,
    RunRequest,
)
from playhead.ports.store import Recorded
from playhead.server.answers import answer, answer_parts, refusal
from playhead.server.routes.flows import Since
from playhead.server.routes.lean import Query, Routes, api_of
from playhead.wire import recorded_to_wire

LINES: Final = "application/x-ndjson"
CHUNK_EVENTS: Final = 256  # of a history in one write: 80 KB or so, where a write's own cost is lost

PAGE_PATTERN: Final = r"^[0-9]{1,18}$"

routes = Routes("runs")


class Wanted(Since):
    """Which runs, and which page of them."""

    state: Annotated[tuple[RunStatus, ...], Field(max_length=len(RunStatus))] = ()
    flow: Name | None = None
    agent: Name | None = None
    since: Moment | None = None
    prefix: Annotated[str | None, Field(pattern=r"^[0-9a-f]{0,32}$")] = None
    page: Annotated[str | None, Field(pattern=PAGE_PATTERN, description="`next` of the answer before")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50


class Look(Since):
    at: Annotated[int | None, Field(ge=1, description="a version of the run's stream; now without it")] = None
    tasks: bool = True


class Why(Since):
    task: Annotated[Key | None, Field(description="only this task, by its key")] = None


class Beyond(Query):
    after_version: Annotated[int, Field(ge=0)] = 0


@routes.post("/runs", Accepted)
async def ask_run(request: Request, body: RunRequest) -> Response:
    """Ask for a run, now or at a time."""
    return answer(await api_of(request).ask_run(body))


@routes.post("/runs/preset", Accepted)
async def ask_preset(request: Request, body: PresetRequest) -> Response:
    """Ask for a run with the parameters of one of the flow's presets, which needs no key."""
    return answer(await api_of(request).ask_preset(body))


@routes.post("/runs/embedded", Accepted)
async def begin_embedded(request: Request, body: EmbeddedRunRequest) -> Response:
    """Begin a run in the asking process: scheduled, claimed and started in one."""
    return answer(await api_of(request).begin_embedded(body))


@routes.post("/runs/{run}/cancel", Accepted)
async def cancel(request: Request, run: str) -> Response:
    """Ask for the run's end."""
    return answer(await api_of(request).cancel(run))


@routes.post("/runs/{run}/reconcile", Accepted)
async def reconcile(request: Request, run: str, body: ReconcileRequest) -> Response:
    """Tell the log of epochs that it has forgotten, after it was put back from an older copy."""
    return answer(await api_of(request).reconcile(run, body))


@routes.get("/runs", RunPage)
async def runs(request: Request, query: Wanted) -> Response:
    """A page of runs, newest first."""
    which = RunFilter(state=query.state, flow=query.flow, agent=query.agent, since=query.since, prefix=query.prefix)
    return answer(await api_of(request).runs(which, page=query.page, limit=query.limit, after=query.after))


@routes.get("/runs/{run}", RunView)
async def run_view(request: Request, run: str, query: Look) -> Response:
    """One run, now or as it was."""
    return answer_parts(await api_of(request).run_json(run, at=query.at, tasks=query.tasks, after=query.after))


@routes.get("/runs/{run}/why", RunWaiting)
async def why(request: Request, run: str, query: Why) -> Response:
    """What the run waits for, and what would help."""
    return answer(await api_of(request).why(run, task=query.task, after=query.after))


@routes.get("/runs/{run}/history", media_type=LINES)
async def history(request: Request, run: str, query: Beyond) -> Response:
    """The run's events, one JSON object a line. An error in mid-way is a last line with the key "error"."""
    events = api_of(request).history(run, after_version=query.after_version)
    lines = _lines(events)
    first = await anext(lines, b"")  # so that an unknown run is a 404, and not a line
    return _History(first, lines)


class _History(StreamingResponse):
    """Closes the lines also where the client goes away in mid-way."""

    media_type = LINES

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        self._whole = _from(first, rest)
        self._rest = rest
        super().__init__(self._whole)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest), aclosing(self._whole):
            await super().__call__(scope, receive, send)


async def _lines(events: AsyncIterator[Recorded]) -> AsyncGenerator[bytes]:
    """The events in chunks of whole lines."""
    chunk: list[bytes] = []
    try:
        async for event in events:
            chunk.append(recorded_to_wire(event))
            if len(chunk) == CHUNK_EVENTS:
                yield b"\n".join(chunk) + b"\n"
                chunk.clear()
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
    if chunk:
        yield b"\n".join(chunk) + b"\n"


async def _from(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    try:
        async for chunk in rest:
            yield chunk
    except PlayheadError as error:
        yield bytes(refusal(error).body) + b"\n"
