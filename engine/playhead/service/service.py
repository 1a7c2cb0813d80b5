"""The service: every request of `ServerApi` carried out in this process. Owns the parts and their background work.

It puts commands, read models, leases and clockwork together and holds no rules of its own: what a run allows is decided in
`playhead.core`, and how decisions are written is `RunCommands`' work.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio

from playhead import __version__
from playhead.core import events as ev
from playhead.core.decide import Cancel, Claim, Lose, Reconcile, Release, Report, Start
from playhead.core.names import AgentId, Epoch, Position, Seq
from playhead.core.replay import Replay
from playhead.core.state import RunState, RunStatus
from playhead.core.views import RunView
from playhead.core.waiting import RunWaiting
from playhead.errors import UsageError
from playhead.failpoints import reach
from playhead.ports.access import Guarded
from playhead.ports.clock import Clock
from playhead.ports.server import (
    Accepted,
    AgentHello,
    AgentView,
    Beat,
    Claimed,
    ClaimRequest,
    DiedRequest,
    EmbeddedRunRequest,
    EventFilter,
    EventPage,
    FlowView,
    HeartbeatRequest,
    PresetRequest,
    ReconcileRequest,
    ReleaseRequest,
    Reported,
    ReportRequest,
    RunFilter,
    RunPage,
    RunRequest,
    ServerInfo,
    Started,
    StartRequest,
    TokenRequest,
    TokenView,
)
from playhead.ports.store import EventStore, Recorded
from playhead.service.agents import Agents
from playhead.service.asking import ask, ask_preset, begin_embedded
from playhead.service.background import persist
from playhead.service.broadcast import Broadcast
from playhead.service.clock import SystemClock
from playhead.service.clockwork import Clockwork
from playhead.service.commands import Done, RunCommands, runner_events
from playhead.service.flows import Flows
from playhead.service.folds import Folds
from playhead.service.leadership import Leadership
from playhead.service.leases import Leases
from playhead.service.projector import Projector
from playhead.service.queries import Queries
from playhead.service.read_models import ReadModels
from playhead.service.settings import ServiceSettings
from playhead.service.signs import Signs
from playhead.service.snapshots import Snapshots
from playhead.service.sweep import Sweep
from playhead.service.tokens import Tokens
from playhead.service.waiting import Waiting

MAX_TASK_STATES: Final = 500_000  # task states kept in memory, of all runs together: some hundred megabytes

_log = logging.getLogger(__name__)


class Service(Guarded):
    """An async context manager over an open store. `read_models` is a file that it owns, or None to keep them in memory.

    Entering returns when the read models have seen the whole log; leaving stops the background work and leaves the store
    open. A log that holds an event which this version does not know, or which the lifecycle forbids, is an error on
    entering; found later, it ends the block with that error in an exception group.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        read_models: Path | None = None,
        settings: ServiceSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._settings = settings or ServiceSettings()
        self._clock = clock or SystemClock()
        self._models = ReadModels(read_models, store, self._clock)
        self._snapshots = Snapshots(store, self._models)
        self._states = Folds[RunState](
            store, Replay, weight=_weight, max_weight=MAX_TASK_STATES, recall=self._snapshots.latest
        )
        self._agents = Agents(store, self._models, self._clock)
        self._leases = Leases(self._clock, self._settings, self._agents.heard)
        self._leadership = Leadership(store.shared, self._clock, self._settings, self._leases.renew)
        self._signs = Signs(store.shared, self._clock)
        self._commands = RunCommands(store, self._states, self._leases.observe)
        self._clockwork = Clockwork(self._models, self._commands, self._clock, self._leadership)
        self._sweep = Sweep(
            store,
            self._models,
            self._commands,
            self._clock,
            self._settings,
            leases=self._leases,
            agents=self._agents,
            signs=self._signs,
            leadership=self._leadership,
        )
        self._flows = Flows(store, self._models, self._clock)
        self._tokens = Tokens(store, self._models, self._states, self._clock)
        self._queries = Queries(store, self._models, self._states, self._snapshots)
        self._waiting = Waiting(store, self._queries, self._agents, self._clock, self._settings)
        self._projector = Projector(
            store,
            self._models,
            self._states,
            self._snapshots,
            observe=self._leases.observe,
            passed=self._passed,
            wake=self._clockwork.wake,
            spoke=self._leases.spoke if store.shared is not None else None,
        )
        self._broadcast = Broadcast(store)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._models)
            await self._snapshots.open()
            await self._tokens.open()
            await self._projector.catch_up()
            active = [await self._queries.state(row["run"]) for row in await self._models.rows("active")]
            if self._store.restored is not None:
                await self._forget_leases(active, self._store.restored)
            else:
                for state in active:
                    self._leases.observe(state)
            stack.push_async_callback(self._leadership.resign)
            background = await stack.enter_async_context(anyio.create_task_group())
            self._broadcast.begin(self._models.position)
            stack.callback(self._broadcast.close)
            alone = (self._broadcast.run, self._projector.follow, self._clockwork.run, self._sweep.run)
            beside_others = (self._leadership.run, self._signs.run)
            for work in alone if self._store.shared is None else (*alone, *beside_others):
                background.start_soon(persist, work, self._clock)
            stack.callback(background.cancel_scope.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if isinstance(error, anyio.get_cancelled_exc_class()):
            return await self._stack.__aexit__(kind, error, trace)
        await self._stack.aclose()  # not told of the block's error, which the task group would put into a group
        return None

    async def _forget_leases(self, active: Sequence[RunState], had_ended: Position) -> None:
        """The log is an older copy of itself: whoever holds a lease by it may be long over, and another at work (DURABILITY 5).

        Counted against nobody, as it is not the runs' doing. What their journals hold is adopted; a journal of an epoch that this log
        does not know is seen on the user's side, before anything is started.
        """
        _log.warning(
            "the log ends at position %d and had once come to %d: it is an older copy of itself. Cursors into what it has forgotten"
            " are refused, and %d leases are taken back. Runs of which storage knows more are held: `playhead reconcile RUN`",
            await self._store.head(),
            had_ended,
            len(active),
        )
        for state in active:
            epoch = state.head.epoch
            command = Lose(epoch=epoch, reason=ev.LossReason.DRAINED, now=self._clock.now())
            await self._commands.carry_out(state.head.run, command, append_id=f"lose.{epoch}", actor="server")
        await self._store.accept_restored()

    @property
    def leads(self) -> bool:
        """Whether this server does what one of those on its log does for all: takes leases back, follows schedules."""
        return self._leadership.leads

    # --- flows and runs ---------------------------------------------------------------------------------------------

    async def info(self) -> ServerInfo:
        position = await self._store.head()
        return ServerInfo(
            version=__version__,
            log_id=self._store.log_id,
            position=position,
            cursor=await self._broadcast.cursor_at(position),
            now=self._clock.now(),
            lease_seconds=self._settings.lease_seconds,
        )

    async def register_flow(self, registered: ev.FlowRegistered) -> FlowView:
        await self._reached(await self._flows.register(registered))
        return await self._flows.one(registered.flow)

    async def flows(self, *, after: int = 0) -> tuple[FlowView, ...]:
        await self._reached(after)
        return await self._flows.all()

    async def flow(self, name: str, *, after: int = 0) -> FlowView:
        await self._reached(after)
        return await self._flows.one(name)

    async def ask_run(self, request: RunRequest) -> Accepted:
        registered = await self._flows.sealed(request.flow, request.seal)
        done = await ask(self._commands, request, registered, self._clock.now())
        reach("run.asked")
        return _accepted(done)

    async def ask_preset(self, request: PresetRequest) -> Accepted:
        if request.nonce is None:
            request = request.model_copy(update={"nonce": self._clock.new_id()})
        registered = await self._flows.newest(request.flow)
        return _accepted(await ask_preset(self._commands, request, registered, self._clock.now()))

    async def begin_embedded(self, request: EmbeddedRunRequest) -> Accepted:
        return _accepted(await begin_embedded(self._commands, request, self._clock.now()))

    async def runs(self, which: RunFilter, *, page: str | None = None, limit: int = 50, after: int = 0) -> RunPage:
        await self._reached(after)
        return await self._queries.page(which, page, limit)

    async def run(self, run: str, *, at: int | None = None, tasks: bool = True, after: int = 0) -> RunView:
        await self._reached(after)
        return await self._queries.view(run, at, tasks=tasks)

    async def run_json(self, run: str, *, at: int | None = None, tasks: bool = True, after: int = 0) -> Sequence[bytes]:
        await self._reached(after)
        return await self._queries.view_json(run, at, tasks=tasks)

    async def why(self, run: str, *, task: str | None = None, after: int = 0) -> RunWaiting:
        await self._reached(after)
        return await self._waiting.why(run, task)

    def history(self, run: str, *, after_version: int = 0) -> AsyncIterator[Recorded]:
        return self._queries.history(run, after_version)

    async def cancel(self, run: str) -> Accepted:
        await self._queries.state(run)  # so that an unknown run is told with its nearest
        command = Cancel(now=self._clock.now())
        return _accepted(await self._commands.carry_out(run, command, append_id="cancel", actor="client"))

    async def reconcile(self, run: str, request: ReconcileRequest) -> Accepted:
        await self._queries.state(run)  # as above
        journals = tuple((Epoch(found.epoch), found.grant) for found in request.journals)
        command = Reconcile(journals=journals, claim=self._clock.new_id(), python=request.python, now=self._clock.now())
        append_id = f"reconcile.{max(journals)[0]}"
        return _accepted(await self._commands.carry_out(run, command, append_id=append_id, actor="client"))

    def events(
        self, *, cursor: str | None = None, which: EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[EventPage]]:
        return self._broadcast.open(cursor, which or EventFilter())

    # --- agents -----------------------------------------------------------------------------------------------------

    async def join(self, hello: AgentHello) -> None:
        joined = await self._agents.join(hello.joined)
        self._signs.of_agent(hello.joined.agent)
        await self._reached(joined)

    async def agent_beat(self, agent: str) -> None:
        await self._agents.beat(agent)
        self._signs.of_agent(agent)
        await self._agents.check_joined(agent)  # the agent may have missed what was told of it

    async def drain(self, agent: str) -> None:
        await self._reached(await self._agents.drain(agent))

    async def leave(self, agent: str) -> None:
        await self._reached(await self._agents.leave(agent))

    async def agents(self, *, after: int = 0) -> tuple[AgentView, ...]:
        await self._reached(after)
        return await self._agents.all()

    async def claim(self, run: str, request: ClaimRequest) -> Claimed:
        await self.agent_beat(request.agent)
        command = Claim(
            agent=AgentId(request.agent),
            claim=request.claim,
            grant=self._clock.new_id(),
            runner=request.runner,
            now=self._clock.now(),
        )
        done = await self._commands.carry_out(
            run, command, append_id=f"claim.{request.claim}", actor=f"agent/{request.agent}"
        )
        reach("claim.granted")
        return _claimed(done, self._settings.lease_seconds)

    async def release(self, run: str, request: ReleaseRequest) -> None:
        command = Release(claim=request.claim, epoch=Epoch(request.epoch), reason=request.reason, now=self._clock.now())
        actor = await self._agent_of(run)
        await self._commands.carry_out(run, command, append_id=f"release.{request.epoch}", actor=actor)

    async def died(self, run: str, request: DiedRequest) -> None:
        if request.exit_code is not None and request.signal is not None:
            raise UsageError("a runner ends with an exit code or by a signal, not with both")
        command = Lose(
            epoch=Epoch(request.epoch),
            reason=_loss_reason(request),
            exit_code=request.exit_code,
            signal=request.signal,
            now=self._clock.now(),
        )
        actor = await self._agent_of(run)
        await self._commands.carry_out(run, command, append_id=f"lose.{request.epoch}", actor=actor)
        reach("death.acknowledged")

    # --- runners ----------------------------------------------------------------------------------------------------

    async def start(self, run: str, request: StartRequest) -> Started:
        command = Start(
            epoch=Epoch(request.epoch),
            grant=request.grant,
            storage=request.storage,
            python=request.python,
            key_scheme=request.key_scheme,
            now=self._clock.now(),
        )
        done = await self._commands.carry_out(
            run, command, append_id=f"start.{request.epoch}", actor=f"runner/{request.epoch}"
        )
        reach("start.acknowledged")
        return Started(
            lease_seconds=self._leases.beat(done.state),
            cancelling=done.state.status is RunStatus.CANCELLING,
            reported=done.state.reported,
            scheduled_for=done.state.head.scheduled_for,
            flow=done.state.head.flow,
        )

    async def heartbeat(self, run: str, request: HeartbeatRequest) -> Beat:
        epoch = Epoch(request.epoch)
        state = await self._commands.leased(run, epoch, request.grant)
        if not self._leadership.leads and self._leases.renews(state):
            # Nobody is told a term of which whoever leads may not know; nor by what this server has not yet heard.
            await self._signs.of_runner(state.head.run, epoch)
            state = await self._commands.leased(run, epoch, request.grant, newest=True)
        return Beat(lease_seconds=self._leases.beat(state), cancelling=state.status is RunStatus.CANCELLING)

    async def report(self, run: str, request: ReportRequest) -> Reported:
        command = Report(
            epoch=Epoch(request.epoch),
            grant=request.grant,
            origin=Epoch(request.origin),
            first_seq=Seq(request.first_seq),
            events=runner_events(request.events),
            now=self._clock.now(),
        )
        done = await self._commands.report(run, command)
        reach("report.acknowledged")
        self._leases.beat(done.state)
        status = done.state.status
        return Reported(position=done.position, state=status, cancelling=status is RunStatus.CANCELLING)

    # --- tokens -----------------------------------------------------------------------------------------------------

    @property
    def admission(self) -> Tokens:
        return self._tokens

    async def create_token(self, request: TokenRequest) -> TokenView:
        return await self._tokens.create(request)

    async def tokens(self) -> tuple[TokenView, ...]:
        return self._tokens.all()

    async def revoke_token(self, name: str) -> TokenView:
        return await self._tokens.revoke(name)

    # --- in the background ------------------------------------------------------------------------------------------

    def _passed(self, recorded: Recorded) -> None:
        self._agents.passed(recorded)
        self._flows.passed(recorded)
        self._tokens.passed(recorded)

    async def _reached(self, position: int) -> None:
        await self._models.wait_for(position, self._settings.behind_seconds)

    async def _agent_of(self, run: str) -> str:
        """The agent that holds the run, as an actor."""
        return f"agent/{(await self._queries.state(run)).head.agent or 'unknown'}"


def _accepted(done: Done) -> Accepted:
    return Accepted(run=done.state.head.run, state=done.state.status, position=done.position)


def _loss_reason(request: DiedRequest) -> ev.LossReason:
    if request.drained:
        return ev.LossReason.DRAINED
    if request.out_of_memory:
        return ev.LossReason.OUT_OF_MEMORY
    return ev.LossReason.EXITED if request.signal is None else ev.LossReason.SIGNALLED


def _claimed(done: Done, lease_seconds: float) -> Claimed:
    head = done.state.head
    return Claimed(
        run=head.run,
        epoch=head.epoch,
        grant=head.grant or "",
        flow=head.flow,
        seal=head.seal,
        origin=head.origin,
        schedule_id=head.schedule_id,
        scheduled_for=head.scheduled_for,
        executor=head.executor,
        run_config=head.run_config,
        labels=head.labels,
        storage=head.storage,
        key_id=head.key_id,
        preset_id=head.preset_id,
        nonce=head.nonce,
        lease_seconds=lease_seconds,
        crashed=head.status is RunStatus.CRASHED,
    )


def _weight(state: RunState) -> int:
    return 1 + state.tasks.held
