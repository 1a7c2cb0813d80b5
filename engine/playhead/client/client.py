"""`Client`: what users hold of a server, wherever it is. Adds to a `ServerApi` what is made of several of its requests, and the
user's side: flows are sealed, runs are signed and results are read with the key and storage of a home."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from playhead.client.asking import Wish, ask, ask_preset
from playhead.client.ends import Ends
from playhead.client.flow_run import FlowRun
from playhead.client.patience import Patience
from playhead.client.presets import Presets
from playhead.client.registration import register
from playhead.core.events import SealedBy
from playhead.core.names import NAME_PATTERN, RunId
from playhead.core.state import RunStatus
from playhead.core.tokens import Token
from playhead.core.views import RunSummary, RunView
from playhead.credentials import Credential, credential_for
from playhead.errors import NotFound, ServerUnreachable, TrustError, UsageError
from playhead.flows.flow import Flow
from playhead.home import Home
from playhead.ports.server import Accepted, AgentView, EventFilter, EventPage, FlowView, RunFilter, RunPage, ServerApi
from playhead.ports.store import Recorded
from playhead.settings import Settings

if TYPE_CHECKING:
    from playhead.client.http import HttpServer
    from playhead.core.waiting import RunWaiting

A = TypeVar("A")
R = TypeVar("R")

MAX_CANDIDATES: Final = 5  # runs listed where a prefix fits several

_NEWEST: Final = re.compile(rf"(?P<flow>{NAME_PATTERN.strip('^$')})?@(?P<which>last|last-failed)")
_SELECTED: Final[dict[str, tuple[RunStatus, ...]]] = {
    "last": (),
    "last-failed": (RunStatus.FAILED, RunStatus.CRASHED),
}


class Client:
    """A server's client: `async with Client("http://127.0.0.1:4317") as client`.

    `server` is an address, or a `ServerApi` that its owner opens and closes. `home` None: the user's own, opened when first needed.
    `token`: the text of a bearer token for a server at an address; None: what the settings name for it. Methods raise what
    `ServerApi` raises: `NotFound`, `Refused`, `AccessDenied`, `ServerUnreachable`.
    """

    def __init__(
        self,
        server: str | ServerApi,
        *,
        home: Home | None = None,
        patience: Patience | None = None,
        token: str | None = None,
    ) -> None:
        self._home = home
        self._patience = patience or Patience()
        self._owned: HttpServer | None = None
        if isinstance(server, str):
            from playhead.client.http import (
                HttpServer,  # not cheap to import, and of no use over a server in this process
            )

            credential = _given(token) if token is not None else self._configured(server)
            server = self._owned = HttpServer(server, patience=self._patience, token=credential)
        self.api: ServerApi = server
        self._ends = Ends(server)

    def _configured(self, url: str) -> Credential | None:
        return credential_for(url, self._home.settings if self._home is not None else Settings.load())

    async def __aenter__(self) -> Self:
        if self._owned is not None:
            await self._owned.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned is not None:
            await self._owned.__aexit__(kind, error, trace)

    @property
    def home(self) -> Home:
        """The key and storage of the user's side. Raises what `Home.open` raises."""
        if self._home is None:
            self._home = Home.open()
        return self._home

    async def register(
        self,
        flow: Flow[..., Any],
        *,
        sealed_by: SealedBy | None = None,
        presets: Mapping[str, Mapping[str, object]] | None = None,
    ) -> FlowView:
        """Seal the flow and make it known to the server; see `registration.register`.

        `presets`: parameters by name, with which anybody may have runs whom the server lets; those that the flow has stay.
        """
        signed = Presets(signed=presets) if presets else None
        return await register(flow, self.api, self.home, sealed_by=sealed_by, presets=signed)

    async def start_preset(self, flow: str, preset: str = "defaults", *, at: datetime | None = None) -> FlowRun[Any]:
        """Ask for a run with the parameters of a preset, now or `at` a time: without the key. NotFound: the flow has none."""
        return FlowRun(await ask_preset(flow, preset, self.api, at=at), self)

    @overload
    async def start(
        self,
        flow: Flow[..., Coroutine[Any, Any, A]],
        *,
        parameters: Mapping[str, object] | None = None,
        at: datetime | None = None,
        labels: Collection[str] | None = None,
        idempotency_key: str | None = None,
    ) -> FlowRun[A]: ...
    @overload
    async def start(
        self,
        flow: Flow[..., R],
        *,
        parameters: Mapping[str, object] | None = None,
        at: datetime | None = None,
        labels: Collection[str] | None = None,
        idempotency_key: str | None = None,
    ) -> FlowRun[R]: ...
    @overload
    async def start(
        self,
        flow: str,
        *,
        parameters: Mapping[str, object] | None = None,
        at: datetime | None = None,
        labels: Collection[str] | None = None,
        idempotency_key: str | None = None,
    ) -> FlowRun[Any]: ...
    async def start(
        self,
        flow: Flow[..., Any] | str,
        *,
        parameters: Mapping[str, object] | None = None,
        at: datetime | None = None,
        labels: Collection[str] | None = None,
        idempotency_key: str | None = None,
    ) -> FlowRun[Any]:
        """Ask for a run, now or `at` a time. A flow is registered first, as it is here; a name means what was registered last.

        `labels` replace the flow's. The same `idempotency_key` gives the same run, asked for once. Errors: see `asking.ask`.
        """
        wish = Wish(
            parameters=parameters or {},
            at=at,
            labels=None if labels is None else frozenset(labels),
            idempotency_key=idempotency_key,
        )
        subject = None if isinstance(flow, str) else flow
        view = await self.api.flow(flow) if isinstance(flow, str) else await self.register(flow)
        return FlowRun(await ask(view, self.api, self.home, wish, flow=subject), self)

    def flow_run(self, run: str) -> FlowRun[Any]:
        """The run of that id, which is not looked up here."""
        return FlowRun(RunId(run), self)

    async def wait(self, run: str) -> RunView:
        """The run once it has ended. Follows the log instead of asking again and again, also across a server's restart."""
        position = await self._ends.position(run)
        return await self.api.run(run) if position is None else await self._look(run, position)

    async def flows(self) -> tuple[FlowView, ...]:
        return await self.api.flows()

    async def flow(self, name: str) -> FlowView:
        return await self.api.flow(name)

    async def agents(self) -> tuple[AgentView, ...]:
        return await self.api.agents()

    async def drain(self, agent: str) -> None:
        """Have the agent take no more runs, and end when those that it has have ended. Started again, it takes runs as before."""
        await self.api.drain(agent)

    async def run(self, run: str, *, at: int | None = None, tasks: bool = True) -> RunView:
        """The run now, or as it was at version `at` of its stream."""
        return await self.api.run(run, at=at, tasks=tasks)

    async def why(self, run: str, *, task: str | None = None) -> RunWaiting:
        """What the run waits for now, in a sentence, and what would help; or the task of that key. NotFound."""
        return await self.api.why(run, task=task)

    async def runs(self, which: RunFilter | None = None, *, page: str | None = None, limit: int = 50) -> RunPage:
        """A page of runs, newest first; its `next` is the `page` of the rows that follow."""
        return await self.api.runs(which or RunFilter(), page=page, limit=limit)

    async def cancel(self, run: str) -> Accepted:
        return await self.api.cancel(run)

    def history(self, run: str, *, after_version: int = 0) -> AsyncIterator[Recorded]:
        """All events of the run, oldest first."""
        return self.api.history(run, after_version=after_version)

    def events(
        self, *, cursor: str | None = None, which: EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[EventPage]]:
        """The log as it grows, from the cursor on."""
        return self.api.events(cursor=cursor, which=which)

    async def find_run(self, text: str) -> str:
        """The id of the run that is meant: a whole id, a unique prefix, `@last`, `@last-failed` or `FLOW@last`.

        A whole id is not looked up. Raises NotFound, and UsageError where several runs fit or the text has no such form.
        """
        newest = _NEWEST.fullmatch(text)
        if newest is not None:
            return await self._newest(text, newest["flow"], _SELECTED[newest["which"]])
        prefix = text.lower()
        if re.fullmatch(r"[0-9a-f]{32}", prefix):
            return prefix
        if not re.fullmatch(r"[0-9a-f]{1,31}", prefix):
            raise UsageError(
                f"{text!r} does not name a run",
                hint="a RUN is an id or the beginning of one, @last, @last-failed, or FLOW@last",
            )
        found = (await self.api.runs(RunFilter(prefix=prefix), limit=MAX_CANDIDATES + 1)).runs
        if len(found) > 1:
            raise _ambiguous(text, found)
        if not found:
            raise NotFound("run", text, hint="`playhead runs` lists them")
        return found[0].run_id

    async def _newest(self, text: str, flow: str | None, states: tuple[RunStatus, ...]) -> str:
        found = (await self.api.runs(RunFilter(flow=flow, state=states), limit=1)).runs
        if not found:
            raise NotFound("run", text, hint="no run fits that yet; `playhead runs` lists them")
        return found[0].run_id

    async def _look(self, run: str, position: int) -> RunView:
        """The run as it stands after `position`. Its server was there a moment ago, so its absence is waited for."""
        failures = 0
        while True:
            try:
                return await self.api.run(run, after=position)
            except ServerUnreachable:
                failures += 1
            await asyncio.sleep(self._patience.delay(failures))


def _given(text: str) -> Token:
    """The token that a program was written with, or found by itself. TrustError: it is none."""
    try:
        return Token.parse(text)
    except ValueError:
        raise TrustError("what was given to Client as a token is none, or not whole") from None


def _ambiguous(text: str, found: tuple[RunSummary, ...]) -> UsageError:
    listed = [f"{run.run_id}  {run.flow}  {run.state}" for run in found[:MAX_CANDIDATES]]
    if len(found) > MAX_CANDIDATES:
        listed.append("… and more")
    return UsageError(f"several runs begin with {text!r}", hint="write more of its id:\n    " + "\n    ".join(listed))
