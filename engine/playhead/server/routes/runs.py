"""Runs: ask for one, list, look at one now or at an earlier version, read its history, cancel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from playhead.core.events import Moment
from playhead.core.names import NAME_PATTERN
from playhead.core.state import RunStatus
from playhead.core.views import RunView
from playhead.errors import PlayheadError
from playhead.ports.server import MAX_PAGE, Accepted, EmbeddedRunRequest, RunFilter, RunPage, RunRequest
from playhead.ports.store import Recorded
from playhead.server.answers import answer, refusal
from playhead.server.routes.flows import After
from playhead.server.routes.lean import ERRORS, PREFIX, LeanRoute, api_of
from playhead.wire import recorded_to_wire

CHUNK_EVENTS: Final = 256  # of a history in one write: 80 KB or so, where a write's own cost is lost

router = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["runs"])
commands = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["runs"], route_class=LeanRoute)

NameQuery = Annotated[str | None, Query(pattern=NAME_PATTERN)]
Prefix = Annotated[str | None, Query(pattern=r"^[0-9a-f]{0,32}$")]
NextPage = Annotated[str | None, Query(max_length=256)]


@commands.post("/runs", response_model=Accepted)
async def ask_run(request: Request, body: RunRequest) -> Response:
    """Ask for a run, now or at a time."""
    return answer(await api_of(request).ask_run(body))


@commands.post("/runs/embedded", response_model=Accepted)
async def begin_embedded(request: Request, body: EmbeddedRunRequest) -> Response:
    """Begin a run in the asking process: scheduled, claimed and started in one."""
    return answer(await api_of(request).begin_embedded(body))


@commands.post("/runs/{run}/cancel", response_model=Accepted)
async def cancel(request: Request, run: str) -> Response:
    """Ask for the run's end."""
    return answer(await api_of(request).cancel(run))


@router.get("/runs", response_model=RunPage)
async def runs(
    request: Request,
    state: Annotated[tuple[RunStatus, ...], Query(max_length=len(RunStatus))] = (),
    flow: NameQuery = None,
    agent: NameQuery = None,
    since: Moment | None = None,
    prefix: Prefix = None,
    page: NextPage = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    after: After = 0,
) -> Response:
    """A page of runs, newest first."""
    which = RunFilter(state=state, flow=flow, agent=agent, since=since, prefix=prefix)
    return answer(await api_of(request).runs(which, page=page, limit=limit, after=after))


@router.get("/runs/{run}", response_model=RunView)
async def run_view(
    request: Request,
    run: str,
    at: Annotated[int | None, Query(ge=1, description="a version of the run's stream; now without it")] = None,
    tasks: bool = True,
    after: After = 0,
) -> Response:
    """One run, now or as it was."""
    return answer(await api_of(request).run(run, at=at, tasks=tasks, after=after))


@router.get("/runs/{run}/history", response_class=StreamingResponse)
async def history(request: Request, run: str, after_version: Annotated[int, Query(ge=0)] = 0) -> Response:
    """The run's events, one JSON object a line. An error in mid-way is a last line with the key "error"."""
    events = api_of(request).history(run, after_version=after_version)
    lines = _lines(events)
    first = await anext(lines, b"")  # so that an unknown run is a 404, and not a line
    return _History(first, lines)


class _History(StreamingResponse):
    """Closes the lines also where the client goes away in mid-way."""

    media_type = "application/x-ndjson"

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
