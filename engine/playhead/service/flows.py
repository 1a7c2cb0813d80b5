"""Flows: their registrations, and which of them a run may name. Owns the streams of flows."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import orjson

from playhead.core import events as ev
from playhead.core.names import Micros, Position, Version, flow_stream
from playhead.core.replay import event_of, to_append
from playhead.core.schedules import check_schedule
from playhead.core.views import iso
from playhead.errors import BadSchedule, NotFound, Refused, WrongVersion
from playhead.ports.clock import Clock
from playhead.ports.server import FlowView
from playhead.ports.store import Append, EventStore, Recorded
from playhead.service.clockwork import scheduled_flow
from playhead.service.folds import Folds, one_by_one
from playhead.service.locks import KeyedLocks
from playhead.service.read_models import ReadModels, Row

MAX_REGISTRATIONS: Final = 10_000  # kept in memory, of all flows together

_TRIES: Final = 5  # a registration competes with others of the same flow only


@dataclass(frozen=True, slots=True)
class FlowState:
    """All registrations of a flow, the newest last."""

    version: Version
    position: Position  # of the newest, in the log
    registered_at: Micros
    registrations: tuple[ev.FlowRegistered, ...]


class Flows:
    def __init__(self, store: EventStore, models: ReadModels, clock: Clock) -> None:
        self._store = store
        self._models = models
        self._clock = clock
        self._states = Folds(
            store, one_by_one(_step), weight=lambda s: len(s.registrations), max_weight=MAX_REGISTRATIONS
        )
        self._locks = KeyedLocks()

    async def register(self, registered: ev.FlowRegistered) -> Position:
        """Where the registration is in the log. Registering what is registered already writes nothing. BadSchedule."""
        if registered.schedule is not None:
            _check(registered.schedule)
        stream = flow_stream(registered.flow)
        async with self._locks.hold(stream):
            for _ in range(_TRIES):
                state = await self._states.fresh(stream)
                fact = registered if state is None else _with_presets(registered, state.registrations[-1])
                if state is not None and state.registrations[-1] == fact:
                    return state.position
                append = Append(
                    stream=stream,
                    events=(to_append(fact),),
                    expected=state.version if state is not None else Version(0),
                    append_id=self._clock.new_id(),
                    actor="client",
                    recorded_at=self._clock.now(),
                )
                try:
                    ack = await self._store.append(append)
                    self._states.forget(stream, before=ack.version)
                    return ack.last
                except WrongVersion:
                    continue
        raise Refused(f"flow {registered.flow} is being registered by others", code="busy", hint="ask again")

    async def newest(self, flow: str) -> ev.FlowRegistered:
        """The newest registration. NotFound."""
        state = await self._states.fresh(flow_stream(flow))
        if state is None:
            raise await self._no_such_flow(flow)
        return state.registrations[-1]

    async def sealed(self, flow: str, seal: str) -> ev.FlowRegistered:
        """The registration with that seal. NotFound: no such flow, or a seal that it never had."""
        state = await self._states.known(flow_stream(flow))
        if state is None or all(registered.seal != seal for registered in state.registrations):
            state = await self._states.fresh(flow_stream(flow))
        if state is None:
            raise await self._no_such_flow(flow)
        for registered in reversed(state.registrations):
            if registered.seal == seal:
                return registered
        raise NotFound("seal", seal, hint=f"flow {flow} was never registered with it: register the flow first")

    async def all(self) -> tuple[FlowView, ...]:
        return tuple(_view(row) for row in await self._models.rows("flows", flow=None))

    async def one(self, flow: str) -> FlowView:
        """The flow as it was registered last. NotFound."""
        state = await self._states.known(flow_stream(flow))
        if state is not None and state.registrations[-1].schedule is None:
            return _unscheduled(flow, state)
        rows = await self._models.rows("flows", flow=flow)
        if not rows:
            raise await self._no_such_flow(flow)
        return _view(rows[0])

    def passed(self, recorded: Recorded) -> None:
        """The log's news of any stream but a run's: what is kept of a flow does not outlive its next registration."""
        self._states.forget(recorded.stream, before=recorded.version)

    async def _no_such_flow(self, flow: str) -> NotFound:
        names = [str(row["flow"]) for row in await self._models.rows("flows", flow=None)]
        near = get_close_matches(flow, names, n=1)
        return NotFound("flow", flow, hint=f"did you mean {near[0]!r}?" if near else "`playhead flows` lists the flows")


def _with_presets(registered: ev.FlowRegistered, newest: ev.FlowRegistered) -> ev.FlowRegistered:
    """Whoever registers the same seal again and says nothing of presets leaves them as they are."""
    if registered.presets is not None or registered.seal != newest.seal:
        return registered
    return registered.model_copy(update={"presets": newest.presets})


def _check(schedule: ev.Schedule) -> None:
    """BadSchedule, without the words that came: a server repeats none. The client's own check has told them before."""
    try:
        check_schedule(schedule)
    except BadSchedule as error:
        raise BadSchedule("the schedule is none that this server can follow", hint=error.hint) from None


def _step(state: FlowState | None, recorded: Recorded) -> FlowState:
    event = event_of(recorded)
    assert isinstance(event, ev.FlowRegistered), "a flow's stream holds registrations only"
    before = state.registrations if state is not None else ()
    return FlowState(recorded.version, recorded.position, recorded.recorded_at, (*before, event))


def _unscheduled(flow: str, state: FlowState) -> FlowView:
    """A view that needs no read model: only a schedule's next time depends on the runs."""
    return FlowView(
        flow=flow,
        version=state.version,
        registered_at=iso(state.registered_at) or "",
        registered=state.registrations[-1],
    )


def _view(row: Row) -> FlowView:
    return FlowView(
        flow=row["flow"],
        version=row["version"],
        registered_at=iso(row["registered_at"]) or "",
        registered=ev.FlowRegistered.model_validate(orjson.loads(row["registered"])),
        next_due=iso(_next_due(row)),
    )


def _next_due(row: Row) -> Micros | None:
    scheduled = scheduled_flow(row)
    try:
        return scheduled.next_due if scheduled is not None else None
    except BadSchedule:  # registered at a server that knows more time zones; the clockwork logs it
        return None
