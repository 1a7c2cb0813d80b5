"""Asking for runs: from a request to the facts of a new run. Decides whether a run that is there is the one asked for."""

from __future__ import annotations

from playhead.core import events as ev
from playhead.core.decide import Claim, Decision, ScheduleRun, Start, decide
from playhead.core.names import AgentId, Epoch, Micros
from playhead.core.run_ids import preset_run_id
from playhead.core.state import RunState
from playhead.errors import NotFound, Refused
from playhead.ports.server import EmbeddedRunRequest, PresetRequest, RunRequest
from playhead.service.commands import Done, Request, RunCommands


async def ask(commands: RunCommands, request: RunRequest, registered: ev.FlowRegistered, now: Micros) -> Done:
    """A run of this registration. Asked for again: the same answer. Refused, "other_run": the id is another run's."""
    scheduled = ev.RunScheduled(
        run=request.run,
        flow=request.flow,
        seal=request.seal,
        origin=ev.Origin.ASKED,
        scheduled_for=request.at if request.at is not None else now,
        executor=registered.executor,
        run_config=registered.run_config,
        labels=registered.labels if request.labels is None else request.labels,
        storage=registered.storage,
        key_id=registered.key_id,
        python=registered.python,
    )

    def asked(state: RunState | None) -> Decision:
        if state is not None:
            head = state.head
            same_time = request.at is None or request.at == head.scheduled_for
            same_labels = request.labels is None or request.labels == head.labels
            same_facts = (head.flow, head.seal, head.origin) == (request.flow, request.seal, ev.Origin.ASKED)
            if not (same_facts and same_time and same_labels):
                raise _other_run(request.run)
        return decide(state, ScheduleRun(scheduled=scheduled, now=now))

    return await commands.settle(
        Request(run=request.run, append_id="scheduled", actor="client", now=now), asked, begins=True
    )


async def ask_preset(commands: RunCommands, request: PresetRequest, registered: ev.FlowRegistered, now: Micros) -> Done:
    """A run with a preset's parameters. The same nonce: the same run, as it was asked for first. NotFound: no such preset."""
    assert request.nonce is not None, "whoever leaves it to the server got one"
    preset = next((each for each in registered.presets or () if each.name == request.preset), None)
    if preset is None:
        names = ", ".join(each.name for each in registered.presets or ())
        raise NotFound(
            "preset",
            request.preset,
            hint=f"flow {request.flow} has {names}" if names else "sign one: playhead register FLOW --preset NAME -p …",
        )
    scheduled = ev.RunScheduled(
        run=preset_run_id(request.flow, preset.id, request.nonce),
        flow=request.flow,
        seal=registered.seal,
        origin=ev.Origin.PRESET,
        scheduled_for=request.at if request.at is not None else now,
        executor=registered.executor,
        run_config=registered.run_config,
        labels=registered.labels,
        storage=registered.storage,
        key_id=registered.key_id,
        python=registered.python,
        preset_id=preset.id,
        nonce=request.nonce,
    )

    def asked(state: RunState | None) -> Decision:
        same_time = state is None or request.at is None or request.at == state.head.scheduled_for
        if not same_time:
            raise _other_run(scheduled.run)
        return decide(state, ScheduleRun(scheduled=scheduled, now=now))

    return await commands.settle(
        Request(run=scheduled.run, append_id="scheduled", actor="client", now=now), asked, begins=True
    )


async def begin_embedded(commands: RunCommands, request: EmbeddedRunRequest, now: Micros) -> Done:
    """A run that the asking process runs itself: scheduled, ready, claimed and started in one append."""
    scheduled = request.scheduled
    if scheduled.origin is not ev.Origin.EMBEDDED:
        raise Refused("only a run of embedded origin begins in its own process", code="not_embedded")
    grant = Claim(
        agent=AgentId(request.agent), claim=request.claim, grant=request.grant, runner=request.runner, now=now
    )
    start = Start(
        epoch=Epoch(1),
        grant=request.grant,
        storage=scheduled.storage,
        python=request.python,
        key_scheme=request.key_scheme,
        now=now,
    )

    def begun(state: RunState | None) -> Decision:
        if state is not None:
            if (state.head.claim, state.head.grant, state.head.flow) != (request.claim, request.grant, scheduled.flow):
                raise _other_run(scheduled.run)
            return Decision((), state)
        events: tuple[ev.RunEvent, ...] = ()
        for command in (ScheduleRun(scheduled=scheduled, now=now), grant, start):
            decision = decide(state, command)
            events, state = (*events, *decision.events), decision.after
        assert state is not None
        return Decision(events, state)

    return await commands.settle(
        Request(run=scheduled.run, append_id="begun", actor="client", now=now), begun, begins=True
    )


def _other_run(run: str) -> Refused:
    return Refused(
        f"run {run} is there already, and is another run than the one asked for",
        code="other_run",
        hint="choose a new run id",
    )
