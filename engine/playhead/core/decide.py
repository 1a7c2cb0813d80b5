"""Decisions on a run: a command and a state give events. Pure; owns no state, reads no clock, makes no ids.

`decide` returns the events and the state after them. No events means that the command was carried out before (a repeated
request gets the same answer). A command that the state does not allow raises `Refused` with a stable code, or `EpochOver`
for a runner or agent whose time is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from playhead.core import events as ev
from playhead.core.events import CrashReason, LossReason, Origin, ReleaseReason
from playhead.core.folding import Folding, evolve, fold
from playhead.core.kinds import RunnerExit
from playhead.core.lifecycle import Stamp
from playhead.core.names import AgentId, Epoch, Micros, Seq
from playhead.core.state import RunState, RunStatus
from playhead.errors import EpochOver, Refused

MAX_LOSSES: Final = 3  # a flow that kills its process must not do so for ever (S17)
MAX_RELEASES: Final = 20  # launches that never began; more than losses, because an agent's troubles are not the flow's

MAX_RECONCILED: Final = 1_000  # epochs told again at once: budgets let no run have as many
RECONCILER: Final = "reconciled"  # in the place of the agents that had those epochs, whose names are forgotten

KEY_SCHEME: Final = 1  # how task keys are made; a runner of another scheme must not resume a run


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRun:
    """Bring a run into being. Ready at once if it is due."""

    scheduled: ev.RunScheduled
    now: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeReady:
    now: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An agent takes a ready run. The same `claim` again gets the same epoch and grant. `runner`: digest of its runner's token."""

    agent: AgentId
    claim: str
    grant: str
    runner: str | None = None
    now: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The claim goes back: the flow's code never began."""

    claim: str
    epoch: Epoch
    reason: ReleaseReason
    now: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A runner begins; no flow code before the answer."""

    epoch: Epoch
    grant: str
    storage: str
    python: str
    key_scheme: int
    now: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A runner's batch: records `first_seq` and on of the journal of epoch `origin`, reported under `epoch`'s grant."""

    epoch: Epoch
    grant: str
    origin: Epoch
    first_seq: Seq
    events: Sequence[ev.RunnerEvent]
    now: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose:
    """The runner of `epoch` is gone: with proof from its agent, or because its lease ended."""

    epoch: Epoch
    reason: LossReason
    exit_code: int | None = None
    signal: int | None = None
    now: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """Epochs that the log has forgotten, with the grants by which their journals are found in storage."""

    journals: Sequence[tuple[Epoch, str]]
    claim: str
    python: str  # of whoever reconciles: the forgotten runners' is told nowhere else
    now: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    now: Micros


Command = ScheduleRun | MakeReady | Claim | Release | Start | Report | Lose | Reconcile | Cancel


@dataclass(frozen=True, slots=True)
class Decision:
    events: tuple[ev.RunEvent, ...]
    after: RunState


def decide(state: RunState | None, command: Command) -> Decision:
    """What the command makes happen in this state."""
    if isinstance(command, ScheduleRun):
        return _schedule(state, command)
    if state is None:
        raise Refused("there is no such run", code="unknown_run")
    match command:
        case MakeReady():
            events = (ev.RunReady(),) if state.status is RunStatus.SCHEDULED else ()
            return _decided(state, events, command.now)
        case Claim():
            return _claim(state, command)
        case Release():
            return _release(state, command)
        case Start():
            return _start(state, command)
        case Report():
            return _report(state, command)
        case Lose():
            return _lose(state, command)
        case Reconcile():
            return _reconcile(state, command)
        case Cancel():
            return _cancel(state, command)
        case _:
            assert_never(command)


def is_repeat(state: RunState, command: Report) -> bool:
    """Whether the batch begins before what is recorded: then only its append id can tell whether it came before."""
    return command.first_seq < state.next_seq(command.origin)


def _schedule(state: RunState | None, command: ScheduleRun) -> Decision:
    if state is not None:
        return Decision((), state)
    due = command.scheduled.scheduled_for <= command.now
    if command.scheduled.origin is Origin.EMBEDDED and not due:
        raise Refused("an embedded run begins at once", code="not_due")
    events: tuple[ev.RunEvent, ...] = (command.scheduled, ev.RunReady()) if due else (command.scheduled,)
    return _decided(None, events, command.now)


def _claim(state: RunState, command: Claim) -> Decision:
    if state.head.claim == command.claim:
        if state.head.agent == command.agent and (state.status is RunStatus.CLAIMED or state.status.leased):
            if state.head.runner != command.runner:
                raise Refused(
                    f"this claim on run {state.head.run} was made before for another runner's token",
                    code="other_claim",
                    hint="a claim that is asked for again is the same in all",
                )
            return Decision((), state)
        # The grant that this claim got is over: answering with it again would launch a runner that may not start.
        raise Refused(f"this claim on run {state.head.run} is over", code="claim_over", hint="claim it under a new id")
    if state.status is not RunStatus.READY:
        raise Refused(f"run {state.head.run} is {state.status}, not ready", code="not_ready")
    crash = _budget(state)
    if crash is not None:
        return _decided(state, (ev.RunCrashed(reason=crash),), command.now)
    epoch = Epoch(state.head.epoch + 1)
    claimed = ev.RunClaimed(
        agent=command.agent, claim=command.claim, epoch=epoch, grant=command.grant, runner=command.runner
    )
    return _decided(state, (claimed,), command.now)


def _budget(state: RunState) -> CrashReason | None:
    if state.head.losses >= MAX_LOSSES:
        return CrashReason.LOSSES
    return CrashReason.RELEASES if state.head.releases >= MAX_RELEASES else None


def _release(state: RunState, command: Release) -> Decision:
    if state.head.epoch != command.epoch or state.head.claim != command.claim or state.status is not RunStatus.CLAIMED:
        if state.head.epoch > command.epoch or state.status in (RunStatus.READY, *_ENDED):
            return Decision((), state)  # released before, or taken back
        raise Refused(f"run {state.head.run} is {state.status} at epoch {state.head.epoch}", code="not_claimed")
    released = ev.RunReleased(epoch=command.epoch, reason=command.reason)
    decision = _decided(state, (released,), command.now)
    crash = _budget(decision.after)
    return _also(decision, ev.RunCrashed(reason=crash), command.now) if crash else decision


def _start(state: RunState, command: Start) -> Decision:
    check_grant(state, command.epoch, command.grant)
    if state.status.leased:
        return Decision((), state)
    if state.status is not RunStatus.CLAIMED:
        raise EpochOver(f"run {state.head.run} is {state.status}; epoch {command.epoch} has ended")
    if command.storage != state.head.storage:
        raise Refused("the runner opened another storage than the run needs", code="wrong_storage")
    if command.key_scheme != KEY_SCHEME:
        raise Refused(f"task keys of scheme {command.key_scheme} are not scheme {KEY_SCHEME}", code="wrong_key_scheme")
    started = ev.RunStarted(
        epoch=command.epoch, storage=command.storage, python=command.python, key_scheme=command.key_scheme
    )
    return _decided(state, (started,), command.now)


def _report(state: RunState, command: Report) -> Decision:
    check_grant(state, command.epoch, command.grant)
    if state.status.terminal:
        return _late(state, command)
    if not state.status.leased:
        raise EpochOver(f"run {state.head.run} is {state.status}; epoch {command.epoch} has ended")
    expected = state.next_seq(command.origin)
    if not 1 <= command.origin <= command.epoch or command.first_seq != expected:
        raise Refused(
            f"record {command.first_seq} of epoch {command.origin} came, {expected} is next", code="sequence_gap"
        )
    if command.origin < command.epoch and state.next_seq(command.epoch) > 0:
        raise Refused("an earlier epoch's records come before the reporter's own", code="sequence_gap")
    folding = Folding(state)
    for seq, event in enumerate(command.events, command.first_seq):
        folding.add(event, command.now, command.origin, Seq(seq))
    after = folding.state()
    assert after is not None
    return Decision(tuple(command.events), after)


def _late(state: RunState, command: Report) -> Decision:
    """The server ended the run by itself; an outcome that comes now is kept, and changes nothing."""
    outcomes = [event for event in command.events if isinstance(event, ev.RunOutcome)]
    if not outcomes:
        raise EpochOver(f"run {state.head.run} has ended: it is {state.status}")
    if ev.RunLate.TYPE in state.head.story:
        return Decision((), state)
    return _decided(state, (ev.RunLate(epoch=command.epoch, outcome=outcomes[-1].TYPE),), command.now)


def _lose(state: RunState, command: Lose) -> Decision:
    if command.epoch != state.head.epoch or not (state.status is RunStatus.CLAIMED or state.status.leased):
        return Decision((), state)
    if state.status is RunStatus.CLAIMED:
        reason = ReleaseReason.LAUNCH_TIMED_OUT
        if command.reason is LossReason.DRAINED:
            reason = ReleaseReason.DRAINING
        elif command.reason is not LossReason.LEASE_EXPIRED:
            reason = _SAID_BY_EXIT.get(command.exit_code, ReleaseReason.RUNNER_DIED)
        released = ev.RunReleased(epoch=command.epoch, reason=reason)
        decision = _decided(state, (released,), command.now)
    elif state.status is RunStatus.CANCELLING:
        return _decided(state, (ev.RunCancelled(at=command.now),), command.now)
    elif state.head.origin is Origin.EMBEDDED:
        return _decided(state, (ev.RunCrashed(reason=CrashReason.EMBEDDING_ENDED),), command.now)
    else:
        lost = ev.RunLost(
            epoch=command.epoch, reason=command.reason, exit_code=command.exit_code, signal=command.signal
        )
        decision = _decided(state, (lost,), command.now)
    crash = _budget(decision.after)
    return _also(decision, ev.RunCrashed(reason=crash), command.now) if crash else decision


# What a runner's exit code says that never began. It is its agent's word, as the rest of the report is.
_SAID_BY_EXIT: Final[Mapping[int | None, ReleaseReason]] = {
    RunnerExit.NO_PLAYHEAD: ReleaseReason.IMAGE_UNFIT,
    RunnerExit.OTHER_VERSION: ReleaseReason.IMAGE_UNFIT,
    RunnerExit.OTHER_PYTHON: ReleaseReason.IMAGE_UNFIT,
    RunnerExit.NO_STORAGE: ReleaseReason.STORAGE_UNREACHABLE,
}


def _reconcile(state: RunState, command: Reconcile) -> Decision:
    """Tell the forgotten epochs as they must have been: each was claimed, and ended. Those with a journal had started, and so their
    records count; of those between them nothing is left. Counted against nobody."""
    head, grants = state.head, dict(command.journals)
    last = max(grants)
    if last <= head.epoch:
        return Decision((), state)
    if state.status is not RunStatus.READY:
        raise Refused(
            f"run {head.run} is {state.status}, not ready: only what nobody has is reconciled", code="not_ready"
        )
    if last > head.epoch + MAX_RECONCILED:
        raise Refused(f"epoch {last} is too far from {head.epoch}, the newest in the log", code="too_many_epochs")
    events: list[ev.RunEvent] = []
    for epoch in range(head.epoch + 1, last + 1):
        grant = grants.get(Epoch(epoch))
        events.append(ev.RunClaimed(agent=RECONCILER, claim=command.claim, epoch=epoch, grant=grant or command.claim))
        if grant is None:
            events.append(ev.RunReleased(epoch=epoch, reason=ReleaseReason.DRAINING))
        else:
            events += (
                ev.RunStarted(epoch=epoch, storage=head.storage, python=command.python, key_scheme=KEY_SCHEME),
                ev.RunLost(epoch=epoch, reason=LossReason.DRAINED),
            )
    return _decided(state, tuple(events), command.now)


def _cancel(state: RunState, command: Cancel) -> Decision:
    match state.status:
        case RunStatus.SCHEDULED | RunStatus.READY | RunStatus.CLAIMED:
            return _decided(state, (ev.RunCancelled(at=command.now),), command.now)
        case RunStatus.RUNNING:
            return _decided(state, (ev.RunCancelling(),), command.now)
        case RunStatus.CANCELLING | RunStatus.SUCCEEDED | RunStatus.FAILED | RunStatus.CANCELLED | RunStatus.CRASHED:
            return Decision((), state)
        case _:
            assert_never(state.status)


def check_grant(state: RunState, epoch: Epoch, grant: str) -> None:
    """EpochOver unless the run is still granted to whoever holds this epoch and grant."""
    if epoch != state.head.epoch or grant != state.head.grant:
        raise EpochOver(
            f"epoch {epoch} of run {state.head.run} is over: the run is at epoch {state.head.epoch}",
            hint="another runner continues this run; this one must end",
        )


def _decided(state: RunState | None, events: tuple[ev.RunEvent, ...], now: Micros) -> Decision:
    after = fold([(event, Stamp(now)) for event in events], state)
    assert after is not None
    return Decision(events, after)


def _also(decision: Decision, event: ev.RunEvent, now: Micros) -> Decision:
    return Decision((*decision.events, event), evolve(decision.after, event, Stamp(now)))


_ENDED: Final = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.CRASHED)
