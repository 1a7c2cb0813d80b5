"""The lifecycle: its tables are reachable row by row, everything else is an error with the story, and folding is folding."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead.core import events as ev
from playhead.core.folding import evolve, fold
from playhead.core.lifecycle import RUN_TRANSITIONS, TASK_TRANSITIONS, Stamp
from playhead.core.names import Epoch, Seq, TaskKey
from playhead.core.state import RunState, RunStatus, TaskStatus
from playhead.core.tasks import task_of
from playhead.core.views import counts_of, tasks_of
from playhead.errors import IllegalEvent
from tests.core.samples import (
    MAC,
    NOW,
    RUN_EVENTS,
    RUNNING,
    after,
    claimed,
    runner_events,
    scheduled,
    started,
    task_events,
)

ENDS = (
    (ev.RunSucceeded(at=5, mac=MAC, size=1), RunStatus.SUCCEEDED),
    (ev.RunFailed(at=5, category=ev.FailureCategory.RAISED, mac=MAC), RunStatus.FAILED),
    (ev.RunCancelled(at=5), RunStatus.CANCELLED),
    (ev.RunCrashed(reason=ev.CrashReason.LOSSES), RunStatus.CRASHED),
)


def one_state_in_each_status() -> dict[RunStatus | None, RunState | None]:
    """Found by trying every event in every state that was found: what the table reaches, and no more."""
    found: dict[RunStatus | None, RunState | None] = {None: None}
    while True:
        before = len(found)
        for state in list(found.values()):
            for event in RUN_EVENTS:
                try:
                    reached = evolve(state, event, Stamp(NOW))
                except IllegalEvent:
                    continue
                found.setdefault(reached.status, reached)
        if len(found) == before:
            return found


def test_every_status_can_be_reached() -> None:
    assert set(one_state_in_each_status()) == {None, *RunStatus}


def test_exactly_the_rows_of_the_run_table_happen() -> None:
    happened: dict[tuple[RunStatus | None, type[ev.Event]], RunStatus] = {}
    for status, state in one_state_in_each_status().items():
        for event in RUN_EVENTS:
            if (status, type(event)) in RUN_TRANSITIONS:
                happened[status, type(event)] = evolve(state, event, Stamp(NOW)).status
                continue
            with pytest.raises(IllegalEvent) as refusal:
                evolve(state, event, Stamp(NOW))
            assert refusal.value.story == ((*state.head.story, event.TYPE) if state is not None else ())
    # A tombstone fits one run at one version only: test_forgetting.py.
    assert happened == {row: status for row, status in RUN_TRANSITIONS.items() if row[1] is not ev.RunForgotten}


def test_exactly_the_rows_of_the_task_table_happen() -> None:
    submitted, begun, succeeded, retrying, failed, cancelled, _ = task_events("parse")
    paths: dict[TaskStatus | None, tuple[ev.TaskEvent, ...]] = {
        None: (),
        TaskStatus.SUBMITTED: (submitted,),
        TaskStatus.RUNNING: (submitted, begun),
        TaskStatus.RETRYING: (submitted, begun, retrying),
        TaskStatus.SUCCEEDED: (submitted, begun, succeeded),
        TaskStatus.FAILED: (submitted, begun, failed),
        TaskStatus.CANCELLED: (submitted, cancelled),
    }
    happened: dict[tuple[TaskStatus | None, type[ev.TaskEvent]], TaskStatus] = {}
    for status, path in paths.items():
        # A later epoch, because only a later epoch may launch a running task again.
        lost_once = (*RUNNING, *path, ev.RunLost(epoch=1, reason=ev.LossReason.SIGNALLED), claimed(2), started(2))
        state = after(*lost_once)
        for event in task_events("parse", attempt=2 if status is TaskStatus.RETRYING else 1):
            if (status, type(event)) not in TASK_TRANSITIONS:
                with pytest.raises(IllegalEvent) as refusal:
                    after(event, state=state)
                assert refusal.value.story[-1] == event.TYPE
                continue
            reached = task_of(after(event, state=state), TaskKey("parse"))
            assert reached is not None
            happened[status, type(event)] = reached.status
    assert happened == TASK_TRANSITIONS


@pytest.mark.parametrize(("end", "status"), ENDS)
@given(events=st.lists(st.one_of(runner_events(), st.sampled_from(RUN_EVENTS)), max_size=8))
@settings(max_examples=50, deadline=None)
def test_terminal_is_final(end: ev.RunEvent, status: RunStatus, events: list[ev.RunEvent]) -> None:
    state = after(*RUNNING, end)
    ended_at, outcome = state.head.ended_at, state.head.outcome
    for event in events:
        for stamp in (Stamp(NOW), Stamp(NOW, Epoch(1), state.next_seq(1))):
            try:
                state = evolve(state, event, stamp)
            except IllegalEvent:
                continue
            assert isinstance(event, ev.RunLate), "only a late fact may follow an end"
    assert (state.status, state.head.ended_at, state.head.outcome) == (status, ended_at, outcome)


@given(events=st.lists(runner_events(), max_size=40))
@settings(max_examples=200, deadline=None)
def test_whatever_a_runner_reports_the_state_stays_whole(events: list[ev.RunnerEvent]) -> None:
    state = after(*RUNNING)
    legal: list[tuple[ev.Event, Stamp]] = []
    stories: list[tuple[str, bool]] = []
    for event in events:
        stamp = Stamp(NOW, Epoch(1), state.next_seq(1))
        try:
            state = evolve(state, event, stamp)
        except IllegalEvent as refusal:
            stories.append((refusal.story[0], refusal.story[-1] == event.TYPE))
            continue
        legal.append((event, stamp))
        check_whole(state)
    assert fold(legal, after(*RUNNING)) == state, "folding at once gives what folding one by one gave"
    assert state.version == len(RUNNING) + len(legal)
    assert state.reported == (len(legal),)
    assert set(stories) <= {("run.scheduled", True)}, "a refusal tells the whole story, and ends with what was refused"


def check_whole(state: RunState) -> None:
    tasks = list(tasks_of(state))
    recount: dict[str, int] = {}
    for task in tasks:
        recount[task.status.value] = recount.get(task.status.value, 0) + 1
        assert task.status is not TaskStatus.SUCCEEDED or task.record is not None
        assert (task.ended_at is not None) == task.status.terminal
        assert (task.retry_at is not None) == (task.status is TaskStatus.RETRYING)
    assert counts_of(state) == recount, "the counts that progress is shown from are the tasks"
    assert len({task.key for task in tasks}) == len(tasks), "one key is one call"
    orders = {task.order for task in state.tasks.values()} | {mapped.order for mapped in state.maps.values()}
    assert orders == set(range(state.asked)), "each call asked for has its place in the order"


def test_records_of_a_journal_come_in_order_and_once() -> None:
    state = after(*RUNNING)
    adopted, fact = ev.JournalAdopted(at=1), ev.FactRecorded(at=1, key="now", kind=ev.FactKind.NOW)
    for epoch, seq in ((1, 1), (1, -1), (2, 0), (0, 0), (-1, 0), (1, None)):
        with pytest.raises(IllegalEvent, match="cannot be next"):
            evolve(state, fact, Stamp(NOW, Epoch(epoch), Seq(seq) if seq is not None else None))
    state = after(adopted, state=state)
    with pytest.raises(IllegalEvent, match="cannot be next"):
        evolve(state, fact, Stamp(NOW, Epoch(1), Seq(0)))
    with pytest.raises(IllegalEvent, match=r"journal\.adopted"):
        evolve(state, adopted, Stamp(NOW, Epoch(1), Seq(1)))


def test_a_key_names_one_call() -> None:
    mapped = ev.TaskMapped(at=1, key="parse", name="parse", width=2)
    called = ev.TaskSubmitted(at=1, key="parse", name="parse")
    element = ev.TaskSubmitted(at=1, key="parse.1", name="parse.1")
    inner = ev.TaskMapped(at=1, key="parse.1", name="x", width=1)
    beyond = ev.TaskSubmitted(at=1, key="parse.2", name="parse.2")
    for first, second in ((mapped, called), (called, mapped), (mapped, element), (element, mapped), (mapped, inner)):
        with pytest.raises(IllegalEvent, match="key is taken"):
            after(*RUNNING, first, second)
    check_whole(after(*RUNNING, beyond, mapped))


def test_an_element_of_a_map_needs_the_elements_beside_it() -> None:
    pages = ev.TaskMapped(at=1, key="fetch", name="fetch", width=2)
    parse = ev.TaskMapped(at=1, key="parse", name="parse", width=2, after=("setup",), each=("fetch",))
    state = after(*RUNNING, pages, parse)
    element = task_of(state, TaskKey("parse.1"))
    assert element is not None
    assert element.upstream == ("setup", "fetch.1")
    for key in ("parse.2", "parse.01", "parse.", "parse.-1", "none.0"):
        assert task_of(state, TaskKey(key)) is None


def test_attempts_and_losses_are_counted_apart() -> None:
    submitted, begun, _, retrying, *_, lost = task_events("parse")
    state = after(*RUNNING, submitted, begun, lost, begun, retrying, ev.TaskStarted(at=9, key="parse", attempt=2))
    task = task_of(state, TaskKey("parse"))
    assert task is not None
    assert (task.attempt, task.losses, task.status) == (2, 1, TaskStatus.RUNNING)


def test_an_epoch_follows_the_one_before() -> None:
    with pytest.raises(IllegalEvent, match="cannot be next"):
        after(scheduled(), ev.RunReady(), claimed(epoch=2))


def test_events_of_other_streams_do_not_belong_into_a_run() -> None:
    with pytest.raises(IllegalEvent, match="does not belong"):
        after(*RUNNING, ev.AgentLeft())
    with pytest.raises(IllegalEvent, match="first event"):
        after(ev.RunReady())
