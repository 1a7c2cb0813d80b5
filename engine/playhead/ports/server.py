"""The port of the server: everything that clients, agents and runners ask of it. Facts only, never code or data.

Two things implement it: the service in this process (`playhead.service`), and the HTTP client (`playhead.client`), which speaks to
a service elsewhere. Whoever uses a server cannot tell which one it has.

Every method may raise `ServerUnreachable` (HTTP only; the request may or may not have been carried out, so ask again under the same
ids), `Refused` with a stable code, `NotFound`, and the log's errors. All requests are idempotent by the ids they carry.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from playhead.core import events as ev
from playhead.core.names import MAX_LABELS, Name, RunIdField
from playhead.core.state import RunStatus
from playhead.core.tokens import Scope
from playhead.core.views import RunSummary, RunView
from playhead.ports.store import Recorded

if TYPE_CHECKING:
    from playhead.core.waiting import RunWaiting  # a runner, which asks for much of this, never asks why it waits

MAX_BATCH_EVENTS = 2_000  # events in one report: bounds what a server holds of one request in memory
MAX_PAGE = 1_000  # rows in one answer
MAX_TOKEN_SECONDS = 366 * 86_400  # a token that is forgotten ends within a year by itself
MAX_TYPE = 64  # letters of an event's type: the vocabulary's longest has a third of them

WrittenEvent = tuple[Annotated[str, Field(max_length=MAX_TYPE)], ev.Ordinal, dict[str, Any]]  # type, schema, data


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- flows and runs -----------------------------------------------------------------------------------------------------


class FoundJournal(Message):
    """A journal in the user's storage: `runs/<run>/<epoch>-<grant>/`."""

    epoch: Annotated[int, Field(ge=1, le=1_000_000)]
    grant: ev.Hex


class ReconcileRequest(Message):
    """Journals of a run, of epochs that the log has forgotten after it was put back from an older copy."""

    journals: Annotated[tuple[FoundJournal, ...], Field(min_length=1, max_length=1_000)]
    python: ev.PythonMinor


class FlowView(Message):
    flow: Name
    version: int  # of the flow's stream: grows with each registration
    registered_at: str
    registered: ev.FlowRegistered
    next_due: str | None = None


class RunRequest(Message):
    """Ask for a run. The run's id is chosen by the client, who has signed a ticket for it; asking twice is harmless."""

    run: RunIdField
    flow: Name
    seal: ev.Hex
    at: ev.Moment | None = None  # None: now
    labels: Annotated[tuple[Name, ...], Field(max_length=MAX_LABELS)] | None = None  # None: the flow's


class PresetRequest(Message):
    """Ask for a run without the key: of the flow as it was registered last, with the parameters of one of its presets.

    The same `nonce` is the same run; None: the server chooses one, and asking twice makes two runs.
    """

    flow: Name
    preset: Name = "defaults"
    nonce: ev.Hex | None = None
    at: ev.Moment | None = None  # None: now


class EmbeddedRunRequest(Message):
    """A run that begins in the asking process: scheduled, claimed and started in one."""

    scheduled: ev.RunScheduled
    agent: Name
    claim: ev.Hex
    grant: ev.Hex
    python: ev.PythonMinor
    key_scheme: ev.Ordinal
    runner: ev.Sha256 | None = None  # digest of the token under which the process starts, beats and reports


class RunFilter(Message):
    """Which runs. `since` and `before`: by when they were created, in microseconds, `before` excluded."""

    state: tuple[RunStatus, ...] = ()
    flow: Name | None = None
    agent: Name | None = None
    since: ev.Moment | None = None
    prefix: Annotated[str, Field(pattern=r"^[0-9a-f]{0,32}$")] | None = None


class RunPage(Message):
    """Newest first. `next` is passed as `page` for the rows that follow; `position` is what the read model has seen."""

    runs: tuple[RunSummary, ...]
    next: str | None
    position: int


class Accepted(Message):
    """A command was carried out; its effect is in the log at `position`, which queries take as `after`."""

    run: str
    state: RunStatus
    position: int


# --- what an agent asks -------------------------------------------------------------------------------------------------


class AgentHello(Message):
    """An agent presents itself; joining again with the same facts writes nothing."""

    joined: ev.AgentJoined


class AgentView(Message):
    agent: Name
    kind: Name
    labels: tuple[Name, ...]
    capacity: int
    storages: tuple[str, ...]
    key_ids: tuple[str, ...]
    python: str
    version: str
    universal: bool = True  # it takes runs that name no infrastructure
    state: str  # joined | draining | left
    joined_at: str
    last_contact_seconds: float | None  # since any server last heard of it; None if none has since this one began
    runs: tuple[str, ...]  # claimed or running there


class ClaimRequest(Message):
    agent: Name
    claim: ev.Hex  # chosen by the agent; the same again gets the same epoch and grant
    runner: ev.Sha256 | None = None  # digest of the token that the agent will hand to the run's runner


class Claimed(Message):
    """A run was granted to an agent. `origin` and what belongs to it (`schedule_id` and `scheduled_for`, or `preset_id` and `nonce`)
    say which ticket proves that it was asked for."""

    run: str
    epoch: int
    grant: str
    flow: str
    seal: str
    origin: ev.Origin
    schedule_id: str | None
    scheduled_for: int
    executor: str
    run_config: str
    labels: tuple[str, ...]
    storage: str
    key_id: str
    preset_id: str | None = None
    nonce: str | None = None
    lease_seconds: float
    crashed: bool = False  # the run's budget was spent: it was ended, not granted


class ReleaseRequest(Message):
    claim: ev.Hex
    epoch: ev.Ordinal
    reason: ev.ReleaseReason


class DiedRequest(Message):
    """The runner of `epoch` is gone, with proof. Not both of `exit_code` and `signal`; neither where the end was seen, but not how."""

    epoch: ev.Ordinal
    exit_code: ev.ExitCode | None = None
    signal: ev.Signal | None = None
    drained: bool = False  # its agent ended it on purpose: counted against nobody
    out_of_memory: bool = False  # it was killed for using more than its container may


# --- what a runner asks -------------------------------------------------------------------------------------------------


class StartRequest(Message):
    epoch: ev.Ordinal
    grant: ev.Hex
    storage: ev.Hex
    python: ev.PythonMinor
    key_scheme: ev.Ordinal


class Started(Message):
    """The lease is the runner's. `reported[e - 1]`: how many records of epoch e's journal are in the log.

    What earlier epochs did, and where their journals are, a successor reads from the run's history.
    """

    lease_seconds: float
    cancelling: bool
    reported: tuple[int, ...]
    scheduled_for: int
    flow: str


class HeartbeatRequest(Message):
    epoch: ev.Ordinal
    grant: ev.Hex


class Beat(Message):
    lease_seconds: float
    cancelling: bool


class ReportRequest(Message):
    """Records `first_seq` and on of epoch `origin`'s journal, as [type, schema, data] each."""

    epoch: ev.Ordinal
    grant: ev.Hex
    origin: ev.Ordinal
    first_seq: ev.Count
    events: Annotated[tuple[WrittenEvent, ...], Field(min_length=1, max_length=MAX_BATCH_EVENTS)]


class Reported(Message):
    """Durable in the log. `state` is the run's after it; `position` the last event's."""

    position: int
    state: RunStatus
    cancelling: bool


class EventFilter(Message):
    """Which events of a stream of all: streams that begin with one of `streams`, and one of `types`; empty means all."""

    streams: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


class EventPage(Message):
    """Events in order and the cursor behind them. A page may be empty: then only the cursor has moved."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    events: tuple[Recorded, ...]
    cursor: str


# --- tokens -------------------------------------------------------------------------------------------------------------


class TokenRequest(Message):
    """A bearer token, which whoever asks has drawn and tells nobody: the server gets its digest. Asked for again: the same answer."""

    name: Name
    scope: Literal[Scope.VIEWER, Scope.CLIENT, Scope.AGENT, Scope.ADMIN]  # a runner's comes with its claim
    digest: ev.Sha256
    lifetime_seconds: Annotated[int, Field(ge=1, le=MAX_TOKEN_SECONDS)]


class TokenView(Message):
    """`state`: live, revoked or ended."""

    name: Name
    scope: Scope
    state: str
    created_at: str
    expires_at: str
    revoked_at: str | None = None


class ServerInfo(Message):
    version: str
    log_id: str
    position: int
    cursor: str  # of that position
    now: int  # the server's clock, microseconds
    lease_seconds: float


class ServerApi(Protocol):
    """See the module. `after` in queries: answer from a state that has seen this position (waits up to 5 s, then `Refused`).
    Without it, lists may be a twentieth of a second behind.
    """

    async def info(self) -> ServerInfo: ...

    async def register_flow(self, registered: ev.FlowRegistered) -> FlowView: ...
    async def flows(self, *, after: int = 0) -> tuple[FlowView, ...]: ...
    async def flow(self, name: str, *, after: int = 0) -> FlowView: ...

    async def ask_run(self, request: RunRequest) -> Accepted: ...
    async def ask_preset(self, request: PresetRequest) -> Accepted: ...
    async def begin_embedded(self, request: EmbeddedRunRequest) -> Accepted: ...
    async def runs(self, which: RunFilter, *, page: str | None = None, limit: int = 50, after: int = 0) -> RunPage: ...

    async def run(self, run: str, *, at: int | None = None, tasks: bool = True, after: int = 0) -> RunView:
        """The run now, or as it was at version `at` of its stream."""
        ...

    async def why(self, run: str, *, task: str | None = None, after: int = 0) -> RunWaiting:
        """What the run waits for now, and what would help; or that task of it. NotFound."""
        ...

    def history(self, run: str, *, after_version: int = 0) -> AsyncIterator[Recorded]:
        """All events of the run's stream with version > `after_version`."""
        ...

    async def cancel(self, run: str) -> Accepted: ...

    async def reconcile(self, run: str, request: ReconcileRequest) -> Accepted:
        """Tell a ready run's log of epochs that it has forgotten: whoever claims it next adopts what their journals hold."""
        ...

    async def join(self, hello: AgentHello) -> None: ...
    async def agent_beat(self, agent: str) -> None:
        """A sign of life. It counts also where Refused says "draining" or "left": the agent may have missed that it was told so."""
        ...

    async def drain(self, agent: str) -> None:
        """It is granted no more runs, and ends when those that it has have ended. Joining again ends that."""
        ...

    async def leave(self, agent: str) -> None: ...
    async def agents(self, *, after: int = 0) -> tuple[AgentView, ...]: ...
    async def claim(self, run: str, request: ClaimRequest) -> Claimed: ...
    async def release(self, run: str, request: ReleaseRequest) -> None: ...
    async def died(self, run: str, request: DiedRequest) -> None: ...

    async def start(self, run: str, request: StartRequest) -> Started: ...
    async def heartbeat(self, run: str, request: HeartbeatRequest) -> Beat: ...
    async def report(self, run: str, request: ReportRequest) -> Reported: ...

    async def create_token(self, request: TokenRequest) -> TokenView:
        """It counts when this returns; at other servers on the log when they have read of it. Refused, "token_exists": the name is a live
        token's; "too_many_tokens"."""
        ...

    async def tokens(self) -> tuple[TokenView, ...]: ...

    async def revoke_token(self, name: str) -> TokenView:
        """It counts no more when this returns, and at other servers on the log when they have read of it; event streams that it opened end
        within a heartbeat. Nothing to do for one that is revoked already. NotFound."""
        ...

    def events(
        self, *, cursor: str | None = None, which: EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[EventPage]]:
        """The log as it grows, from the cursor on (None: from the beginning). Ends never by itself; raises `CursorRefused`."""
        ...
