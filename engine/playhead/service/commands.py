"""Carrying out commands on runs: decide on the run's state, append what was decided. Owns the order of commands on a stream.

One command at a time for each run, from decision to outcome. A state from the cache may be behind the log, so only an
append that fits the log's version, or a look into the log, makes an answer final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import ValidationError

from playhead.core import events as ev
from playhead.core.decide import Command, Decision, Report, ScheduleRun, check_grant, decide, is_repeat
from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version, run_stream
from playhead.core.replay import to_append
from playhead.core.state import RunState
from playhead.errors import AppendMismatch, EpochOver, IllegalEvent, NotFound, Refused, WrongVersion
from playhead.ports.store import Ack, Append, EventStore
from playhead.service.folds import Folds
from playhead.service.locks import KeyedLocks

MAX_DECISIONS: Final = 5  # of one command: only other replicas can make it decide again, and they do not do so for ever

Decide = Callable[[RunState | None], Decision]


@dataclass(frozen=True, slots=True)
class Done:
    """A command was carried out, now or before: its effect is in `state` and in the log at `position`."""

    state: RunState
    position: Position
    events: tuple[ev.RunEvent, ...] = ()  # what it made happen; none if it was carried out before


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How a decision is written: under which append id, by whom, and for a runner's batch which records it holds."""

    run: str
    append_id: str
    actor: str
    now: Micros
    epoch: Epoch | None = None
    first_seq: Seq | None = None


class _CameBefore(Exception):
    """A runner's batch begins before what is recorded."""


class RunCommands:
    """`observe` is told each state that a command led to."""

    def __init__(self, store: EventStore, states: Folds[RunState], observe: Callable[[RunState], None]) -> None:
        self._store = store
        self._states = states
        self._observe = observe
        self._locks = KeyedLocks()

    async def carry_out(self, run: str, command: Command, *, append_id: str, actor: str) -> Done:
        """Decide and append. Raises what `decide` raises, NotFound, and the log's errors."""
        request = Request(run=run, append_id=append_id, actor=actor, now=command.now)
        begins = isinstance(command, ScheduleRun)
        return await self.settle(request, lambda state: decide(state, command), begins=begins)

    async def report(self, run: str, command: Report) -> Done:
        """A runner's batch. One that came before gets its first answer; AppendMismatch if it now says something else."""
        stream = run_stream(run)
        request = Request(
            run=run,
            append_id=f"r.{command.origin}.{command.first_seq}",
            actor=f"runner/{command.epoch}",
            now=command.now,
            epoch=command.origin,
            first_seq=command.first_seq,
        )

        def decided(state: RunState | None) -> Decision:
            if state is not None and is_repeat(state, command):
                check_grant(state, command.epoch, command.grant)
                raise _CameBefore
            return decide(state, command)

        async with self._locks.hold(stream):
            try:
                return await self._settle(request, stream, await self._states.known(stream), decided)
            except _CameBefore:  # here or, as a state that was behind did not know, at another server
                return await self._repeat(request, stream, command.events)

    async def leased(self, run: str, epoch: Epoch, grant: str, *, newest: bool = False) -> RunState:
        """The state of a run whose lease is held under this epoch and grant. EpochOver if it is not; NotFound.

        `newest`: by the log as it is now, and not by what is kept, which says that it is held until the news comes that it is not.
        """
        stream = run_stream(run)
        state = None if newest else await self._states.known(stream)
        if state is None or (state.head.epoch, state.head.grant) != (epoch, grant) or not state.status.leased:
            state = await self._states.fresh(stream)
        if state is None:
            raise no_such_run(run)
        check_grant(state, epoch, grant)
        if not state.status.leased:
            raise EpochOver(f"epoch {epoch} of run {run} is over: the run is {state.status}")
        return state

    async def settle(self, request: Request, decide: Decide, *, begins: bool = False) -> Done:
        """Append what `decide` makes of the run's newest state; an empty decision is answered from the log as it is.

        `begins`: the request brings its run into being, so that a run of which nothing is kept is taken for new without a look
        into the log. Where it is not, the append says so, and is decided again.
        """
        stream = run_stream(request.run)
        async with self._locks.hold(stream):
            state = self._states.kept(stream) if begins else await self._states.known(stream)
            return await self._settle(request, stream, state, decide)

    async def _settle(self, request: Request, stream: StreamName, state: RunState | None, decide: Decide) -> Done:
        for _ in range(MAX_DECISIONS):
            try:
                decision = decide(state)
                if decision.events:
                    return await self._append(request, stream, state, decision)
            except (WrongVersion, AppendMismatch):
                state = await self._states.fresh(stream)
                continue
            except (Refused, EpochOver, IllegalEvent) as refusal:
                newest = await self._states.fresh(stream)
                if _version(newest) == _version(state):
                    if newest is None and refusal.code == "unknown_run":
                        raise no_such_run(request.run) from None
                    raise
                state = newest
                continue
            # Nothing to do, says a state that may be behind.
            newest = await self._states.fresh(stream)
            if newest is not None and newest.version == decision.after.version:
                return Done(newest, await self._store.head())
            state = newest
        raise Refused(f"run {request.run} is too busy", code="busy", hint="ask again")

    async def _append(self, request: Request, stream: StreamName, state: RunState | None, decision: Decision) -> Done:
        append = _to_append(request, stream, decision.events, _version(state))
        # Whatever this raises, the kept state stays right as far as it goes: at worst the log is ahead of it.
        ack = await self._store.append(append)
        after = decision.after
        if ack.duplicate:
            after = await self._newest(stream)
        self._states.keep(stream, after)
        self._observe(after)
        return Done(after, ack.last, decision.events)

    async def _repeat(self, request: Request, stream: StreamName, events: Iterable[ev.RunEvent]) -> Done:
        """Records that are in the log already: only their append id can tell whether it was this batch that brought them."""
        try:
            ack: Ack = await self._store.append(_to_append(request, stream, events, Version(0)))
        except WrongVersion:
            raise Refused(
                f"record {request.first_seq} of epoch {request.epoch} was reported before in another batch",
                code="sequence_gap",
                hint="a batch that was not acknowledged is sent again as it was",
            ) from None
        return Done(await self._newest(stream), ack.last)

    async def _newest(self, stream: StreamName) -> RunState:
        state = await self._states.fresh(stream)
        assert state is not None, "a stream to which was appended has a state"
        return state


def runner_events(items: Sequence[tuple[str, int, dict[str, Any]]]) -> tuple[ev.RunnerEvent, ...]:
    """A batch as it came over the wire. Errors never repeat what it holds: it may be what the server must not know."""
    return tuple(_runner_event(index, *item) for index, item in enumerate(items))


def no_such_run(run: str) -> NotFound:
    return NotFound("run", run, hint="`playhead runs` lists the runs")


def _version(state: RunState | None) -> Version:
    return state.version if state is not None else Version(0)


def _runner_event(index: int, type_name: str, schema: int, data: dict[str, Any]) -> ev.RunnerEvent:
    validate = _VALIDATORS.get((type_name, schema))
    if validate is not None:
        try:
            return cast("ev.RunnerEvent", validate(data))
        except ValidationError:
            pass  # told below, in words that do not repeat it
    cls = ev.EVENT_TYPES.get(type_name)
    if cls is None or not issubclass(cls, ev.RunnerEvent):
        raise Refused(f"event {index} of the batch is of no type that runners report", code="not_a_runner_event")
    event = ev.decode(type_name, schema, data)
    assert isinstance(event, ev.RunnerEvent)
    return event


# Each type as runners of today report it. pydantic's core by itself: the way through `ev.decode` takes twice as long, and a
# wide map reports thousands.
_VALIDATORS: Final = {
    (cls.TYPE, cls.SCHEMA): cls.__pydantic_validator__.validate_python
    for cls in ev.EVENT_TYPES.values()
    if issubclass(cls, ev.RunnerEvent)
}


def _to_append(request: Request, stream: StreamName, events: Iterable[ev.RunEvent], expected: Version) -> Append:
    new = tuple(to_append(event) for event in events)
    # A late outcome is the server's own fact about a batch that came too late: no record of a journal.
    late = new[0].type == ev.RunLate.TYPE
    return Append(
        stream=stream,
        events=new,
        expected=expected,
        append_id=f"late.{request.epoch}" if late else request.append_id,
        actor="server" if late else request.actor,
        recorded_at=request.now,
        epoch=None if late else request.epoch,
        first_seq=None if late else request.first_seq,
    )
