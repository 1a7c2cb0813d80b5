"""The event that is left of a forgotten run: what it makes of the run, alone and behind all that it stands for, and what it allows."""

from __future__ import annotations

import pytest

from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME, Cancel, Claim, MakeReady, Report, ScheduleRun, Start, decide
from playhead.core.folding import evolve
from playhead.core.forgetting import tombstone
from playhead.core.lifecycle import Stamp
from playhead.core.names import AgentId, Epoch, Micros, Seq
from playhead.core.state import RunState
from playhead.core.table import TaskTable
from playhead.core.views import run_view
from playhead.errors import EpochOver, IllegalEvent, Refused
from tests.core.samples import GRANT, MAC, NOW, RUNNING, STORAGE, after, scheduled, task_events

LATER = Micros(9_000_000)

ENDED = (
    (*RUNNING, *task_events("parse")[:3], ev.RunSucceeded(at=5, mac=MAC, size=1)),
    (*RUNNING, ev.RunFailed(at=5, category=ev.FailureCategory.RAISED, task="parse", mac=MAC)),
    (scheduled(), ev.RunCancelled(at=5)),
    (*RUNNING, ev.RunCrashed(reason=ev.CrashReason.LOSSES), ev.RunLate(epoch=1, outcome="run.succeeded")),
)


def forgotten(ended: RunState) -> RunState:
    return evolve(None, tombstone(ended), Stamp(LATER))


@pytest.mark.parametrize("story", ENDED)
def test_it_gives_the_same_state_alone_and_behind_what_it_stands_for(story: tuple[ev.RunEvent, ...]) -> None:
    ended = after(*story)
    alone = forgotten(ended)
    assert alone == evolve(ended, tombstone(ended), Stamp(LATER))
    assert alone.version == len(story) + 1
    assert alone.head.forgotten_at == LATER
    for same in (
        "flow",
        "status",
        "created_at",
        "started_at",
        "ended_at",
        "scheduled_for",
        "category",
        "crash",
        "epoch",
    ):
        assert getattr(alone.head, same) == getattr(ended.head, same), same
    assert (alone.tasks, sum(alone.counts), alone.reported) == (TaskTable(), 0, ())


@pytest.mark.parametrize("story", ENDED)
def test_no_command_changes_it(story: tuple[ev.RunEvent, ...]) -> None:
    state = forgotten(after(*story))
    for unchanged in (ScheduleRun(scheduled=scheduled(), now=NOW), MakeReady(now=NOW), Cancel(now=NOW)):
        assert decide(state, unchanged).events == ()
    claim = Claim(agent=AgentId("otter"), claim="c2" * 8, grant=GRANT, now=NOW)
    with pytest.raises(Refused, match="not ready"):
        decide(state, claim)
    epoch = Epoch(max(state.head.epoch, 1))
    outcome = ev.RunSucceeded(at=5, mac=MAC, size=1)
    report = Report(epoch=epoch, grant=GRANT, origin=epoch, first_seq=Seq(0), events=[outcome], now=NOW)
    start = Start(epoch=epoch, grant=GRANT, storage=STORAGE, python="3.11", key_scheme=KEY_SCHEME, now=NOW)
    for late in (report, start):
        with pytest.raises(EpochOver):
            decide(state, late)


def test_it_fits_one_run_at_its_end_and_nothing_else() -> None:
    ended = after(*ENDED[0])
    left = tombstone(ended)
    others = [
        (after(*RUNNING), left),
        (after(*RUNNING, ev.RunCancelled(at=5)), left),  # it ended otherwise
        (ended, left.model_copy(update={"events": left.events + 1})),
        (ended, left.model_copy(update={"run": "f" * 32})),
    ]
    for state, event in others:
        with pytest.raises(IllegalEvent):
            evolve(state, event, Stamp(LATER))
    again = evolve(forgotten(ended), tombstone(forgotten(ended)), Stamp(LATER))
    assert again.version == forgotten(ended).version + 1, "what is left can be forgotten once more"


def test_only_what_has_ended_is_forgotten() -> None:
    with pytest.raises(AssertionError):
        tombstone(after(*RUNNING))


def test_a_view_says_when_and_is_as_before_where_nothing_was() -> None:
    ended = after(*ENDED[0])
    assert "forgotten_at" not in run_view(ended).model_dump()
    view = run_view(forgotten(ended))
    assert (view.forgotten_at, view.tasks, view.counts) == ("1970-01-01T00:00:09.000000Z", (), {})
