"""Decisions: whatever is asked in whatever order, the lifecycle holds; and each command's own rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from playhead.core import events as ev
from playhead.core.decide import (
    KEY_SCHEME,
    MAX_LOSSES,
    MAX_RELEASES,
    Cancel,
    Claim,
    Command,
    Lose,
    MakeReady,
    Release,
    Report,
    ScheduleRun,
    Start,
    decide,
    is_repeat,
)
from playhead.core.folding import evolve
from playhead.core.kinds import RunnerExit
from playhead.core.lifecycle import Stamp
from playhead.core.names import AgentId, Epoch, Micros, Seq
from playhead.core.state import RunState, RunStatus
from playhead.errors import EpochOver, IllegalEvent, Refused
from tests.core.samples import (
    CLAIM,
    GRANT,
    MAC,
    NOW,
    RECIPES,
    RUNNING,
    STORAGE,
    Recipe,
    after,
    claimed,
    command_of,
    scheduled,
    started,
)


@given(recipes=st.lists(RECIPES, min_size=20, max_size=40))
@settings(max_examples=80, deadline=None)
def test_no_sequence_of_commands_breaks_the_lifecycle(recipes: list[Recipe]) -> None:
    state: RunState | None = None
    for recipe in (Recipe(ScheduleRun, 8, False, False, False, ()), *recipes):
        command = command_of(recipe, state)
        try:
            decision = decide(state, command)
        except (Refused, EpochOver, IllegalEvent):
            continue
        assert decision.after == folded(state, command, decision.events), "a decision's state is the fold of its events"
        check_step(state, decision.after, decision.events)
        state = decision.after


def folded(state: RunState | None, command: Command, events: tuple[ev.RunEvent, ...]) -> RunState:
    """What replay will make of the events, as they will be written."""
    for index, event in enumerate(events):
        stamp = Stamp(command.now)
        if isinstance(command, Report) and not isinstance(event, ev.RunLate):
            stamp = Stamp(command.now, command.origin, Seq(command.first_seq + index))
        state = evolve(state, event, stamp)
    assert state is not None
    return state


def check_step(before: RunState | None, now: RunState, events: tuple[ev.RunEvent, ...]) -> None:
    assert now.version == (before.version if before else 0) + len(events)
    assert now.head.losses <= MAX_LOSSES
    assert now.head.releases <= MAX_RELEASES
    assert not now.status.leased or (now.head.grant is not None and now.head.epoch >= 1)
    assert (now.head.ended_at is not None) == now.status.terminal
    if before is not None:
        assert now.head.epoch in (before.head.epoch, before.head.epoch + 1)
        assert all(new >= old for new, old in zip(now.reported, before.reported, strict=False))
        if before.status.terminal:
            assert now.status is before.status
        if now.head.epoch > before.head.epoch:
            assert before.status is RunStatus.READY, "an epoch begins with a claim of a ready run"


def claim(state: RunState, name: str = CLAIM, agent: str = "otter") -> RunState:
    return decide(state, Claim(agent=AgentId(agent), claim=name, grant=GRANT, now=NOW)).after


def start(state: RunState, *, storage: str = STORAGE, key_scheme: int = KEY_SCHEME) -> RunState:
    epoch, grant = state.head.epoch, state.head.grant or ""
    return decide(
        state, Start(epoch=epoch, grant=grant, storage=storage, python="3.11", key_scheme=key_scheme, now=NOW)
    ).after


def lose(state: RunState, reason: ev.LossReason = ev.LossReason.LEASE_EXPIRED) -> RunState:
    return decide(state, Lose(epoch=state.head.epoch, reason=reason, now=NOW)).after


def report(state: RunState, *events: ev.RunnerEvent, first: int | None = None, origin: int | None = None) -> Report:
    epoch = state.head.epoch
    seq = state.next_seq(epoch) if first is None else Seq(first)
    of = epoch if origin is None else Epoch(origin)
    return Report(epoch=epoch, grant=state.head.grant or "", origin=of, first_seq=seq, events=events, now=NOW)


READY = after(scheduled(), ev.RunReady())
ADOPTED = ev.JournalAdopted(at=1)
SUCCEEDED = ev.RunSucceeded(at=5, mac=MAC, size=1)


def test_a_run_that_is_due_is_ready_at_once() -> None:
    due = decide(None, ScheduleRun(scheduled=scheduled(at=10), now=Micros(10)))
    later = decide(None, ScheduleRun(scheduled=scheduled(at=10), now=Micros(9)))
    assert (due.after.status, later.after.status) == (RunStatus.READY, RunStatus.SCHEDULED)
    assert decide(later.after, MakeReady(now=NOW)).after.status is RunStatus.READY
    assert decide(due.after, MakeReady(now=NOW)).events == ()
    with pytest.raises(Refused) as refused:
        decide(None, ScheduleRun(scheduled=scheduled(ev.Origin.EMBEDDED, at=10), now=Micros(9)))
    assert refused.value.code == "not_due"


def test_a_claim_is_granted_once_and_repeated_as_it_was() -> None:
    granted = claim(READY)
    again = decide(granted, Claim(agent=AgentId("otter"), claim=CLAIM, grant="ee" * 8, now=NOW))
    assert (again.events, again.after.head.grant, again.after.head.epoch) == ((), GRANT, 1)
    for agent, name, code in (("otter", "aa" * 8, "not_ready"), ("stoat", CLAIM, "claim_over")):
        with pytest.raises(Refused) as refused:
            claim(granted, name, agent)
        assert refused.value.code == code


def test_a_claim_that_was_taken_back_is_not_answered_with_its_dead_grant() -> None:
    taken_back = lose(claim(READY))
    assert taken_back.status is RunStatus.READY
    with pytest.raises(Refused) as refused:
        claim(taken_back)
    assert refused.value.code == "claim_over"
    assert claim(taken_back, "aa" * 8).head.epoch == 2


def test_a_claim_goes_back_once() -> None:
    granted = claim(READY)
    back = Release(claim=CLAIM, epoch=Epoch(1), reason=ev.ReleaseReason.LAUNCH_FAILED, now=NOW)
    released = decide(granted, back)
    assert (released.after.status, released.after.head.releases) == (RunStatus.READY, 1)
    assert decide(released.after, back).events == ()
    assert decide(claim(released.after, "aa" * 8), back).events == (), (
        "a later epoch is not released by an earlier claim"
    )
    for state in (after(scheduled()), start(granted)):
        with pytest.raises(Refused) as refused:
            decide(state, back)
        assert refused.value.code == "not_claimed"


def test_a_draining_agent_costs_the_flow_nothing() -> None:
    back = Release(claim=CLAIM, epoch=Epoch(1), reason=ev.ReleaseReason.DRAINING, now=NOW)
    assert decide(claim(READY), back).after.head.releases == 0


def test_a_run_that_is_handed_back_too_often_crashes() -> None:
    state = READY
    for number in range(MAX_RELEASES):
        state = claim(state, f"{number:016x}")
        state = decide(
            state,
            Release(claim=f"{number:016x}", epoch=state.head.epoch, reason=ev.ReleaseReason.LAUNCH_FAILED, now=NOW),
        ).after
    assert (state.status, state.head.crash) == (RunStatus.CRASHED, ev.CrashReason.RELEASES)


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [
        (None, ev.ReleaseReason.RUNNER_DIED),
        (1, ev.ReleaseReason.RUNNER_DIED),
        (RunnerExit.NO_PLAYHEAD, ev.ReleaseReason.IMAGE_UNFIT),
        (RunnerExit.OTHER_VERSION, ev.ReleaseReason.IMAGE_UNFIT),
        (RunnerExit.OTHER_PYTHON, ev.ReleaseReason.IMAGE_UNFIT),
        (RunnerExit.NO_STORAGE, ev.ReleaseReason.STORAGE_UNREACHABLE),
    ],
)
def test_what_a_runner_said_that_never_began_is_told(exit_code: int | None, reason: ev.ReleaseReason) -> None:
    died = Lose(epoch=Epoch(1), reason=ev.LossReason.EXITED, exit_code=exit_code, now=NOW)
    assert decide(claim(READY), died).events == (ev.RunReleased(epoch=1, reason=reason),)


def test_a_run_that_loses_its_runner_too_often_crashes() -> None:
    state = READY
    for number in range(MAX_LOSSES):
        assert state.status is RunStatus.READY
        state = lose(start(claim(state, f"{number:016x}")), ev.LossReason.SIGNALLED)
    assert (state.status, state.head.crash, state.head.losses) == (RunStatus.CRASHED, ev.CrashReason.LOSSES, MAX_LOSSES)


def test_a_run_whose_budget_is_spent_is_ended_by_the_next_claim() -> None:
    """From a log that was written when the budget was larger."""
    spent = structs.replace(READY, head=structs.replace(READY.head, losses=MAX_LOSSES))
    assert claim(spent).status is RunStatus.CRASHED


def test_a_start_needs_the_grant_the_storage_and_the_key_scheme() -> None:
    granted = claim(READY)
    for storage, scheme, code in (("aa" * 8, KEY_SCHEME, "wrong_storage"), (STORAGE, 99, "wrong_key_scheme")):
        with pytest.raises(Refused) as refused:
            start(granted, storage=storage, key_scheme=scheme)
        assert refused.value.code == code
    with pytest.raises(EpochOver):
        decide(
            granted,
            Start(epoch=Epoch(1), grant="aa" * 8, storage=STORAGE, python="3.11", key_scheme=KEY_SCHEME, now=NOW),
        )
    begun = start(granted)
    assert start(begun) == begun, "the same start again is the same answer"


@pytest.mark.parametrize(
    "over",
    [
        after(scheduled(), ev.RunReady(), claimed(), ev.RunCancelled(at=1)),
        after(scheduled(), ev.RunReady(), claimed(), ev.RunReleased(epoch=1, reason=ev.ReleaseReason.DRAINING)),
        after(*RUNNING, SUCCEEDED),
        after(*RUNNING, ev.RunLost(epoch=1, reason=ev.LossReason.SIGNALLED)),
    ],
    ids=["cancelled", "released", "succeeded", "lost"],
)
def test_a_runner_whose_time_is_over_is_told_so(over: RunState) -> None:
    with pytest.raises(EpochOver):
        start(over)
    with pytest.raises(EpochOver):
        decide(over, report(over, ADOPTED))


def test_a_wrong_grant_or_epoch_is_refused_whole() -> None:
    running = start(claim(lose(start(claim(READY))), "aa" * 8))
    good = report(running, ADOPTED)
    assert decide(running, good).after.next_seq(2) == 1
    for bad in (replace(good, epoch=Epoch(1)), replace(good, grant="ff" * 8), replace(good, epoch=Epoch(3))):
        with pytest.raises(EpochOver, match="is over"):
            decide(running, bad)


@pytest.mark.parametrize(("origin", "first"), [(1, 1), (1, 5), (2, 0), (0, 0), (-1, 0)])
def test_records_come_in_order_from_an_epoch_that_was(origin: int, first: int) -> None:
    running = after(*RUNNING)
    with pytest.raises(Refused) as refused:
        decide(running, report(running, ADOPTED, first=first, origin=origin))
    assert refused.value.code == "sequence_gap"


def test_a_successor_reports_its_predecessors_records_before_its_own() -> None:
    second = start(claim(lose(start(claim(READY))), "aa" * 8))
    inherited = decide(second, report(second, ADOPTED, first=0, origin=1)).after
    assert inherited.reported == (1, 0)
    own = decide(inherited, report(inherited, ADOPTED, first=0, origin=2)).after
    with pytest.raises(Refused, match="come before"):
        decide(own, report(own, ev.TimerFired(at=1, key="x"), first=1, origin=1))


def test_a_batch_is_a_repeat_when_it_begins_before_what_is_recorded() -> None:
    running = decide(after(*RUNNING), report(after(*RUNNING), ADOPTED)).after
    assert is_repeat(running, report(running, ADOPTED, first=0))
    assert not is_repeat(running, report(running, ADOPTED, first=1))
    assert not is_repeat(running, report(running, ADOPTED, first=2))


def test_an_outcome_that_comes_late_is_kept_once_and_changes_nothing() -> None:
    ended = lose(cancelling())
    assert ended.status is RunStatus.CANCELLED
    late = decide(ended, report(ended, ADOPTED, SUCCEEDED))
    assert [event.TYPE for event in late.events] == ["run.late"]
    assert late.after.status is RunStatus.CANCELLED
    assert decide(late.after, report(late.after, ADOPTED, SUCCEEDED)).events == ()
    with pytest.raises(EpochOver):
        decide(ended, report(ended, ADOPTED))


def cancelling() -> RunState:
    return decide(after(*RUNNING), Cancel(now=NOW)).after


def test_while_cancelling_an_outcome_counts_as_it_is() -> None:
    state = cancelling()
    assert decide(state, report(state, ADOPTED, SUCCEEDED)).after.status is RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (after(scheduled()), RunStatus.CANCELLED),
        (READY, RunStatus.CANCELLED),
        (claim(READY), RunStatus.CANCELLED),
        (after(*RUNNING), RunStatus.CANCELLING),
        (cancelling(), RunStatus.CANCELLING),
        (after(*RUNNING, SUCCEEDED), RunStatus.SUCCEEDED),
        (after(*RUNNING, ev.RunCrashed(reason=ev.CrashReason.LOSSES)), RunStatus.CRASHED),
    ],
    ids=lambda value: value.status.value if isinstance(value, RunState) else None,
)
def test_cancel_in_each_state(state: RunState, expected: RunStatus) -> None:
    cancelled = decide(state, Cancel(now=NOW)).after
    assert cancelled.status is expected
    assert decide(cancelled, Cancel(now=NOW)).events == (), "asked for again, it is done"


def test_a_loss_is_told_once_and_only_of_the_epoch_that_holds_the_run() -> None:
    running = after(*RUNNING)
    lost = lose(running)
    assert lost.status is RunStatus.READY
    assert lose(lost) == lost
    for state in (after(scheduled()), READY, after(*RUNNING, SUCCEEDED)):
        assert lose(state) == state
    assert decide(running, Lose(epoch=Epoch(7), reason=ev.LossReason.EXITED, now=NOW)).events == ()


def test_how_a_claim_is_lost_says_why_it_goes_back() -> None:
    for loss, release in (
        (ev.LossReason.LEASE_EXPIRED, ev.ReleaseReason.LAUNCH_TIMED_OUT),
        (ev.LossReason.EXITED, ev.ReleaseReason.RUNNER_DIED),
    ):
        (released,) = decide(claim(READY), Lose(epoch=Epoch(1), reason=loss, now=NOW)).events
        assert released == ev.RunReleased(epoch=1, reason=release)


def test_an_embedded_run_whose_program_is_gone_crashes() -> None:
    state = after(scheduled(ev.Origin.EMBEDDED), ev.RunReady(), claimed(), started())
    assert lose(state).head.crash is ev.CrashReason.EMBEDDING_ENDED


def test_there_is_no_command_for_a_run_that_is_not_there() -> None:
    for command in (MakeReady(now=NOW), Cancel(now=NOW)):
        with pytest.raises(Refused) as refused:
            decide(None, command)
        assert refused.value.code == "unknown_run"


def test_a_runner_that_its_agent_ended_counts_as_no_loss() -> None:
    drained = decide(after(*RUNNING), Lose(epoch=Epoch(1), reason=ev.LossReason.DRAINED, signal=15, now=NOW))
    assert (drained.after.status, drained.after.head.losses) == (RunStatus.READY, 0)
