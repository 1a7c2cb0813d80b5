"""A `ServerApi` that answers from a script and remembers what it was asked: for tests of what carries requests, not of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

from pydantic_core import to_json

from playhead.core import events as ev
from playhead.core.events import FlowRegistered, Origin, SealedBy
from playhead.core.names import Micros, Position, StreamName, Version
from playhead.core.state import RunStatus
from playhead.core.tokens import SECRET_BYTES, Scope, Token
from playhead.core.views import RunSummary, RunView
from playhead.core.waiting import RunWaiting, WaitsFor
from playhead.errors import CursorRefused, EpochOver, Unauthenticated
from playhead.ports import server as port
from playhead.ports.access import Admission, Guarded
from playhead.ports.store import Recorded

RUN = "0123456789abcdef0123456789abcdef"
HEX = "00112233445566778899aabbccddeeff"
PAGE_EVENTS = 10

REGISTERED = FlowRegistered(
    flow="crawl", seal=HEX, sealed_by=SealedBy.MODULE, parameters=("urls",), tasks=("fetch",), executor="thread",
    run_config="universal", labels=("gpu",), storage=HEX, key_id=HEX,
    schedule=ev.Schedule(id=HEX, cron="0 6 * * *", tz="Europe/Paris"),
)  # fmt: skip
SCHEDULED = ev.RunScheduled(
    run=RUN, flow="crawl", seal=HEX, origin=Origin.EMBEDDED, scheduled_for=7, executor="thread",
    run_config="universal", storage=HEX, key_id=HEX,
)  # fmt: skip
JOINED = ev.AgentJoined(
    agent="brisk-otter", kind="local", capacity=4, storages=(HEX,), key_ids=(HEX,), python="3.11", version="0.1.0"
)
FLOW = port.FlowView(flow="crawl", version=1, registered_at="2026-01-01T00:00:00Z", registered=REGISTERED)
ACCEPTED = port.Accepted(run=RUN, state=RunStatus.READY, position=3)
AGENT = port.AgentView(
    agent="brisk-otter", kind="local", labels=(), capacity=4, storages=(HEX,), key_ids=(HEX,), python="3.11",
    version="0.1.0", state="joined", joined_at="2026-01-01T00:00:00Z", last_contact_seconds=0.5, runs=(RUN,),
)  # fmt: skip
CLAIMED = port.Claimed(
    run=RUN, epoch=1, grant=HEX, flow="crawl", seal=HEX, origin=Origin.ASKED, schedule_id=None, scheduled_for=7,
    executor="thread", run_config="universal", labels=(), storage=HEX, key_id=HEX, lease_seconds=15.0,
)  # fmt: skip
STARTED = port.Started(lease_seconds=15.0, cancelling=False, reported=(3, 0), scheduled_for=7, flow="crawl")
TOKEN = port.TokenView(
    name="ci", scope=Scope.CLIENT, state="live", created_at="2026-01-01T00:00:00Z", expires_at="2026-04-01T00:00:00Z"
)
REPORTED = port.Reported(position=9, state=RunStatus.RUNNING, cancelling=False)


def waiting() -> RunWaiting:
    return RunWaiting(
        run_id=RUN, flow="crawl", state=RunStatus.READY, waits_for=WaitsFor.AGENT, because="no agent has ever joined",
        help="start one", lost=None, due=None, agents=(), tasks=(),
    )  # fmt: skip


def view(state: RunStatus = RunStatus.RUNNING) -> RunView:
    return RunView(
        run_id=RUN, flow="crawl", state=state, attempt=1, origin=Origin.ASKED, created_at="2026-01-01T00:00:00Z",
        scheduled_for="2026-01-01T00:00:00Z", started_at=None, ended_at=None, agent=None, executor="thread",
        run_config="universal", labels=("gpu",), version=4, losses=0, crash=None, error=None, failed_task=None,
        counts={"running": 1}, result=None, storage=HEX, key_id=HEX, seal=HEX, maps=(), tasks=(),
    )  # fmt: skip


def summary(run: str = RUN, state: RunStatus = RunStatus.RUNNING) -> RunSummary:
    return RunSummary(
        run_id=run, flow="crawl", state=state, attempt=1, origin=Origin.ASKED, scheduled_for="2026-01-01T00:00:00Z",
        started_at=None, ended_at=None, agent=None, executor="thread", run_config="universal", labels=(), counts={},
        storage=HEX, key_id=HEX,
    )  # fmt: skip


def recorded(position: int, *, run: str = RUN, event: ev.Event | None = None) -> Recorded:
    event = event or ev.RunReady()
    return Recorded(
        position=Position(position), stream=StreamName(f"default/run/{run}"), version=Version(position),
        recorded_at=Micros(1_000_000 + position), type=event.TYPE, schema=event.SCHEMA, actor="server",
        data=ev.encode(event), append_id=f"a{position}", index=0,
    )  # fmt: skip


class ScriptedAdmission(Admission):
    """Tokens as the test puts them: `scopes` by name and digest, `runners` by run."""

    def __init__(self) -> None:
        self.scopes: dict[tuple[str, str], Scope] = {}
        self.runners: dict[str, str] = {}

    def let_in(self, name: str, scope: Scope) -> Token:
        """A token that counts."""
        token = Token(name, bytes(SECRET_BYTES))
        self.scopes[name, token.digest] = scope
        return token

    def admit(self, name: str, digest: str) -> Scope:
        try:
            return self.scopes[name, digest]
        except KeyError:
            raise Unauthenticated("no such token", code="token_unknown") from None

    async def admit_runner(self, run: str, digest: str) -> None:
        if self.runners.get(run) != digest:
            raise EpochOver("another's")

    def can_be_entered(self) -> bool:
        return bool(self.scopes)


class ScriptedApi(Guarded):
    """`calls` are (method, arguments); `fails` is raised by every method until it is taken away."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {}
        self.fails: BaseException | None = None
        self.log: list[Recorded] = []
        self.subscriptions = 0  # open now
        self.pages_taken = 0
        self._news = asyncio.Condition()
        self._admission = ScriptedAdmission()

    @property
    def admission(self) -> ScriptedAdmission:
        return self._admission

    def _asked(self, method: str, *arguments: object) -> Any:
        self.calls.append((method, arguments))
        if self.fails is not None:
            raise self.fails
        return self.answers.get(method)

    async def add(self, *events: Recorded) -> None:
        async with self._news:
            self.log.extend(events)
            self._news.notify_all()

    async def info(self) -> port.ServerInfo:
        self._asked("info")
        return port.ServerInfo(
            version="0.1.0", log_id="log", position=len(self.log), cursor=str(len(self.log)), now=1, lease_seconds=15.0
        )

    async def register_flow(self, registered: FlowRegistered) -> port.FlowView:
        return cast("port.FlowView", self._asked("register_flow", registered) or FLOW)

    async def flows(self, *, after: int = 0) -> tuple[port.FlowView, ...]:
        return cast("tuple[port.FlowView, ...]", self._asked("flows", after) or (FLOW, FLOW))

    async def flow(self, name: str, *, after: int = 0) -> port.FlowView:
        return cast("port.FlowView", self._asked("flow", name, after) or FLOW)

    async def ask_run(self, request: port.RunRequest) -> port.Accepted:
        return cast("port.Accepted", self._asked("ask_run", request) or ACCEPTED)

    async def ask_preset(self, request: port.PresetRequest) -> port.Accepted:
        return cast("port.Accepted", self._asked("ask_preset", request) or ACCEPTED)

    async def begin_embedded(self, request: port.EmbeddedRunRequest) -> port.Accepted:
        return cast("port.Accepted", self._asked("begin_embedded", request) or ACCEPTED)

    async def runs(
        self, which: port.RunFilter, *, page: str | None = None, limit: int = 50, after: int = 0
    ) -> port.RunPage:
        default = port.RunPage(runs=(summary(),), next="more", position=3)
        return cast("port.RunPage", self._asked("runs", which, page, limit, after) or default)

    async def run(self, run: str, *, at: int | None = None, tasks: bool = True, after: int = 0) -> RunView:
        return cast("RunView", self._asked("run", run, at, tasks, after) or view())

    async def run_json(self, run: str, *, at: int | None = None, tasks: bool = True, after: int = 0) -> Sequence[bytes]:
        return [to_json(await self.run(run, at=at, tasks=tasks, after=after))]

    async def why(self, run: str, *, task: str | None = None, after: int = 0) -> RunWaiting:
        return cast("RunWaiting", self._asked("why", run, task, after) or waiting())

    async def history(self, run: str, *, after_version: int = 0) -> AsyncIterator[Recorded]:
        self._asked("history", run, after_version)
        for event in self.log[after_version:]:
            yield event

    async def reconcile(self, run: str, request: port.ReconcileRequest) -> port.Accepted:
        return cast("port.Accepted", self._asked("reconcile", run, request) or ACCEPTED)

    async def cancel(self, run: str) -> port.Accepted:
        return cast("port.Accepted", self._asked("cancel", run) or ACCEPTED)

    async def join(self, hello: port.AgentHello) -> None:
        self._asked("join", hello)

    async def agent_beat(self, agent: str) -> None:
        self._asked("agent_beat", agent)

    async def drain(self, agent: str) -> None:
        self._asked("drain", agent)

    async def leave(self, agent: str) -> None:
        self._asked("leave", agent)

    async def agents(self, *, after: int = 0) -> tuple[port.AgentView, ...]:
        return cast("tuple[port.AgentView, ...]", self._asked("agents", after) or (AGENT,))

    async def claim(self, run: str, request: port.ClaimRequest) -> port.Claimed:
        return cast("port.Claimed", self._asked("claim", run, request) or CLAIMED)

    async def release(self, run: str, request: port.ReleaseRequest) -> None:
        self._asked("release", run, request)

    async def died(self, run: str, request: port.DiedRequest) -> None:
        self._asked("died", run, request)

    async def start(self, run: str, request: port.StartRequest) -> port.Started:
        return cast("port.Started", self._asked("start", run, request) or STARTED)

    async def heartbeat(self, run: str, request: port.HeartbeatRequest) -> port.Beat:
        beat = port.Beat(lease_seconds=15.0, cancelling=True)
        return cast("port.Beat", self._asked("heartbeat", run, request) or beat)

    async def report(self, run: str, request: port.ReportRequest) -> port.Reported:
        return cast("port.Reported", self._asked("report", run, request) or REPORTED)

    async def create_token(self, request: port.TokenRequest) -> port.TokenView:
        return cast("port.TokenView", self._asked("create_token", request) or TOKEN)

    async def tokens(self) -> tuple[port.TokenView, ...]:
        return cast("tuple[port.TokenView, ...]", self._asked("tokens") or (TOKEN,))

    async def revoke_token(self, name: str) -> port.TokenView:
        return cast("port.TokenView", self._asked("revoke_token", name) or TOKEN)

    def events(
        self, *, cursor: str | None = None, which: port.EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[port.EventPage]]:
        return self._events(cursor, which or port.EventFilter())

    @asynccontextmanager
    async def _events(
        self, cursor: str | None, which: port.EventFilter
    ) -> AsyncGenerator[AsyncIterator[port.EventPage]]:
        """The cursor is a position; one beyond the log is refused, as it would be of another log."""
        self._asked("events", cursor, which)
        position = int(cursor or 0)
        if position > len(self.log):
            raise CursorRefused("the cursor is beyond the head of this log")
        self.subscriptions += 1
        try:
            yield self._pages(position, which)
        finally:
            self.subscriptions -= 1

    async def _pages(self, position: int, which: port.EventFilter) -> AsyncIterator[port.EventPage]:
        while True:
            async with self._news:
                await self._news.wait_for(lambda: len(self.log) > position or self.fails is not None)
            if self.fails is not None:
                raise self.fails
            scanned = self.log[position : position + PAGE_EVENTS]
            position += len(scanned)
            self.pages_taken += 1
            fitting = tuple(event for event in scanned if not which.types or event.type in which.types)
            yield port.EventPage(events=fitting, cursor=str(position))

    async def break_streams(self, error: BaseException) -> None:
        """Open subscriptions raise it, as does every request, until `fails` is taken away."""
        async with self._news:
            self.fails = error
            self._news.notify_all()
