"""`HttpServer`: a `ServerApi` that is elsewhere, over HTTP. Owns the paths and the models of each request; no retries.

Every request of the port is idempotent, so the transport may ask again. What the server refuses is raised as the class that
it was there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from playhead.client.following import follow
from playhead.client.patience import Patience
from playhead.client.transport import Query, Splitter, Transport, error_of
from playhead.core.events import FlowRegistered
from playhead.core.names import NAME_PATTERN
from playhead.core.tokens import Token
from playhead.core.views import RunView
from playhead.credentials import Credential
from playhead.errors import NotFound, ServerError, ServerUnreachable
from playhead.ports import server as port
from playhead.ports.store import Recorded
from playhead.wire import recorded_from_wire

if TYPE_CHECKING:
    from playhead.core.waiting import RunWaiting  # a runner, which opens one of these, never asks why it waits

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

_NAME: Final = re.compile(NAME_PATTERN)
_FLOWS: Final[TypeAdapter[tuple[port.FlowView, ...]]] = TypeAdapter(tuple[port.FlowView, ...])
_AGENTS: Final[TypeAdapter[tuple[port.AgentView, ...]]] = TypeAdapter(tuple[port.AgentView, ...])
_TOKENS: Final[TypeAdapter[tuple[port.TokenView, ...]]] = TypeAdapter(tuple[port.TokenView, ...])


class HttpServer(port.ServerApi):
    """The server at `http://host:port`, `https://…`, or `unix:///path/of/a.sock`. An async context manager.

    `token` goes along with every request. Raises UsageError for an address of another form.
    """

    def __init__(self, url: str, *, patience: Patience | None = None, token: Token | Credential | None = None) -> None:
        self.url = url
        credential = Credential(token) if isinstance(token, Token) else token
        self._transport = Transport(url, patience or Patience(), credential)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def info(self) -> port.ServerInfo:
        return await self._get("/info", port.ServerInfo)

    async def register_flow(self, registered: FlowRegistered) -> port.FlowView:
        return await self._post("/flows", registered, port.FlowView)

    async def flows(self, *, after: int = 0) -> tuple[port.FlowView, ...]:
        return _read(_FLOWS, await self._transport.ask("GET", "/flows", query=[("after", str(after))]))

    async def flow(self, name: str, *, after: int = 0) -> port.FlowView:
        path = f"/flows/{_segment('flow', name)}"
        return await self._get(path, port.FlowView, [("after", str(after))], flow=name)

    async def ask_run(self, request: port.RunRequest) -> port.Accepted:
        return await self._post("/runs", request, port.Accepted, flow=request.flow, seal=request.seal)

    async def ask_preset(self, request: port.PresetRequest) -> port.Accepted:
        return await self._post("/runs/preset", request, port.Accepted)

    async def begin_embedded(self, request: port.EmbeddedRunRequest) -> port.Accepted:
        return await self._post("/runs/embedded", request, port.Accepted)

    async def runs(
        self, which: port.RunFilter, *, page: str | None = None, limit: int = 50, after: int = 0
    ) -> port.RunPage:
        named = {"flow": which.flow, "agent": which.agent, "since": which.since, "prefix": which.prefix, "page": page}
        query = [("state", state.value) for state in which.state]
        query += [(name, str(value)) for name, value in named.items() if value is not None]
        query += [("limit", str(limit)), ("after", str(after))]
        return await self._get("/runs", port.RunPage, query)

    async def run(self, run: str, *, at: int | None = None, tasks: bool = True, after: int = 0) -> RunView:
        query = [("after", str(after)), ("tasks", "true" if tasks else "false")]
        query += [("at", str(at))] if at is not None else []
        return _facts_only(await self._get(_run_path(run), RunView, query, run=run, version=str(at)))

    async def why(self, run: str, *, task: str | None = None, after: int = 0) -> RunWaiting:
        from playhead.core.waiting import RunWaiting

        query = [("after", str(after))] + ([("task", task)] if task is not None else [])
        return await self._get(f"{_run_path(run)}/why", RunWaiting, query, run=run, task=str(task))

    async def history(self, run: str, *, after_version: int = 0) -> AsyncIterator[Recorded]:
        """Read as it comes; a connection that breaks is taken up again behind the last event."""
        path, seen, failures = f"{_run_path(run)}/history", after_version, 0
        patience = self._transport.patience
        while True:
            try:
                async with self._transport.stream(path, query=[("after_version", str(seen))]) as chunks:
                    lines = Splitter(b"\n")
                    async for chunk in chunks:
                        failures = 0
                        for event in map(_event_of, lines.feed(chunk)):
                            yield event
                            seen = event.version
                if lines.rest:
                    raise _misunderstood("history")
                return
            except NotFound as error:
                raise _named(error, {"run": run}) from None
            except ServerUnreachable as error:
                failures += 1
                if failures >= patience.tries:
                    raise
                pause = self._transport.pause_after(error, failures)
            await asyncio.sleep(pause)

    async def cancel(self, run: str) -> port.Accepted:
        return await self._post(f"{_run_path(run)}/cancel", None, port.Accepted, run=run)

    async def reconcile(self, run: str, request: port.ReconcileRequest) -> port.Accepted:
        return await self._post(f"{_run_path(run)}/reconcile", request, port.Accepted)

    async def join(self, hello: port.AgentHello) -> None:
        await self._tell("/agents", hello)

    async def agent_beat(self, agent: str) -> None:
        await self._tell(f"/agents/{_segment('agent', agent)}/beat", None, agent=agent)

    async def drain(self, agent: str) -> None:
        await self._tell(f"/agents/{_segment('agent', agent)}/drain", None, agent=agent)

    async def leave(self, agent: str) -> None:
        await self._tell(f"/agents/{_segment('agent', agent)}/leave", None, agent=agent)

    async def agents(self, *, after: int = 0) -> tuple[port.AgentView, ...]:
        return _read(_AGENTS, await self._transport.ask("GET", "/agents", query=[("after", str(after))]))

    async def claim(self, run: str, request: port.ClaimRequest) -> port.Claimed:
        return await self._post(f"{_run_path(run)}/claim", request, port.Claimed, run=run, agent=request.agent)

    async def release(self, run: str, request: port.ReleaseRequest) -> None:
        await self._tell(f"{_run_path(run)}/release", request, run=run)

    async def died(self, run: str, request: port.DiedRequest) -> None:
        await self._tell(f"{_run_path(run)}/died", request, run=run)

    async def start(self, run: str, request: port.StartRequest) -> port.Started:
        return await self._post(f"{_run_path(run)}/start", request, port.Started, run=run)

    async def heartbeat(self, run: str, request: port.HeartbeatRequest) -> port.Beat:
        return await self._post(f"{_run_path(run)}/heartbeat", request, port.Beat, run=run)

    async def report(self, run: str, request: port.ReportRequest) -> port.Reported:
        return await self._post(f"{_run_path(run)}/report", request, port.Reported, run=run)

    async def create_token(self, request: port.TokenRequest) -> port.TokenView:
        return await self._post("/tokens", request, port.TokenView)

    async def tokens(self) -> tuple[port.TokenView, ...]:
        return _read(_TOKENS, await self._transport.ask("GET", "/tokens"))

    async def revoke_token(self, name: str) -> port.TokenView:
        return await self._post(f"/tokens/{_segment('token', name)}/revoke", None, port.TokenView)

    def events(
        self, *, cursor: str | None = None, which: port.EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[port.EventPage]]:
        """Reconnects by itself, for ever, each time from behind the last page; refusals of the server are raised."""
        return self._following(cursor, which or port.EventFilter())

    @asynccontextmanager
    async def _following(
        self, cursor: str | None, which: port.EventFilter
    ) -> AsyncGenerator[AsyncIterator[port.EventPage]]:
        async with aclosing(follow(self._transport, cursor, which)) as pages:
            yield pages

    async def _get(self, path: str, model: type[ModelT], query: Query = (), **asked_for: str) -> ModelT:
        try:
            return _model(model, await self._transport.ask("GET", path, query=query))
        except NotFound as error:
            raise _named(error, asked_for) from None

    async def _post(self, path: str, body: BaseModel | None, model: type[ModelT], **asked_for: str) -> ModelT:
        return _model(model, await self._tell(path, body, **asked_for))

    async def _tell(self, path: str, body: BaseModel | None, **asked_for: str) -> bytes:
        try:
            return await self._transport.ask("POST", path, body=b"" if body is None else to_json(body))
        except NotFound as error:
            raise _named(error, asked_for) from None


def _run_path(run: str) -> str:
    return f"/runs/{_segment('run', run)}"


def _segment(kind: str, name: str) -> str:
    """The name as a part of a path. One that no server could know is not asked for."""
    if not _NAME.fullmatch(name):
        raise NotFound(kind, name)
    return name


def _facts_only(view: RunView) -> RunView:
    """The view as a server may give it. Texts of failures come from the user's storage: one that a server made up is not shown."""
    errors = (view.error, *(task.error for task in view.tasks))
    if any(error is not None and (error.type or error.message or error.traceback) for error in errors):
        raise ServerError(
            "the server's answer holds texts of failures, which no server knows",
            hint="do not believe them; `playhead show --failures` reads yours from your storage",
        )
    return view


def _named(error: NotFound, asked_for: Mapping[str, str]) -> NotFound:
    """The error with the name that was asked for: a server does not repeat it."""
    return NotFound(error.kind, asked_for.get(error.kind, "?"), hint=error.hint)


def _model(model: type[ModelT], answer: bytes) -> ModelT:
    try:
        return model.model_validate_json(answer)
    except ValidationError as error:
        raise _misunderstood(model.__name__) from error


def _read(adapter: TypeAdapter[T], answer: bytes) -> T:
    try:
        return adapter.validate_json(answer)
    except ValidationError as error:
        raise _misunderstood("list") from error


def _event_of(line: bytes) -> Recorded:
    """The event of a line of a history. Raises the error that the server broke it off with."""
    error = error_of(line, status=500) if line.startswith(b'{"error"') else None
    if error is not None:
        raise error
    return recorded_from_wire(line)


def _misunderstood(what: str) -> ServerError:
    return ServerError(
        f"the server's answer is not the {what} that was asked for",
        hint="the address is not a Playhead server's, or the server is of another version: ask `playhead doctor`",
    )
